//! What policies on privileges and resources change inside.

use snapshots_tests::harness::Home;

struct Sprite {
    home: Home,
}

impl Sprite {
    fn new() -> Self {
        let home = Home::new();
        home.serve_with(&["--no-checkpoints"]);
        let made = Self { home };
        made.home.good(&["create", "box"]);
        made
    }

    fn set(&self, policy: &str, body: &str) {
        let path = format!("/v1/sprites/box/policy/{policy}");
        self.home.good(&["api", &path, "--", "-X", "POST", "-d", body]);
    }

    fn unset(&self, policy: &str) {
        self.home.good(&["api", &format!("/v1/sprites/box/policy/{policy}"), "--", "-X", "DELETE"]);
    }

    fn inside(&self, script: &str) -> (bool, String) {
        let (code, out, err) = self.home.run(&["-s", "box", "exec", "bash", "-c", script]);
        (code == 0, out + &err)
    }

    /// The last line of what it says, which must succeed.
    fn says(&self, script: &str) -> String {
        let (success, said) = self.inside(script);
        assert!(success, "{script}: {said}");
        said.trim().to_owned()
    }

    fn stop(&self) {
        self.home.good(&["api", "/v1/local/sprites/box/stop", "--", "-X", "POST"]);
    }
}

const EFFECTIVE: &str = "awk '/^CapEff/ {print $2}' /proc/self/status";
const BOUND: &str = "awk '/^CapBnd/ {print $2}' /proc/self/status";
const NONE: &str = "0000000000000000";

#[test]
fn privileges_of_what_is_started() {
    let made = Sprite::new();
    let usual = made.says(BOUND);
    assert_eq!(made.says("id -un; sudo id -un"), "sprite\nroot");
    assert_eq!(made.says(EFFECTIVE), NONE);

    made.set("privileges", r#"{"noNewPrivileges":true}"#);
    assert!(!made.inside("sudo true").0);
    assert_eq!(made.says(BOUND), usual);
    made.set("privileges", r#"{"profile":"minimal"}"#);
    assert!(!made.inside("sudo true").0);
    assert_eq!(made.says(BOUND), NONE);
    made.set("privileges", r#"{"profile":"privileged"}"#);
    assert_eq!(made.says(&format!("id -un; {EFFECTIVE}")), format!("sprite\n{usual}"));
    assert_eq!(made.says("cat /etc/shadow >/dev/null && echo read"), "read");

    // It holds for services too, from their first moment, and for a machine that starts anew.
    made.set("privileges", r#"{"profile":"minimal"}"#);
    let service = r#"{"cmd":"bash","args":["-c","awk '/^CapBnd/ {print $2}' /proc/self/status > ~/bound; sleep 1000"]}"#;
    made.home.good(&["api", "/v1/sprites/box/services/looks", "--", "-X", "PUT", "-d", service]);
    let look = "for _ in {1..300}; do test -s ~/bound && break; sleep 0.1; done; cat ~/bound";
    assert_eq!(made.says(look), NONE);
    made.says("rm ~/bound");
    made.stop();
    assert_eq!(made.says(look), NONE);
    assert!(!made.inside("sudo true").0);
    made.unset("privileges");
    assert_eq!(made.says("sudo id -un"), "root");

    // A device, which somebody without rights may use only while the policy says so.
    let open = "python3 -c 'import os; os.open(\"/dev/fuse\", os.O_RDWR)' && echo opened";
    made.set("privileges", r#"{"devices":["/dev/fuse","/dev/none","/dev/shm"]}"#);
    assert_eq!(made.says(open), "opened");
    made.unset("privileges");
    assert!(!made.inside(open).0);
}

#[test]
fn memory_has_a_limit() {
    let made = Sprite::new();
    let take = "python3 -c 'print(len(bytearray(300 << 20)))'";
    assert_eq!(made.says(take), "314572800");
    made.set("resources", r#"{"memory":{"limit_mb":128}}"#);
    assert!(!made.inside(take).0);
    assert_eq!(made.says("echo still here"), "still here");
    // A machine that starts anew keeps it.
    made.stop();
    assert!(!made.inside(take).0);
    made.unset("resources");
    assert_eq!(made.says(take), "314572800");
}

#[test]
fn as_many_rules_as_there_may_be() {
    let made = Sprite::new();
    let rules: Vec<String> = (0..10_000)
        .map(|number| format!(r#"{{"domain":"{number}.{}.example.com","action":"allow"}}"#, "a".repeat(60)))
        .collect();
    let file = made.home.paths().token().with_file_name("rules.json");
    std::fs::write(&file, format!(r#"{{"rules":[{}]}}"#, rules.join(","))).unwrap();
    assert_eq!(made.says("echo before"), "before");
    made.set("network", &format!("@{}", file.display()));
    assert_eq!(made.says("echo meanwhile"), "meanwhile");
    // It is told them again when it starts.
    made.stop();
    assert_eq!(made.says("echo afterwards"), "afterwards");
}
