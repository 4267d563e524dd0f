//! A real shell in a real terminal device, seen through a console.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use sprites_console::Console;

/// How long any one condition may take to come true. Far more than it needs, for machines under load.
const DEADLINE: Duration = Duration::from_secs(30);

/// A shell and the console it runs in.
struct Shell {
    console: Console,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
}

impl Shell {
    fn start(rows: u16, cols: u16) -> Self {
        let pair = native_pty_system().openpty(size(rows, cols)).unwrap();
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
        let child = pair.slave.spawn_command(command).unwrap();
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
        let mut shell =
            Self { console: Console::new(rows, cols, 1000), child, master: pair.master, writer, output };
        shell.wait_for("the prompt", |console| console.text().contains("ready>"));
        shell
    }

    /// Feeds output until `condition` holds.
    fn wait_for(&mut self, what: &str, condition: impl Fn(&Console) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(&self.console) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.output.recv_timeout(left) else {
                panic!("{what} did not come; the screen:\n{}", self.console.text());
            };
            let replies = self.console.feed(&bytes);
            self.send(&replies);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
        self.writer.flush().unwrap();
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let bytes = self.console.key(KeyEvent::new(code, modifiers));
        self.send(&bytes);
    }

    fn enter(&mut self, line: &str) {
        for character in line.chars() {
            self.press(KeyCode::Char(character), KeyModifiers::NONE);
        }
        self.press(KeyCode::Enter, KeyModifiers::NONE);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
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
    shell.console.resize(20, 30);
    shell.master.resize(size(20, 30)).unwrap();
    shell.enter("stty size");
    shell.wait_for("the new size", |console| has_line(console, "20 30"));
    shell.console.resize(20, 60);
    shell.master.resize(size(20, 60)).unwrap();
    shell.wait_for("the line in one piece", |console| has_line(console, &line));
}

#[test]
fn a_paste_is_not_run() {
    let mut shell = Shell::start(10, 60);
    let brackets = |console: &Console| console.paste("x").starts_with(b"\x1b[200~");
    shell.wait_for("bracketed paste", brackets);
    let bytes = shell.console.paste("echo one$((1))\x1b[201~\necho two$((2))\n");
    shell.send(&bytes);
    shell.wait_for("the pasted text", |console| console.text().contains("echo two$((2))"));
    // Taken away by a key that the shell reads in its turn: an interruption overtakes what was typed
    // before it, and is lost in the middle of a paste.
    shell.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    shell.enter("echo end$((3))");
    shell.wait_for("the line behind the paste", |console| has_line(console, "end3"));
    let text = shell.console.text();
    assert!(!text.contains("one1") && !text.contains("two2"), "the paste ran:\n{text}");
}

#[test]
fn a_flood_ends_in_bounded_scrollback() {
    let mut shell = Shell::start(10, 60);
    shell.enter("yes flooding | head -n 100000; echo do''ne");
    shell.wait_for("the end of the flood", |console| has_line(console, "done"));
    assert_eq!(shell.console.scrollback(), 1000);
}
