//! Every way out of the app, from every place in it: the terminal is as it was.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::CommandBuilder;
use snapshots_tests::harness::{Home, executable};
use snapshots_tests::modes::left;
use snapshots_tests::person::{LEAVE, SHORT};
use snapshots_tests::pty::Pty;
use snapshots_tests::said::until;
use snapshots_tests::scripted::{Reply, Scripted, Step, binary, info, usual};
use sprites_backend::paths::HOME;
use std::fs;

/// What a terminal that speaks the kitty keyboard protocol answers.
const KITTY: &str = "\x1b[?0u\x1b[?62;22c";
/// Asks which keyboard protocol it is.
const ASKED: &[u8] = b"\x1b[?u";

/// Everything is given back, and lines are lines again.
fn assert_given_back(app: &Pty) {
    app.drained(SHORT);
    let left = left(&app.bytes());
    assert!(left.is_empty(), "{left:?}");
    assert!(app.is_cooked(), "the terminal gives single keys");
    let screen = app.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
}

fn signal(app: &Pty, signal: Signal) {
    kill(Pid::from_raw(app.pid()), signal).unwrap();
}

/// The app on sprites that are not there, in a terminal that speaks the kitty keyboard protocol.
fn demo(home: &Home, arguments: &[&str]) -> Pty {
    let command = home.terminal_command(&[&["--demo", "--theme", "dark"], arguments].concat());
    let mut app = Pty::spawn(command, 30, 100);
    app.send(KITTY);
    app.wait_for("web-shop", SHORT);
    app
}

/// The app in a console whose program uses all that there is: keyboard flags, a cursor of its own, the mouse.
fn console(home: &Home) -> (Pty, Scripted) {
    let prints = "\x1b[?1049h\x1b[?1003h\x1b[?2004h\x1b[5 q\x1b[>31uready$ ";
    let server = Scripted::new(move |request| match request.line().as_str() {
        "GET /v1/sprites/box/exec" if request.is_upgrade() => {
            Reply::Socket(vec![info("7", true), binary(prints), Step::Stay])
        }
        _ => usual(request),
    });
    let mut command = home.terminal_command(&["--url", &server.url(), "--theme", "dark"]);
    command.env("SPRITES_TOKEN", "acme/1/2/secret-word");
    let mut app = Pty::spawn(command, 24, 100);
    app.send(KITTY);
    app.wait_for("box", SHORT);
    app.send("t");
    app.wait_for("ready$", SHORT);
    app.wait_printed(0, b"\x1b[=3;1u", SHORT);
    app.wait_printed(0, b"\x1b[5 q", SHORT);
    (app, server)
}

#[test]
fn quitting_from_each_screen() {
    let home = Home::empty();
    for (keys, shows) in [
        ("\r", "before the big refactoring"),
        ("gn", "✗ denied"),
        ("gi", "preview"),
        ("gf", "README.md"),
        ("gd", "free on this machine"),
        ("?", " help "),
        ("l", " log "),
        ("$", "this month by sprite"),
        ("e", "what happened to agent-checkout"),
    ] {
        let mut app = demo(&home, &[]);
        app.send(keys);
        app.wait_for(shows, SHORT);
        app.send("q");
        assert_eq!(app.end(SHORT), 0, "{keys}");
        assert_given_back(&app);
    }
}

#[test]
fn out_of_a_dialog_and_the_palette() {
    let home = Home::empty();
    for (keys, shows) in [("n", "New sprite"), (":", "esc"), ("/", "filter")] {
        let mut app = demo(&home, &[]);
        app.send(keys);
        app.wait_for(shows, SHORT);
        signal(&app, Signal::SIGTERM);
        app.end(SHORT);
        assert_given_back(&app);
    }
}

#[test]
fn out_of_a_console_that_uses_everything() {
    let home = Home::empty();
    let (mut app, server) = console(&home);
    app.send("\x1b[93;5ud");
    app.wait_for("○ cold", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_given_back(&app);
    drop(server);
    for how in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGABRT, Signal::SIGKILL] {
        let (mut app, _server) = console(&home);
        signal(&app, how);
        app.wait(SHORT, "a terminal as it was", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        app.end(SHORT);
        assert_given_back(&app);
    }
    let (mut app, _server) = console(&home);
    app.vanish();
    app.end(SHORT);
    // Nor does what watches over the terminal stay.
    until(SHORT, "the end of all its processes", || home.processes().is_empty());
}

/// Keys that nobody has read yet do not keep the app from hearing that the terminal is gone.
#[test]
fn a_terminal_that_vanishes_while_somebody_types() {
    let home = Home::empty();
    for typed in [100, 1_000, 3_000, 20_000] {
        let mut app = demo(&home, &[]);
        app.send("jk".repeat(typed / 2));
        app.vanish();
        app.end(SHORT);
        until(SHORT, "the end of all its processes", || home.processes().is_empty());
    }
}

/// A terminal that does not control the app sends no signal when it goes.
#[test]
fn a_terminal_that_vanishes_without_a_word() {
    let home = Home::empty();
    let mut command = CommandBuilder::new("setsid");
    command.arg("--wait");
    command.arg(executable());
    command.args(["--demo", "--theme", "dark"]);
    command.env(HOME, home.paths().run().parent().unwrap());
    let mut app = Pty::spawn(command, 30, 100);
    app.send(KITTY);
    app.wait_for("web-shop", SHORT);
    app.vanish();
    until(SHORT, "the end of all its processes", || home.processes().is_empty());
}

/// Builds with debug assertions take these signals for a panic: of the loop, and of something beside it.
#[cfg(debug_assertions)]
#[test]
fn a_panic_can_be_read_and_one_elsewhere_is_told() {
    let home = Home::empty();
    for inside in [false, true] {
        let (mut app, _server) = match inside {
            true => {
                let (app, server) = console(&home);
                (app, Some(server))
            }
            false => (demo(&home, &[]), None),
        };
        signal(&app, Signal::SIGUSR1);
        app.wait_for("Something in the app failed", SHORT);
        assert!(app.screen().alternate_screen() && !app.is_cooked());
        signal(&app, Signal::SIGUSR2);
        assert_eq!(app.end(SHORT), 101);
        assert_given_back(&app);
        assert!(String::from_utf8_lossy(&app.bytes()).contains("asked for by a signal"));
    }
}

#[test]
fn line_by_line() {
    let home = Home::empty();
    for how in [None, Some(Signal::SIGTERM), Some(Signal::SIGHUP), Some(Signal::SIGKILL)] {
        let mut app = demo(&home, &["--plain"]);
        assert!(!app.is_cooked());
        match how {
            None => app.send("q"),
            Some(how) => signal(&app, how),
        }
        app.end(SHORT);
        until(SHORT, "whole lines", || app.is_cooked());
        assert_given_back(&app);
    }
}

/// While an editor has the terminal nothing of it is the app's, and it is the app's again afterwards.
#[test]
fn lent_to_an_editor() {
    let home = Home::empty();
    let folder = tempfile::tempdir().unwrap();
    let editor = folder.path().join("editor");
    fs::write(&editor, "printf 'the editor\\n'; read -r line; printf '%s\\n' \"$line\" >> \"$1\"\n").unwrap();
    let mut command = home.terminal_command(&["--demo", "--theme", "dark"]);
    command.env("EDITOR", format!("sh {}", editor.display()));
    command.env_remove("VISUAL");
    let mut app = Pty::spawn(command, 30, 100);
    app.send(KITTY);
    app.wait_for("web-shop", SHORT);
    app.send("gf");
    app.wait_for("README.md", SHORT);
    app.send("jE");
    app.wait_for("the editor", SHORT);
    assert_eq!(left(&app.bytes()), Vec::<String>::new());
    assert!(app.is_cooked());
    let from = app.printed();
    app.send("written here\r");
    app.wait_printed(from, ASKED, SHORT);
    app.send(KITTY);
    app.wait_for("is written", SHORT);
    app.wait_printed(from, b"\x1b[>1u", SHORT);
    assert!(!app.is_cooked());
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_given_back(&app);
}

/// Stopped in a console and called back: what was taken before is taken again, and given back once more.
#[test]
fn stopped_and_called_back() {
    let home = Home::empty();
    let mut shell = CommandBuilder::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]);
    shell.env(HOME, home.paths().run().parent().unwrap());
    shell.env("PS1", "ready> ");
    let mut shell = Pty::spawn(shell, 30, 100);
    shell.wait_for("ready>", SHORT);
    shell.send(format!("{} --demo --theme dark\r", executable().display()));
    shell.wait_printed(0, ASKED, SHORT);
    shell.send(KITTY);
    for _ in 0..2 {
        shell.wait(SHORT, "the app", |screen| {
            screen.alternate_screen() && screen.contents().contains("web-shop")
        });
        let from = shell.printed();
        shell.send("\x1b[122;5u");
        shell.wait(SHORT, "the shell", |screen| {
            !screen.alternate_screen() && screen.contents().contains("Stopped")
        });
        shell.wait_printed(from, b"ready> ", SHORT);
        assert_eq!(kept(&shell), Vec::<String>::new());
        shell.send("clear; fg\r");
        shell.wait_printed(from, ASKED, SHORT);
        shell.send(KITTY);
    }
    shell.wait_for("web-shop", SHORT);
    // From outside, so that nothing was given back: the shell has changed what it likes.
    let is_app = |pid: &i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("--demo\0")
    };
    let app = Pid::from_raw(home.processes().into_iter().find(is_app).unwrap());
    let from = shell.printed();
    kill(app, Signal::SIGSTOP).unwrap();
    shell.wait_printed(from, b"ready> ", SHORT);
    shell.send("fg\r");
    shell.wait_printed(from, ASKED, SHORT);
    assert!(!shell.is_cooked());
    shell.send(KITTY);
    shell
        .wait(SHORT, "the app", |screen| screen.alternate_screen() && screen.contents().contains("web-shop"));
    shell.send("q");
    shell.wait(SHORT, "the shell", |screen| !screen.alternate_screen());
    shell.send("exit\r");
    shell.end(SHORT);
    shell.drained(SHORT);
    assert_eq!(kept(&shell), Vec::<String>::new());
}

/// What is left, but for what the shell itself turns on while it reads a line.
fn kept(shell: &Pty) -> Vec<String> {
    left(&shell.bytes()).into_iter().filter(|what| what != "mode 2004 is on").collect()
}

/// A start that fails says why, and has not touched the terminal.
#[test]
fn starts_that_fail() {
    let home = Home::empty();
    for (arguments, why) in [
        (&["--context", "nowhere"][..], "there is no context"),
        (&["--url", "http://example.com"][..], "https"),
        (&["--nonsense"][..], "unexpected argument"),
    ] {
        let mut app = Pty::spawn(home.terminal_command(arguments), 24, 100);
        assert_ne!(app.end(SHORT), 0);
        app.drained(SHORT);
        assert!(app.screen().contents().contains(why), "{}", app.screen().contents());
        assert!(!app.bytes().windows(3).any(|three| three == b"\x1b[?"), "the terminal was touched");
        assert_given_back(&app);
    }
    // A file that cannot be read as configuration keeps nobody out.
    fs::write(home.paths().config_file(), "theme = [[[\n\0").unwrap();
    let mut app = demo(&home, &[]);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_given_back(&app);
}

/// The one key leads out whatever the program wants of the keyboard.
#[test]
fn the_one_key_in_both_keyboard_protocols() {
    let home = Home::empty();
    let (mut app, _server) = console(&home);
    app.send(LEAVE);
    app.wait_for("○ cold", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_given_back(&app);
}
