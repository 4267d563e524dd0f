//! Remote endpoints that misbehave, as the cloud and what stands on the way to it do: the command line and the app tell it, never hang, and
//! show nothing that a terminal would obey. What takes long by its nature is tested beside the client, with a paused clock.

use crossterm::event::{Event as Press, KeyCode, KeyEvent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::Home;
use snapshots_tests::person::{ENTER, LEAVE, SHORT};
use snapshots_tests::pty::Pty;
use snapshots_tests::scripted::{
    Reply, Request, Scripted, Step, answer, binary, close, exit, info, json, lines, stream, text, usual,
};
use sprites_api::exec::SessionInfo;
use sprites_backend::client::{ExecEvent, is_obeyed};
use sprites_tui::keys::Keys;
use sprites_tui::model::{Attachment, Here, Model};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Effect, Event, update};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Asks the app to try again.
const F5: &str = "\x1b[15~";

/// What the command line did: its code, output and error output.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn sprite(home: &Home, server: &Scripted, arguments: &[&str]) -> Run {
    let mut command = home.sprite(arguments);
    command.env("SPRITES_API_URL", server.url()).env("SPRITE_TOKEN", "acme/1/2/secret-word");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
        let _ = kill(pid, Signal::SIGKILL);
        panic!("{arguments:?} hangs; {:?}", server.seen());
    });
    let output = output.unwrap();
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        out: words(&output.stdout),
        err: words(&output.stderr),
    };
    let obeyed = |c: char| is_obeyed(c) && !matches!(c, '\n' | '\t');
    assert!(!run.out.contains(obeyed) && !run.err.contains(obeyed), "{:?} {:?}", run.out, run.err);
    assert!(!run.err.contains("secret-word") && !run.err.contains("panicked"), "{}", run.err);
    run
}

/// A server that answers one kind of request in one way, and everything else as usual.
fn but(line: &'static str, reply: Reply) -> Scripted {
    Scripted::new(move |request| if request.line() == line { reply.clone() } else { usual(request) })
}

/// A socket instead of the list of sessions.
fn socket(request: &Request, steps: &[Step]) -> Reply {
    if request.is_upgrade() { Reply::Socket(steps.to_vec()) } else { usual(request) }
}

const LIMIT: &str = r#"{"error":"concurrent_sprite_limit_exceeded","message":"You run too many sprites",
    "limit":3,"current_count":3,"upgrade_available":true,"upgrade_url":"https://sprites.dev/plans"}"#;
const CREATIONS: &str = r#"{"error":"sprite_creation_rate_limited","message":"Too many new sprites",
    "limit":10,"window_seconds":60,"retry_after_seconds":90}"#;
const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>\x1b]0;gotcha\x07</title></head></html>";

#[test]
fn the_command_line_tells_every_refusal_once() {
    let home = Home::empty();
    let create = "POST /v1/sprites";
    let look = "GET /v1/sprites/box";
    let bytes = |bytes: &str| Reply::Bytes(bytes.as_bytes().to_vec());
    for (line, reply, arguments, words) in [
        (
            create,
            json("429 Too Many Requests", LIMIT),
            "create x",
            "3 of 3 sprites are running; let one fall",
        ),
        (create, json("429 Too Many Requests", LIMIT), "create x", "https://sprites.dev/plans"),
        (create, json("429 Too Many Requests", CREATIONS), "create x", "10 in 60 s; try again in 90 s"),
        (create, answer("502 Bad Gateway", "Content-Type: text/html\r\n", PAGE), "create x", "web page"),
        (create, answer("503 Service Unavailable", "Retry-After: 1\r\n", ""), "create x", "try again in 1 s"),
        (create, bytes(""), "create x", "look at the result before trying again"),
        (
            create,
            json("401 Unauthorized", r#"{"error":"unauthorized"}"#),
            "create x",
            "does not accept the token",
        ),
        (
            create,
            json("403 Forbidden", r#"{"error":"names begin with \u001b[31mci-"}"#),
            "create x",
            "names begin with [31mci-",
        ),
        (
            look,
            answer("429 Too Many Requests", "Retry-After: 3600\r\n", ""),
            "-s box info",
            "try again in 3600 s",
        ),
        (look, json("200 OK", r#"{"name":"box","#), "-s box info", "cannot be read (EOF"),
        (look, json("200 OK", "[]"), "-s box info", "cannot be read"),
        (look, answer("200 OK", "Content-Type: text/html\r\n", PAGE), "-s box info", "web page"),
        (look, answer("500 Oh", "", "\x1b[2Jgone \u{9b}1m \u{202e}wrong"), "-s box info", "[2Jgone 1m wrong"),
        (
            "DELETE /v1/sprites/box",
            answer("200 OK", "Content-Type: text/html\r\n", PAGE),
            "destroy box --force",
            "web page",
        ),
        (
            "GET /v1/sprites",
            json("200 OK", r#"{"sprites":[{"name":"a"}],"has_more":true,"next_continuation_token":"a"}"#),
            "list",
            "no end",
        ),
        (
            "POST /v1/sprites/box/checkpoint",
            lines("{\"type\":\"error\",\"error\":\"\\u001b[2Jno space\"}\n"),
            "-s box checkpoint create",
            "[2Jno space",
        ),
        (
            "POST /v1/sprites/box/checkpoint",
            lines("{\"type\":\"info\",\"data\":\"x\"}\n"),
            "-s box checkpoint create",
            "look at the result",
        ),
        ("POST /v1/sprites/box/checkpoint", lines(PAGE), "-s box checkpoint create", "cannot be read"),
        (
            "POST /v1/sprites/box/checkpoint",
            lines("x".repeat(300_000)),
            "-s box checkpoint create",
            "longer than",
        ),
        (
            "POST /v1/sprites/box/exec",
            answer("200 OK", "", "\x01out"),
            "-s box exec --http-post true",
            "without an exit code",
        ),
    ] {
        let server = but(line, reply);
        let run = sprite(&home, &server, &arguments.split(' ').collect::<Vec<_>>());
        assert!(run.code == 1 && run.err.contains(words), "{arguments}: {} {:?}", run.code, run.err);
        assert!(run.err.lines().count() == 1, "{:?}", run.err);
        if !line.starts_with("GET /v1/sprites ") && line != "GET /v1/sprites" {
            assert_eq!(server.count(line), 1, "{line} {words}");
        }
    }
    // Nothing is sent for what cannot be a name.
    let server = Scripted::new(usual);
    for name in ["..", "../box", "a/b", "\x1b[2J"] {
        let run = sprite(&home, &server, &["-s", name, "info"]);
        assert!(run.code == 1 && run.err.contains("cannot be the name"), "{:?}", run.err);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn broken_http_is_told() {
    let home = Home::empty();
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".to_vec();
    let body = [&head[..], b"\r\n{"].concat();
    let long = format!(r#"{{"name":"box","status":"cold","pad":"{}"}}"#, "x".repeat(300_000));
    for (reply, words) in [
        (json("200 OK", long), "more than 256 KiB"),
        (Reply::Bytes(b"NONSENSE\r\n\r\n".to_vec()), "http://127.0.0.1"),
        (Reply::Bytes(vec![0; 4096]), "http://127.0.0.1"),
        (Reply::Bytes([&head[..], b"Content-Length: 100\r\n\r\n{"].concat()), "broke"),
        (Reply::Endless(body, vec![b' '; 1 << 20]), "larger than 32 MiB"),
        (Reply::Endless([&head[..], b"X: "].concat(), vec![b'x'; 1 << 16]), "http://127.0.0.1"),
        (Reply::Endless(b"HTTP/1.1 500 Oh\r\n\r\n".to_vec(), b"so sorry ".repeat(1000)), "so sorry so sorry"),
    ] {
        let server = but("GET /v1/sprites/box", reply.clone());
        let run = sprite(&home, &server, &["-s", "box", "info"]);
        assert!(run.code == 1 && run.err.contains(words), "{} {:?}", run.code, run.err);
        assert!(run.err.lines().count() == 1 && run.err.len() < 1000, "{:?}", run.err);
    }
}

/// Pages that always lead to another become no more memory than a list may have.
#[test]
fn a_list_without_end_is_given_up() {
    let home = Home::empty();
    let pages = AtomicUsize::new(0);
    let server = Scripted::new(move |_| {
        let page = pages.fetch_add(1, Ordering::SeqCst);
        let pad = "x".repeat(20 << 20);
        let list = r#"{"sprites":[],"has_more":true,"next_continuation_token":"#;
        json("200 OK", format!(r#"{list}"{page}","pad":"{pad}"}}"#))
    });
    let run = sprite(&home, &server, &["list"]);
    assert!(run.code == 1 && run.err.contains("64 MiB"), "{} {:?}", run.code, run.err);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn redirects_are_told_and_the_token_stays_here() {
    let home = Home::empty();
    let other = Scripted::new(usual);
    let location = format!("Location: {}/v1/sprites\r\n", other.url());
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = but("GET /v1/sprites", answer(status, &location, PAGE));
        let run = sprite(&home, &server, &["list"]);
        assert!(run.code == 1 && run.err.contains(&other.url()), "{:?}", run.err);
        assert!(server.seen()[0].headers["authorization"].contains("secret-word"));
    }
    assert!(other.seen().is_empty());
}

#[test]
fn sessions_that_end_before_their_time_are_told() {
    let home = Home::empty();
    let exec = "GET /v1/sprites/box/exec";
    let bytes = |bytes: &str| Reply::Bytes(bytes.as_bytes().to_vec());
    let hi = binary(b"\x01hi\n");
    for (reply, words) in [
        (bytes(""), "broke while waiting"),
        (
            bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            "did not open a WebSocket",
        ),
        (json("200 OK", r#"{"count":0,"sessions":[]}"#), "did not open a WebSocket"),
        (json("429 Too Many Requests", LIMIT), "3 of 3 sprites are running"),
        (answer("504 Gateway Timeout", "", PAGE), "web page"),
        (Reply::Socket(vec![]), "broke"),
        (Reply::Socket(vec![close(1000, "")]), "before the session began"),
        (Reply::Socket(vec![close(1011, "no \x1b[2Jcapacity")]), "no [2Jcapacity"),
        (Reply::Socket(vec![info("7", false), hi.clone()]), "may still run"),
        (Reply::Socket(vec![info("7", false), hi.clone(), close(1001, "restoring")]), "restoring"),
        (
            Reply::Socket(vec![info("7", false), text(r#"{"type":"error","message":"\u001b[2Jbad"}"#)]),
            "[2Jbad",
        ),
    ] {
        let server = but(exec, reply);
        let run = sprite(&home, &server, &["-s", "box", "exec", "--no-stdin", "rm", "-r", "x"]);
        assert!(run.code == 1 && run.err.contains(words), "{} {:?} {words}", run.code, run.err);
        assert!(run.err.lines().count() <= 3, "{:?}", run.err);
        // What may have begun is not begun again.
        assert_eq!(server.count(exec), 1, "{words}");
    }
    // On a terminal the reason comes when the screen is the person's again.
    let server = but(exec, Reply::Socket(vec![info("7", true), binary("hello"), close(1011, "moved away")]));
    let mut command = home.sprite_in_terminal(&["-s", "box", "console"]);
    command.env("SPRITES_API_URL", server.url());
    command.env("SPRITE_TOKEN", "t");
    let mut console = Pty::spawn(command, 24, 100);
    assert_eq!(console.end(SHORT), 1);
    console.drained(SHORT);
    let shown = console.screen().contents();
    assert!(shown.contains("hello") && shown.contains("moved away"), "{shown}");
}

#[test]
fn the_command_line_waits_where_that_helps() {
    let home = Home::empty();
    let begun = vec![info("7", false), binary(b"\x01hi\n")];
    // Whoever ends a connection in which something is still unread breaks it.
    let ended = vec![close(1000, ""), Step::Stay];
    let done = move || [begun.clone(), exit(3).to_vec(), ended.clone()].concat();
    let slow = done();
    let again = [
        json("409 Conflict", r#"{"error":"conflict","message":"a restore is in progress"}"#),
        answer("503 Service Unavailable", "Retry-After: 1\r\n", ""),
        answer("502 Bad Gateway", "", PAGE),
    ];
    let server = Scripted::new(move |request| match request.line().as_str() {
        "GET /v1/sprites/box/exec" => {
            again.get(request.before).cloned().unwrap_or_else(|| Reply::Socket(done()))
        }
        _ => usual(request),
    });
    let run = sprite(&home, &server, &["-s", "box", "exec", "true"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (3, "hi\n", ""));
    // A sprite that wakes slowly: nothing comes for eight seconds.
    let slow = Reply::Later(Duration::from_secs(8), Box::new(Reply::Socket(slow)));
    let server = but("GET /v1/sprites/box/exec", slow);
    let run = sprite(&home, &server, &["-s", "box", "exec", "true"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (3, "hi\n", ""));
    // A short pause is made without a word.
    let server = Scripted::new(|request| match request.before {
        0 => answer("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        _ => usual(request),
    });
    let run = sprite(&home, &server, &["list"]);
    assert!(run.code == 0 && run.out.starts_with("box"), "{:?}", run.err);
}

/// A list in which every text is hostile.
const HOSTILE: &str = r#"{"sprites":[
    {"name":"box","status":"\u001b[31mrunning","id":"\u001b]0;gotcha\u0007","labels":["\u001b]0;gotcha\u0007","\u009b2J","\u202eevil"],
     "failure":"\u001b]0;gotcha\u0007"},
    {"name":"\u001b]0;gotcha\u0007","status":"cold"}, {"name":"..","status":"cold"}, {"name":"","status":"cold"}]}"#;

#[test]
fn lists_are_printed_without_what_a_terminal_obeys() {
    let home = Home::empty();
    let server = but("GET /v1/sprites", json("200 OK", HOSTILE));
    let run = sprite(&home, &server, &["list"]);
    assert!(run.code == 0 && run.out.contains("]0;gotcha"), "{}", run.err);
    // Programs get every sign, in a form that is safe to look at.
    let run = sprite(&home, &server, &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(list[0]["labels"][1], "\u{9b}2J");
    let watched = "{\"name\":\"\\u001b]0;gotcha\\u0007\",\"status\":\"cold\"}\n";
    let server = but("GET /v1/sprites", lines(watched));
    let run = sprite(&home, &server, &["list", "--watch"]);
    assert!(run.code == 1 && run.out.contains("]0;gotcha") && run.err.contains("stream"), "{:?}", run.err);
}

#[test]
fn a_folder_that_is_pulled_writes_nothing_outside() {
    let home = Home::empty();
    let server = Scripted::new(|request| match request.line().as_str() {
        "GET /v1/sprites/box/fs/list" => {
            let entry = |name: &str, kind: &str| {
                format!(
                    r#"{{"name":"{name}","path":"/w/{name}","type":"{kind}","mode":"4777","modTime":"2026-01-01T00:00:00Z"}}"#
                )
            };
            let entries = [
                entry("../evil", "file"),
                entry("up", "symlink"),
                entry("up/evil", "file"),
                entry("well", "file"),
                entry("away", "symlink"),
                entry("same", "symlink"),
                entry("pipe", "file"),
                entry("secret", "file"),
            ];
            json("200 OK", format!(r#"{{"path":"/w","entries":[{}],"count":8}}"#, entries.join(",")))
        }
        "GET /v1/sprites/box/fs/read" if request.query.contains("pipe") => json(
            "400 Bad Request",
            r#"{"error":"it is a device, pipe or socket, and only files can be read","code":"EINVAL","path":"/w/pipe"}"#,
        ),
        "GET /v1/sprites/box/fs/read" if request.query.contains("secret") => {
            json("403 Forbidden", r#"{"error":"permission denied","code":"EACCES","path":"/w/secret"}"#)
        }
        "GET /v1/sprites/box/fs/read" => answer("200 OK", "", "hello"),
        "GET /v1/sprites/box/exec" => {
            let told = b"\x01up\0..\0away\0/etc/passwd\0same\0well\0".to_vec();
            socket(
                request,
                &[vec![info("7", false), binary(told)], exit(0).to_vec(), vec![close(1000, "")]].concat(),
            )
        }
        _ => usual(request),
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let run = sprite(&home, &server, &["-s", "box", "file", "pull", "-r", "/w", to.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{}", run.err);
    for words in [
        "\"../evil\", which is not below its folder",
        "/w/up is a link to .., not below",
        "/w/away is a link to /etc/passwd",
        "/w/pipe is a device, pipe or socket and is left out",
        "/w/secret in box: permission denied",
        "1 link; 3 left out; ",
    ] {
        assert!(run.err.contains(words), "{words}: {}", run.err);
    }
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.pop().unwrap(), "to");
    assert!(names.is_empty());
    // Nothing by which a program would run as somebody else is taken over.
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(to.join("well")).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o777);
    assert_eq!(std::fs::read_to_string(to.join("same")).unwrap(), "hello");
}

fn app(home: &Home, server: &Scripted) -> Pty {
    let mut command = home.terminal_command(&["--url", &server.url()]);
    command.env("SPRITES_TOKEN", "acme/1/2/secret-word");
    Pty::spawn(command, 24, 160)
}

/// The app ends as it should, and has printed nothing of what a server wants the terminal to do.
fn quit(mut app: Pty) {
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    app.drained(SHORT);
    let printed = String::from_utf8_lossy(&app.bytes()).into_owned();
    assert!(!printed.contains("\x1b]0;gotcha") && !printed.contains(['\u{9b}', '\u{202e}']));
    assert!(!printed.contains("secret-word"));
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + SHORT;
    while !condition() {
        assert!(Instant::now() < give_up, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_app_shows_hostile_texts_as_texts() {
    let home = Home::empty();
    let gotcha = r#"{"error":"\u001b]0;gotcha\u0007 it is \u202ewrong"}"#;
    let server = Scripted::new(move |request| match request.line().as_str() {
        "GET /v1/sprites" if request.wants_lines() => stream(
            "{\"name\":\"\\u001b]0;gotcha\\u0007\",\"status\":\"cold\"}\n{\"name\":\"new\",\"status\":\"cold\"}\n",
        ),
        "GET /v1/sprites" => json("200 OK", HOSTILE),
        // That one sprite cannot be looked at does not mean that the connection is lost.
        "GET /v1/sprites/new" | "POST /v1/sprites" => json("400 Bad Request", gotcha),
        _ => usual(request),
    });
    let mut app = app(&home, &server);
    app.wait_for("failed", SHORT);
    app.wait_for("3 sprites with a name that cannot be used", SHORT);
    app.wait_for("it is wrong", SHORT);
    app.send(ENTER);
    app.wait_for("#]0;gotcha", SHORT);
    app.send("\x1b");
    app.wait_for("name ▾", SHORT);
    app.send("n");
    app.wait_for("New sprite", SHORT);
    app.send("other\r");
    app.wait(SHORT, "the refusal", |_| server.count("POST /v1/sprites") == 1);
    app.send("l");
    app.wait(SHORT, "it in the log", |screen| screen.contents().matches("it is wrong").count() >= 2);
    let asked = server.count("GET /v1/sprites");
    app.wait_for("┌ log ", SHORT);
    app.send("\x1b");
    // Read together with the next key it would be another one.
    app.wait(SHORT, "the end of the log", |screen| !screen.contents().contains("┌ log "));
    app.send(F5);
    // Still connected: the list is asked for, and no new start is made.
    wait("the list", || server.count("GET /v1/sprites") > asked);
    quit(app);
}

#[test]
fn the_app_leaves_a_limited_server_alone_until_somebody_asks() {
    let home = Home::empty();
    let server = Scripted::new(|request| match (request.line().as_str(), request.before) {
        ("GET /v1/sprites", 0) => answer("429 Too Many Requests", "Retry-After: 3600\r\n", ""),
        ("POST /v1/sprites", _) => json("429 Too Many Requests", CREATIONS),
        ("GET /v1/sprites/box/exec", _) => json("429 Too Many Requests", LIMIT),
        _ => usual(request),
    });
    let mut app = app(&home, &server);
    app.wait_for("try again in 3600 s", SHORT);
    assert_eq!(server.count("GET /v1/sprites"), 1);
    app.send(F5);
    app.wait_for("○ cold", SHORT);
    app.send("n");
    app.wait_for("New sprite", SHORT);
    app.send("other\r");
    app.wait_for("try again in 90 s", SHORT);
    assert_eq!(server.count("POST /v1/sprites"), 1);
    app.send("t");
    app.wait_for("3 of 3 sprites are running", SHORT);
    app.send(LEAVE);
    app.wait_for("○ cold", SHORT);
    quit(app);
}

#[test]
fn a_console_that_is_cut_off_is_detached_and_any_key_connects_it_again() {
    let home = Home::empty();
    let server = Scripted::new(|request| match request.line().as_str() {
        // It wakes slowly, takes what was typed meanwhile, and is cut off without a word.
        "GET /v1/sprites/box/exec" => {
            let steps = [info("7", true), Step::Until("typed ahead"), binary("first$ ")];
            Reply::Later(Duration::from_secs(1), Box::new(socket(request, &steps)))
        }
        "GET /v1/sprites/box/exec/7" => match request.before {
            0 => Reply::Socket(vec![close(1011, "no capacity just now")]),
            // It does not say which session it is, and works all the same.
            // Keys may come one by one.
            1 => Reply::Socket(vec![binary("second$ "), Step::Until("m"), binary("yes\r\n"), Step::Stay]),
            _ => usual(request),
        },
        _ => usual(request),
    });
    let mut app = app(&home, &server);
    app.wait_for("○ cold", SHORT);
    app.send("t");
    app.wait_for("connecting", SHORT);
    app.send("typed ahead");
    app.wait_for("first$", SHORT);
    app.wait_for("detached; any key connects again", SHORT);
    app.wait_for("broke", SHORT);
    app.send("x");
    app.wait_for("no capacity just now", SHORT);
    app.wait_for("detached; any key connects again", SHORT);
    app.send("x");
    app.wait_for("second$", SHORT);
    app.send("more");
    app.wait_for("yes", SHORT);
    app.send(LEAVE);
    app.wait_for("○ cold", SHORT);
    assert_eq!(server.count("GET /v1/sprites/box/exec/7"), 2);
    quit(app);
}

#[test]
fn streams_that_end_are_followed_again_without_a_word() {
    let home = Home::empty();
    let server = Scripted::new(|request| match request.line().as_str() {
        "GET /v1/sprites" if request.wants_lines() => match request.before {
            // Each comes after a list.
            0..=3 => lines(""),
            _ => stream(""),
        },
        _ => usual(request),
    });
    let app = app(&home, &server);
    let streams = || server.seen().iter().filter(|request| request.wants_lines()).count();
    app.wait_for("○ cold", SHORT);
    wait("a third stream", || streams() >= 3);
    let shown = app.screen().contents();
    assert!(!shown.contains("stream") && shown.contains("○ cold"), "{shown}");
    quit(app);
}

#[test]
fn a_server_without_a_stream_is_asked_now_and_then() {
    let home = Home::empty();
    let server = Scripted::new(|request| match (request.line().as_str(), request.before) {
        ("GET /v1/sprites", 0 | 1) => json("200 OK", r#"{"sprites":[{"name":"box"}],"name":"acme"}"#),
        ("GET /v1/sprites", _) => json("200 OK", r#"{"sprites":[{"name":"late"}],"name":"acme"}"#),
        _ => usual(request),
    });
    let app = app(&home, &server);
    app.wait_for("box", SHORT);
    app.wait_for("late", SHORT);
    let shown = app.screen().contents();
    assert!(!shown.contains("acme") && !shown.contains("does not offer"), "{shown}");
    quit(app);
}

#[test]
fn a_console_whose_connection_is_silent_is_detached() {
    let here = Here { context: "cloud".into(), endpoint: "https://x.example".into(), local: false };
    let mut model = Model::new(here, Keys::default(), Theme::all(None).0, 0, (80, 24));
    let sprite = sprites_api::sprite::Sprite { name: "box".into(), ..Default::default() };
    update(&mut model, Event::Sprites(Ok(vec![sprite])));
    let press = |model: &mut Model, key| {
        update(model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Char(key)))))
    };
    let opened = press(&mut model, 't');
    let [Effect::OpenConsole { id, .. }] = opened[..] else { panic!("{opened:?}") };
    let session = SessionInfo { session_id: "7".into(), ..SessionInfo::default() };
    update(&mut model, Event::Console(id, ExecEvent::Info(session)));
    assert_eq!(model.console(id).unwrap().attachment, Attachment::Attached);
    // What the client makes of silence, see its tests.
    let why = "nothing was heard from the endpoint for 45 s";
    update(&mut model, Event::Console(id, ExecEvent::Error(why.into())));
    update(&mut model, Event::Console(id, ExecEvent::Closed));
    assert_eq!(model.console(id).unwrap().attachment, Attachment::Detached);
    assert!(model.toasts.iter().any(|toast| toast.text.contains(why)));
    let again = press(&mut model, 'x');
    assert!(
        matches!(&again[..], [Effect::OpenConsole { session: Some(session), .. }] if session == "7"),
        "{again:?}"
    );
}
