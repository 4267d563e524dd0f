//! The host-only calls, and that they are host-only.

mod common;

use common::{Agent, cmd, request, sh, until};
use hyper::{Method, StatusCode};
use sprites_api::agent::{Counters, Health};

const CALLS: [(Method, &str); 6] = [
    (Method::GET, "/v1/agent/health"),
    (Method::GET, "/v1/agent/usage"),
    (Method::GET, "/v1/agent/inside"),
    (Method::POST, "/v1/agent/quiesce"),
    (Method::POST, "/v1/agent/wake"),
    (Method::POST, "/v1/agent/shutdown"),
];

#[tokio::test(flavor = "multi_thread")]
async fn not_on_the_inner_socket() {
    let agent = Agent::start().await;
    for (method, path) in CALLS {
        let answer = request(&agent.path("inner.sock"), method, path, "".into()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let answer = request(&agent.path("inner.sock"), Method::GET, "/v1/exec", "".into()).await;
    assert_eq!(answer.status, StatusCode::OK);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_usage() {
    let agent = Agent::start().await;
    let health: Health = serde_json::from_slice(&agent.get("/v1/agent/health").await.body).unwrap();
    assert!(!health.version.is_empty() && health.uptime_ms > 0);
    let read =
        async || -> Counters { serde_json::from_slice(&agent.get("/v1/agent/usage").await.body).unwrap() };
    let before = read().await;
    assert_eq!((before.attached_sessions, before.session_idle_ms), (0, None));
    let mut client = agent.exec(&sh("echo ready; while :; do :; done & sleep 600")).await;
    client.until("ready").await;
    until("two processes are counted", async || read().await.processes >= 2).await;
    until("their work is counted", async || read().await.cpu_usec > before.cpu_usec).await;
    let during = read().await;
    assert!(during.memory_bytes > 0 && during.attached_sessions == 1 && during.session_idle_ms.is_some());
    client.text(r#"{"type":"signal","signal":"KILL"}"#).await;
    client.rest().await;
    let after = read().await;
    assert_eq!((after.processes, after.session_idle_ms), (0, None));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_process_touches_nothing_of_the_machine() {
    let agent = Agent::start().await;
    let answer = agent.post("/v1/agent/quiesce", r#"{"word":"now"}"#).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (StatusCode::CONFLICT, Some("not_a_machine"))
    );
    for bad in ["{", r#"{"word":""}"#, r#"{"word":"longer than any name of a disk"}"#] {
        assert_eq!(agent.post("/v1/agent/quiesce", bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let wake = format!(r#"{{"now":"2026-03-14T21:31:57Z","seed":"{}"}}"#, "0".repeat(64));
    assert_eq!(agent.post("/v1/agent/wake", wake).await.status, StatusCode::FORBIDDEN);
    for bad in [r#"{"now":"noon","seed":"00"}"#, r#"{"now":"2026-03-14T21:31:57Z","seed":"00"}"#] {
        assert_eq!(agent.post("/v1/agent/wake", bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(agent.exec(&cmd(&["true"])).await.rest().await.code(), 0);
    agent.finish().await;
}
