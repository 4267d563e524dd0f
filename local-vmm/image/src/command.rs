//! Running one of Debian's tools: its output read line by line, with a deadline, stoppable, and never left behind.

use crate::{Cancel, Error, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How many of a tool's last lines are kept to explain a failure; mmdebstrap repeats a whole failed script after its reason.
const TAIL: usize = 100;
/// Longest line taken from a tool, in bytes.
const LINE: u64 = 4096;
/// What a tool gets to clean up after it was asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// One run of a tool.
pub(crate) struct Run<'a> {
    /// What it is for, as part of a sentence ("installing Debian").
    pub doing: &'static str,
    /// The tool and, when it is not there, the package to install.
    pub tool: &'static str,
    pub package: &'static str,
    pub deadline: Duration,
    pub cancel: &'a Cancel,
}

impl Run<'_> {
    /// Runs `command` to its end. `line` gets every line of its output and error output.
    pub(crate) fn go(&self, mut command: Command, mut line: impl FnMut(&str)) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: the closure makes one system call (prctl) and allocates nothing, as the state after fork demands.
        unsafe {
            // The tool ends when this process is killed, instead of working on for nobody.
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?));
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::MissingTool { tool: self.tool, package: self.package },
            _ => Error::io("run", self.tool)(error),
        })?;
        let (sender, lines) = mpsc::sync_channel(256);
        for output in [
            child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
            child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            let sender = sender.clone();
            std::thread::spawn(move || forward(output, &sender));
        }
        drop(sender);

        let begun = Instant::now();
        let mut tail = VecDeque::with_capacity(TAIL);
        loop {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(text) => {
                    line(&text);
                    if !text.trim().is_empty() {
                        if tail.len() == TAIL {
                            tail.pop_front();
                        }
                        tail.push_back(text);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.cancel.is_cancelled() {
                end(&mut child);
                return Err(Error::Cancelled);
            }
            if begun.elapsed() > self.deadline {
                end(&mut child);
                return Err(Error::Timeout {
                    doing: self.doing,
                    minutes: self.deadline.as_secs().div_ceil(60),
                });
            }
        }
        let status = child.wait().map_err(Error::io("wait for", self.tool))?;
        if status.success() { Ok(()) } else { Err(self.explain(&tail)) }
    }

    /// Turns a tool's last words into the sentence a person needs.
    fn explain(&self, tail: &VecDeque<String>) -> Error {
        let find =
            |needles: &[&str]| tail.iter().find(|line| needles.iter().any(|needle| line.contains(needle)));
        if find(&["No space left on device", "Disk quota exceeded", "not enough free space"]).is_some() {
            return Error::NoSpace { doing: self.doing };
        }
        let network =
            ["Temporary failure resolving", "Could not resolve", "Could not connect", "Failed to fetch"];
        if let Some(line) = find(&network) {
            return Error::Network { detail: line.trim_start_matches(['E', 'W', ':', ' ']).to_owned() };
        }
        // Tools print their reason first and what they gave up last; an error line tells more than the very last one.
        let reason = tail.iter().find(|line| line.starts_with("E: ")).or(tail.back());
        Error::Command {
            doing: self.doing,
            detail: reason.cloned().unwrap_or_else(|| "it said nothing".into()),
        }
    }
}

/// Sends a tool's lines on, each cut to [`LINE`] bytes.
fn forward(output: impl Read, lines: &mpsc::SyncSender<String>) {
    let mut output = BufReader::new(output);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match output.by_ref().take(LINE).read_until(b'\n', &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&buffer);
        if lines.send(text.trim_end().to_owned()).is_err() {
            return;
        }
    }
}

/// Ends the tool and everything it started: first politely, so that it can unmount and clean up.
fn end(child: &mut Child) {
    let Ok(group) = i32::try_from(child.id()).map(Pid::from_raw) else { return };
    let _ = killpg(group, Signal::SIGTERM);
    let begun = Instant::now();
    while begun.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration, cancel: &Cancel) -> (Result<()>, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let run = Run { doing: "testing", tool: "sh", package: "dash", deadline, cancel };
        let result = run.go(command, |line| lines.push(line.to_owned()));
        (result, lines)
    }

    #[test]
    fn explains_a_failure() {
        let minute = Duration::from_secs(60);
        let (result, lines) = sh("echo one; echo two >&2", minute, &Cancel::new());
        assert!(result.is_ok());
        assert_eq!(lines.len(), 2);
        let (result, _) =
            sh("echo 'E: Package nosuch is not available'; echo done; exit 3", minute, &Cancel::new());
        assert_eq!(result.unwrap_err().to_string(), "testing failed: E: Package nosuch is not available");
        let (result, _) = sh("echo 'tar: x: No space left on device'; exit 2", minute, &Cancel::new());
        assert!(matches!(result, Err(Error::NoSpace { .. })));
        let (result, _) = sh("echo \"W: Temporary failure resolving 'x'\"; exit 2", minute, &Cancel::new());
        assert!(matches!(result, Err(Error::Network { .. })));
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let cancel = Cancel::new();
        let run = Run {
            doing: "x",
            tool: "no-such-tool",
            package: "such",
            deadline: Duration::from_secs(1),
            cancel: &cancel,
        };
        let error = run.go(Command::new("no-such-tool"), |_| ()).unwrap_err();
        assert!(error.to_string().contains("apt-get install such"), "{error}");
    }

    #[test]
    fn stops_at_the_deadline_and_on_request() {
        let (result, _) = sh("sleep 100 & wait", Duration::from_millis(100), &Cancel::new());
        assert!(matches!(result, Err(Error::Timeout { .. })));
        let cancel = Cancel::new();
        let request = cancel.clone();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; sleep 100"]);
        let run = Run {
            doing: "x",
            tool: "sh",
            package: "dash",
            deadline: Duration::from_secs(60),
            cancel: &cancel,
        };
        let result = run.go(command, |_| request.cancel());
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
