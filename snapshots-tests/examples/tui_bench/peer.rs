//! The same shell of this host, shown in three ways: by a console of the app, by tmux, and by nothing but the terminal.
//!
//! The app's console is attached to it as to any sprite's: over a WebSocket, to a server in the bench's process that passes on what the shell's
//! terminal gives, in messages of up to 64 KiB. tmux has the terminal itself, without that way in between.

use crate::{COLUMNS, LONG, ROWS};
use nix::poll::{PollFd, PollFlags, poll};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use snapshots_tests::harness::Home;
use snapshots_tests::programs::{self, SHELL};
use snapshots_tests::pty::Pty;
use snapshots_tests::scripted::{Reply, Scripted, usual};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The shell waits for a line.
pub const READY: &str = "ready$";

/// Who shows the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    App,
    Tmux,
    Bare,
}

/// What they need.
pub struct Stage {
    home: Home,
    server: Scripted,
}

impl Stage {
    pub fn new() -> Self {
        let sessions = AtomicUsize::new(1);
        let server = Scripted::new(move |request| match request.line().as_str() {
            "GET /v1/sprites/box/exec" if request.is_upgrade() => {
                Reply::Program(sessions.fetch_add(1, Ordering::SeqCst).to_string(), &SHELL)
            }
            _ => usual(request),
        });
        Self { home: Home::empty(), server }
    }

    /// The app before that server.
    pub fn app(&self) -> CommandBuilder {
        let arguments = ["--url", &self.server.url(), "--theme", "dark"];
        let mut command = self.home.terminal_command(&arguments);
        command.env("SPRITES_TOKEN", "acme/1/2/secret-word");
        command
    }

    fn socket(&self) -> std::path::PathBuf {
        self.home.paths().run().join("tmux")
    }

    fn command(&self, peer: Peer) -> CommandBuilder {
        match peer {
            Peer::App => self.app(),
            Peer::Bare => programs::command(&SHELL),
            Peer::Tmux => {
                let file = self.home.paths().run().join("tmux.conf");
                // As many lines as a console of the app keeps.
                std::fs::write(&file, "set -g history-limit 10000\n").expect("the file can be written");
                let (file, socket) = (file.display().to_string(), self.socket().display().to_string());
                let mut command =
                    programs::command(&["tmux", "-u", "-S", &socket, "-f", &file, "new-session"]);
                command.args(SHELL);
                command.env_remove("TMUX");
                command
            }
        }
    }

    /// A shell that waits, on a screen that is read.
    pub fn seen(&self, peer: Peer) -> Pty {
        self.end_tmux();
        let mut pty = Pty::spawn(self.command(peer), ROWS, COLUMNS);
        if peer == Peer::App {
            // As a terminal answers that knows no other keyboard protocol.
            pty.send("\x1b[?62c");
            pty.wait_for("box", LONG);
            pty.send("t");
        }
        pty.wait_for(READY, LONG);
        pty
    }

    /// The same, where nobody looks at more than what is waited for: reading costs as good as nothing.
    pub fn unseen(&self, peer: Peer) -> Raw {
        self.end_tmux();
        let mut raw = Raw::spawn(self.command(peer));
        if peer == Peer::App {
            raw.send("\x1b[?62c");
            raw.until("box");
            raw.send("t");
        }
        raw.until(READY);
        raw
    }

    fn end_tmux(&self) {
        if self.socket().exists() {
            let end = ["-S", &self.socket().display().to_string(), "kill-server"].map(str::to_owned);
            // One that has ended by itself is as good.
            let _ = Command::new("tmux").args(end).output();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_tmux();
    }
}

/// A program in a terminal, whose output is passed over.
pub struct Raw {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
}

impl Raw {
    fn spawn(command: CommandBuilder) -> Self {
        let mut command = command;
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal can be made");
        let child = pair.slave.spawn_command(command).expect("the program can be started");
        let reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let writer = pair.master.take_writer().expect("the terminal can be written");
        Self { child, master: pair.master, reader, writer }
    }

    pub fn send(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).expect("the terminal takes input");
    }

    /// Whether something is printed within some time.
    fn comes(&self, within: Duration) -> bool {
        let fd = self.master.as_raw_fd().expect("a terminal has a file descriptor");
        // SAFETY: the terminal is open as long as this is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let timeout = u16::try_from(within.as_millis()).expect("it is short");
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).unwrap_or(0) > 0
    }

    /// Reads until nothing has been printed for a while. Of what is drawn anew only what is other is printed, so there may be nothing to wait for.
    pub fn settle(&mut self) {
        let mut buffer = [0; 64 << 10];
        while self.comes(Duration::from_millis(400)) {
            let _ = self.reader.read(&mut buffer);
        }
    }

    /// Reads until this was printed.
    pub fn until(&mut self, text: &str) {
        let give_up = Instant::now() + LONG;
        let mut bytes = Vec::new();
        let mut buffer = [0; 64 << 10];
        loop {
            assert!(Instant::now() < give_up, "{text:?} was never printed");
            if !self.comes(Duration::from_millis(100)) {
                continue;
            }
            let read = self.reader.read(&mut buffer).unwrap_or(0);
            assert!(read > 0, "the program ended before it printed {text:?}");
            bytes.extend_from_slice(&buffer[..read]);
            if memchr::memmem::find(&bytes, text.as_bytes()).is_some() {
                return;
            }
            // It may have come in two pieces.
            let kept = bytes.len().saturating_sub(text.len());
            bytes.drain(..kept);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
