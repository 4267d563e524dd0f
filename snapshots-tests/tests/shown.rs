//! Checkpoints as folders inside the sprite.

use snapshots_tests::harness::Home;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn inside(home: &Home, script: &str) -> String {
    home.good(&["-s", "box", "exec", "bash", "-c", script])
}

fn refused(home: &Home, script: &str) -> String {
    let (code, out, err) = home.run(&["-s", "box", "exec", "bash", "-c", script]);
    assert_ne!(code, 0, "{script}: {out}{err}");
    out + &err
}

/// Waits until the sprite shows these.
fn wait_for(home: &Home, names: &[&str]) {
    let give_up = Instant::now() + LONG;
    loop {
        let shown = inside(home, "ls /.sprite/checkpoints 2>/dev/null || true");
        if shown.split_whitespace().eq(names.iter().copied()) {
            return;
        }
        assert!(Instant::now() < give_up, "{names:?} are not shown, but {shown:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_last_five_can_be_looked_into() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints"]);
    home.good(&["create", "box"]);
    let checkpoint = || home.good(&["-s", "box", "checkpoint", "create"]);
    inside(&home, "echo one > note");
    checkpoint();
    inside(&home, "echo two > note");
    checkpoint();
    wait_for(&home, &["v0", "v1"]);
    let note = |id: &str| inside(&home, &format!("cat /.sprite/checkpoints/{id}/home/sprite/note"));
    assert_eq!((note("v0").as_str(), note("v1").as_str()), ("one\n", "two\n"));
    // All of it is there, and none of it can be changed.
    inside(&home, "cmp /usr/bin/python3 /.sprite/checkpoints/v0/usr/bin/python3");
    let said = refused(&home, "sudo sh -c 'echo x > /.sprite/checkpoints/v0/home/sprite/note'");
    assert!(said.contains("Read-only"), "{said}");
    refused(&home, "sudo mount -o remount,rw /.sprite/checkpoints/v0");
    refused(&home, "ls /.sprite/checkpoints/v9");
    refused(&home, "cat /.sprite/checkpoints/../checkpoints/none/x");

    // Those that are being looked at are in nobody's way.
    inside(&home, "cd /.sprite/checkpoints/v0/usr && (setsid sleep 1000 >/dev/null 2>&1 </dev/null &)");
    for number in 2..7 {
        inside(&home, &format!("echo {number} > note"));
        checkpoint();
    }
    wait_for(&home, &["v2", "v3", "v4", "v5", "v6"]);
    assert_eq!(note("v4"), "4\n");
    home.good(&["-s", "box", "checkpoint", "delete", "v4"]);
    wait_for(&home, &["v1", "v2", "v3", "v5", "v6"]);

    // A machine that starts anew, and one that goes back, show the same.
    home.good(&["api", "/v1/local/sprites/box/stop", "--", "-X", "POST"]);
    wait_for(&home, &["v1", "v2", "v3", "v5", "v6"]);
    assert_eq!(note("v5"), "5\n");
    home.good(&["restore", "-s", "box", "v2"]);
    let give_up = Instant::now() + LONG;
    while !inside(&home, "ls /.sprite/checkpoints || true").contains("pre-restore") {
        assert!(Instant::now() < give_up, "the state before the restore is not shown");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((note("v6").as_str(), inside(&home, "cat note").as_str()), ("6\n", "2\n"));
}
