//! The terminal's guard: a small process that puts the terminal back when the app is killed and cannot do it itself.
//!
//! It waits at the end of a pipe. A byte tells it that all is well; an end without one, that the app is gone. It is a process group of its own
//! from its first moment, because the end of a session's leader is a signal to the group in the foreground.

use crate::terminal::put_back;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The subcommand that is the guard.
pub const COMMAND: &str = "terminal-guard";

/// The app's end of the pipe.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts the guard. Without one the app works as well, so what goes wrong here is passed over.
    pub fn start() -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().ok()?);
        command.arg(COMMAND).stdin(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        command.spawn().ok().map(Self)
    }
}

impl Drop for Guard {
    /// The terminal has been given back.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b".");
        }
        let _ = self.0.wait();
    }
}

/// The guard itself: waits, and puts the terminal at its standard output back if need be.
pub fn watch() {
    // In the background it may set the terminal only if it does not heed this signal.
    let heedless: SigSet = [Signal::SIGTTOU, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
    let _ = heedless.thread_block();
    let mut told = [0];
    if matches!(io::stdin().read(&mut told), Ok(1)) {
        return;
    }
    put_back();
    let out = io::stdout();
    // A shell may have put it back already, and be reading keys one by one: that is not undone.
    if let Ok(mut mode) = tcgetattr(&out)
        && !mode.local_flags.contains(LocalFlags::ICANON)
        && !mode.output_flags.contains(OutputFlags::OPOST)
    {
        mode.local_flags
            .insert(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        mode.input_flags.insert(InputFlags::ICRNL | InputFlags::IXON | InputFlags::BRKINT);
        mode.output_flags.insert(OutputFlags::OPOST);
        let _ = tcsetattr(&out, SetArg::TCSANOW, &mode);
    }
}
