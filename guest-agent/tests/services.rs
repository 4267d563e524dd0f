//! Services: definitions, their life, what is told of it.

mod common;

use common::{Agent, Answer, alive, until};
use hyper::Method;
use serde_json::{Value, json};
use sprites_guest_agent::Config;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

struct House {
    agent: Agent,
    home: TempDir,
}

fn config(home: &Path) -> Config {
    Config { home: Some(home.to_owned()), ..Config::process() }
}

impl House {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { agent: Agent::with(config(home.path())).await, home }
    }

    async fn put(&self, name: &str, body: Value, duration: &str) -> Answer {
        let path = format!("/v1/services/{name}?duration={duration}");
        self.agent.request(Method::PUT, &path, body.to_string()).await
    }

    async fn get(&self, name: &str) -> Value {
        self.agent.get(&format!("/v1/services/{name}")).await.json()
    }

    async fn pid(&self, name: &str) -> i64 {
        self.get(name).await["state"]["pid"].as_i64().unwrap_or(0)
    }

    async fn until_status(&self, name: &str, status: &str) {
        let what = format!("{name} is {status}");
        until(&what, async || self.get(name).await["state"]["status"] == status).await;
    }
}

fn kinds(answer: &Answer) -> Vec<String> {
    answer.lines().iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect()
}

fn sh(script: &str) -> Value {
    json!({ "cmd": "sh", "args": ["-c", script] })
}

#[tokio::test]
async fn a_life() {
    let house = House::new().await;
    assert_eq!(house.agent.get("/v1/services").await.json(), json!([]));
    let made = house.put("web", sh("echo out; echo err >&2; exec sleep 1000"), "300ms").await;
    assert_eq!(made.status, 200);
    let said = kinds(&made);
    assert_eq!((said[0].as_str(), said.last().unwrap().as_str()), ("started", "complete"), "{said:?}");
    let lines = made.lines();
    let line = |kind: &str| lines.iter().find(|line| line["type"] == kind).unwrap().clone();
    assert_eq!(
        (line("stdout")["data"].as_str(), line("stderr")["data"].as_str()),
        (Some("out"), Some("err"))
    );
    assert!(line("started")["timestamp"].is_i64());
    assert_eq!(line("complete")["log_files"]["combined"], "/.sprite/logs/services/web.log");

    let web = house.get("web").await;
    assert_eq!(
        (web["state"]["status"].as_str(), web["state"]["restart_count"].as_u64()),
        (Some("running"), Some(0))
    );
    let pid = house.pid("web").await;
    assert!(alive(pid));
    assert_eq!(house.agent.get("/v1/services").await.json().as_array().unwrap().len(), 1);
    let log = fs::read_to_string(house.home.path().join("logs/services/web.log")).unwrap();
    assert!(log.contains("Z [stdout] out\n") && log.contains("Z [stderr] err\n"), "{log}");
    let told = house.agent.get("/v1/services/web/logs?lines=1").await;
    assert_eq!(kinds(&told).len(), 2);

    // The same again changes nothing.
    let again = house.put("web", sh("echo out; echo err >&2; exec sleep 1000"), "5s").await;
    assert!(again.lines()[0]["data"].as_str().unwrap().contains("already runs"));
    assert_eq!(house.pid("web").await, pid);

    let restarted = house.agent.post("/v1/services/web/restart?duration=300ms", "").await;
    let said = kinds(&restarted);
    assert!(
        said.starts_with(&["stopping".into(), "exit".into(), "stopped".into(), "started".into()]),
        "{said:?}"
    );
    assert!(!alive(pid) && house.pid("web").await != pid);

    let stopped = house.agent.post("/v1/services/web/stop?timeout=5.0s", "").await;
    assert_eq!(kinds(&stopped), ["stopping", "exit", "stopped", "complete"]);
    assert_eq!(house.get("web").await["state"]["status"], "stopped");
    assert_eq!(house.agent.post("/v1/services/web/stop", "").await.status.as_u16(), 409);
    let signal = json!({ "name": "web", "signal": "HUP" }).to_string();
    assert_eq!(house.agent.post("/v1/services/signal", signal.clone()).await.status.as_u16(), 409);
    assert_eq!(kinds(&house.agent.post("/v1/services/web/start?duration=100ms", "").await)[0], "started");
    assert_eq!(house.agent.post("/v1/services/signal", signal).await.status.as_u16(), 204);
    assert_eq!(house.agent.request(Method::DELETE, "/v1/services/web", "").await.status.as_u16(), 204);
    assert_eq!(house.agent.get("/v1/services/web").await.status.as_u16(), 404);
    assert!(house.home.path().join("logs/services/web.log").exists());
    house.agent.finish().await;
}

#[tokio::test]
async fn one_that_crashes_is_started_again_and_says_why() {
    let house = House::new().await;
    let flag = house.home.path().join("flag");
    let script = format!("test -e {} && exec sleep 1000; echo broken >&2; exit 7", flag.display());
    let made = house.put("web", sh(&script), "10s").await;
    assert_eq!(
        kinds(&made),
        ["started", "stderr", "exit", "complete"],
        "the end of the process ends the answer"
    );
    let state = house.get("web").await["state"].clone();
    assert_eq!(state["status"], "starting");
    assert!(state["error"].as_str().unwrap().contains("exit code 7"));
    assert!(state["next_restart_at"].is_string());
    fs::write(&flag, "").unwrap();
    house.until_status("web", "running").await;
    assert_eq!(house.get("web").await["state"]["restart_count"], 1);
    // A signal that ends it counts as a crash.
    let signal = json!({ "name": "web", "signal": "SIGKILL" }).to_string();
    assert_eq!(house.agent.post("/v1/services/signal", signal).await.status.as_u16(), 204);
    until("it was started again", async || house.get("web").await["state"]["restart_count"] == 2).await;
    house.agent.finish().await;
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let house = House::new().await;
    let made = house.put("ghost", json!({ "cmd": "no-such-program" }), "10s").await;
    let lines = made.lines();
    assert_eq!(kinds(&made), ["stderr", "exit", "complete"]);
    assert!(lines[0]["data"].as_str().unwrap().contains("not found"));
    assert_eq!(lines[1]["exit_code"], 127);
    house.until_status("ghost", "failed").await;
    // It can be stopped while it waits for its next try.
    assert_eq!(house.agent.post("/v1/services/ghost/stop", "").await.status, 200);
    house.until_status("ghost", "stopped").await;
    house.agent.finish().await;
}

#[tokio::test]
async fn refused_definitions() {
    let house = House::new().await;
    let port = |port: u16| json!({ "cmd": "sleep", "args": ["1000"], "http_port": port });
    assert_eq!(house.put("one", port(8000), "0s").await.status, 200);
    let second = house.put("two", port(8001), "0s").await;
    assert_eq!(second.status.as_u16(), 409);
    assert_eq!(second.json()["message"], "another service already has an HTTP port configured");
    for (name, body) in [
        ("signal", json!({ "cmd": "x" })),
        ("a%2Fb", json!({ "cmd": "x" })),
        ("x", json!({ "cmd": "" })),
        ("x", json!({ "args": [] })),
        ("x", json!({ "cmd": "x", "env": { "A=B": "c" } })),
        ("x", json!({ "cmd": "x", "http_port": 0 })),
        ("x", json!({ "cmd": "x", "needs": ["x"] })),
        ("x", json!({ "cmd": "a\u{0}b" })),
    ] {
        let answer = house.put(name, body.clone(), "0s").await;
        // The path `signal` has another meaning, so another method is what is missed there.
        assert!(matches!(answer.status.as_u16(), 400 | 405), "{name} {body}: {}", answer.status);
    }
    for path in ["none/start", "none/stop", "none/restart"] {
        assert_eq!(
            house.agent.post(&format!("/v1/services/{path}"), "").await.status.as_u16(),
            404,
            "{path}"
        );
    }
    assert_eq!(house.agent.post("/v1/services/one/start?duration=soon", "").await.status.as_u16(), 400);
    let bad = json!({ "name": "one", "signal": "LOUD" }).to_string();
    assert_eq!(house.agent.post("/v1/services/signal", bad).await.status.as_u16(), 400);
    house.agent.finish().await;
}

#[tokio::test]
async fn definitions_outlive_the_agent_and_start_in_order() {
    let home = tempfile::tempdir().unwrap();
    let order = home.path().join("order");
    let note = |name: &str| sh(&format!("echo {name} >> {}; exec sleep 1000", order.display()));
    let house = House { agent: Agent::with(config(home.path())).await, home };
    let mut front = note("front");
    front["needs"] = json!(["back"]);
    assert_eq!(house.put("front", front, "0s").await.status, 200);
    assert_eq!(house.put("back", note("back"), "0s").await.status, 200);
    assert_eq!(house.put("off", note("off"), "0s").await.status, 200);
    assert_eq!(house.agent.post("/v1/services/off/stop", "").await.status, 200);
    // What needs itself by way of another is refused.
    let mut circle = note("back");
    circle["needs"] = json!(["front"]);
    assert_eq!(house.put("back", circle, "0s").await.status.as_u16(), 400);
    let pids = [house.pid("front").await, house.pid("back").await];
    house.agent.finish().await;
    assert!(pids.iter().all(|pid| !alive(*pid)), "services outlive their agent");

    fs::remove_file(&order).unwrap();
    let house = House { agent: Agent::with(config(house.home.path())).await, home: house.home };
    house.until_status("front", "running").await;
    // Two programs that were started one after the other may write in any order.
    until("both have begun", async || {
        fs::read_to_string(&order).is_ok_and(|text| text.contains("back\n") && text.contains("front\n"))
    })
    .await;
    let started =
        async |name: &str| house.get(name).await["state"]["started_at"].as_str().unwrap().to_owned();
    assert!(started("back").await < started("front").await);
    assert_eq!(house.get("off").await["state"]["status"], "stopped");
    house.agent.finish().await;
}

#[tokio::test]
async fn a_definition_that_changes_replaces_the_process_and_its_children() {
    let house = House::new().await;
    let pids = house.home.path().join("pids");
    let script = format!("sleep 1001 & echo $! > {}; exec sleep 1000", pids.display());
    assert_eq!(house.put("web", sh(&script), "200ms").await.status, 200);
    until("it has a child", async || fs::read_to_string(&pids).is_ok_and(|text| !text.trim().is_empty()))
        .await;
    let child: i64 = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
    let old = house.pid("web").await;
    let changed = house.put("web", sh("echo new; exec sleep 1000"), "200ms").await;
    assert!(changed.lines().iter().any(|line| line["data"] == "new"));
    assert!(!alive(old));
    until("its child is gone", async || !alive(child)).await;
    house.agent.finish().await;
}

#[tokio::test]
async fn a_flood_and_long_lines() {
    let house = House::new().await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; head -c 100000 /dev/zero | tr '\\0' x; echo; exec sleep 1000";
    let made = house.put("loud", sh(script), "2s").await;
    for line in String::from_utf8_lossy(&made.body).lines() {
        assert!(line.len() < 64 << 10);
    }
    until("all is kept", async || {
        let log = fs::read_to_string(house.home.path().join("logs/services/loud.log")).unwrap();
        log.contains("line 19999\n") && log.matches('x').count() == 100_000
    })
    .await;
    let last = house.agent.get("/v1/services/loud/logs?lines=20").await;
    assert_eq!(last.lines().len(), 21);
    house.agent.finish().await;
}
