//! A real shell in a real terminal device, seen through a console.

mod terminal;

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portable_pty::CommandBuilder;
use sprites_console::Console;
use terminal::Terminal;

/// How long any one condition may take to come true. Far more than it needs, for machines under load.
const DEADLINE: Duration = Duration::from_secs(30);

/// A shell.
struct Shell(Terminal);

impl Shell {
    fn start(rows: u16, cols: u16) -> Self {
        // `bash`, because it edits lines, queries nothing by itself and knows bracketed paste.
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env("HISTFILE", "/dev/null");
        command.env("INPUTRC", "/dev/null");
        command.env("PS1", "ready> ");
        let mut shell = Self(Terminal::start(command, (rows, cols), 1000));
        shell.wait_for("the prompt", |console| console.text().contains("ready>"));
        shell
    }

    /// Feeds output until `condition` holds.
    fn wait_for(&mut self, what: &str, condition: impl Fn(&Console) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(&self.0.console) {
            self.0.feed(what, end);
        }
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let bytes = self.0.console.key(KeyEvent::new(code, modifiers));
        self.0.send(&bytes);
    }

    fn enter(&mut self, line: &str) {
        for character in line.chars() {
            self.press(KeyCode::Char(character), KeyModifiers::NONE);
        }
        self.press(KeyCode::Enter, KeyModifiers::NONE);
    }
}

/// Whether a whole row of the screen reads `line`.
fn has_line(console: &Console, line: &str) -> bool {
    console.text().lines().any(|row| row == line)
}

#[test]
fn keys_edit_the_line() {
    let mut shell = Shell::start(10, 60);
    for character in "echo ello".chars() {
        shell.press(KeyCode::Char(character), KeyModifiers::NONE);
    }
    for _ in 0..4 {
        shell.press(KeyCode::Left, KeyModifiers::NONE);
    }
    shell.press(KeyCode::Char('h'), KeyModifiers::NONE);
    shell.press(KeyCode::Char('e'), KeyModifiers::CONTROL);
    shell.press(KeyCode::Char('!'), KeyModifiers::NONE);
    shell.press(KeyCode::Enter, KeyModifiers::NONE);
    shell.wait_for("the edited line's output", |console| has_line(console, "hello!"));
}

#[test]
fn queries_get_answers() {
    let mut shell = Shell::start(10, 60);
    // The shell asks where the cursor is, and prints the answer.
    shell.enter(r"printf '\e[3;5H\e[6n'; read -rsd R answer; printf '\n<%q>\n' ${answer#*[}");
    shell.wait_for("the cursor position", |console| has_line(console, r"<3\;5>"));
}

#[test]
fn a_resize_reaches_the_program_and_keeps_the_text() {
    let mut shell = Shell::start(10, 60);
    shell.enter("printf '%050d\\n' 7");
    let line = format!("{:050}", 7);
    shell.wait_for("a long line", |console| has_line(console, &line));
    shell.0.resize(20, 30);
    shell.enter("stty size");
    shell.wait_for("the new size", |console| has_line(console, "20 30"));
    shell.0.resize(20, 60);
    shell.wait_for("the line in one piece", |console| has_line(console, &line));
}

#[test]
fn a_paste_is_not_run() {
    let mut shell = Shell::start(10, 60);
    let brackets = |console: &Console| console.paste("x").starts_with(b"\x1b[200~");
    shell.wait_for("bracketed paste", brackets);
    let bytes = shell.0.console.paste("echo one$((1))\x1b[201~\necho two$((2))\n");
    shell.0.send(&bytes);
    shell.wait_for("the pasted text", |console| console.text().contains("echo two$((2))"));
    // Taken away by a key that the shell reads in its turn: an interruption overtakes what was typed
    // before it, and is lost in the middle of a paste.
    shell.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    shell.enter("echo end$((3))");
    shell.wait_for("the line behind the paste", |console| has_line(console, "end3"));
    let text = shell.0.console.text();
    assert!(!text.contains("one1") && !text.contains("two2"), "the paste ran:\n{text}");
}

#[test]
fn a_flood_ends_in_bounded_scrollback() {
    let mut shell = Shell::start(10, 60);
    shell.enter("yes flooding | head -n 100000; echo do''ne");
    shell.wait_for("the end of the flood", |console| has_line(console, "done"));
    assert_eq!(shell.0.console.scrollback(), 1000);
}
