//! Looking at the files on a sprite's disk: a process for each question, and how the server starts one.
//!
//! A guest wrote what is read there, so a reader that it crashes, misleads or keeps busy must be able to do nothing: it is the same executable, started for one
//! question, behind [walls](crate::jail), and killed when it takes too long. The question goes in on its standard input, the answer comes out on its output.

use crate::jail::{JailError, reader};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use vmm_disk::{CURRENT, CheckpointReader};
pub use vmm_files::{Answer, Ask, Error, Head};

/// Most bytes of a question.
const QUESTION: u64 = 64 << 10;
/// Most bytes of an answer's line.
const LINE: u64 = 64 << 20;
/// How long a question is worked on. Its bytes take as long as they take: whoever reads them sets the pace.
const WORK: Duration = Duration::from_secs(25);
/// How long its process may take to the line.
const ANSWER: Duration = Duration::from_secs(30);
/// Most bytes of what a process says when it fails.
const WORDS: u64 = 4 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The disk, or what was asked of it.
    #[error(transparent)]
    Files(#[from] Error),
    /// The process.
    #[error("the disk cannot be looked at: {0}")]
    Process(String),
    /// It takes too long.
    #[error("looking at the disk took more than {} s and was given up; ask for less at once", ANSWER.as_secs())]
    Late,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Job {
    volume: PathBuf,
    ask: Ask,
}

/// Answers the question on standard input. The process must have one thread.
///
/// # Errors
/// When there is no question, no walls, or nobody who listens.
pub fn run() -> Result<(), JailError> {
    let failed = JailError::of("answer about a disk");
    let mut text = Vec::new();
    io::stdin().take(QUESTION).read_to_end(&mut text).map_err(|error| failed(&error))?;
    let Job { volume, ask } = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    confine(&volume)?;
    let deadline = Instant::now() + WORK;
    let open = |state: &str| match state {
        CURRENT => CheckpointReader::open_still(&volume),
        id => CheckpointReader::open(&volume, id),
    };
    let mut out = io::stdout().lock();
    match ask.states().into_iter().map(open).collect::<vmm_disk::Result<Vec<_>>>() {
        Ok(disks) => vmm_files::answer(&ask, disks, deadline, &mut out),
        Err(error) => vmm_files::refuse(Error::Disk(error.to_string()), &mut out),
    }
    .map_err(|error| failed(&error))
}

/// Puts the walls up around the calling process, which must have one thread: it can read the disk in `volume` from here on, and nothing else.
///
/// # Errors
/// When one of them cannot be put up.
pub fn confine(volume: &Path) -> Result<(), JailError> {
    reader::enter(volume)
}

/// The bytes of a file, and the process from which they come.
#[derive(Debug)]
pub struct Bytes {
    out: BufReader<ChildStdout>,
    left: u64,
    _child: Child,
}

impl Bytes {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the process ends before all were told: the disk changed, or cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match timeout(ANSWER, self.out.fill_buf()).await {
            Ok(piece) => piece?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let count = (piece.len() as u64).min(self.left) as usize;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Error::Moved));
        }
        let piece = piece[..count].to_vec();
        self.out.consume(count);
        self.left -= count as u64;
        Ok(Some(piece))
    }
}

/// Has a question about the disk in `volume` answered by a process `exe files`.
///
/// # Errors
/// See [`LookError`].
pub async fn look(exe: &Path, volume: &Path, ask: Ask) -> Result<(Answer, Bytes), LookError> {
    let failed = |error: &dyn std::fmt::Display| LookError::Process(error.to_string());
    let question =
        serde_json::to_vec(&Job { volume: volume.to_owned(), ask }).map_err(|error| failed(&error))?;
    let mut command = Command::new(exe);
    command.arg("files").current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let (input, out, words) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(out)) = (input, out) else { return Err(failed(&"it has no pipes")) };
    let mut out = BufReader::with_capacity(256 << 10, out);
    let mut line = Vec::new();
    let answered = timeout(ANSWER, async {
        // One that ended at once tells why below.
        let _ = input.write_all(&question).await;
        drop(input);
        (&mut out).take(LINE).read_until(b'\n', &mut line).await
    });
    match answered.await {
        Err(_) => return Err(LookError::Late),
        Ok(Err(error)) => return Err(failed(&error)),
        Ok(Ok(_)) => {}
    }
    if line.last() != Some(&b'\n') {
        let mut said = Vec::new();
        if let Some(words) = words {
            let _ = timeout(Duration::from_secs(1), words.take(WORDS).read_to_end(&mut said)).await;
        }
        let _ = child.start_kill();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().last().unwrap_or("it took more than it may use, or did what it may not");
        return Err(failed(&last));
    }
    match serde_json::from_slice(&line).map_err(|error| failed(&error))? {
        Answer::Failed(error) => Err(error.into()),
        answer => {
            let left = if let Answer::Bytes(head) = &answer { head.length } else { 0 };
            Ok((answer, Bytes { out, left, _child: child }))
        }
    }
}
