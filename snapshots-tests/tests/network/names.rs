//! Names, addresses and rules; servers and gateways that end while a machine goes on.

use snapshots_tests::said::until;
use snapshots_tests::world::{LONG, World};
use std::process::Command;

#[test]
fn names_addresses_and_rules() {
    let Some(world) = World::new() else { return };
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
    for closed in ["http://10.1.2.3/", "http://10.0.2.2:80/", "http://169.254.169.254/"] {
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
    // It is told with what happened to all sprites.
    let told = world.home.json(&["api", "/v1/local/events?kind=denied"]);
    let denial = |one: &serde_json::Value| {
        one["sprite"] == "box" && one["reason"].as_str().is_some_and(|why| why.contains("dns other.example"))
    };
    assert!(told["events"].as_array().is_some_and(|all| all.iter().any(denial)), "{told:#}");
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
