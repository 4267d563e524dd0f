//! A program in a real terminal device, seen through a console.

#![allow(dead_code, reason = "not everyone who shares this uses all of it")]

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use sprites_console::Console;
use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

/// See the module. The program ends with it.
pub struct Terminal {
    pub console: Console,
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
}

impl Terminal {
    pub fn start(command: CommandBuilder, (rows, cols): (u16, u16), scrollback: usize) -> Self {
        let pair = native_pty_system().openpty(size(rows, cols)).unwrap();
        let child = pair.slave.spawn_command(command).expect("the program can be started");
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
        let console = Console::new(rows, cols, scrollback);
        Self { console, master: pair.master, child, writer, output }
    }

    /// The next piece of output, unless `end` or that of the program comes first.
    pub fn output(&mut self, end: Instant) -> Option<Vec<u8>> {
        self.output.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    /// Feeds the next piece of output, and answers what it asks. `what` is waited for until `end`.
    pub fn feed(&mut self, what: &str, end: Instant) -> Vec<u8> {
        let Some(bytes) = self.output(end) else {
            panic!("{what} did not come; the screen:\n{}", self.console.text());
        };
        let replies = self.console.feed(&bytes);
        self.send(&replies);
        bytes
    }

    pub fn resize(&mut self, rows: u16, cols: u16) {
        self.console.resize(rows, cols);
        self.master.resize(size(rows, cols)).unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
        self.writer.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}
