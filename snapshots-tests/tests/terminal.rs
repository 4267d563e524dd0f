//! The real executable in a terminal: however it ends, the terminal is left as it was found.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(30);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn start(home: &Home, rows: u16, cols: u16) -> Pty {
    let app = Pty::spawn(home.terminal_command(&["--url", NOWHERE]), rows, cols);
    app.wait_for("cannot be listed", SHORT);
    app
}

/// Alternate screen, mouse, paste and cursor are given back.
fn assert_clean(app: &Pty) {
    app.drained(SHORT);
    let bytes = app.bytes();
    let text = String::from_utf8_lossy(&bytes);
    for (on, off) in
        [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?1000h", "\x1b[?1000l"), ("\x1b[?2004h", "\x1b[?2004l")]
    {
        assert!(text.rfind(off) > text.rfind(on), "{off:?} is missing at the end");
    }
    let screen = app.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
}

#[test]
fn quitting_and_signals_leave_a_clean_terminal() {
    let home = Home::empty();
    let mut app = start(&home, 24, 80);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_clean(&app);
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut app = start(&home, 24, 80);
        kill(Pid::from_raw(app.pid()), signal).unwrap();
        app.end(SHORT);
        assert_clean(&app);
    }
}

/// What the app cannot do itself then, its guard does.
#[test]
fn crashes_and_kill_leave_a_clean_terminal() {
    let home = Home::empty();
    for signal in [Signal::SIGABRT, Signal::SIGKILL] {
        let mut app = start(&home, 24, 80);
        kill(Pid::from_raw(app.pid()), signal).unwrap();
        app.wait(SHORT, "a terminal as it was", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        app.end(SHORT);
        assert_clean(&app);
        assert!(app.is_cooked());
    }
}

#[test]
fn a_vanished_terminal_ends_the_app() {
    let home = Home::empty();
    let mut app = start(&home, 24, 80);
    app.vanish();
    app.end(SHORT);
}

#[test]
fn every_size_is_drawn() {
    let home = Home::empty();
    let mut app = start(&home, 24, 80);
    for (rows, cols) in [(50, 200), (10, 20), (2, 2), (24, 80), (16, 60)] {
        app.resize(rows, cols);
    }
    app.wait_for("cannot be listed", SHORT);
    app.send("?");
    app.wait_for("help", SHORT);
    app.resize(8, 30);
    app.wait_for("too small", SHORT);
    app.resize(24, 80);
    app.wait_for("help", SHORT);
    app.send("q");
    app.end(SHORT);
    assert_clean(&app);
}

#[test]
fn without_a_terminal_it_says_so() {
    let home = Home::empty();
    let output = home.command(&["--url", NOWHERE]).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"));
    let output = home.command(&["--url", "http://example.com"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("https"));
}
