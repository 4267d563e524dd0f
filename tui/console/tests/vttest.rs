//! vttest's screens that need no eye, through a console; each compared with the one that tmux makes of it.
//!
//! `corpus/record.sh` recorded tmux's. Where ours differs, [`OTHERWISE`] says why. vttest is a package that `xtask` installs.

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use sprites_console::Console;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

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

struct Test {
    console: Console,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
}

impl Test {
    fn start() -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("vttest");
        command.arg("24x80.80");
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        let child = pair.slave.spawn_command(command).expect("vttest is installed");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let (sender, output) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let console = Console::new(ROWS, COLUMNS, 0);
        let mut test = Self { console, child, _master: pair.master, writer, output };
        test.until_it_waits();
        test
    }

    /// Feeds output until vttest waits for an answer, which it does behind one of two texts.
    fn until_it_waits(&mut self) {
        let end = Instant::now() + DEADLINE;
        let mut tail = String::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.output.recv_timeout(left) else {
                panic!("it does not wait; the screen:\n{}", self.console.text());
            };
            let replies = self.console.feed(&bytes);
            self.send(&replies);
            tail.push_str(&String::from_utf8_lossy(&bytes));
            let last = strip(&tail);
            if last.ends_with(STOP) || last.trim_end().ends_with("):") && last.contains(MENU) {
                return;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
        self.writer.flush().unwrap();
    }

    /// Chooses from menus, and gives all screens until a menu comes again.
    fn screens(&mut self, choices: &[&str]) -> Vec<String> {
        for choice in choices {
            self.send(format!("{choice}\r").as_bytes());
            self.until_it_waits();
        }
        let mut screens = Vec::new();
        while !self.console.text().contains(MENU) {
            screens.push(self.console.text());
            assert!(screens.len() < 100, "it does not end");
            self.send(b"\r");
            self.until_it_waits();
        }
        screens
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    assert!(all.contains("TERMINAL OK") && all.contains("OK"), "{all}");
}
