//! The command line, the website's own lines, and sprites' URLs, against a real sprite.

use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use snapshots_tests::said::fed;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the website shows, as it shows it but for the address.
#[test]
fn the_websites_own_lines() {
    let home = Home::new();
    home.serve();
    let (url, token) = home.tcp();
    // The two calls by curl: the first makes the sprite, the second runs in it.
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "120", "-H", &format!("Authorization: Bearer {token}")])
            .args(more);
        let (code, out, err) = fed(command, "");
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap_or_else(|_| panic!("{out}"))
    };
    let sprite = format!("{url}/v1/sprites/my-sprite");
    assert_eq!(curl(&["-X", "PUT", &sprite])["name"], "my-sprite");
    let told = curl(&["-X", "POST", &format!("{sprite}/exec"), "-d", r#"{"command": "echo hello"}"#]);
    assert_eq!(told, serde_json::json!({ "stdout": "hello\n", "stderr": "", "exit_code": 0 }));
    assert_eq!(
        curl(&["-X", "PUT", &sprite, "-d", r#"{"labels": ["a"]}"#])["labels"],
        serde_json::json!(["a"])
    );
    home.good(&["destroy", "my-sprite", "--force"]);

    // The three lines of the command line.
    home.good(&["create", "my-sprite"]);
    let listed = home.good(&["exec", "-s", "my-sprite", "ls", "-la"]);
    assert!(listed.contains(".bashrc"), "{listed}");
    let mut console = Pty::spawn(home.sprite_in_terminal(&["console", "-s", "my-sprite"]), 24, 80);
    console.wait_for("my-sprite:~$", LONG);
    console.send("stty size; echo $0\r");
    console.wait_for("24 80", LONG);
    console.wait_for("-bash", LONG);
    console.resize(30, 100);
    console.send("stty size\r");
    console.wait_for("30 100", LONG);
    console.send("exit 7\r");
    assert_eq!(console.end(LONG), 7);
    assert!(console.is_cooked());
}

/// What the Go client sends: its modules cannot be had here, so its traffic is put on the wire as it puts it.
#[test]
fn what_the_go_client_sends() {
    let home = Home::new();
    home.serve();
    home.good(&["create", "my-sprite"]);
    let (url, token) = home.tcp();
    let address = url.trim_start_matches("http://").to_owned();
    let open = |request: String| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (text(&head), stream)
    };
    let upgrade = format!(
        "Host: {address}\r\nAuthorization: Bearer {token}\r\nUser-Agent: sprites-go-sdk/1.0\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    // It looks for a control connection first, and takes a quick no for an answer.
    let begun = Instant::now();
    let (head, _) = open(format!("GET /v1/sprites/my-sprite/control HTTP/1.1\r\n{upgrade}"));
    assert!(head.starts_with("HTTP/1.1 404") && begun.elapsed() < Duration::from_secs(2), "{head}");
    // The name is not encoded; `path` repeats the program; no input is wanted.
    let query = "cc=true&cmd=echo&cmd=hello&cmd=world&path=echo&stdin=false";
    let (head, mut stream) = open(format!("GET /v1/sprites/my-sprite/exec?{query} HTTP/1.1\r\n{upgrade}"));
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.to_lowercase().contains("x-sprite-capabilities: signal"), "{head}");
    let mut frames = Vec::new();
    let mut byte = [0; 2];
    loop {
        stream.read_exact(&mut byte).unwrap();
        let mut len = usize::from(byte[1] & 0x7f);
        assert_eq!(byte[1] & 0x80, 0, "a server does not mask");
        if len == 126 {
            let mut long = [0; 2];
            stream.read_exact(&mut long).unwrap();
            len = usize::from(u16::from_be_bytes(long));
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).unwrap();
        frames.push((byte[0] & 0x0f, body));
        if byte[0] & 0x0f == 8 {
            break;
        }
    }
    assert_eq!(frames[0].0, 1, "text comes first");
    let info: serde_json::Value = serde_json::from_slice(&frames[0].1).unwrap();
    assert!(info["type"] == "session_info" && info["session_id"].is_string(), "{info}");
    let binary: Vec<&[u8]> = frames.iter().filter(|frame| frame.0 == 2).map(|frame| &frame.1[..]).collect();
    assert_eq!(binary, [b"\x01hello world\n", &b"\x03\x00"[..]]);
    let close = frames.last().unwrap();
    assert_eq!(u16::from_be_bytes([close.1[0], close.1[1]]), 1000);
    // Before an attach it asks for the version.
    let (head, _) = open(format!(
        "HEAD /v1/sprites/my-sprite/exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    ));
    assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("sprite-version: "), "{head}");
}

#[test]
fn commands_for_scripts() {
    let home = Home::new();
    assert_eq!(home.good(&["create", "box", "--label", "ci"]), "Created box\n");
    let listed = home.json(&["list", "--json"]);
    assert_eq!((listed[0]["name"].as_str(), listed[0]["labels"][0].as_str()), (Some("box"), Some("ci")));
    assert!(home.good(&["ls", "--prefix", "moon"]).is_empty());

    let exec = |more: &[&str]| home.run(&[&["exec", "-s", "box"], more].concat());
    assert_eq!(exec(&["sh", "-c", "echo out; echo err >&2; exit 42"]), (42, "out\n".into(), "err\n".into()));
    assert_eq!(exec(&["no-such-program"]).0, 127);
    assert_eq!(exec(&["sh", "-c", "kill -9 $$"]).0, 137);
    assert_eq!(
        exec(&["--env", "A=1,B=2", "--env", "C=3", "--dir", "/tmp", "--", "sh", "-c", "echo $A$B$C; pwd"]).1,
        "123\n/tmp\n"
    );
    assert_eq!(
        exec(&["--http-post", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]),
        (3, "out\n".into(), "err\n".into())
    );
    assert_eq!(fed(home.sprite(&["-s", "box", "exec", "wc", "-c"]), &"x".repeat(100_000)).1.trim(), "100000");

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("a"), "one\n").unwrap();
    assert_eq!(exec(&["--file", &format!("{}:/tmp/deep/", at("a")), "cat", "/tmp/deep/a"]).1, "one\n");
    std::fs::create_dir_all(dir.path().join("tree/sub")).unwrap();
    std::fs::write(at("tree/sub/b"), "two\n").unwrap();
    home.good(&["-s", "box", "file", "push", "-r", &at("tree"), "work"]);
    home.good(&["-s", "box", "file", "pull", "-r", "work", &at("back")]);
    assert_eq!(std::fs::read_to_string(at("back/sub/b")).unwrap(), "two\n");
    home.good(&["-s", "box", "file", "pull", "work/sub/b", &at("c")]);
    assert_eq!(std::fs::read_to_string(at("c")).unwrap(), "two\n");
    let names = home.json(&["-s", "box", "file", "ls", "-r", "work", "--json"]);
    assert_eq!(names["entries"][1]["name"], "sub/b");
    let mut edit = home.sprite(&["-s", "box", "file", "edit", "work/sub/b"]);
    edit.env("EDITOR", "sed -i s/two/three/").env_remove("VISUAL");
    assert_eq!(fed(edit, "").0, 0);
    assert_eq!(exec(&["cat", "work/sub/b"]).1, "three\n");

    assert_eq!(home.good(&["-s", "box", "checkpoint", "create", "--comment", "first"]), "v0\n");
    exec(&["rm", "-r", "work"]);
    let listed = home.json(&["-s", "box", "checkpoint", "list", "--json"]);
    assert_eq!((listed[0]["id"].as_str(), listed[1]["comment"].as_str()), (Some("Current"), Some("first")));
    assert_eq!(home.good(&["-s", "box", "restore", "v0"]), "Restored v0\n");
    assert_eq!(exec(&["cat", "work/sub/b"]).1, "three\n");
    assert!(home.good(&["-s", "box", "checkpoint", "info", "v0"]).contains("first"));
    assert_eq!(home.run(&["-s", "box", "checkpoint", "delete", "v9"]).0, 1);

    home.good(&["use", "box"]);
    assert_eq!(home.good(&["exec", "echo", "chosen"]), "chosen\n");
    let told = home.good(&["config", "update", "--url-auth", "public", "--label", "x"]);
    assert!(told.contains("Auth: public"), "{told}");
    assert_eq!(home.json(&["info", "--json"])["labels"], serde_json::json!(["x"]));
    let called = home.good(&["-s", "box", "api", "/fs/list?path=/home", "--", "--fail"]);
    assert!(called.contains("/home/sprite"), "{called}");
    home.good(&["use", "--unset"]);

    for (arguments, code, word) in [
        (&["exec", "ls"][..], 2, "no sprite is named"),
        (&["-s", "moon", "exec", "ls"], 1, "not found"),
        (&["create", "Box"], 1, "lower-case"),
        (&["create", "box"], 1, "exists"),
        (&["create"], 2, "must be given"),
        (&["destroy", "box"], 2, "--force"),
        (&["-s", "box", "sessions", "kill", "77777"], 1, "not found"),
        (&["-s", "box", "attach", "77777"], 1, "not found"),
        (&["-s", "box", "console"], 2, "terminal"),
        (&["-s", "box", "file", "push", "/", "x"], 2, "--recursive"),
        (&["-s", "box", "file", "pull", "/none", "x"], 1, "no such file"),
        (&["-s", "box", "proxy", "x"], 2, "no port"),
        (&["--context", "moon", "list"], 1, "no context"),
        (&["-o", "moon", "list"], 1, "no organization"),
        (&["dance"], 2, "unrecognized"),
    ] {
        let (found, _, err) = home.run(arguments);
        assert!(found == code && err.contains(word), "{arguments:?}: {found} {err}");
    }
    home.good(&["destroy", "box", "--force"]);
}

#[test]
fn a_console_is_left_and_found_again() {
    let home = Home::new();
    home.good(&["create", "box"]);
    let mut console = Pty::spawn(home.sprite_in_terminal(&["console", "-s", "box"]), 24, 80);
    console.wait_for("box:~$", LONG);
    console.send("echo from-$((40+2))\r");
    console.wait_for("from-42", LONG);
    console.send([0x1c]);
    console.wait_for("sprite attach", LONG);
    assert_eq!(console.end(LONG), 0);
    assert!(console.is_cooked());
    let sessions = home.json(&["-s", "box", "sessions", "list", "--json"]);
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    let mut again = Pty::spawn(home.sprite_in_terminal(&["-s", "box", "attach", &id]), 24, 80);
    again.wait_for("from-42", LONG);
    home.good(&["-s", "box", "sessions", "kill", &id, "--signal", "KILL"]);
    assert_eq!(again.end(LONG), 137);
    // A signal from outside leaves the terminal as it was.
    let mut third = Pty::spawn(home.sprite_in_terminal(&["console", "-s", "box"]), 24, 80);
    third.wait_for("box:~$", LONG);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(third.pid()), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert_eq!(third.end(LONG), 143);
    assert!(third.is_cooked());
}

#[test]
fn a_web_app_is_reached_from_cold_through_its_url() {
    let home = Home::new();
    home.good(&["create", "web"]);
    let (code, _, err) = fed(
        home.sprite(&["-s", "web", "exec", "sh", "-c", "mkdir app; cat > app/index.html"]),
        "<h1>it works</h1>\n",
    );
    assert_eq!(code, 0, "{err}");
    let made = home.good(&[
        "-s",
        "web",
        "exec",
        "sprite-env",
        "services",
        "create",
        "app",
        "--cmd",
        "python3",
        "--args",
        "-m,http.server,8000",
        "--dir",
        "/home/sprite/app",
        "--http-port",
        "8000",
    ]);
    assert!(made.starts_with("started"), "{made}");
    let (url, token) = home.tcp();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let told = home.json(&["-s", "web", "url", "--json"]);
    let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    assert!(address.ends_with(&port) && told["auth"] == "sprite", "{told}");
    let get = |host: &str, headers: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        text(&answer)
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert!(get(&address, "").starts_with("HTTP/1.1 401"));
    assert!(get(&address, "Accept: text/html\r\n").contains("<h1>401"));
    assert!(get(&address, &bearer).ends_with("<h1>it works</h1>\n"));
    assert!(get(&format!("moon-12345.localhost:{port}"), &bearer).starts_with("HTTP/1.1 404"));
    // One of that name and another id is another sprite.
    assert!(get(&format!("web-00000.localhost:{port}"), &bearer).starts_with("HTTP/1.1 404"));
    assert!(get(&format!("localhost:{port}"), &bearer).contains("nothing at /"));

    // From cold: the sprite is woken, the service starts with it, and the request waits for both.
    let client = home.client();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.stop("web")).unwrap();
    home.good(&["-s", "web", "url", "update", "--auth", "public"]);
    let page = get(&address, "");
    assert!(page.ends_with("<h1>it works</h1>\n"), "{page}");
    // A service that does not listen is told.
    home.good(&["-s", "web", "exec", "sprite-env", "services", "delete", "app"]);
    let page = get(&address, "Accept: text/html\r\n");
    assert!(page.starts_with("HTTP/1.1 502") && page.contains("Nothing listens on port 8080"), "{page}");
}

#[test]
fn what_a_sprite_knows_of_itself_and_may_ask() {
    let home = Home::new();
    home.good(&["create", "box"]);
    let inside = |script: &str| {
        let (code, out, err) = home.run(&["-s", "box", "exec", "bash", "-c", script]);
        assert_eq!(code, 0, "{script}: {out}{err}");
        out
    };
    let info: serde_json::Value = serde_json::from_str(&inside("sprite-env info")).unwrap();
    assert_eq!((info["name"].as_str(), info["org"].as_str()), (Some("box"), Some("local")));
    assert_eq!(info["sprite_url"].as_str(), Some(inside("echo $SPRITE_URL").trim()));
    assert!(inside("cat /.sprite/llm.txt").contains("sprite-env checkpoints"));
    assert!(
        inside("sprite-env checkpoints create --comment inside")
            .contains("Checkpoint v0 created successfully")
    );
    assert!(inside("sprite-env checkpoints list").contains("inside"));
    // What undoes its work is not its to delete, and neither are other sprites its business.
    for path in [
        "-X DELETE http://sprite/v1/checkpoints/v0",
        "http://sprite/v1/sprites",
        "http://sprite/v1/agent/health",
    ] {
        let script =
            format!("curl -sS -o /dev/null -w '%{{http_code}}' --unix-socket /.sprite/api.sock {path}");
        assert!(matches!(inside(&script).as_str(), "404" | "405"), "{path}");
    }
    inside("sprite-env tasks create build --expire 5m");
    let tasks = home.good(&["-s", "box", "api", "/tasks"]);
    assert!(tasks.contains("\"build\""), "{tasks}");
    home.good(&[
        "-s",
        "box",
        "api",
        "/policy/network",
        "--",
        "-d",
        r#"{"rules":[{"domain":"example.com","action":"allow"}]}"#,
    ]);
    assert!(inside("cat /.sprite/policy/network.json").contains("example.com"));
    let (code, ..) =
        home.run(&["-s", "box", "exec", "sudo", "sh", "-c", "echo x > /.sprite/policy/network.json"]);
    assert_ne!(code, 0, "it is a copy, and looks like one");
    let refused = home.good(&[
        "-s",
        "box",
        "api",
        "/policy/network",
        "--",
        "-d",
        r#"{"rules":[{"include":"everything"}]}"#,
    ]);
    assert!(refused.contains("invalid_policy"), "{refused}");
}
