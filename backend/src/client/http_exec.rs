//! A command over plain HTTP: no input, output at the end.
//!
//! The answer is a row of frames without lengths, each sent alone after a pause of ten milliseconds. What comes sooner after a piece than that belongs to
//! the same frame.

use super::error::Result;
use super::{Client, ExecRequest};
use futures::TryStreamExt;
use reqwest::Method;
use sprites_api::exec::stream;
use std::time::Duration;
use tokio::time::Instant;

/// Pieces that are closer than this are one frame.
const CLOSE: Duration = Duration::from_millis(5);
/// Longest silence: no sign of life is sent on this way, so a command that says nothing cannot be told from a connection that is dead.
const SILENT: Duration = Duration::from_secs(3600);
/// Most output that is kept, bytes.
const KEPT: usize = 64 << 20;

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its error output.
    pub stderr: Vec<u8>,
    /// 0 to 255.
    pub exit_code: i32,
}

impl Client {
    /// Runs a command by plain HTTP and waits for its end.
    pub async fn exec_http(&self, name: &str, request: &ExecRequest) -> Result<Done> {
        let mut call = self.transport.call(Method::POST, &["v1", "sprites", name, "exec"])?;
        request.write(&mut call.url);
        call.accept = "*/*";
        let mut pieces = self.transport.stream(self.long(call)).await?;
        let mut done = Done { exit_code: -1, ..Done::default() };
        let mut frame: Vec<u8> = Vec::new();
        let mut last = Instant::now();
        while let Some(piece) = self.transport.within(SILENT, pieces.try_next()).await? {
            if last.elapsed() >= CLOSE {
                done.take(&frame);
                frame.clear();
            }
            last = Instant::now();
            frame.extend_from_slice(&piece);
            if done.stdout.len() + done.stderr.len() + frame.len() > KEPT {
                return Err(self.transport.protocol(format!("more than {} MiB of output", KEPT >> 20)));
            }
        }
        // The exit may have come so close to what was before it that both are one piece.
        match frame.as_slice() {
            [rest @ .., stream::EXIT, code] => {
                done.take(rest);
                done.exit_code = i32::from(*code);
            }
            rest => done.take(rest),
        }
        if done.exit_code < 0 {
            return Err(self.transport.protocol("it ended without an exit code".into()));
        }
        Ok(done)
    }
}

impl Done {
    fn take(&mut self, frame: &[u8]) {
        match frame.split_first() {
            Some((&stream::STDOUT, bytes)) => self.stdout.extend_from_slice(bytes),
            Some((&stream::STDERR, bytes)) => self.stderr.extend_from_slice(bytes),
            _ => {}
        }
    }
}
