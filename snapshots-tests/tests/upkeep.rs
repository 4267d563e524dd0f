//! Checkpoints that nobody asked for.

use snapshots_tests::harness::Home;
use snapshots_tests::said::until;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Waits until the sprite sleeps.
fn asleep(home: &Home) {
    until(LONG, "sleep", || home.json(&["api", "/v1/sprites/box"])["status"] != "running");
}

/// Names of all checkpoints, but for the present state.
fn checkpoints(home: &Home) -> Vec<String> {
    let list = home.json(&["-s", "box", "checkpoint", "list", "--include-auto", "--json"]);
    let names = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    names.filter(|name| name != "Current").collect()
}

#[test]
fn a_sprite_that_falls_asleep_is_kept_once() {
    let home = Home::new();
    home.serve_with(&["--idle", "1", "--warm", "2"]);
    home.good(&["create", "box"]);
    home.good(&["exec", "-s", "box", "sh", "-c", "echo one > note"]);
    asleep(&home);
    let made = checkpoints(&home);
    assert!(made.len() == 1 && made[0].starts_with("auto-"), "{made:?}");
    // The next is too soon.
    home.good(&["exec", "-s", "box", "sh", "-c", "echo two > note"]);
    asleep(&home);
    assert_eq!(checkpoints(&home), made);
    // It can be gone back to, and the state before that is kept as ever.
    home.good(&["restore", "-s", "box", &made[0]]);
    assert_eq!(home.good(&["exec", "-s", "box", "cat", "note"]), "one\n");
    assert_eq!(checkpoints(&home).len(), 2);
}

#[test]
fn nothing_is_kept_unasked_where_that_is_not_wanted() {
    let home = Home::new();
    std::fs::write(home.paths().config_file(), "[server]\ncheckpoints = false\nidle = 1\nwarm_mb = 1\n")
        .unwrap();
    home.serve();
    home.good(&["create", "box"]);
    home.good(&["exec", "-s", "box", "sh", "-c", "echo one > note"]);
    asleep(&home);
    assert!(checkpoints(&home).is_empty());
    // Nor does it hold more memory than it may: on KVM its memory goes to disk, elsewhere it is stopped.
    until(LONG, "giving memory back", || {
        let reason = home.json(&["api", "/v1/sprites/box"])["reason"].to_string();
        reason.contains("sleeping sprites may hold 1 MiB of memory")
    });
}
