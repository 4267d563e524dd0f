//! QEMU's control protocol (QMP): one JSON object a line, answers and events mixed.

use super::EmulatedError;
use crate::jail::{self, Role};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest line taken, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// A control connection.
#[derive(Debug)]
pub(super) struct Qmp {
    // One question at a time.
    talk: Mutex<Talk>,
    closed: std::sync::Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug)]
struct Talk {
    stream: UnixStream,
    answers: Receiver<Value>,
    /// Number of the last question. Its answer bears it; that of an earlier one, which came too late, is nobody's.
    number: u64,
}

impl Qmp {
    /// Greets QEMU at the other end of `stream`.
    pub(super) fn connect(stream: UnixStream, deadline: Duration) -> Result<Self, EmulatedError> {
        let reader = stream.try_clone().map_err(EmulatedError::host("read QEMU's answers"))?;
        stream.set_write_timeout(Some(deadline)).map_err(EmulatedError::host("talk to QEMU"))?;
        let (sender, answers) = mpsc::channel();
        let closed = std::sync::Arc::new((Mutex::new(false), Condvar::new()));
        let end = std::sync::Arc::clone(&closed);
        let body = move || {
            let mut lines = BufReader::new(reader);
            let mut line = Vec::new();
            while matches!(lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line), Ok(1..)) {
                match serde_json::from_slice::<Value>(&line) {
                    Ok(value) if value.get("event").is_some() => tracing::info!("QEMU tells: {value}"),
                    Ok(value) => {
                        if sender.send(value).is_err() {
                            break;
                        }
                    }
                    Err(_) => break,
                }
                line.clear();
            }
            *end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            end.1.notify_all();
        };
        jail::spawn(Role::Console, "qmp", body).map_err(EmulatedError::host("read QEMU's answers"))?;
        let qmp = Self { talk: Mutex::new(Talk { stream, answers, number: 0 }), closed };
        // The greeting comes unasked.
        qmp.answer("greeting", deadline, None)?;
        qmp.call("qmp_capabilities", deadline)?;
        Ok(qmp)
    }

    /// Gives a command and waits for its answer.
    pub(super) fn call(&self, command: &'static str, deadline: Duration) -> Result<(), EmulatedError> {
        self.answer(command, deadline, Some("{}"))
    }

    /// The same, with arguments that are JSON already.
    pub(super) fn call_with(
        &self,
        command: &'static str,
        arguments: &'static str,
        deadline: Duration,
    ) -> Result<(), EmulatedError> {
        self.answer(command, deadline, Some(arguments))
    }

    fn answer(
        &self,
        command: &'static str,
        deadline: Duration,
        arguments: Option<&str>,
    ) -> Result<(), EmulatedError> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |_| EmulatedError::Silent { command };
        if let Some(arguments) = arguments {
            talk.number += 1;
            let number = talk.number;
            let text = format!("{{\"execute\":\"{command}\",\"arguments\":{arguments},\"id\":{number}}}\n");
            talk.stream.write_all(text.as_bytes()).map_err(|error| silent(error.to_string()))?;
        }
        let give_up = Instant::now() + deadline;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let value = talk.answers.recv_timeout(left).map_err(|error| silent(error.to_string()))?;
            if arguments.is_some() && value.get("id").and_then(Value::as_u64) != Some(talk.number) {
                continue;
            }
            return match value.get("error") {
                Some(error) => Err(EmulatedError::Refused {
                    command,
                    why: error.get("desc").and_then(Value::as_str).unwrap_or("no reason given").to_owned(),
                }),
                None => Ok(()),
            };
        }
    }

    /// Waits until QEMU has closed the connection, at most that long.
    pub(super) fn closed(&self, at_most: Duration) {
        let (flag, change) = &*self.closed;
        let guard = flag.lock().unwrap_or_else(PoisonError::into_inner);
        drop(change.wait_timeout_while(guard, at_most, |closed| !*closed));
    }

    /// Whether QEMU has closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
