//! Programs that are run to their end, and what they said; and waiting for what is to come.

use crate::harness::Home;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// No program of a test takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// Code, output and errors of a command that is given this input.
pub fn fed(mut command: Command, input: &str) -> (i32, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    // One that takes no input may be over already.
    let _ = child.stdin.take().expect("it has an input").write_all(input.as_bytes());
    // A program that never ends is ended, so that what waits for it fails and says so.
    let (pid, (over, waits)) = (Pid::from_raw(child.id() as i32), channel::<()>());
    std::thread::spawn(move || {
        if waits.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("it can be waited for");
    drop(over);
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), words(&output.stdout), words(&output.stderr))
}

/// Waits until something holds.
pub fn until(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + deadline;
    while !holds() {
        assert!(Instant::now() < give_up, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Home {
    /// Code, output and errors of the command line.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        fed(self.sprite(arguments), "")
    }

    /// What the command line says, which must succeed.
    pub fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// The same as JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.good(arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }
}
