//! The server's answers to callers who get it wrong, by both of its doors.

use snapshots_tests::harness::Home;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);

/// Sends bytes as they are; gives status and body.
fn raw(mut stream: impl Read + Write, request: &[u8]) -> (u16, String) {
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn socket(home: &Home) -> UnixStream {
    let stream = UnixStream::connect(home.paths().server_socket()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn call(home: &Home, method: &str, path: &str, body: &str) -> (u16, String) {
    raw(socket(home), &request(method, path, "", body.as_bytes()))
}

fn make(home: &Home, name: &str) {
    let (status, body) = call(home, "POST", "/v1/sprites", &format!(r#"{{"name":"{name}"}}"#));
    assert_eq!(status, 201, "{body}");
}

#[test]
fn wrong_calls_get_the_right_status_and_a_sentence() {
    let home = Home::new();
    home.serve();
    make(&home, "box");
    let long_label = format!(r#"{{"name":"x","labels":["{}"]}}"#, "l".repeat(500));
    for (method, path, body, status, word) in [
        ("POST", "/v1/sprites", "{", 400, "body"),
        ("POST", "/v1/sprites", "[]", 400, "body"),
        ("POST", "/v1/sprites", r#"{"name":7}"#, 400, "body"),
        ("POST", "/v1/sprites", r#"{"name":""}"#, 400, "name"),
        ("POST", "/v1/sprites", r#"{"name":"Box"}"#, 400, "lower-case"),
        ("POST", "/v1/sprites", r#"{"name":"../../etc"}"#, 400, "name"),
        ("POST", "/v1/sprites", r#"{"name":"box"}"#, 409, "exists"),
        ("POST", "/v1/sprites", &long_label, 400, "label"),
        ("GET", "/v1/sprites/moon", "", 404, "not found"),
        ("DELETE", "/v1/sprites/moon", "", 404, "not found"),
        ("GET", "/v1/sprites/%2e%2e%2f%2e%2e", "", 404, "not found"),
        ("POST", "/v1/sprites/moon/checkpoint", "{}", 404, "not found"),
        ("GET", "/v1/sprites/box/checkpoints/v9", "", 404, "v9"),
        ("POST", "/v1/sprites/box/checkpoints/v9/restore", "", 404, "v9"),
        ("DELETE", "/v1/sprites/box/checkpoints/v9", "", 404, "v9"),
        ("POST", "/v1/sprites/box/checkpoints/Current/restore", "", 409, "live disk"),
        ("DELETE", "/v1/sprites/box/checkpoints/Current", "", 409, "live disk"),
        ("POST", "/v1/local/sprites/box/fork", r#"{"name":"box"}"#, 409, "exists"),
        ("POST", "/v1/local/sprites/box/fork", r#"{"name":"b c"}"#, 400, "name"),
        ("POST", "/v1/local/sprites/box/fork", r#"{"name":"b","checkpoint":"v9"}"#, 404, "v9"),
        ("GET", "/v1/local/sprites/box/usage?window=soon", "", 400, "window"),
        ("GET", "/v1/nothing", "", 404, "nothing at"),
        ("PATCH", "/v1/sprites/box", "", 405, "PATCH"),
    ] {
        let (found, text) = call(&home, method, path, body);
        assert_eq!(found, status, "{method} {path} {body}: {text}");
        assert!(text.contains(word), "{method} {path} {body}: {text}");
        let json: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}"));
        assert!(json["error"].is_string(), "{text}");
    }
    // A checkpoint's comment has a limit; the work is told in a stream, and so is its failure.
    let (status, text) = call(
        &home,
        "POST",
        "/v1/sprites/box/checkpoint",
        &format!(r#"{{"comment":"{}"}}"#, "c".repeat(5000)),
    );
    assert!(status == 400 || text.contains(r#""type":"error""#), "{status} {text}");
    // Nothing of all this made or broke anything.
    let (_, list) = call(&home, "GET", "/v1/sprites", "");
    assert_eq!(list.matches(r#""id":"sprite-"#).count(), 1, "{list}");
}

#[test]
fn bodies_and_heads_that_are_too_large() {
    let home = Home::new();
    home.serve();
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(3 << 20));
    assert_eq!(call(&home, "POST", "/v1/sprites", &huge).0, 413);
    let flood: String = (0..3000).map(|n| format!("X-{n}: {}\r\n", "y".repeat(100))).collect();
    let (status, _) = raw(socket(&home), &request("GET", "/v1/sprites", &flood, b""));
    assert!(matches!(status, 0 | 400 | 431), "{status}");
    assert_ne!(raw(socket(&home), b"\x16\x03\x01 this is no HTTP\r\n\r\n").0, 200);
}

/// A thousand who hold on to what they have, each in another place of a request, and somebody who wants to work meanwhile.
#[test]
fn a_thousand_sockets_hold_up_nobody() {
    let home = Home::new();
    home.serve();
    make(&home, "box");
    let (status, text) = exec(&home, &["true"]);
    assert_eq!(status, 200, "{text}");
    let (address, token) = home.tcp();
    let door = || TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let unfinished = [
        String::new(),
        "GET /v1/spr".to_owned(),
        "GET /v1/sprites HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(),
        // Bodies that never come, from somebody unknown and from somebody known.
        "POST /v1/sprites HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{".to_owned(),
        format!("POST /v1/sprites HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 100\r\n\r\n{{"),
        format!(
            "POST /v1/sprites HTTP/1.1\r\nHost: a\r\n{bearer}Transfer-Encoding: chunked\r\n\r\nffff\r\n{{"
        ),
        format!(
            "PUT /v1/sprites/box/fs/write?path=/tmp/x HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 9\r\n\r\nx"
        ),
        // Answers that are never read.
        format!("GET /v1/sprites HTTP/1.1\r\nHost: a\r\n{bearer}Accept: application/x-ndjson\r\n\r\n"),
    ];
    let held: Vec<TcpStream> = (0..1000)
        .map(|number| {
            let mut stream = door();
            stream.write_all(unfinished[number % unfinished.len()].as_bytes()).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(call(&home, "GET", "/v1/sprites", "").0, 200);
        assert_eq!(raw(door(), &request("GET", "/v1/sprites", &bearer, b"")).0, 200);
    }
    let (status, text) = exec(&home, &["echo", "here"]);
    assert!(status == 200 && text.contains("here"), "{status} {text}");
    println!("beside a thousand sockets: {:.2} s", start.elapsed().as_secs_f64());
    drop(held);
    // An upload that was cut off has left nothing behind.
    let (status, text) = exec(&home, &["find", "/tmp", "-type", "f"]);
    assert!(status == 200 && !text.contains("/tmp"), "{status} {text}");
    // And the server has let go of all of them.
    let files = format!("/proc/{}/fd", home.server_pid().unwrap());
    let give_up = Instant::now() + LONG;
    while std::fs::read_dir(&files).unwrap().count() > 150 {
        assert!(Instant::now() < give_up, "the server holds on to connections that are gone");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_tcp_door_asks_for_the_token() {
    let home = Home::new();
    home.serve();
    let (address, token) = home.tcp();
    let get = |headers: &str| {
        let stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        raw(stream, &request("GET", "/v1/sprites", headers, b""))
    };
    for wrong in
        ["", "Authorization: Bearer \r\n", "Authorization: Bearer wrong\r\n", "Authorization: Basic eDp5\r\n"]
    {
        let (status, text) = get(wrong);
        assert_eq!(status, 401, "{wrong:?}: {text}");
        assert!(text.contains("token") && !text.contains(&token), "{text}");
    }
    assert_eq!(get(&format!("Authorization: Bearer {token}\r\n")).0, 200);
    assert_eq!(get(&format!("authorization: bearer {token}\r\n")).0, 200);
}

#[test]
fn without_an_image_there_is_no_sprite() {
    let home = Home::empty();
    home.serve();
    let (status, text) = call(&home, "POST", "/v1/sprites", r#"{"name":"box"}"#);
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("no_image") && text.contains("image build"), "{text}");
    let (_, list) = call(&home, "GET", "/v1/sprites", "");
    assert!(list.contains(r#""sprites":[]"#), "{list}");
}

#[test]
fn two_servers_and_a_folder_that_is_gone() {
    let home = Home::new();
    home.serve();
    let second = home.command(&["serve"]).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("already runs"), "{told}");
    assert_eq!(call(&home, "GET", "/v1/sprites", "").0, 200);
    // Somebody tidies up the run folder: the next one who needs a server gets one.
    let victim = home.server_pid().unwrap();
    std::fs::remove_dir_all(home.paths().run()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL).unwrap();
    home.serve();
    assert_eq!(call(&home, "GET", "/v1/sprites", "").0, 200);
}

/// As systemd starts it: with a socket that is there before and stays there afterwards.
#[test]
fn a_socket_that_somebody_else_made() {
    let home = Home::empty();
    let path = home.paths().server_socket();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // Whoever asks waits until the server is there.
    let waiting = socket(&home);
    let serve = home.command(&["serve"]);
    let program = serve.get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve"]).arg(program);
    shell.envs(serve.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))));
    let mut server = shell.stdin(std::os::fd::OwnedFd::from(listener)).spawn().unwrap();
    assert_eq!(raw(waiting, &request("GET", "/v1/sprites", "", b"")).0, 200);
    assert_eq!(call(&home, "GET", "/v1/local/version", "").0, 200);
    let pid = nix::unistd::Pid::from_raw(server.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(path.exists() && !home.paths().server_info().exists());
}

/// It is tried once for all who wait, and each of them hears why.
#[test]
fn a_start_that_fails_is_told_to_all_who_waited() {
    let home = Home::new();
    home.serve();
    make(&home, "box");
    let id = home.json(&["api", "/v1/sprites/box"])["id"].as_str().unwrap().to_owned();
    std::fs::remove_file(home.paths().sprite(&id).join("vmlinuz")).unwrap();
    let told: Vec<(u16, String)> = std::thread::scope(|scope| {
        let asks = (0..8).map(|_| scope.spawn(|| call(&home, "POST", "/v1/sprites/box/exec?cmd=true", "")));
        let asks: Vec<_> = asks.collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert!(told.iter().all(|one| one.0 == 502 && *one == told[0]), "{told:?}");
    let log = std::fs::read_to_string(home.paths().server_log()).unwrap();
    let tries = log.lines().filter(|line| line.contains("box starts for ")).count();
    assert!((1..=2).contains(&tries), "{tries} tries: {log}");
}

#[test]
fn so_many_run_and_no_more() {
    let home = Home::new();
    home.serve_with(&["--most-running", "1", "--idle", "2", "--no-checkpoints"]);
    make(&home, "box");
    make(&home, "other");
    let start = |name: &str| call(&home, "POST", &format!("/v1/sprites/{name}/exec?cmd=true"), "");
    assert_eq!(start("box").0, 200);
    let (status, text) = start("other");
    assert!(status == 429 && text.contains("concurrent_sprite_limit_exceeded"), "{status} {text}");
    assert!(text.contains("no more than 1 may run"), "{text}");
    // As soon as it sleeps there is room, and then none for it.
    let give_up = Instant::now() + LONG;
    while start("other").0 == 429 {
        assert!(Instant::now() < give_up, "the first one never sleeps");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(start("box").0, 429);
}

/// Runs a command by the simple form; gives its output, without the bytes that frame it, and its exit code.
fn exec(home: &Home, words: &[&str]) -> (u16, String) {
    let query: String = words.iter().map(|word| format!("cmd={}&", word.replace(' ', "%20"))).collect();
    call(home, "POST", &format!("/v1/sprites/box/exec?{query}"), "")
}

#[test]
fn commands_that_cannot_run_sessions_that_are_not_and_ten_million_lines() {
    let home = Home::new();
    home.serve();
    make(&home, "box");
    let client = home.client();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = |words: &[&str]| {
        use sprites_backend::client::{ExecEvent, ExecRequest};
        let request =
            ExecRequest { cmd: words.iter().map(|word| (*word).to_owned()).collect(), ..Default::default() };
        runtime.block_on(async {
            let (_sender, mut events) = client.exec("box", request).await.unwrap().split();
            let mut lines = 0u64;
            while let Some(event) = events.next().await {
                match event {
                    ExecEvent::Exit(code) => return (code, lines),
                    ExecEvent::Stdout(bytes) => {
                        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64
                    }
                    _ => {}
                }
            }
            panic!("{words:?} never ended")
        })
    };
    assert_eq!(code(&["/no/such/program"]).0, 127);
    assert_eq!(code(&["/etc/passwd"]).0, 126);
    assert_eq!(code(&["sh", "-c", "exit 7"]).0, 7);
    let (status, text) = call(&home, "GET", "/v1/sprites/box/exec/no-such-session", "");
    assert_eq!(status, 404, "{text}");
    let (status, _) = call(&home, "POST", "/v1/sprites/box/exec/no-such-session/kill", "");
    assert_eq!(status, 404);
    assert_eq!(exec(&home, &["true"]).0, 200);
    let pid = home.server_pid().unwrap();
    let start = Instant::now();
    assert_eq!(code(&["seq", "10000000"]), (0, 10_000_000));
    println!("ten million lines: {:.1} s", start.elapsed().as_secs_f64());
    // Neither the server nor the machine kept them.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap();
    assert!(peak < 200 << 10, "the server took {peak} kB");
}
