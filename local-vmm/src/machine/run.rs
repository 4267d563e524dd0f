//! The life of a machine process.

use super::agent::Agent;
use super::control::{Answer, Call, MAX_LINE};
use super::exit::Exit;
use super::files;
use super::log::BoundedLog;
use super::work::{Began, Work, WorkError};
use crate::devices::block::{Bell, Block};
use crate::devices::vsock::Vsock;
use crate::jail::{self, JailError, Role};
use crate::kvm::{self, Begin, KvmError};
use crate::{End, Host, Kind as Runs, MachineSpec, Monitor, MonitorError, SpecError, initramfs};
use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use vmm_disk::{Kind, NewCheckpoint, Volume};

/// Most calls at once.
const MAX_CALLS: usize = 64;
/// How long a caller may take to say what it wants.
const SPEAK: Duration = Duration::from_secs(10);
/// How long a lock may be held by somebody who only looks.
const LINGER: Duration = Duration::from_millis(500);
/// How long a machine that is told to end by a signal may take.
const TERMINATE: Duration = Duration::from_secs(30);

/// Why a machine process failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Its specification is no good.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Another process runs this machine.
    #[error("another process already runs the machine in {0}")]
    Running(PathBuf),
    /// The disk cannot be used.
    #[error(transparent)]
    Disk(#[from] vmm_disk::Error),
    /// The monitor failed.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The process cannot be confined.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// A file or socket of the machine.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The guest ended without being told to.
    #[error("the machine went down by itself ({0}); its console.log tells its last words")]
    Down(String),
}

/// What a thread of the machine process does.
type Body = Box<dyn FnOnce(&Arc<Work>) + Send>;

/// Runs the machine of a specification until it ends, in a [process of its own](jail::part), whose end is the calling one's too. The calling thread
/// must be the process's main thread, and the only one: walls and signal masks are inherited from it.
pub fn run(spec: &Path) -> Result<(), MachineError> {
    let started = Instant::now();
    let spec = MachineSpec::load(spec)?;
    let file = |name: &str| spec.run_dir.join(name);
    let io = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| MachineError::Io { doing, path, source }
    };
    let lock = file(files::LOCK);
    let lock_file = File::create(&lock).map_err(io("open", &lock))?;
    // Whoever looks whether it is held holds it for a moment.
    while lock_file.try_lock().is_err() {
        if started.elapsed() > LINGER {
            return Err(MachineError::Running(spec.run_dir.clone()));
        }
        thread::sleep(LINGER / 50);
    }
    let _ = fs::remove_file(file(files::EXIT));
    let inside = spec.inside();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&inside).map_err(io("make", &inside))?;
    kvm::tidy(&spec.memory);
    let mut machine = jail::part(&spec)?;
    let outcome = live(&spec, &machine, started);
    machine.tell(&Exit { error: outcome.as_ref().err().map(ToString::to_string) }.told());
    outcome
}

fn live(spec: &MachineSpec, machine: &jail::Machine, started: Instant) -> Result<(), MachineError> {
    vmm_disk::raise_file_limit();
    if spec.kind == Runs::Kvm {
        // Behind the walls it could not be made.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&spec.memory)
            .map_err(|source| MachineError::Io { doing: "make", path: spec.memory.clone(), source })?;
    }
    let host = Host::open(spec)?;
    jail::enter(spec, machine)?;
    // Signals are taken by a thread that ends the machine in order; all threads inherit the mask.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(|errno| MachineError::Io {
        doing: "take signals for",
        path: spec.run_dir.clone(),
        source: errno.into(),
    })?;
    let volume = Arc::new(Volume::open(&spec.volume)?);
    jail::largest_file(volume.size().max(u64::from(spec.memory_mb) << 20))?;
    let inside = spec.inside();
    let archive = inside.join(files::INITRAMFS);
    initramfs::write(&spec.modules, &archive).map_err(|source| MachineError::Io {
        doing: "write",
        path: archive.clone(),
        source,
    })?;
    let agent = listen(&inside.join(files::AGENT))?;
    let control = listen(&inside.join(files::CONTROL))?;
    let told = |path: PathBuf| move |source| MachineError::Io { doing: "serve", path, source };
    let sockets = Vsock::start(agent).map_err(told(inside.join(files::AGENT)))?;
    let console = Arc::new(Mutex::new(BoundedLog::new(&inside, files::CONSOLE)));
    let bell = Arc::new(Bell::new(Arc::clone(&volume)));
    let start = |begin| {
        let block = Block::new(Arc::clone(&volume), Arc::clone(&bell), &spec.id);
        let console = Arc::clone(&console);
        Monitor::start(spec, &host, begin, block, &sockets, move |bytes| {
            console.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
        })
    };
    let kept = spec.kind == Runs::Kvm && kvm::is_kept(&spec.memory);
    let (monitor, began) = match kept.then(|| start(Begin::GoOn(&spec.memory))) {
        Some(Ok(monitor)) => (monitor, Began::GoneOn),
        // What it had in memory is lost, as after a power cut; its disk is not.
        Some(Err(MonitorError::Kvm(KvmError::State(place, why)))) => {
            tracing::warn!("{}", KvmError::State(place, why.clone()));
            // Its disk moves away from it; nobody is to go on from it later.
            kvm::forget(&spec.memory).map_err(told(spec.memory.clone()))?;
            (start(Begin::Boot(&archive))?, Began::WithoutMemory(why))
        }
        Some(Err(error)) => return Err(error.into()),
        None => (start(Begin::Boot(&archive))?, Began::Booted),
    };
    let agent = Agent::new(sockets).map_err(told(inside.join(files::AGENT)))?;
    let work = Arc::new(Work::new(
        Arc::clone(&volume),
        bell,
        agent,
        monitor,
        spec.clone(),
        machine.pid(),
        began,
        started,
    ));
    let spawn = |name: &str, body: Body| {
        let work = Arc::clone(&work);
        jail::spawn(Role::Control, name, move || body(&work)).map(drop).map_err(told(spec.run_dir.clone()))
    };
    spawn("boot", Box::new(|work| work.watch_boot()))?;
    spawn(
        "signals",
        Box::new(move |work| {
            if let Ok(signal) = signals.wait() {
                tracing::info!("{signal} ends the machine");
                work.stop(TERMINATE);
            }
        }),
    )?;
    spawn("control", Box::new(move |work| serve(&control, work)))?;
    jail::confine_this_thread(Role::Control)?;
    let ended = work.monitor.wait(None);
    let _ = fs::remove_file(&archive);
    // The queues are gone; what they wrote last is made to stay.
    volume.flush()?;
    match ended {
        _ if work.state() == super::control::State::Stopping => Ok(()),
        Some(end) => Err(MachineError::Down(end.to_string())),
        None => Err(MachineError::Down(End::Failed("for a reason nobody told".into()).to_string())),
    }
}

fn listen(path: &Path) -> Result<UnixListener, MachineError> {
    // The lock is ours, so whatever stands there is a dead machine's.
    let _ = fs::remove_file(path);
    UnixListener::bind(path).map_err(|source| MachineError::Io {
        doing: "listen on",
        path: path.to_owned(),
        source,
    })
}

/// Takes calls, each in a thread of its own: one that waits must not hold up another.
fn serve(listener: &UnixListener, work: &Arc<Work>) {
    let calls = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if calls.fetch_add(1, Ordering::SeqCst) >= MAX_CALLS {
            calls.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (work, counter) = (Arc::clone(work), Arc::clone(&calls));
        let spawned = thread::Builder::new().name("call".into()).stack_size(jail::STACK).spawn(move || {
            if let Err(error) = converse(&stream, &work) {
                tracing::info!("a call breaks off: {error}");
            }
            counter.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            calls.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn converse(stream: &UnixStream, work: &Work) -> io::Result<()> {
    stream.set_read_timeout(Some(SPEAK))?;
    stream.set_write_timeout(Some(SPEAK))?;
    let mut line = Vec::new();
    BufReader::new(stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
    let mut ends = false;
    let answer = match serde_json::from_slice::<Call>(&line) {
        Ok(Call::Watch) => {
            stream.set_read_timeout(None)?;
            // Ends when the caller goes; when this process goes, the kernel closes it.
            io::copy(&mut stream.take(MAX_LINE), &mut io::sink())?;
            return Ok(());
        }
        Ok(call) => {
            ends = matches!(call, Call::Suspend);
            match catch_unwind(AssertUnwindSafe(|| perform(call, work))) {
                Ok(Ok(value)) => Answer::Ok(value),
                Ok(Err(error)) => Answer::Error(error.to_string()),
                Err(_) => {
                    Answer::Error("the machine process failed at this; its machine.log tells where".into())
                }
            }
        }
        Err(error) => Answer::Error(format!("this call cannot be understood: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    let mut stream = stream;
    let told = stream.write_all(&text);
    if ends && matches!(answer, Answer::Ok(_)) {
        // Its memory is on disk; the process has nothing left to do.
        work.monitor.kill();
    }
    told
}

fn perform(call: Call, work: &Work) -> Result<Value, WorkError> {
    match call {
        Call::Status => Ok(json(&work.status())),
        Call::WaitReady { deadline_ms } => {
            work.wait_ready(Duration::from_millis(deadline_ms)).map(|()| Value::Null)
        }
        Call::Pause => work.pause().map(|()| Value::Null),
        Call::Resume => work.resume().map(|()| Value::Null),
        Call::Suspend => work.suspend().map(|done| json(&done)),
        Call::Checkpoint { comment, auto, memory } => {
            let kind = if auto { Kind::Automatic } else { Kind::Manual };
            work.checkpoint(NewCheckpoint { comment, kind }, memory).map(|done| json(&done))
        }
        Call::Forget { checkpoint } => work.forget(&checkpoint).map(|()| Value::Null),
        Call::Stop { deadline_ms } => {
            work.stop(Duration::from_millis(deadline_ms));
            Ok(Value::Null)
        }
        // Dealt with by the caller.
        Call::Watch => Ok(Value::Null),
    }
}

/// Answers are plain structures, which always have a JSON form.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
