//! Ports: who listens, connections through the agent, and what only the host may do.

mod common;

use common::{Agent, DEADLINE, frame, sh, until};
use futures::{SinkExt, StreamExt};
use hyper::Method;
use serde_json::{Value, json};
use sprites_guest_agent::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn ports_that_open_and_close_are_told() {
    let agent = Agent::start().await;
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut socket = agent.socket("/v1/ports/watch").await;
    let list = frame(&mut socket).await;
    assert_eq!(list["type"], "port_list");
    let mine = list["ports"].as_array().unwrap().iter().find(|one| one["port"] == port).unwrap().clone();
    let wanted =
        json!({ "type": "port_opened", "port": port, "address": "127.0.0.1", "pid": std::process::id() });
    assert_eq!(mine, wanted);
    drop(first);
    let mut expect = async |kind: &str, port: u16| {
        loop {
            let told = frame(&mut socket).await;
            if told["port"] == port && told["type"] == kind {
                return;
            }
        }
    };
    expect("port_closed", port).await;
    let second = TcpListener::bind("[::1]:0").await.unwrap();
    expect("port_opened", second.local_addr().unwrap().port()).await;
    agent.finish().await;
}

#[tokio::test]
async fn a_session_is_told_of_ports() {
    let agent = Agent::start().await;
    let mut client = agent.exec(&sh("echo ready; exec sleep 1000")).await;
    client.until("ready").await;
    // The session listens to ports a moment after its start; a port that opens before is none that opens.
    tokio::time::timeout(DEADLINE, async {
        // Other ports of this process may close meanwhile.
        while !client.said.ports.iter().any(|told| told["type"] == "port_opened") {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), client.step()).await;
            drop(socket);
        }
    })
    .await
    .unwrap();
    agent.finish().await;
}

#[tokio::test]
async fn a_connection_through_a_socket() {
    let agent = Agent::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let mut socket = agent.socket("/v1/proxy").await;
    socket
        .send(Message::Text(json!({ "host": "localhost", "port": port }).to_string().into()))
        .await
        .unwrap();
    let answer = frame(&mut socket).await;
    assert_eq!(answer, json!({ "status": "connected", "target": format!("localhost:{port}") }));
    let data: Vec<u8> = (0..1_000_000u32).map(|index| (index % 251) as u8).collect();
    for piece in data.chunks(100_000) {
        socket.send(Message::Binary(piece.to_vec().into())).await.unwrap();
        let mut back = Vec::new();
        while back.len() < piece.len() {
            match tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap() {
                Message::Binary(bytes) => back.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(back, piece);
    }
    socket.close(None).await.unwrap();
    agent.finish().await;
}

#[tokio::test]
async fn connections_that_cannot_be() {
    let agent = Agent::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for (first, says) in [
        (json!({ "host": "localhost", "port": closed }), "connection refused"),
        (json!({ "host": "example.com", "port": 80 }), "neither localhost nor an address"),
        (json!({ "port": 99999 }), "first message"),
        (json!("hello"), "first message"),
    ] {
        let mut socket = agent.socket("/v1/proxy").await;
        socket.send(Message::Text(first.to_string().into())).await.unwrap();
        let answer = frame(&mut socket).await;
        assert_eq!(answer["status"], "error", "{first}");
        assert!(answer["error"].as_str().unwrap().contains(says), "{answer}");
        assert!(matches!(
            tokio::time::timeout(DEADLINE, socket.next()).await.unwrap(),
            Some(Ok(Message::Close(_))) | None
        ));
    }
    assert_eq!(agent.get("/v1/proxy").await.status.as_u16(), 400);
    agent.finish().await;
}

/// A connection whose protocol was changed.
async fn changed(agent: &Agent, path: &str, protocol: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(agent.path("host.sock")).await.unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tokio::time::timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
    }
    (String::from_utf8(answer).unwrap(), stream)
}

#[tokio::test]
async fn the_web_app_is_started_and_reached() {
    let home = tempfile::tempdir().unwrap();
    let agent = Agent::with(Config { home: Some(home.path().to_owned()), ..Config::process() }).await;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    std::fs::write(home.path().join("index.html"), "it works").unwrap();
    let body = json!({
        "cmd": "python3", "args": ["-m", "http.server", port.to_string(), "--bind", "127.0.0.1"],
        "dir": home.path(), "http_port": port,
    });
    assert_eq!(
        agent.request(Method::PUT, "/v1/services/web?duration=0s", body.to_string()).await.status,
        200
    );
    assert_eq!(agent.post("/v1/services/web/stop", "").await.status, 200);
    // It is stopped; a use of the URL starts it, and waits for its port.
    let (head, mut stream) = changed(&agent, "/v1/agent/web", "sprite-web").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("it works"), "{answer}");
    assert_eq!(agent.get("/v1/agent/web").await.status.as_u16(), 426);
    // Programs inside have no such call.
    let inner = common::request(&agent.path("inner.sock"), Method::GET, "/v1/agent/web", "".into()).await;
    assert_eq!(inner.status.as_u16(), 404);
    agent.finish().await;
}

#[tokio::test]
async fn a_web_app_that_does_not_listen() {
    let home = tempfile::tempdir().unwrap();
    let agent = Agent::with(Config { home: Some(home.path().to_owned()), ..Config::process() }).await;
    let body = json!({ "cmd": "sleep", "args": ["1000"], "http_port": 1 });
    assert_eq!(
        agent.request(Method::PUT, "/v1/services/web?duration=0s", body.to_string()).await.status,
        200
    );
    let (head, _) = changed(&agent, "/v1/agent/web", "sprite-web").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    agent.finish().await;
}

#[tokio::test]
async fn questions_go_outwards_on_connections_of_the_host() {
    let agent = Agent::start().await;
    let inner = agent.path("inner.sock");
    let ask = async |method: Method, path: &str, body: &str| {
        common::request(&inner, method, path, body.to_owned().into()).await
    };
    // The host asks itself nothing.
    assert_eq!(agent.get("/v1/checkpoints").await.status.as_u16(), 404);
    // One that has gone away, and one that is there.
    let (head, stale) = changed(&agent, "/v1/agent/outward", "sprite-outward").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (_, mut host) = changed(&agent, "/v1/agent/outward", "sprite-outward").await;
    drop(stale);
    let answering = tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.ends_with(b"{\"comment\":\"x\"}") {
            head.push(host.read_u8().await.unwrap());
        }
        let body = "{\"type\":\"complete\"}\n";
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        host.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let answer = ask(Method::POST, "/v1/checkpoint?x=y", "{\"comment\":\"x\"}").await;
    assert_eq!(answer.lines(), [json!({ "type": "complete" })]);
    let head = answering.await.unwrap();
    assert!(head.starts_with("POST /v1/checkpoint?x=y HTTP/1.1\r\n"), "{head}");
    // What undoes a sprite's work is not the sprite's to delete.
    assert_eq!(ask(Method::DELETE, "/v1/checkpoints/v1", "").await.status.as_u16(), 405);
    // Nobody listens any more.
    let none = ask(Method::GET, "/v1/info", "").await;
    assert_eq!((none.status.as_u16(), none.json()["error"].as_str()), (503, Some("no_host")));
    agent.finish().await;
}

#[tokio::test]
async fn the_tool_inside() {
    let home = tempfile::tempdir().unwrap();
    let agent = Agent::with(Config { home: Some(home.path().to_owned()), ..Config::process() }).await;
    let tool = home.path().join("sprite-env");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sprite-agent"), &tool).unwrap();
    let socket = agent.path("inner.sock");
    let run = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(&tool);
        command.args(words).env("SPRITE_API_SOCKET", &socket).kill_on_drop(true);
        let done = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    };
    let words = [
        "services",
        "create",
        "web",
        "--cmd",
        "sh",
        "--args",
        r"-c,echo a\,b; exec sleep 1000",
        "--duration",
        "500ms",
    ];
    assert_eq!(run(&words).await, (0, "started\na,b\n".into(), String::new()));
    let (_, list, _) = run(&["services", "list"]).await;
    assert_eq!(serde_json::from_str::<Value>(&list).unwrap()[0]["name"], "web");
    let (code, said, _) = run(&["services", "stop", "web"]).await;
    assert_eq!((code, said.lines().last()), (0, Some("stopped")));
    let (code, _, why) = run(&["services", "get", "none"]).await;
    assert_eq!((code, why.as_str()), (1, "sprite-env: service not found: none\n"));
    assert_eq!(run(&["dance"]).await.0, 2);
    assert_eq!(run(&[]).await.0, 0);
    until("it is stopped", async || {
        agent.get("/v1/services/web").await.json()["state"]["status"] == "stopped"
    })
    .await;
    agent.finish().await;
}
