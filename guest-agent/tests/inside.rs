//! What the host is told of what goes on, in an answer of bounded size.

mod common;

use common::{Agent, sh, until};
use hyper::Method;
use serde_json::json;
use sprites_api::inside::{Interior, MAX_PORTS, MAX_TEXT};
use sprites_api::services::Status;
use sprites_guest_agent::Config;
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn services_ports_and_sessions_in_bounds() {
    let home = tempfile::tempdir().unwrap();
    let agent = Agent::with(Config { home: Some(home.path().to_owned()), ..Config::process() }).await;
    let look = async || -> Interior {
        serde_json::from_slice(&agent.get("/v1/agent/inside").await.body).expect("it is an interior")
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let words: Vec<String> = (0..1000).map(|number| format!("{number:040}")).collect();
    let args = [vec!["-c".to_owned(), "sleep 1000".to_owned()], words].concat();
    let body = json!({ "cmd": "sh", "args": args, "http_port": port });
    let made = agent.request(Method::PUT, "/v1/services/web?duration=100ms", body.to_string()).await;
    assert_eq!(made.status, 200);
    let mut client = agent.exec(&sh("echo ready; exec sleep 1000")).await;
    client.until("ready").await;

    let seen = look().await;
    let web = &seen.services[0];
    assert_eq!((web.name.as_str(), web.http_port, web.state.status), ("web", Some(port), Status::Running));
    assert!(web.command.starts_with("sh -c sleep 1000 000") && web.command.chars().count() == MAX_TEXT);
    assert_eq!(seen.sessions.len(), 1);
    let mine = seen.ports.iter().find(|one| one.port == port).expect("its own port");
    assert_eq!((mine.address.as_str(), mine.pid), ("127.0.0.1", std::process::id() as i32));
    assert!(!mine.program.is_empty());

    // More ports than anybody wants to read.
    let many: Vec<TcpListener> = (0..MAX_PORTS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let seen = look().await;
    assert!(seen.ports.len() == MAX_PORTS && seen.more_ports > 0, "{}", seen.more_ports);
    drop((many, listener));
    until("it is closed", async || look().await.ports.iter().all(|one| one.port != port)).await;
    agent.finish().await;
}
