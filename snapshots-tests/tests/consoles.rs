//! Consoles in the real executable: what it asks of the terminal around it and gives back, what it copies, what comes back after quitting.

use snapshots_tests::harness::Home;
use snapshots_tests::person::{LEAVE, SHORT};
use snapshots_tests::pty::Pty;
use snapshots_tests::scripted::{Reply, Request, Scripted, Step, binary, info, usual};

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a terminal that speaks the kitty keyboard protocol answers.
const ANSWER: &str = "\x1b[?0u\x1b[?62;22c";

/// The app before a server, with a theme, so that it asks nothing about colours.
fn app(home: &Home, server: &Scripted, before: &str) -> Pty {
    let mut command = home.terminal_command(&["--url", &server.url(), "--theme", "dark"]);
    command.env("SPRITES_TOKEN", "acme/1/2/secret-word");
    for name in ["TMUX", "VTE_VERSION", "TERM_PROGRAM"] {
        command.env_remove(name);
    }
    let mut app = Pty::spawn(command, 24, 100);
    // Typed before it asks: it waits in the terminal until then.
    app.send(before);
    app.wait_for("box", SHORT);
    app
}

/// A server with one sprite, in which each connection is a session that prints something and stays.
fn server(prints: &'static str) -> Scripted {
    let sessions = AtomicUsize::new(7);
    let session = move |request: &Request, id: &str| match request.is_upgrade() {
        true => Reply::Socket(vec![info(id, true), binary(prints), Step::Stay]),
        false => usual(request),
    };
    Scripted::new(move |request| match request.line().as_str() {
        "GET /v1/sprites/box/exec" if request.is_upgrade() => {
            session(request, &sessions.fetch_add(1, Ordering::SeqCst).to_string())
        }
        "GET /v1/sprites/box/exec/7" => session(request, "7"),
        "GET /v1/sprites/box/exec/8" => session(request, "8"),
        _ => usual(request),
    })
}

fn printed(app: &Pty) -> String {
    String::from_utf8_lossy(&app.bytes()).into_owned()
}

fn wait_printed(app: &Pty, text: &str) {
    let give_up = std::time::Instant::now() + SHORT;
    while !printed(app).contains(text) {
        assert!(std::time::Instant::now() < give_up, "{text:?} was never printed");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Leaves the app, and what it changed of the terminal is as before.
fn quit(mut app: Pty) -> String {
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    app.drained(SHORT);
    let text = printed(&app);
    for (on, off) in [
        ("\x1b[?1049h", "\x1b[?1049l"),
        ("\x1b[>1u", "\x1b[<1u"),
        ("\x1b[5 q", "\x1b[0 q"),
        ("\x1b[?2026h", "\x1b[?2026l"),
    ] {
        assert!(!text.contains(on) || text.rfind(off) > text.rfind(on), "{off:?} is missing at the end");
    }
    text
}

#[test]
fn keyboard_and_cursor_are_taken_and_given_back() {
    let home = Home::empty();
    let server = server("\x1b[5 q\x1b[>3uready$ ");
    let mut one = app(&home, &server, ANSWER);
    wait_printed(&one, "\x1b[>1u");
    one.send("t");
    one.wait_for("ready$", SHORT);
    // The cursor's shape is the program's, and it is told of keys that are let go.
    wait_printed(&one, "\x1b[5 q");
    wait_printed(&one, "\x1b[=3;1u");
    // The one key, as such a terminal sends it.
    one.send("\x1b[93;5ud");
    one.wait_for("○ cold", SHORT);
    wait_printed(&one, "\x1b[=1;1u");
    let text = quit(one);
    assert!(text.contains("\x1b[<1u"));

    // A terminal that does not know the protocol is not spoken to in it.
    let other = app(&home, &server, "\x1b[?62c");
    let text = quit(other);
    assert!(!text.contains("\x1b[>1u"));
}

#[test]
fn a_drag_copies_through_the_terminal() {
    let home = Home::empty();
    let server = server("hello world");
    let mut app = app(&home, &server, "\x1b[?62c");
    app.send("t");
    app.wait_for("hello world", SHORT);
    // Down on the w, to the d, up.
    app.send("\x1b[<0;8;3M\x1b[<32;12;3M\x1b[<0;12;3m");
    app.wait_for("Copied 5 characters through the terminal", SHORT);
    assert!(printed(&app).contains("\x1b]52;c;d29ybGQ="));
    app.send(LEAVE);
    app.wait_for("○ cold", SHORT);
    quit(app);
}

#[test]
fn splits_come_back_after_quitting() {
    let home = Home::empty();
    let server = server("ready$ ");
    let both = |screen: &vt100::Screen| screen.rows(0, 100).any(|row| row.matches("ready$").count() == 2);
    let mut one = app(&home, &server, "\x1b[?62c");
    one.send("t");
    one.wait_for("ready$", SHORT);
    one.send("\x1dv");
    one.wait(SHORT, "two consoles side by side", both);
    one.send(LEAVE);
    one.wait_for("○ cold", SHORT);
    quit(one);
    // Another run: both are there, and connect when they are looked at.
    let mut two = app(&home, &server, "\x1b[?62c");
    two.wait_for("(box)", SHORT);
    assert_eq!(server.count("GET /v1/sprites/box/exec/7"), 0);
    two.send("1");
    two.wait(SHORT, "two consoles side by side", both);
    assert_eq!(server.count("GET /v1/sprites/box/exec/7"), 1);
    assert_eq!(server.count("GET /v1/sprites/box/exec/8"), 1);
    two.send("\x1dz");
    two.wait_for("zoomed", SHORT);
    two.send(LEAVE);
    two.wait_for("○ cold", SHORT);
    quit(two);
}

#[test]
fn the_one_key_shows_what_can_follow() {
    let home = Home::empty();
    let server = server("ready$ ");
    let mut app = app(&home, &server, "\x1b[?62c");
    app.send("t");
    app.wait_for("ready$", SHORT);
    app.wait_for("ctrl-] d leaves", SHORT);
    app.send("\x1d");
    app.wait_for("split: new one below", SHORT);
    app.send("d");
    app.wait_for("○ cold", SHORT);
    quit(app);
}
