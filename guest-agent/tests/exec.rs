//! Commands without a terminal: frames, input, exit codes, what is refused, plain HTTP.

mod common;

use common::{Agent, alive, cmd, encode, sh, until};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn output_exit_and_close() {
    let agent = Agent::start().await;
    let said = agent.exec(&cmd(&["echo", "hello world"])).await.rest().await;
    assert_eq!(said.out(), "hello world\n");
    assert_eq!((said.exit_frame, said.code(), said.close), (Some(0), 0, Some(1000)));
    assert_eq!(said.exit_text.unwrap()["code"], 0);

    let said = agent.exec(&sh("echo out; echo err >&2; exit 42")).await.rest().await;
    assert_eq!((said.out().as_str(), said.err().as_str()), ("out\n", "err\n"));
    assert_eq!((said.exit_frame, said.code(), said.close), (Some(42), 42, Some(1000)));

    // No shell in between, and an empty argument stays one.
    let said = agent.exec(&cmd(&["printf", "%s,", "a|b", "", "$HOME"])).await.rest().await;
    assert_eq!(said.out(), "a|b,,$HOME,");
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_tells_version_and_capabilities() {
    let agent = Agent::start().await;
    let client = agent.exec(&cmd(&["true"])).await;
    assert!(client.headers.contains_key("sprite-version"));
    assert_eq!(client.headers["x-sprite-capabilities"], "signal");
    assert_eq!(client.info["is_owner"], true);
    assert_eq!(client.info["command"], "true");
    assert!(client.id().parse::<i32>().unwrap() > 1);
    client.rest().await;
    let head = agent.request(Method::HEAD, "/v1/exec", "").await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.headers.contains_key("sprite-version") && head.body.is_empty());
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_directory() {
    let agent = Agent::start().await;
    let query =
        format!("{}&env=A%3D1&env=B%3Dx%3Dy+z&dir=/tmp", sh("echo $A $B; pwd; echo $HOME $TERM; tty"));
    let said = agent.exec(&query).await.rest().await;
    let lines: Vec<&str> =
        said.stdout.split(|b| *b == b'\n').map(|l| std::str::from_utf8(l).unwrap()).collect();
    assert_eq!(lines[..2], ["1 x=y z", "/tmp"]);
    assert!(lines[2].starts_with('/') && lines[2].ends_with(" dumb"), "{lines:?}");
    assert_eq!(lines[3], "not a tty");
    assert_eq!(said.code(), 1);

    let (status, body) = agent.refused(&format!("{}&dir=/no/such/place", cmd(&["pwd"]))).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("/no/such/place"));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_run() {
    let agent = Agent::start().await;
    let said = agent.exec(&cmd(&["no-such-program-here"])).await.rest().await;
    assert_eq!((said.exit_frame, said.code(), said.close), (Some(127), 127, Some(1000)));
    assert!(said.err().contains("no-such-program-here: command not found"), "{}", said.err());

    let file = agent.path("plain");
    std::fs::write(&file, "text").unwrap();
    let said = agent.exec(&cmd(&[file.to_str().unwrap()])).await.rest().await;
    assert_eq!((said.exit_frame, said.code()), (Some(126), 126));
    assert!(said.err().contains("cannot execute"), "{}", said.err());

    let said = agent.exec(&format!("{}&tty=true", cmd(&["/no/such"]))).await.rest().await;
    assert_eq!((said.exit_frame, said.code(), said.close), (None, 127, Some(4000)));
    assert!(said.out().contains("/no/such: command not found"));
    assert_eq!(agent.get("/v1/exec").await.json()["count"], 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_may_differ_from_the_first_argument() {
    let agent = Agent::start().await;
    let query = format!("{}&path=/bin/sh", cmd(&["mine", "-c", "echo $0"]));
    assert_eq!(agent.exec(&query).await.rest().await.out(), "mine\n");
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_input_until_its_end() {
    let agent = Agent::start().await;
    let mut client = agent.exec(&format!("{}&stdin=true", cmd(&["cat"]))).await;
    let input: Vec<u8> = (0..=255u8).cycle().take(700_000).collect();
    let (head, tail) = input.split_at(1000);
    client.stdin(head).await;
    client.stdin(&[]).await;
    // Without a stream id, with an unknown one: dropped. An end with a payload is none.
    client.send(Message::Binary(vec![].into())).await;
    client.send(Message::Binary(b"dropped".to_vec().into())).await;
    client.send(Message::Binary(vec![4, 4].into())).await;
    client.stdin(tail).await;
    client.eof().await;
    let said = client.rest().await;
    assert!(said.stdout == input, "{} bytes came back", said.stdout.len());
    assert_eq!(said.code(), 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stdin_the_input_is_empty() {
    let agent = Agent::start().await;
    for query in [cmd(&["cat"]), format!("{}&stdin=false", cmd(&["cat"]))] {
        let mut client = agent.exec(&query).await;
        client.stdin(b"ignored").await;
        let said = client.rest().await;
        assert_eq!((said.out().as_str(), said.code()), ("", 0));
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_nobody_reads_blocks_nobody() {
    let agent = Agent::start().await;
    let mut client = agent.exec(&format!("{}&stdin=true", sh("exec <&-; echo ready; sleep 60"))).await;
    client.until("ready").await;
    for _ in 0..64 {
        client.stdin(&[0; 64 << 10]).await;
    }
    client.text(r#"{"type":"signal","signal":"KILL"}"#).await;
    assert_eq!(client.rest().await.code(), 137);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals() {
    let agent = Agent::start().await;
    for (name, code) in [("TERM", 143), ("SIGINT", 130), ("KILL", 137), ("USR1", 7)] {
        let mut client =
            agent.exec(&sh("trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")).await;
        client.until("ready").await;
        client.text(&format!(r#"{{"type":"signal","signal":"{name}"}}"#)).await;
        let said = client.rest().await;
        assert_eq!((said.exit_frame, said.code()), (Some(code as u8), code), "{name}");
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_protocol() {
    let agent = Agent::start().await;
    let mut client = agent.exec(&format!("{}&stdin=true", cmd(&["cat"]))).await;
    for bad in ["no json", "[]", r#"{"type":"signal","signal":"NOPE"}"#, r#"{"type":"resize","cols":"x"}"#] {
        client.said.errors.clear();
        client.text(bad).await;
        client.until_error().await;
    }
    // Unknown types are ignored; a size means nothing without a terminal.
    client.said.errors.clear();
    client.text(r#"{"type":"something","x":1}"#).await;
    client.text(r#"{"type":"resize","cols":10,"rows":10}"#).await;
    client.stdin(b"still here").await;
    client.eof().await;
    let said = client.rest().await;
    assert_eq!((said.out().as_str(), said.code()), ("still here", 0));
    assert!(said.errors.is_empty());
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large() {
    let mut config = sprites_guest_agent::Config::process();
    config.limits.message = 64 << 10;
    let agent = Agent::with(config).await;
    let mut client = agent.exec(&format!("{}&stdin=true", cmd(&["cat"]))).await;
    client.send(Message::Binary(vec![0; 128 << 10].into())).await;
    assert_eq!(client.rest().await.close, Some(1009));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_refused() {
    let agent = Agent::start().await;
    for query in
        ["?cmd=a%00b", "?cmd=ls&env=novalue", "?cmd=ls&tty=maybe", "?cmd=ls&max_run_after_disconnect=soon"]
    {
        let (status, body) = agent.refused(query).await;
        assert_eq!(status, 400, "{query}");
        assert!(!body["message"].as_str().unwrap().is_empty());
        assert_eq!(
            agent.post(&format!("/v1/exec{query}"), "").await.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    for rest in ["/999999", "?id=999999", "?session_id=999999&cmd=&path="] {
        let (status, body) = agent.refused(rest).await;
        assert_eq!(status, 404, "{rest}");
        assert_eq!(body["error"], "session not found: 999999");
    }
    assert_eq!(agent.get("/v1/exec/999999").await.status, StatusCode::NOT_FOUND);
    assert_eq!(agent.get("/v1/control").await.status, StatusCode::NOT_FOUND);
    assert_eq!(agent.request(Method::DELETE, "/v1/exec", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    // Longer than any client library would send.
    for (head, status) in [
        (format!("GET /v1/exec?cmd={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000)), "414"),
        (format!("GET /v1/exec HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(1 << 20)), "431"),
        ("complete nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = raw(&agent, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_session_is_kept_alive() {
    let mut config = sprites_guest_agent::Config::process();
    config.limits.keepalive = std::time::Duration::from_millis(10);
    let agent = Agent::with(config).await;
    for tty in ["", "&tty=true"] {
        let mut client = agent.exec(&format!("{}&stdin=true{tty}", cmd(&["sleep", "60"]))).await;
        while client.said.keepalives < 3 {
            assert!(client.step().await);
        }
        client.text(r#"{"type":"signal","signal":"KILL"}"#).await;
        assert_eq!(client.rest().await.code(), 137);
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_process_does_not_hold_the_session() {
    let agent = Agent::start().await;
    let said = agent.exec(&sh("sleep 60 & echo $!")).await.rest().await;
    let pid: i64 = said.out().trim().parse().unwrap();
    assert_eq!(said.code(), 0);
    assert!(alive(pid), "it should run on");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http() {
    let agent = Agent::start().await;
    let answer = agent.post(&format!("/v1/exec{}", cmd(&["echo", "hi"])), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(&answer.body[..], b"\x01hi\n\x03\x00");

    // As the host asks for them.
    let path = format!("/v1/exec{}", cmd(&["echo", "hi"]));
    let lengths = (sprites_api::exec::FRAME_LENGTHS, "1");
    let answer =
        common::request_with(&agent.path("host.sock"), Method::POST, &path, lengths, "".into()).await;
    assert_eq!(answer.body, b"\0\0\0\x04\x01hi\n\0\0\0\x02\x03\0"[..]);
    let answer = agent.post(&format!("/v1/exec{}&stdin=true", cmd(&["cat"])), "some input").await;
    assert_eq!(&answer.body[..], b"\x01some input\x03\x00");

    // A body that is not wanted is not read: this is no command, whatever it says.
    let answer = agent.post(&format!("/v1/exec{}", cmd(&["cat"])), r#"{"command":"ls"}"#).await;
    assert_eq!(&answer.body[..], b"\x03\x00");

    let answer = agent.post(&format!("/v1/exec{}", sh("echo no >&2; exit 3")), "").await;
    assert_eq!(&answer.body[..], b"\x02no\n\x03\x03");
    let answer = agent.post(&format!("/v1/exec{}", cmd(&["no-such-program"])), "").await;
    assert!(
        answer.body.starts_with(b"\x02no-such-program: command not found\n")
            && answer.body.ends_with(b"\x03\x7f")
    );
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_ends_with_its_client() {
    let agent = Agent::start().await;
    let pid_file = agent.path("pid");
    let script = format!("echo $$ > {}.new; mv {0}.new {0}; exec sleep 600", pid_file.display());
    let path = format!("/v1/exec?cmd=sh&cmd=-c&cmd={}", encode(&script));
    let socket = agent.path("host.sock");
    let task = tokio::spawn(async move { common::request(&socket, Method::POST, &path, "".into()).await });
    until("the command runs", async || pid_file.exists()).await;
    let pid: i64 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(alive(pid));
    task.abort();
    until("the command ended with its client", async || !alive(pid)).await;
    agent.finish().await;
}

async fn raw(agent: &Agent, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut reader, mut writer) =
        tokio::net::UnixStream::connect(agent.path("host.sock")).await.unwrap().into_split();
    // The agent may refuse, and stop to read, before all is sent.
    let _ = writer.write_all(request.as_bytes()).await;
    let mut answer = vec![0; 12];
    tokio::time::timeout(common::DEADLINE, reader.read_exact(&mut answer)).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(common::DEADLINE, reader.read_to_end(&mut rest)).await.unwrap();
    answer.extend(rest);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_command_in_a_json_body() {
    let agent = Agent::start().await;
    let run = async |body: Value| agent.post("/v1/exec", body.to_string()).await;
    let answer = run(json!({ "command": "echo hello; echo oh >&2; exit 3" })).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), json!({ "stdout": "hello\n", "stderr": "oh\n", "exit_code": 3 }));
    let answer = run(json!({ "command": ["printf", "%s", "a b"], "env": { "X": "1" }, "dir": "/tmp" })).await;
    assert_eq!(answer.json()["stdout"], "a b");
    let answer =
        run(json!({ "command": "cat; pwd; echo $X", "stdin": "in ", "dir": "/tmp", "env": { "X": "y" } }))
            .await;
    assert_eq!(answer.json()["stdout"], "in /tmp\ny\n");
    let answer = run(json!({ "command": ["no-such-program"] })).await.json();
    assert_eq!((answer["exit_code"].as_u64(), answer["stdout"].as_str()), (Some(127), Some("")));
    assert!(answer["stderr"].as_str().unwrap().contains("not found"));
    for bad in [
        json!({ "command": [] }),
        json!({ "command": "a\u{0}b" }),
        json!({ "command": "x", "env": { "": "" } }),
    ] {
        assert_eq!(run(bad.clone()).await.status.as_u16(), 400, "{bad}");
    }
    let answer = run(json!({ "command": "head -c 9000000 /dev/zero | tr '\\0' x" })).await.json();
    assert_eq!(
        (answer["stdout"].as_str().unwrap().len(), answer["truncated"].as_bool()),
        (8 << 20, Some(true))
    );
    agent.finish().await;
}
