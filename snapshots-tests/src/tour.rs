//! A way through every screen of the app, for pictures of them: `cargo xtask tour`. It is walked in the demo, at a time that stands still, so that the same
//! way always shows the same.

use crate::harness::Home;
use crate::person::{ENTER, SHORT};
use crate::picture::{Colors, svg};
use crate::pty::Pty;
use portable_pty::CommandBuilder;
use sprites_tui::action::Part;
use std::fmt::Write as _;
use std::time::Duration;

const ROWS: u16 = 30;
const COLUMNS: u16 = 104;
/// One dark theme, and one light one.
pub const THEMES: [&str; 2] = ["dark", "light"];
/// When it is, for all who look: faketime holds the clock there. The demo's sprites are busy then, or not, as that time makes them.
const NOW: &str = "2026-03-14 15:09:26";
/// The picture that stands in the README as well.
const FIRST: &str = "checkpoints";

/// What a picture shows. Every screen and every part has to have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A screen, by its name (`sprites_tui::model::Screen`).
    Screen(&'static str),
    /// A part of a sprite's screen.
    Part(Part),
    /// Something else that is worth a picture.
    More,
}

/// A place on the way.
pub struct Stop {
    /// What its files are called.
    pub name: &'static str,
    /// What is there.
    pub shows: Shows,
    /// One sentence about it.
    pub about: &'static str,
    /// Keys that lead there from the stop before, each with what it shows.
    pub way: &'static [(&'static str, &'static str)],
}

const fn stop(
    name: &'static str,
    shows: Shows,
    about: &'static str,
    way: &'static [(&'static str, &'static str)],
) -> Stop {
    Stop { name, shows, about, way }
}

/// Escape, alone.
const BACK: &str = "\x1b";

/// The way.
pub const STOPS: &[Stop] = &[
    stop(
        "list",
        Shows::Screen("list"),
        "All sprites: what state each is in and why, what it uses and has cost, with the last minutes of the selected one below.",
        &[("", "web-shop"), ("", "this month")],
    ),
    stop(
        "filter",
        Shows::More,
        "A filter of words and terms, which is looked at while it is typed.",
        &[("/label:agent", "2 of them")],
    ),
    stop(
        "palette",
        Shows::More,
        "The palette finds every command, sprite, theme and context by a few letters, and tells the key that does the same.",
        &[(BACK, "2 of them"), (BACK, "web-shop"), (":chk", "checkpoint")],
    ),
    stop(
        "checkpoints",
        Shows::Part(Part::Checkpoints),
        "One sprite: CPU, memory and cost over time, and the tree of its checkpoints with the bytes that each alone holds.",
        &[(BACK, "web-shop"), (ENTER, "before the big refactoring")],
    ),
    stop(
        "restore",
        Shows::More,
        "What cannot be taken back by a key is asked before, with what will happen.",
        &[("k", "review done"), ("r", "Restore")],
    ),
    stop(
        "network",
        Shows::Part(Part::Network),
        "What the sprite tried to reach, what became of it, and the rules that decide.",
        &[(BACK, "review done"), ("gn", "denied")],
    ),
    stop(
        "inside",
        Shows::Part(Part::Inside),
        "Services, ports, tasks and sessions inside, with the log of the selected service.",
        &[("gi", "npm run dev"), ("", "GET /cart")],
    ),
    stop(
        "files",
        Shows::Part(Part::Files),
        "The files of the sprite as they are now, or as any checkpoint kept them, without waking it.",
        &[("gf", "README.md")],
    ),
    stop(
        "changes",
        Shows::More,
        "What changed between two checkpoints, file by file.",
        &[("gc", "review done"), ("m", "work/main.py")],
    ),
    stop(
        "sheet",
        Shows::Screen("sheet"),
        "And line by line.",
        &[("j", "work/main.py"), ("j", "work/main.py"), ("j", "work/main.py"), (ENTER, "STEPS = ")],
    ),
    stop(
        "events",
        Shows::Screen("events"),
        "When the sprite took on which state, and why.",
        &[(BACK, "work/main.py"), ("e", "what happened to")],
    ),
    stop(
        "costs",
        Shows::Screen("costs"),
        "What the month costs, by sprite, label or day, with a forecast and the budget.",
        &[(BACK, "work/main.py"), ("$", "this month by sprite"), ("", "api-staging")],
    ),
    stop(
        "storage",
        Shows::Screen("storage"),
        "What the disks take, and which checkpoints to delete first.",
        &[(BACK, "work/main.py"), ("gd", "free on this machine")],
    ),
    stop(
        "dashboard",
        Shows::Screen("dashboard"),
        "All places where sprites are, at a glance: who answers, what is awake and why, what it costs, what failed or was denied.",
        &[(BACK, "work/main.py"), ("gh", "reviewer"), ("", "755 %")],
    ),
    stop(
        "timeline",
        Shows::Screen("timeline"),
        "What happened to all sprites of a place, newest first, with the reasons.",
        &[(BACK, "web-shop"), ("gt", "its disk")],
    ),
    stop(
        "settings",
        Shows::Screen("settings"),
        "Settings, changed in the file as a person would.",
        &[(BACK, "web-shop"), ("g,", "As usual")],
    ),
    stop(
        "console",
        Shows::Screen("console"),
        "A console in the sprite: a terminal of its own, which keeps running when it is left.",
        &[
            (BACK, "web-shop"),
            ("t", "sprite@agent-checkout"),
            ("ls\r", "notes.txt"),
            ("cat work/CHANGES.md\r", "- review done"),
        ],
    ),
    stop(
        "split",
        Shows::More,
        "Two consoles beside each other, and what can follow the one key that consoles take.",
        &[("\x1dv", " 2 agent"), ("ps\r", "npm run dev"), ("\x1d", "split: new one below")],
    ),
    stop(
        "sprite",
        Shows::Screen("sprite"),
        "A sprite's screen remembers where one was; consoles that were left are in the corner.",
        &[("d", "work/main.py"), ("gc", "review done")],
    ),
    stop(
        "log",
        Shows::Screen("log"),
        "Every message that there was.",
        &[("c", "A comment"), ("tour\r", "is made"), ("l", " log ")],
    ),
    stop(
        "help",
        Shows::Screen("help"),
        "The keys of the place where one is, from the table that dispatches them.",
        &[("?", " help ")],
    ),
];

/// The app as it is walked through.
fn command(home: &Home, theme: &str) -> CommandBuilder {
    let app = home.terminal_command(&["--demo", "--theme", theme]);
    let mut command = CommandBuilder::new("faketime");
    command.args(["-f", NOW]);
    command.args(app.get_argv());
    for (name, value) in app.iter_full_env_as_str() {
        command.env(name, value);
    }
    // Only the calendar stands still: whoever waits wakes as usual.
    command.env("DONT_FAKE_MONOTONIC", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.env("TZ", "UTC");
    command.env("LC_ALL", "C.UTF-8");
    for name in ["TMUX", "CI", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// Walks through the app in a theme, and gives each stop with its picture.
pub fn walk(theme: &str, mut seen: impl FnMut(&Stop, String)) {
    let home = Home::empty();
    let mut app = Pty::spawn(command(&home, theme), ROWS, COLUMNS);
    app.send("\x1b[?62c");
    for stop in STOPS {
        for (keys, shows) in stop.way {
            app.send(keys);
            app.wait_for(shows, SHORT);
            // An escape and what follows it at once would be another key.
            settle(&app);
        }
        // Messages about what was done go away by themselves.
        app.wait(SHORT, "no messages", |screen| !has_message(screen));
        settle(&app);
        let screen = app.screen();
        let mut colors = Colors::default();
        if let Some(vt100::Color::Rgb(r, g, b)) = screen.cell(0, 0).map(vt100::Cell::bgcolor) {
            colors.background = [r, g, b];
        }
        seen(stop, svg(&screen, &colors, stop.about));
    }
    app.send("q");
    app.end(SHORT);
}

/// Whether a message covers a part of the screen: its mark is reversed, as nothing else with that mark.
fn has_message(screen: &vt100::Screen) -> bool {
    let mut cells = (0..ROWS).flat_map(|row| (0..COLUMNS).filter_map(move |column| screen.cell(row, column)));
    cells.any(|cell| cell.inverse() && cell.contents() == "✓")
}

/// Waits until a whole frame has arrived: nothing has changed for a moment.
fn settle(app: &Pty) {
    loop {
        let before = app.printed();
        std::thread::sleep(Duration::from_millis(300));
        if app.printed() == before {
            return;
        }
    }
}

/// File of a picture, below the folder of the documentation.
pub fn file(stop: &Stop, theme: &str) -> String {
    format!("tour/{}-{theme}.svg", stop.name)
}

/// Whether the README shows it.
pub fn is_first(stop: &Stop, theme: &str) -> bool {
    stop.name == FIRST && theme == THEMES[0]
}

/// The page that shows all pictures.
pub fn page() -> String {
    let [dark, light] = THEMES;
    let mut page = format!(
        "# The app in pictures\n\nEvery screen of `sprites-tui --demo`, whose sprites are not there; all else is what it is every day. The \
         pictures are frames of the running app\nin the themes `{dark}` and `{light}`; which one is shown is for your browser to choose. \
         `cargo xtask tour` makes them and this page.\n"
    );
    for stop in STOPS {
        let (dark, light) = (file(stop, dark), file(stop, light));
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n<picture><source media=\"(prefers-color-scheme: light)\" srcset=\"{light}\"><img src=\"{dark}\" alt=\"{}\"></picture>\n",
            stop.name, stop.about, stop.about
        );
    }
    page
}
