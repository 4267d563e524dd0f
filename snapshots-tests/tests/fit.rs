//! How the app fits in: files that change under it, a terminal that turns light, shells that stop it, ears instead of eyes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::CommandBuilder;
use snapshots_tests::harness::{Home, executable};
use snapshots_tests::pty::Pty;
use snapshots_tests::said::{fed, until};
use sprites_backend::paths::HOME;
use std::fs;
use std::num::NonZero;
use std::time::{Duration, Instant};
use vt100::Color;

const SHORT: Duration = Duration::from_secs(30);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";
/// Backgrounds of the themes `dark`, `light`, and one of a test.
const DARK: Color = Color::Rgb(0x0f, 0x13, 0x1a);
const LIGHT: Color = Color::Rgb(0xfb, 0xfb, 0xfa);
const OWN: Color = Color::Rgb(0, 0, 0x20);

fn start(home: &Home, arguments: &[&str]) -> Pty {
    let app = Pty::spawn(home.terminal_command(&[&["--url", NOWHERE], arguments].concat()), 24, 100);
    app.wait_for("cannot be listed", SHORT);
    app
}

fn is_behind(screen: &vt100::Screen, color: Color) -> bool {
    screen.cell(10, 3).is_some_and(|cell| cell.bgcolor() == color)
}

#[test]
fn files_that_change_are_read_again() {
    let home = Home::empty();
    let config = home.paths().config_file();
    fs::write(&config, "theme = \"light\"\n").unwrap();
    let mut app = start(&home, &[]);
    app.wait(SHORT, "the light theme", |screen| is_behind(screen, LIGHT));
    // As editors do it: a new file in the place of the old one.
    let fresh = config.with_extension("new");
    fs::write(&fresh, "theme = \"mine\"\n[keys]\nhelp = \"f2\"\n").unwrap();
    fs::rename(&fresh, &config).unwrap();
    app.wait_for("There is no theme \"mine\"", SHORT);
    fs::create_dir_all(home.paths().themes()).unwrap();
    let theme = home.paths().themes().join("mine.toml");
    let text = "name = \"mine\"\ndark = true\nbackground = \"#000020\"\ntext = \"#ffffff\"\n";
    until(SHORT, "the theme", || {
        // The folder is new, and watched a moment later.
        fs::write(&theme, text).unwrap();
        is_behind(&app.screen(), OWN)
    });
    fs::write(&theme, format!("{text}accnet = \"red\"\n")).unwrap();
    app.wait_for("did you mean accent?", SHORT);
    app.send("\x1bOQ");
    app.wait_for(" help ", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
}

#[test]
fn settings_are_changed_in_the_app_and_the_rest_of_the_file_stays() {
    let home = Home::empty();
    let config = home.paths().config_file();
    fs::write(&config, "# mine\ntheme = \"dark\" # at night\n").unwrap();
    let mut app = start(&home, &[]);
    app.send("g,");
    app.wait_for("As usual: by the terminal", SHORT);
    // The theme is typed, over what is there.
    app.send("\r");
    app.wait_for("enter ok", SHORT);
    app.send("\x15light\r");
    app.wait(SHORT, "the light theme", |screen| is_behind(screen, LIGHT));
    let says = || fs::read_to_string(&config).unwrap();
    assert_eq!(says(), "# mine\ntheme = \"light\" # at night\n");
    app.send("jjjj\r");
    until(SHORT, "the graphs", || says().ends_with("\n[look]\ngraphs = \"braille\"\n"));
    app.wait_for("\"braille\"", SHORT);
    // What somebody writes there counts, and what counts later is told.
    fs::write(&config, "read_only = true\n[[contexts]]\nname = \"far\"\nurl = \"https://far.example\"\n")
        .unwrap();
    app.wait_for("read-only", SHORT);
    app.wait_for("Contexts hold as they are written", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
}

#[test]
fn a_terminal_that_turns_light_is_followed() {
    let home = Home::empty();
    let mut command = home.terminal_command(&["--url", NOWHERE]);
    // Build services have fewer colours in their logs, which is no matter here.
    command.env("CI", "true");
    let mut app = Pty::spawn(command, 24, 100);
    let asked = |app: &Pty, times| {
        until(SHORT, "the question", || {
            let bytes = app.bytes();
            bytes.windows(5).filter(|five| *five == b"\x1b]11;").count() >= times
        });
    };
    asked(&app, 1);
    app.send("\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\\x1b[?62;c");
    app.wait(SHORT, "the dark theme", |screen| is_behind(screen, DARK));
    // What it may not ask again at once.
    let again = Instant::now() + Duration::from_secs(2);
    until(SHORT, "the pause", || Instant::now() >= again);
    app.send("\x1b[I");
    asked(&app, 2);
    // A key that was pressed meanwhile counts.
    app.send("?\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;c");
    app.wait(SHORT, "the light theme", |screen| is_behind(screen, LIGHT));
    app.wait_for(" help ", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
}

/// In a shell with jobs: the terminal is the shell's while the app is stopped, by its key and by the signal.
#[test]
fn a_shell_stops_it_and_calls_it_back() {
    let home = Home::empty();
    let mut shell = CommandBuilder::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]);
    shell.env(HOME, home.paths().run().parent().unwrap());
    shell.env("PS1", "ready> ");
    shell.env_remove("NO_COLOR");
    let mut shell = Pty::spawn(shell, 24, 100);
    shell.wait_for("ready>", SHORT);
    shell.send(format!("{} --url {NOWHERE} --theme dark\r", executable().display()));
    for way in ["key", "signal"] {
        shell.wait(SHORT, "the app", |screen| {
            screen.alternate_screen() && screen.contents().contains("cannot be listed")
        });
        match way {
            "key" => shell.send("\x1a"),
            _ => {
                let pid = snapshots_tests::process::naming(executable())
                    .into_iter()
                    .find(|(_, line)| line.contains("--theme dark") && line.contains(NOWHERE))
                    .expect("it runs")
                    .0;
                kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
            }
        }
        shell.wait(SHORT, "the shell's screen", |screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
                && screen.contents().contains("Stopped")
        });
        // The shell that has the terminal does what is typed.
        shell.send("echo $((6*7))\r");
        shell.wait_for("42", SHORT);
        shell.resize(30, 90);
        shell.send("clear; fg\r");
    }
    shell.wait(SHORT, "the app again", |screen| screen.contents().contains("cannot be listed"));
    shell.send("q");
    shell.wait(SHORT, "the shell", |screen| !screen.alternate_screen());
    shell.send("exit\r");
    shell.end(SHORT);
}

#[test]
fn resizes_in_a_storm() {
    let home = Home::empty();
    let mut app = start(&home, &[]);
    for round in 0..200_u16 {
        app.resize(10 + round % 40, 30 + round * 7 % 150);
    }
    app.resize(24, 100);
    // On a screen that was not cut and grown itself: what was drawn since it was cleared last.
    let size = |cells| NonZero::new(cells).unwrap();
    let shows = |app: &Pty, words| {
        until(SHORT, words, || {
            let bytes = app.bytes();
            let Some(from) = bytes.windows(4).rposition(|four| four == b"\x1b[2J") else { return false };
            let mut fresh = vt100::Parser::new(size(24), size(100), 0);
            fresh.process(&bytes[from..]);
            fresh.screen().contents().contains(words)
        });
    };
    shows(&app, "cannot be listed");
    app.send("?");
    shows(&app, " help ");
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
}

#[test]
fn nothing_beyond_ascii() {
    let home = Home::empty();
    let drawn = |mut app: Pty| {
        app.wait_for("cannot be listed", SHORT);
        app.send("?");
        app.wait_for(" help ", SHORT);
        app.send("q");
        app.end(SHORT);
        app.drained(SHORT);
        app.bytes()
    };
    let arguments = ["--url", NOWHERE, "--ascii"];
    assert!(drawn(Pty::spawn(home.terminal_command(&arguments), 24, 100)).is_ascii());
    let mut other = home.terminal_command(&arguments[..2]);
    other.env("LC_ALL", "C");
    assert!(drawn(Pty::spawn(other, 24, 100)).is_ascii());
    let mut usual = home.terminal_command(&arguments[..2]);
    usual.env("LC_ALL", "C.UTF-8");
    assert!(!drawn(Pty::spawn(usual, 24, 100)).is_ascii());
}

#[test]
fn without_colours() {
    let home = Home::empty();
    let mut command = home.terminal_command(&["--url", NOWHERE]);
    command.env("NO_COLOR", "1");
    let mut app = Pty::spawn(command, 24, 100);
    app.wait_for("cannot be listed", SHORT);
    let screen = app.screen();
    let coloured = (0..24).flat_map(|row| (0..100).map(move |column| (row, column))).any(|(row, column)| {
        let cell = screen.cell(row, column).unwrap();
        (cell.fgcolor(), cell.bgcolor()) != (Color::Default, Color::Default)
    });
    assert!(!coloured);
    app.send("q");
    app.end(SHORT);
}

/// Line by line: no screen is taken, and only what has changed is told.
#[test]
fn told_line_by_line() {
    let home = Home::empty();
    let mut app = start(&home, &["--plain"]);
    app.send("?");
    app.wait_for("In the list of sprites", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    app.drained(SHORT);
    let bytes = app.bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        !text.contains("\x1b[?1049h") && !text.contains("\x1b[?1000h") && !text.contains('│'),
        "{text:?}"
    );
    assert_eq!(text.matches("The sprites cannot be listed.").count(), 1, "{text}");
}

#[test]
fn configurations_are_checked_shown_and_described() {
    let home = Home::empty();
    let said = |arguments: &[&str]| fed(home.command(arguments), "");
    let (code, out, _) = said(&["config", "check"]);
    assert_eq!(code, 0, "{out}");
    fs::write(
        home.paths().config_file(),
        "them = \"dark\"\n\n[look]\ngraphs = \"dots\"\n[keys]\nquitt = \"x\"\nhelp = false\n",
    )
    .unwrap();
    fs::create_dir_all(home.paths().themes()).unwrap();
    fs::write(
        home.paths().themes().join("pale.toml"),
        "name = \"pale\"\ndark = false\ntext = \"#cccccc\"\nbackground = \"#ffffff\"\n",
    )
    .unwrap();
    let (code, out, _) = said(&["config", "check"]);
    assert_eq!(code, 1, "{out}");
    for told in [
        "config.toml, line 1",
        "did you mean theme?",
        "line 4",
        "braille, blocks",
        "line 6",
        "did you mean quit?",
        "pale.toml: text on background",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let (code, out, _) = said(&["config", "show"]);
    assert!(
        code == 0 && out.contains("\nhelp = []\n") && out.contains("# theme: by the terminal's background"),
        "{out}"
    );
    // What is shown can be read again.
    let shown = home.paths().config().join("shown.toml");
    fs::write(&shown, &out).unwrap();
    let (code, out, _) = said(&["config", "check", shown.to_str().unwrap()]);
    assert_eq!((code, out.contains("shown.toml: nothing is wrong")), (0, true), "{out}");
    for of in ["config", "theme"] {
        let (code, out, _) = said(&["config", "schema", of]);
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(code == 0 && schema["properties"].is_object());
    }
    assert_eq!(said(&["config", "check", "/no/such/file"]).0, 1);
}

#[test]
fn manual_pages_completions_and_quick_help() {
    let home = Home::empty();
    let folder = home.paths().run().join("man");
    let (code, _, err) = fed(home.command(&["manual", folder.to_str().unwrap()]), "");
    assert_eq!(code, 0, "{err}");
    let page = fs::read_to_string(folder.join("sprites-tui.1")).unwrap();
    assert!(page.contains(".TH sprites\\-tui") || page.contains(".TH sprites-tui"), "{page}");
    assert!(folder.join("sprites-tui-config-check.1").exists());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = fed(home.command(&["completion", shell]), "");
        assert!(code == 0 && out.contains("config"), "{shell}");
    }
    // The best of several: others use this machine too.
    let quick = (0..20).map(|_| {
        let began = Instant::now();
        assert_eq!(fed(home.command(&["--help"]), "").0, 0);
        began.elapsed()
    });
    let best = quick.min().unwrap();
    assert!(best < Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 20 }), "{best:?}");
}

/// The whole app on sprites that are not there, without an image, a machine or a token.
#[test]
fn a_demo_needs_nothing() {
    let home = Home::empty();
    let mut app = Pty::spawn(home.terminal_command(&["--demo"]), 40, 120);
    app.wait_for("nothing is real", SHORT);
    app.wait_for("web-shop", SHORT);
    app.wait_for("this month", SHORT);
    app.send("g,");
    app.wait_for("As usual", SHORT);
    app.send("jj\r");
    app.wait_for("leaves the configuration as it is", SHORT);
    app.send("gs\r");
    app.wait_for("before the big refactoring", SHORT);
    app.send("\t");
    app.wait_for("✗ denied", SHORT);
    app.send("e");
    app.wait_for("what happened to agent-checkout", SHORT);
    // Alone: with what follows at once it would be another key.
    let back = |app: &mut Pty, from: &str| {
        app.send("\x1b");
        app.wait(SHORT, "the way back", |screen| {
            let text = screen.contents();
            text.contains("✗ denied") && !text.contains(from)
        });
    };
    back(&mut app, "what happened");
    app.send("t");
    app.wait_for("This is a demo", SHORT);
    app.wait_for("sprite@agent-checkout", SHORT);
    app.send("rm notes.txt\rcat notes.txt\r");
    app.wait_for("no such file", SHORT);
    app.send("\x1dd");
    app.wait_for("✗ denied", SHORT);
    app.send("gf");
    app.wait_for("README.md", SHORT);
    app.send("gd");
    app.wait_for("free on this machine", SHORT);
    app.send("\x1b");
    app.wait_for("README.md", SHORT);
    app.send("gn");
    app.send("$");
    app.wait_for("this month by sprite", SHORT);
    app.wait_for("api-staging", SHORT);
    back(&mut app, "this month by");
    app.send("\x1b");
    app.wait_for("playground", SHORT);
    app.send("n");
    app.wait_for("New sprite", SHORT);
    app.send("mine\r");
    app.wait_for("mine is made", SHORT);
    // There is more than one context, and each on one screen.
    app.send("gh");
    app.wait_for("away has no token", SHORT);
    app.wait_for("reviewer", SHORT);
    app.send("/reviewer\r");
    app.wait(SHORT, "one line", |screen| !screen.contents().contains("preview-118"));
    app.send("\r");
    app.wait_for("reviewer  ● running", SHORT);
    app.send("gt");
    app.wait_for("✗ denied", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    assert_eq!(home.server_pid(), None);
}
