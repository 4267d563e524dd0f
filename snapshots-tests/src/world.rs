//! A server in a network namespace of its own, in which nothing but a small world can be reached (`sdk/world`), and what its sprite makes of it.

use crate::harness::{Home, executable};
use crate::tools::source;
use serde_json::Value;
use sprites_backend::endpoint::ensure_local_server;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long anything may take.
pub const LONG: Duration = Duration::from_secs(60);
/// The world's addresses are of networks that nobody is in (RFC 2544, RFC 5180).
const CONFIG: &str = "[network]\nreachable = [\"198.18.0.0/15\", \"2001:2::/48\"]\n\
                      resolvers = [\"198.18.0.53:53\"]\nipv6 = true\n";
/// Its own, on the loopback of the namespace.
const ADDRESSES: [&str; 6] =
    ["198.18.0.1/32", "198.18.0.2/32", "198.18.0.53/32", "198.18.0.54/32", "2001:2::1/128", "2001:2::2/128"];

/// See the module. Most is about the sprite `box`.
pub struct World {
    /// The installation.
    pub home: Home,
    exe: PathBuf,
}

impl World {
    /// A world with a sprite; none where no namespaces can be made.
    pub fn new() -> Option<Self> {
        let world = Self::empty("--idle 600")?;
        world.home.good(&["create", "box"]);
        Some(world)
    }

    /// A world without a sprite, whose server is started with these arguments.
    pub fn empty(arguments: &str) -> Option<Self> {
        let addresses = ADDRESSES.map(|address| format!("ip addr add {address} dev lo && ")).concat();
        let may = Command::new("unshare").args(["-n", "sh", "-c", &format!("{addresses} true")]).output();
        if !may.is_ok_and(|output| output.status.success()) {
            println!("passed over: no network namespaces with IPv6 can be made here");
            return None;
        }
        let home = Home::new();
        fs::write(home.paths().config_file(), CONFIG).expect("the configuration can be written");
        let exe = home.paths().run().join("server");
        let script = format!(
            "#!/bin/sh\nSPRITES_TUI_HOME='{}' exec unshare -n sh -c '\
             ip link set lo up && {addresses} \
             {{ python3 -B \"$0\" & }} && exec \"$1\" serve --no-checkpoints {arguments}' '{}' '{}'\n",
            home.paths().run().parent().expect("it is below the home").display(),
            source("world/world.py").display(),
            executable().display()
        );
        fs::write(&exe, script).expect("the script can be written");
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        let world = Self { home, exe };
        world.serve();
        Some(world)
    }

    /// Starts the server, and with it the world, in another namespace than before.
    pub fn serve(&self) {
        ensure_local_server(self.home.paths(), &self.exe).expect("the server starts");
    }

    /// Runs a script inside, which must succeed.
    pub fn run(&self, script: &str) -> String {
        self.home.good(&["-s", "box", "exec", "bash", "-c", script])
    }

    /// Fetches a page from inside: whether it was there, and what was said.
    pub fn fetch(&self, url: &str) -> (bool, String) {
        let (code, out, err) = self.home.run(&["-s", "box", "exec", "curl", "-sS", "--max-time", "10", url]);
        (code == 0, out + &err)
    }

    /// Tries things from inside, as root: what became of each (`inside.py`).
    pub fn attempt(&self, trials: &[&[&str]]) -> Vec<String> {
        let script = fs::read_to_string(source("world/inside.py")).expect("it is there");
        let trials = serde_json::to_string(trials).expect("words have a JSON form");
        let told = self.home.json(&["-s", "box", "exec", "sudo", "python3", "-c", &script, &trials]);
        serde_json::from_value(told).expect("it is a list of words")
    }

    /// Tries things, each of which must come out as it says: words at the beginning of what became of it.
    pub fn expect(&self, trials: &[(&[&str], &str)]) {
        let asked: Vec<&[&str]> = trials.iter().map(|(trial, _)| *trial).collect();
        let wrong: Vec<String> = self
            .attempt(&asked)
            .into_iter()
            .zip(trials)
            .filter(|(became, (_, wanted))| !became.starts_with(wanted))
            .map(|(became, (trial, wanted))| format!("{trial:?}: {became:?} instead of {wanted:?}"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{:#}", self.log());
    }

    /// Other rules for the sprite, as JSON.
    pub fn set(&self, rules: &str) {
        let body = format!("{{\"rules\":{rules}}}");
        self.home.good(&["api", "/v1/sprites/box/policy/network", "--", "-X", "POST", "-d", &body]);
    }

    /// What its network has told.
    pub fn log(&self) -> Value {
        self.home.json(&["api", "/v1/local/sprites/box/network"])
    }

    /// Waits until the log has an event with these.
    pub fn wait_for(&self, wanted: &[(&str, &str)]) -> Value {
        let give_up = Instant::now() + LONG;
        loop {
            let log = self.log();
            let fits = |event: &&Value| wanted.iter().all(|(key, value)| event[*key] == *value);
            if let Some(event) = log["events"].as_array().expect("it is a list").iter().find(fits) {
                return event.clone();
            }
            assert!(Instant::now() < give_up, "{wanted:?} is not told: {log:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
