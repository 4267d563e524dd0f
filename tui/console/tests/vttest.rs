//! vttest's screens that need no eye, through a console; each compared with the one that tmux makes of it.
//!
//! `corpus/record.sh` recorded tmux's. Where ours differs, [`OTHERWISE`] says why. vttest is a package that `xtask` installs.

mod terminal;

use portable_pty::CommandBuilder;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use terminal::Terminal;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;
/// How long any one screen may take. Far more than it needs, for machines under load.
const DEADLINE: Duration = Duration::from_secs(60);
/// What each screen ends with, and what a menu does.
const STOP: &str = "Push <RETURN>";
const MENU: &str = "Enter choice number";

/// Screens that differ from tmux's, as menu and number, and why.
const OTHERWISE: [(&str, usize, &str); 4] = [
    (
        "1",
        3,
        "tmux breaks lines where a control character follows the last column; the letters belong on both margins",
    ),
    ("1", 4, "the same"),
    (
        "2",
        11,
        "tmux's cursor does not go to the upper margin when margins are set; the line belongs at the bottom",
    ),
    ("2", 15, "tmux tells the letters of line drawing characters"),
];

struct Test(Terminal);

impl Test {
    fn start() -> Self {
        let mut command = CommandBuilder::new("vttest");
        command.arg("24x80.80");
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        let mut test = Self(Terminal::start(command, (ROWS, COLUMNS), 0));
        test.until_it_waits();
        test
    }

    /// Feeds output until vttest waits for an answer, which it does behind one of two texts.
    fn until_it_waits(&mut self) {
        let end = Instant::now() + DEADLINE;
        let mut tail = String::new();
        loop {
            tail.push_str(&String::from_utf8_lossy(&self.0.feed("its end", end)));
            let last = strip(&tail);
            if last.ends_with(STOP) || last.trim_end().ends_with("):") && last.contains(MENU) {
                return;
            }
        }
    }

    /// Chooses from menus, and gives all screens until a menu comes again.
    fn screens(&mut self, choices: &[&str]) -> Vec<String> {
        for choice in choices {
            self.0.send(format!("{choice}\r").as_bytes());
            self.until_it_waits();
        }
        let mut screens = Vec::new();
        while !self.0.console.text().contains(MENU) {
            screens.push(self.0.console.text());
            assert!(screens.len() < 100, "it does not end");
            self.0.send(b"\r");
            self.until_it_waits();
        }
        screens
    }
}

/// Text without its control sequences, as far as its end matters.
fn strip(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\x1b' => {
                let Some(kind) = characters.next() else { break };
                if kind == '[' {
                    characters.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
                } else if "()#%".contains(kind) {
                    characters.next();
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The screens that tmux made.
fn reference(menu: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/vttest-{menu}.screens"));
    let text = std::fs::read_to_string(&path).unwrap();
    text.split("=== ").skip(1).map(|one| one.split_once('\n').unwrap().1.to_owned()).collect()
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.resize(usize::from(ROWS), String::new());
    lines
}

#[test]
fn screens_are_those_of_tmux() {
    let otherwise: HashMap<(&str, usize), &str> =
        OTHERWISE.iter().map(|(menu, number, why)| ((*menu, *number), *why)).collect();
    let mut wrong = Vec::new();
    for menu in ["1", "2", "8"] {
        let screens = Test::start().screens(&[menu]);
        let wanted = reference(menu);
        assert_eq!(screens.len(), wanted.len(), "menu {menu}");
        for (index, (screen, wanted)) in screens.iter().zip(&wanted).enumerate() {
            let same = lines(screen) == lines(wanted);
            if same == otherwise.contains_key(&(menu, index + 1)) {
                wrong.push(format!("menu {menu}, screen {}: ours\n{screen}\ntmux's\n{wanted}", index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Of this tmux keeps the letters, so the expectation is our own.
#[test]
fn line_drawing_characters_are_drawn() {
    let screens = Test::start().screens(&["3", "8"]);
    assert!(screens[0].contains("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"), "{}", screens[0]);
}

#[test]
fn reports_are_understood() {
    let mut test = Test::start();
    // Device status and cursor position, device attributes.
    let screens = test.screens(&["6", "3"]);
    let all = screens.join("\n");
    assert!(all.contains("TERMINAL OK"), "{all}");
}
