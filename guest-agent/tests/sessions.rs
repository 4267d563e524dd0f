//! Life of sessions: list, attach, kill, disconnect, limits, shutdown.

mod common;

use common::{Agent, alive, cmd, sh, until};
use hyper::StatusCode;
use sprites_guest_agent::Config;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_list() {
    let agent = Agent::start().await;
    let empty = agent.get("/v1/exec").await.json();
    assert_eq!(empty["count"], 0);
    assert!(empty["sessions"].as_array().unwrap().is_empty());

    let mut first = agent.exec(&format!("{}&dir=/tmp", sh("echo ready; sleep 600"))).await;
    first.until("ready").await;
    let second = agent.exec(&format!("{}&tty=true", cmd(&["sleep", "601"]))).await;
    let list = agent.get("/v1/exec").await.json();
    assert_eq!(list["count"], 2);
    let one = &list["sessions"][0];
    assert_eq!(one["id"], first.id());
    assert_eq!(one["command"], "sh -c echo ready; sleep 600");
    assert_eq!(one["workdir"], "/tmp");
    assert_eq!((&one["tty"], &one["is_active"], &one["attached"]), (&false.into(), &true.into(), &1.into()));
    assert!(one["bytes_per_second"].as_f64().unwrap() > 0.0);
    assert!(one["created"].as_str().unwrap().ends_with('Z') && one["last_activity"].is_string());
    assert_eq!(list["sessions"][1]["id"], second.id());
    assert_eq!(agent.get(&format!("/v1/exec/{}", second.id())).await.json()["tty"], true);

    let ids = [first.id(), second.id()];
    for id in &ids {
        assert_eq!(agent.post(&format!("/v1/exec/{id}/kill?signal=KILL"), "").await.status, StatusCode::OK);
    }
    agent.until_list("all have ended", <[_]>::is_empty).await;
    let (status, _) = agent.refused(&format!("/{}", ids[0])).await;
    assert_eq!(status, 404);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_tells_what_happens() {
    let agent = Agent::start().await;
    let client = agent.exec(&cmd(&["sleep", "600"])).await;
    let (id, pid) = (client.id(), client.id().parse::<i64>().unwrap());
    let answer = agent.post(&format!("/v1/exec/{id}/kill"), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines = answer.lines();
    assert_eq!(lines[0]["type"], "signal");
    assert_eq!(lines[0]["message"], format!("Signaling SIGTERM to process group {id}"));
    assert_eq!((&lines[0]["signal"], &lines[0]["pid"]), (&"SIGTERM".into(), &pid.into()));
    assert_eq!(lines[1]["type"], "exited");
    assert_eq!((&lines[2]["type"], &lines[2]["exit_code"]), (&"complete".into(), &143.into()));
    assert_eq!(client.rest().await.code(), 143);

    assert_eq!(agent.post(&format!("/v1/exec/{id}/kill"), "").await.status, StatusCode::GONE);
    assert_eq!(agent.post("/v1/exec/999999/kill", "").await.status, StatusCode::NOT_FOUND);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_listen_is_killed_with_all_its_children() {
    let agent = Agent::start().await;
    let script = "trap '' TERM; setsid sleep 600 & echo $!; while :; do sleep 0.01; done";
    let mut client = agent.exec(&sh(script)).await;
    client.until("\n").await;
    let child: i64 = client.said.out().trim().parse().unwrap();
    let path = format!("/v1/exec/{}/kill", client.id());
    let answer = agent.post(&path, r#"{"signal":"SIGTERM","timeout":1}"#).await;
    let kinds: Vec<_> = answer.lines().iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["signal", "timeout", "killed", "complete"]);
    assert_eq!(client.rest().await.code(), 137);
    until("its child is gone", async || !alive(child)).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_with_timeout_zero_only_signals() {
    let agent = Agent::start().await;
    let mut client =
        agent.exec(&sh("trap 'echo caught' USR1; echo ready; while :; do sleep 0.01; done")).await;
    client.until("ready").await;
    let answer = agent.post(&format!("/v1/exec/{}/kill?signal=USR1&timeout=0s", client.id()), "").await;
    let kinds: Vec<_> = answer.lines().iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["signal", "complete"]);
    client.until("caught").await;
    for bad in ["signal=NOPE", "timeout=soon"] {
        let path = format!("/v1/exec/{}/kill?{bad}", client.id());
        assert_eq!(agent.post(&path, "").await.status, StatusCode::BAD_REQUEST);
    }
    let path = format!("/v1/exec/{}/kill", client.id());
    assert_eq!(agent.post(&path, "not json").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(agent.post(&path, vec![b' '; 80 << 10]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    client.text(r#"{"type":"signal","signal":"KILL"}"#).await;
    client.rest().await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn life_after_the_client() {
    let agent = Agent::start().await;
    // Killed soon after its client has gone.
    let mortal = agent.exec(&format!("{}&max_run_after_disconnect=50ms", cmd(&["sleep", "600"]))).await;
    // A terminal, and a detachable command: for ever.
    let terminal = agent.exec(&format!("{}&tty=true", cmd(&["sleep", "600"]))).await;
    let detachable = agent.exec(&format!("{}&detachable=true", cmd(&["sleep", "600"]))).await;
    let ids = [terminal.id(), detachable.id()];
    drop((mortal, terminal, detachable));
    agent.until_list("the mortal one has ended", |list| list.len() == 2).await;
    agent.until_list("nobody is attached", |list| list.iter().all(|one| one["attached"] == 0)).await;
    for id in ids {
        let mut again = agent.exec(&format!("/{id}")).await;
        again.text(r#"{"type":"signal","signal":"KILL"}"#).await;
        assert_eq!(again.rest().await.code(), 137);
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_returns_in_time_saves_its_session() {
    let agent = Agent::start().await;
    let script = "echo one; echo two >&2; read x; echo got $x";
    let mut first = agent.exec(&format!("{}&stdin=true&max_run_after_disconnect=5s", sh(script))).await;
    first.until("one").await;
    let id = first.id();
    drop(first);
    agent.until_list("nobody is attached", |list| list[0]["attached"] == 0).await;
    let mut second = agent.exec(&format!("/{id}?stdin=true")).await;
    second.stdin(b"input\n").await;
    let said = second.rest().await;
    // Without a terminal the output is told again, each stream under its id.
    assert_eq!((said.out().as_str(), said.err().as_str()), ("one\ngot input\n", "two\n"));
    assert_eq!(said.exit_frame, Some(0));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many() {
    let mut config = Config::process();
    config.limits.sessions = 2;
    config.limits.clients = 2;
    let agent = Agent::with(config).await;
    let first = agent.exec(&cmd(&["sleep", "600"])).await;
    let second = agent.exec(&format!("/{}", first.id())).await;
    let (status, body) = agent.refused(&format!("/{}", first.id())).await;
    assert_eq!((status, &body["limit"]), (429, &2.into()));
    let third = agent.exec(&cmd(&["sleep", "600"])).await;
    let (status, body) = agent.refused(&cmd(&["true"])).await;
    assert_eq!((status, &body["error"]), (429, &"session_limit_exceeded".into()));
    let mut third = third;
    third.text(r#"{"type":"signal","signal":"KILL"}"#).await;
    third.rest().await;
    until("there is room again", async || {
        agent.post(&format!("/v1/exec{}", cmd(&["true"])), "").await.status == StatusCode::OK
    })
    .await;
    drop((first, second));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_everything() {
    let mut config = Config::process();
    config.limits.shutdown_grace = Duration::from_millis(100);
    let agent = Agent::with(config).await;
    let polite = agent.exec(&cmd(&["sleep", "600"])).await;
    let mut stubborn = agent.exec(&sh("trap '' TERM HUP; echo ready; while :; do sleep 0.01; done")).await;
    stubborn.until("ready").await;
    let pids = [&polite, &stubborn].map(|client| client.id().parse::<i64>().unwrap());
    assert_eq!(agent.post("/v1/agent/shutdown", "").await.status, StatusCode::ACCEPTED);
    agent.ended().await;
    for pid in pids {
        until("the session is gone", async || !alive(pid)).await;
    }
}
