//! What sprites cost, how much they may, and why they are as they are: by the command lines, with a real sprite.

use serde_json::Value;
use snapshots_tests::harness::Home;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn output(mut command: std::process::Command) -> (bool, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn good(home: &Home, arguments: &[&str]) -> String {
    let (success, said, wrong) = output(home.sprite(arguments));
    assert!(success, "{arguments:?}: {said}{wrong}");
    said
}

fn json(home: &Home, path: &str) -> Value {
    serde_json::from_str(&good(home, &["api", path])).unwrap()
}

fn tui(home: &Home, arguments: &[&str]) -> String {
    let (success, said, wrong) = output(home.command(arguments));
    assert!(success, "{arguments:?}: {said}{wrong}");
    said
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < give_up, "{what} never came");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn bills_budgets_and_reasons() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints", "--idle", "2"]);
    good(&home, &["create", "box", "--label", "ci"]);
    good(&home, &["create", "gone"]);
    let run = |name: &str| good(&home, &["-s", name, "exec", "sleep", "2.5"]);
    run("box");
    run("gone");
    let cost = |by: &str| json(&home, &format!("/v1/local/costs?by={by}"));
    let row = |bill: &Value, name: &str| -> f64 {
        let rows = bill["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map_or(0.0, |row| row["used"]["cost_usd"].as_f64().unwrap())
    };
    wait("the bill", || row(&cost("sprite"), "gone") > 0.0 && row(&cost("sprite"), "box") > 0.0);
    // It does not forget what is gone.
    let before = cost("sprite")["total"]["cost_usd"].as_f64().unwrap();
    good(&home, &["destroy", "--force", "gone"]);
    let bill = cost("sprite");
    assert!(bill["total"]["cost_usd"].as_f64().unwrap() >= before, "{bill}");
    assert!(
        bill["rows"].as_array().unwrap().iter().any(|row| row["name"] == "gone" && row["gone"] == true),
        "{bill}"
    );
    assert!(row(&cost("label"), "ci") > 0.0 && cost("day")["rows"].as_array().unwrap().len() == 1);
    let shown = tui(&home, &["costs"]);
    assert!(
        shown.contains("gone") && shown.contains("(destroyed)") && shown.contains("no budget"),
        "{shown}"
    );

    // Why it is as it is.
    wait("sleep", || json(&home, "/v1/sprites/box")["status"] == "warm");
    let reason = json(&home, "/v1/sprites/box")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("unused for"), "{reason}");
    let events = json(&home, "/v1/local/sprites/box/events");
    let told: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|event| event["reason"].as_str()).collect();
    assert!(
        told[0].starts_with("unused for") && told.contains(&"started by the command sleep 2.5"),
        "{told:?}"
    );

    // A budget that is used up puts all to sleep, and none wakes before it is raised.
    good(&home, &["-s", "box", "exec", "true"]);
    tui(&home, &["budget", "0", "--sleep"]);
    wait("sleep", || json(&home, "/v1/sprites/box")["status"] == "warm");
    let (success, _, wrong) = output(home.sprite(&["-s", "box", "exec", "true"]));
    assert!(
        !success && wrong.contains("budget is used up") && wrong.contains("sprites-tui budget"),
        "{wrong}"
    );
    assert_eq!(json(&home, "/v1/sprites/box")["reason"], "this month's budget is used up");
    let shown = tui(&home, &["budget", "20"]);
    assert!(shown.contains("$20"), "{shown}");
    good(&home, &["-s", "box", "exec", "true"]);
    let (success, _, wrong) = output(home.command(&["budget", "much"]));
    assert!(!success && wrong.contains("no amount"), "{wrong}");
}
