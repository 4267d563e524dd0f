//! How a server starts, finds and drives a machine process.

use super::control::{Answer, Call, CheckpointDone, MAX_LINE, MachineStatus, Suspended};
use super::exit::Exit;
use super::files;
use super::log::BoundedLog;
use crate::{MachineSpec, SpecError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// How long a machine process may take until it answers. It takes moments, but a host may be busy; one that fails is noticed at once.
const START: Duration = Duration::from_secs(60);
/// Most calls need moments.
const ANSWER: Duration = Duration::from_secs(20);
/// A checkpoint waits for the guest to write back its data, and then for the host's disk.
const CHECKPOINT: Duration = Duration::from_secs(180);
/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(5);
/// Most of a log that is told.
const TAIL: usize = 400;
/// Most of a log that is read for its last lines, bytes.
const LINES: u64 = 256 << 10;

/// Why a machine cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Its specification is no good.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A file of the machine.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The process ended at once, or did not come up.
    #[error("the machine does not start: {0}")]
    Start(String),
    /// The process is gone.
    #[error("the machine is not running any more; start the sprite again")]
    Gone,
    /// The process does not answer.
    #[error("the machine process does not answer {call} within {} s; if it stays silent, stop the sprite by force", .deadline.as_secs())]
    Silent {
        /// Which call.
        call: &'static str,
        /// How long was waited.
        deadline: Duration,
    },
    /// The machine says why not.
    #[error("{0}")]
    Refused(String),
}

/// How a machine process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It was told to.
    Stopped,
    /// For this reason, one sentence.
    Failed(String),
    /// Without a word: it was killed.
    Killed,
}

/// A machine process, started or found.
#[derive(Clone, Debug)]
pub struct MachineHandle {
    run_dir: PathBuf,
}

impl MachineHandle {
    /// Starts `exe machine --spec <file>` in a session of its own, so that it outlives the caller, and waits until it answers. The guest
    /// boots meanwhile; see [`wait_ready`](Self::wait_ready).
    pub async fn spawn(exe: &Path, spec: &MachineSpec) -> Result<Self, HandleError> {
        spec.check()?;
        let dir = &spec.run_dir;
        let io = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| HandleError::Io { doing, path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make", dir))?;
        let handle = Self { run_dir: dir.clone() };
        if handle.is_held() {
            return Err(HandleError::Start("it runs already".into()));
        }
        // Words of an earlier run must not be taken for this one's.
        let _ = fs::remove_file(dir.join(files::EXIT));
        let _ = fs::remove_file(spec.inside().join(files::CONTROL));
        let file = spec.save()?;
        drop(BoundedLog::new(dir, files::LOG));
        let log = files::log(dir, files::LOG);
        let out = File::options().append(true).open(&log).map_err(io("write", &log))?;
        let err = out.try_clone().map_err(io("write", &log))?;
        let mut command = tokio::process::Command::new(exe);
        command.arg("machine").arg("--spec").arg(file);
        command.stdin(Stdio::null()).stdout(out).stderr(err).current_dir("/").process_group(0);
        let mut child = command.spawn().map_err(io("start", exe))?;
        let give_up = Instant::now() + START;
        loop {
            if let Ok(_status) = handle.status().await {
                // When it ends, the runtime reaps it.
                return Ok(handle);
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(HandleError::Start(match Exit::read(dir) {
                    // The whole reason, unless it points to the log.
                    Some(Exit { error: Some(error) }) if !error.contains("its log") => error,
                    Some(Exit { error: Some(error) }) => format!("{error}; {}", tail(&log)),
                    _ => format!("its process ended with {status}; {}", tail(&log)),
                }));
            }
            if Instant::now() >= give_up {
                let _ = child.kill().await;
                return Err(HandleError::Start(format!(
                    "it does not answer within {} s; {}",
                    START.as_secs(),
                    tail(&log)
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// The machine that runs in `run_dir`, if one does. Leftovers of a dead one are cleared away.
    pub async fn adopt(run_dir: &Path) -> Result<Option<Self>, HandleError> {
        let path = run_dir.join(files::LOCK);
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HandleError::Io { doing: "open", path, source }),
        };
        if lock.try_lock_shared().is_ok() {
            files::clear(run_dir);
            return Ok(None);
        }
        let handle = Self { run_dir: run_dir.to_owned() };
        let give_up = Instant::now() + START;
        // It may have taken its lock a moment ago and not listen yet.
        loop {
            match handle.status().await {
                Ok(_) => return Ok(Some(handle)),
                Err(HandleError::Gone) if Instant::now() < give_up => sleep(LOOK).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The machine of `run_dir`, whether or not there is one: for ending one that cannot be adopted.
    pub fn at(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    /// Folder of the machine's sockets and logs.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Waits until the agent inside answers.
    pub async fn wait_ready(&self, deadline: Duration) -> Result<(), HandleError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.call("wait_ready", &Call::WaitReady { deadline_ms }, deadline + ANSWER).await
    }

    /// A connection to the agent inside.
    pub async fn connect(&self) -> Result<UnixStream, HandleError> {
        match timeout(ANSWER, self.dial(files::AGENT)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) => Err(HandleError::Gone),
            Err(_) => Err(HandleError::Silent { call: "connect", deadline: ANSWER }),
        }
    }

    /// The machine as it is now.
    pub async fn status(&self) -> Result<MachineStatus, HandleError> {
        self.call("status", &Call::Status, ANSWER).await
    }

    /// Stops the virtual CPUs; memory is kept.
    pub async fn pause(&self) -> Result<(), HandleError> {
        self.call("pause", &Call::Pause, ANSWER).await
    }

    /// Lets the virtual CPUs go on, and sets the guest's clock.
    pub async fn resume(&self) -> Result<(), HandleError> {
        self.call("resume", &Call::Resume, ANSWER).await
    }

    /// Keeps the machine on disk and ends its process; the next start goes on where it stood. Only machines on KVM can.
    pub async fn suspend(&self) -> Result<Suspended, HandleError> {
        let done = self.call("suspend", &Call::Suspend, CHECKPOINT).await?;
        self.await_end().await;
        Ok(done)
    }

    /// Makes a checkpoint of the live disk, with `memory` also of all that runs, into [`MachineSpec::memory_of`]. `auto` marks it as the
    /// system's own.
    pub async fn checkpoint(
        &self,
        comment: Option<String>,
        auto: bool,
        memory: bool,
    ) -> Result<CheckpointDone, HandleError> {
        self.call("checkpoint", &Call::Checkpoint { comment, auto, memory }, CHECKPOINT).await
    }

    /// Takes a checkpoint out of the list; its bytes come back when the store reclaims.
    pub async fn forget(&self, id: &str) -> Result<(), HandleError> {
        self.call("forget", &Call::Forget { checkpoint: id.into() }, ANSWER).await
    }

    /// Takes the machine down, orderly within the deadline, by force after it, and waits until the process is gone.
    pub async fn stop(&self, deadline: Duration) -> Result<(), HandleError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let told: Result<(), _> = self.call("stop", &Call::Stop { deadline_ms }, deadline + ANSWER).await;
        match told {
            // The process may be gone before it has answered.
            Ok(()) | Err(HandleError::Gone) => {}
            Err(error) => {
                tracing::warn!("{error}");
                self.kill();
            }
        }
        self.await_end().await;
        Ok(())
    }

    /// Waits for the end of a process that was told to end, and helps it when it does not.
    async fn await_end(&self) {
        if timeout(ANSWER, self.wait_exit()).await.is_err() {
            self.kill();
            let _ = timeout(ANSWER, self.wait_exit()).await;
        }
    }

    /// Ends the machine at once, as pulling the plug would. What the guest had flushed is safe.
    pub fn kill(&self) {
        // As long as the lock is held the process lives, and the number is its own.
        let held = self.is_held();
        let pid = files::read(&self.run_dir.join(files::PID))
            .ok()
            .and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok())
            .filter(|pid| *pid > 1);
        if let (true, Some(pid)) = (held, pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Waits until the process has ended.
    pub async fn wait_exit(&self) -> ExitReason {
        if let Ok(mut stream) = self.dial(files::CONTROL).await {
            let mut text = serde_json::to_vec(&Call::Watch).unwrap_or_default();
            text.push(b'\n');
            if stream.write_all(&text).await.is_ok() {
                // It never says anything; the connection ends with the process.
                let _ = stream.read(&mut [0; 1]).await;
            }
        }
        // The lock is the proof; the last steps of an end take a moment.
        while self.is_held() {
            sleep(LOOK).await;
        }
        match Exit::read(&self.run_dir) {
            Some(Exit { error: None }) => ExitReason::Stopped,
            Some(Exit { error: Some(error) }) => ExitReason::Failed(error),
            None => ExitReason::Killed,
        }
    }

    /// The last lines of what the machine's console and process said, at most so many, oldest first; without control characters.
    pub fn last_words(&self, most: usize) -> Vec<String> {
        let console = files::log(&self.run_dir.join(files::INSIDE), files::CONSOLE);
        let process = files::log(&self.run_dir, files::LOG);
        let mut lines = Vec::new();
        for path in [console, process] {
            let text = String::from_utf8_lossy(&end(&path, LINES).unwrap_or_default()).into_owned();
            lines.extend(text.lines().map(|line| line.chars().filter(|sign| !sign.is_control()).collect()));
        }
        lines.split_off(lines.len().saturating_sub(most))
    }

    /// Whether a process has the machine.
    pub fn is_held(&self) -> bool {
        File::open(self.run_dir.join(files::LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err())
    }

    /// Connects to a socket of the machine process.
    async fn dial(&self, name: &str) -> io::Result<UnixStream> {
        let (_file, path) = files::socket(&self.run_dir.join(files::INSIDE).join(name))?;
        UnixStream::connect(path).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        name: &'static str,
        call: &Call,
        deadline: Duration,
    ) -> Result<T, HandleError> {
        match timeout(deadline, self.exchange(call)).await {
            Ok(Some(Answer::Ok(value))) => serde_json::from_value(value).map_err(|error| {
                HandleError::Refused(format!("the answer to {name} makes no sense: {error}"))
            }),
            Ok(Some(Answer::Error(why))) => Err(HandleError::Refused(why)),
            Ok(None) => Err(HandleError::Gone),
            Err(_) => Err(HandleError::Silent { call: name, deadline }),
        }
    }

    /// None when the process went away, before or meanwhile.
    async fn exchange(&self, call: &Call) -> Option<Answer> {
        let mut stream = self.dial(files::CONTROL).await.ok()?;
        let mut text = serde_json::to_vec(call).ok()?;
        text.push(b'\n');
        stream.write_all(&text).await.ok()?;
        let mut line = Vec::new();
        BufReader::new(stream).take(MAX_LINE).read_until(b'\n', &mut line).await.ok()?;
        serde_json::from_slice(&line).ok()
    }
}

/// The end of a log, for a message.
fn tail(path: &Path) -> String {
    let text = String::from_utf8_lossy(&end(path, 4 * TAIL as u64).unwrap_or_default()).into_owned();
    let from = text.char_indices().rev().nth(TAIL).map_or(0, |(at, _)| at);
    match text[from..].trim() {
        "" => "its log is empty".into(),
        words => format!("its log ends with: {}", words.replace('\n', " | ")),
    }
}

fn end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let from = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
