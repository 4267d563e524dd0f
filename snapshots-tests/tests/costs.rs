//! What sprites cost, how much they may, and why they are as they are: by the command lines, with a real sprite.

use serde_json::Value;
use snapshots_tests::harness::Home;
use snapshots_tests::said::{fed, until};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn tui(home: &Home, arguments: &[&str]) -> String {
    let (code, said, wrong) = fed(home.command(arguments), "");
    assert_eq!(code, 0, "{arguments:?}: {said}{wrong}");
    said
}

#[test]
fn bills_budgets_and_reasons() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints", "--idle", "2"]);
    home.good(&["create", "box", "--label", "ci"]);
    home.good(&["create", "gone"]);
    let run = |name: &str| home.good(&["-s", name, "exec", "sleep", "2.5"]);
    run("box");
    run("gone");
    let cost = |by: &str| home.json(&["api", &format!("/v1/local/costs?by={by}")]);
    let row = |bill: &Value, name: &str| -> f64 {
        let rows = bill["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map_or(0.0, |row| row["used"]["cost_usd"].as_f64().unwrap())
    };
    until(LONG, "the bill", || row(&cost("sprite"), "gone") > 0.0 && row(&cost("sprite"), "box") > 0.0);
    // It does not forget what is gone.
    let before = cost("sprite")["total"]["cost_usd"].as_f64().unwrap();
    home.good(&["destroy", "--force", "gone"]);
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
    until(LONG, "sleep", || home.json(&["api", "/v1/sprites/box"])["status"] == "warm");
    let reason = home.json(&["api", "/v1/sprites/box"])["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("unused for"), "{reason}");
    let events = home.json(&["api", "/v1/local/sprites/box/events"]);
    let told: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|event| event["reason"].as_str()).collect();
    assert!(
        told[0].starts_with("unused for") && told.contains(&"started by the command sleep 2.5"),
        "{told:?}"
    );

    // A budget that is used up puts all to sleep, and none wakes before it is raised.
    home.good(&["-s", "box", "exec", "true"]);
    let long = home.sprite(&["-s", "box", "exec", "sleep", "1000"]);
    let long = std::thread::spawn(move || fed(long, ""));
    until(LONG, "the use", || {
        home.json(&["api", "/v1/sprites/box"])["in_use_by"].as_array().is_some_and(|uses| !uses.is_empty())
    });
    tui(&home, &["budget", "0", "--sleep"]);
    until(LONG, "sleep", || home.json(&["api", "/v1/sprites/box"])["status"] == "warm");
    let (code, _, wrong) = home.run(&["-s", "box", "exec", "true"]);
    assert!(
        code != 0 && wrong.contains("budget is used up") && wrong.contains("sprites-tui budget"),
        "{wrong}"
    );
    // Whoever uses it then hears of it.
    let (code, _, wrong) = long.join().unwrap();
    assert!(code != 0 && wrong.contains("box is warm: this month's budget was used up"), "{code} {wrong}");
    assert_eq!(home.json(&["api", "/v1/sprites/box"])["reason"], "this month's budget was used up");
    let shown = tui(&home, &["budget", "20"]);
    assert!(shown.contains("$20"), "{shown}");
    home.good(&["-s", "box", "exec", "true"]);
    let (code, _, wrong) = fed(home.command(&["budget", "much"]), "");
    assert!(code != 0 && wrong.contains("no amount"), "{wrong}");
}
