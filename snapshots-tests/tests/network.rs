//! What a sprite reaches outside, and what it does not: with a real sprite, in a network namespace with a small world of its own.

use serde_json::Value;
use snapshots_tests::harness::{Home, executable};
use snapshots_tests::said::until;
use sprites_backend::endpoint::ensure_local_server;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const CONFIG: &str = "[network]\nreachable = [\"198.18.0.0/15\"]\nresolvers = [\"198.18.0.53:53\"]\n";

/// A server in a network namespace of its own, in which nothing but the small world can be reached.
struct World {
    home: Home,
    exe: PathBuf,
}

impl World {
    /// None where no namespaces can be made.
    fn new() -> Option<Self> {
        let may = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
        if !may.is_ok_and(|output| output.status.success()) {
            println!("passed over: no network namespaces can be made here");
            return None;
        }
        let home = Home::new();
        fs::write(home.paths().config_file(), CONFIG).unwrap();
        let world = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdk/world/world.py");
        let exe = home.paths().run().join("server");
        let script = format!(
            "#!/bin/sh\nSPRITES_TUI_HOME='{}' exec unshare -n sh -c '\
             ip link set lo up && ip addr add 198.18.0.1/32 dev lo && ip addr add 198.18.0.53/32 dev lo && \
             {{ python3 \"$0\" & }} && exec \"$1\" serve --no-checkpoints --idle 600' '{}' '{}'\n",
            home.paths().run().parent().unwrap().display(),
            world.display(),
            executable().display()
        );
        fs::write(&exe, script).unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { home, exe };
        world.serve();
        Some(world)
    }

    fn serve(&self) {
        ensure_local_server(self.home.paths(), &self.exe).expect("the server starts");
    }

    /// Fetches a page from inside.
    fn fetch(&self, url: &str) -> (bool, String) {
        let (code, out, err) = self.home.run(&["-s", "box", "exec", "curl", "-sS", "--max-time", "10", url]);
        (code == 0, out + &err)
    }

    fn set(&self, rules: &str) {
        let body = format!("{{\"rules\":{rules}}}");
        self.home.good(&["api", "/v1/sprites/box/policy/network", "--", "-X", "POST", "-d", &body]);
    }

    fn log(&self) -> Value {
        self.home.json(&["api", "/v1/local/sprites/box/network"])
    }

    /// Waits until the log has an event with these.
    fn wait_for(&self, wanted: &[(&str, &str)]) -> Value {
        let give_up = Instant::now() + LONG;
        loop {
            let log = self.log();
            let fits = |event: &&Value| wanted.iter().all(|(key, value)| event[*key] == *value);
            if let Some(event) = log["events"].as_array().unwrap().iter().find(fits) {
                return event.clone();
            }
            assert!(Instant::now() < give_up, "{wanted:?} is not told: {log:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn names_addresses_and_rules() {
    let Some(world) = World::new() else { return };
    world.home.good(&["create", "box"]);
    let hello = |url: &str| {
        let (success, said) = world.fetch(url);
        assert!(success && said == "hello from outside\n", "{url}: {said}");
    };
    let refused = |url: &str| {
        let (success, said) = world.fetch(url);
        assert!(!success, "{url}: {said}");
        said
    };
    // Without rules all is open, but what is the host's and its neighbours'.
    hello("http://allowed.example/");
    hello("http://other.example/");
    hello("http://198.18.0.1/");
    for closed in [
        "http://rebind.example/",
        "http://private.example/",
        "http://10.1.2.3/",
        "http://10.0.2.2:80/",
        "http://169.254.169.254/",
    ] {
        refused(closed);
    }
    world.wait_for(&[("kind", "tcp"), ("verdict", "denied"), ("reason", "private"), ("address", "10.1.2.3")]);

    // With rules what none allows is refused: by name at once, and by an address that no allowed name has.
    world.set(r#"[{"domain":"allowed.example","action":"allow"}]"#);
    hello("http://allowed.example/");
    let said = refused("http://other.example/");
    assert!(said.contains("resolve"), "{said}");
    refused("http://198.18.0.2/");
    let denied = world.wait_for(&[("kind", "dns"), ("verdict", "denied"), ("name", "other.example")]);
    assert_eq!(denied["reason"], "no_rule", "{denied}");
    world.wait_for(&[("kind", "tcp"), ("verdict", "denied"), ("address", "198.18.0.2")]);
    let copy = world.home.good(&["-s", "box", "exec", "cat", "/.sprite/policy/network.json"]);
    assert!(copy.contains("allowed.example"), "{copy}");

    // A connection that lost its permission is cut.
    let script = "rm -f said; curl -sN http://allowed.example/long >said 2>/dev/null & \
                  until grep -q tick said 2>/dev/null; do sleep 0.1; done; echo $!";
    let pid = world.home.good(&["-s", "box", "exec", "bash", "-c", script]);
    world.set(r#"[{"domain":"other.example","action":"allow"}]"#);
    let gone = format!(
        "for _ in {{1..100}}; do kill -0 {} 2>/dev/null || exit 0; sleep 0.1; done; exit 1",
        pid.trim()
    );
    world.home.good(&["-s", "box", "exec", "bash", "-c", &gone]);
    world.wait_for(&[("verdict", "cut"), ("name", "allowed.example")]);

    // It holds for a machine that starts anew, and goes on while there is no server.
    world.home.good(&["api", "/v1/local/sprites/box/stop", "--", "-X", "POST"]);
    refused("http://allowed.example/");
    hello("http://other.example/");
    let victim = world.home.server_pid().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL).unwrap();
    // The dying one may still take a connection, so one look is not enough.
    until(LONG, "another server", || {
        world.serve();
        world.home.server_pid().is_some_and(|pid| pid != victim)
    });
    // The world ended with its server, and is here again in another namespace; the machine is still in the one before, where nobody answers.
    // Its gateway is spoken to again before anybody has used the sprite.
    world.set(r#"[{"domain":"nothing.example","action":"allow"}]"#);
    world.home.good(&["-s", "box", "exec", "sh", "-c", "! curl -s --max-time 5 http://other.example/"]);
    world.wait_for(&[("kind", "dns"), ("verdict", "denied"), ("name", "other.example")]);
    assert_eq!(world.home.good(&["-s", "box", "exec", "echo", "here"]), "here\n");
    // One whose gateway is killed goes on without a network, and has one again after a stop.
    let gateway = format!("pkill -9 -f '[g]ateway --spec {}'", world.home.paths().run().display());
    assert!(Command::new("sh").args(["-c", &gateway]).status().unwrap().success());
    world.home.good(&["-s", "box", "exec", "true"]);
    world.home.good(&["api", "/v1/local/sprites/box/stop", "--", "-X", "POST"]);
    world.set(r#"[{"domain":"other.example","action":"allow"}]"#);
    hello("http://other.example/");
    world.home.good(&["destroy", "--force", "box"]);
    // Its gateway has ended with it; the server and the world are left.
    until(LONG, "the end of a gateway", || world.home.processes().len() <= 2);
}
