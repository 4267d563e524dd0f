//! Checkpoints that nobody asked for.

use snapshots_tests::harness::Home;
use sprites_api::sprite::Status;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn good(home: &Home, arguments: &[&str]) -> String {
    let output = home.sprite(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the sprite sleeps.
fn asleep(home: &Home) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = home.client();
    let give_up = Instant::now() + LONG;
    while runtime.block_on(client.get("box")).unwrap().status == Status::Running {
        assert!(Instant::now() < give_up, "it never sleeps");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of all checkpoints, but for the present state.
fn checkpoints(home: &Home) -> Vec<String> {
    let list = good(home, &["-s", "box", "checkpoint", "list", "--include-auto", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let names = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    names.filter(|name| name != "Current").collect()
}

#[test]
fn a_sprite_that_falls_asleep_is_kept_once() {
    let home = Home::new();
    home.serve_with(&["--idle", "1", "--warm", "2"]);
    good(&home, &["create", "box"]);
    good(&home, &["exec", "-s", "box", "sh", "-c", "echo one > note"]);
    asleep(&home);
    let made = checkpoints(&home);
    assert!(made.len() == 1 && made[0].starts_with("auto-"), "{made:?}");
    // The next is too soon.
    good(&home, &["exec", "-s", "box", "sh", "-c", "echo two > note"]);
    asleep(&home);
    assert_eq!(checkpoints(&home), made);
    // It can be gone back to, and the state before that is kept as ever.
    good(&home, &["restore", "-s", "box", &made[0]]);
    assert_eq!(good(&home, &["exec", "-s", "box", "cat", "note"]), "one\n");
    assert_eq!(checkpoints(&home).len(), 2);
}

#[test]
fn nothing_is_kept_unasked_where_that_is_not_wanted() {
    let home = Home::new();
    std::fs::write(home.paths().config_file(), "[server]\ncheckpoints = false\nidle = 1\n").unwrap();
    home.serve();
    good(&home, &["create", "box"]);
    good(&home, &["exec", "-s", "box", "sh", "-c", "echo one > note"]);
    asleep(&home);
    assert!(checkpoints(&home).is_empty());
}
