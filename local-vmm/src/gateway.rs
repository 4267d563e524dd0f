//! The process of one sprite's network, and how the server starts and speaks to it.
//!
//! It is started before the machine, whose card is plugged into its socket, and ends when the machine does. It outlives the server: owners come and
//! go on its line. What it may reach of the host is the network and the names of name servers; see `vmm_net` for what a guest may reach through it.

use crate::jail;
use crate::machine::log::BoundedLog;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
pub use vmm_net::{Counters, Event, Message, Plan, Report, Request, Settings, host_has_ipv6};

/// Where the machine's card is plugged in.
const CABLE: &str = "net.sock";
/// Where the owner speaks.
const LINE: &str = "net-control.sock";
/// What it is started with.
const SPEC: &str = "net.json";
/// What it says.
const LOG: &str = "net";
/// A machine that has not plugged its card in by then never will.
const PLUG: Duration = Duration::from_secs(120);
/// How long it may take to come up.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
/// An owner that takes nothing for so long is let go.
const STALL: Duration = Duration::from_secs(10);
/// Bytes carried at once.
const PART: usize = 64 << 10;
/// Largest file that is written, bytes: its log.
const LARGEST: u64 = 1 << 20;
/// Files beside those of conversations.
const FILES: u64 = 256;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A file or socket.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// It does not come up.
    #[error("the sprite's network does not start: {0}")]
    Start(String),
    /// The walls.
    #[error("the walls around the sprite's network cannot be built: {0}")]
    Walls(String),
    /// The gateway itself.
    #[error(transparent)]
    Gateway(#[from] vmm_net::Error),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    run_dir: PathBuf,
    settings: Settings,
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GatewayError {
    let path = path.to_owned();
    move |source| GatewayError::Io { doing, path, source }
}

/// Serves the network of a specification until the machine is gone. The process must have one thread.
pub fn run(spec: &Path) -> Result<(), GatewayError> {
    let text = fs::read(spec).map_err(io_error("read", spec))?;
    let Spec { run_dir, settings } =
        serde_json::from_slice(&text).map_err(|error| io_error("read", spec)(error.into()))?;
    jail::allocator::gives_buffers_back();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io_error("serve", &run_dir))?;
    runtime.block_on(async {
        let (cable, line) = (run_dir.join(CABLE), run_dir.join(LINE));
        let owners = listen(&line)?;
        // Its presence says that all is ready.
        let cards = listen(&cable)?;
        confine(&settings)?;
        let plugged = timeout(PLUG, cards.accept()).await;
        let Ok(Ok((card, _))) = plugged else { return Ok(()) };
        // A machine has one card.
        drop(cards);
        let (ours, theirs) = UnixStream::pair().map_err(io_error("serve", &line))?;
        tokio::select! {
            ended = vmm_net::run(card, theirs, settings) => Ok(ended?),
            ended = relay(owners, ours) => ended.map_err(io_error("serve", &line)),
        }
    })
}

fn listen(path: &Path) -> Result<UnixListener, GatewayError> {
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(io_error("listen on", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io_error("guard", path))?;
    Ok(listener)
}

/// Shuts off what a gateway does not need, for good and for the whole process, which must have one thread.
pub fn confine(settings: &Settings) -> Result<(), GatewayError> {
    let failed = |why: &dyn std::fmt::Display| GatewayError::Walls(why.to_string());
    let limits = settings.limits;
    let files = (limits.connections + limits.flows + limits.echoes + limits.questions) as u64 + FILES;
    for (resource, most) in [(Resource::RLIMIT_NOFILE, files), (Resource::RLIMIT_FSIZE, LARGEST)] {
        let (_, hard) = getrlimit(resource).map_err(|errno| failed(&errno))?;
        setrlimit(resource, most.min(hard), most.min(hard)).map_err(|errno| failed(&errno))?;
    }
    jail::limits::set().and_then(|()| jail::limits::give_up_privileges()).map_err(|error| failed(&error))?;
    let rules = || -> Result<(), RulesetError> {
        let (all, read) = (AccessFs::from_all(ABI::V6), AccessFs::ReadFile | AccessFs::ReadDir);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?;
        // Name servers, which change with the network that the host is in.
        for path in ["/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"] {
            if let Ok(fd) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(fd, read))?;
            }
        }
        rules.restrict_self().map(drop)
    };
    rules().map_err(|error| failed(&error))?;
    filter().map_err(|why| failed(&why))
}

/// Shuts off ways around the walls: other programs, other processes, and the sockets of this machine, of which the server's asks for no token.
fn filter() -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let unix = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::AF_UNIX as u64)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| told(&error))?;
    let never = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        never.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, vec![unix]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| told(&error))?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(|error| told(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| told(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| told(&error))
}

/// Joins whoever owns the gateway now with its line. The newest owner takes the place of the one before. Neither direction waits for the other.
async fn relay(owners: UnixListener, line: UnixStream) -> io::Result<()> {
    let (mut told, says) = line.into_split();
    let says = Arc::new(Mutex::new(says));
    let owner: Arc<Mutex<Option<OwnedWriteHalf>>> = Arc::default();
    let hear = async {
        let mut buffer = vec![0; PART];
        loop {
            let length = told.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let mut owner = owner.lock().await;
            // Without an owner what happens is of no interest; it is counted all the same. One that takes nothing is let go, and may come again.
            if let Some(stream) = owner.as_mut()
                && !matches!(timeout(STALL, stream.write_all(&buffer[..length])).await, Ok(Ok(())))
            {
                *owner = None;
            }
        }
    };
    let speak = async {
        let mut speaker: Option<AbortHandle> = None;
        loop {
            let (mut from, to) = owners.accept().await?.0.into_split();
            if let Some(before) = speaker.take() {
                before.abort();
            }
            *owner.lock().await = Some(to);
            let says = Arc::clone(&says);
            let task = tokio::spawn(async move {
                let mut says = says.lock().await;
                // Half a line of the one before must not become the beginning of this one's.
                let _ = says.write_all(b"\n").await;
                let _ = tokio::io::copy(&mut from, &mut *says).await;
            });
            speaker = Some(task.abort_handle());
        }
    };
    tokio::select! {
        ended = hear => ended,
        ended = speak => ended,
    }
}

/// A gateway of a sprite, for the server.
#[derive(Clone, Debug)]
pub struct GatewayHandle {
    run_dir: PathBuf,
}

impl GatewayHandle {
    /// The one of the machine whose run folder this is, whether it runs or not.
    pub fn at(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    /// Starts one: `exe gateway --spec …`. It waits for the machine's card for [a while](PLUG).
    pub async fn spawn(exe: &Path, run_dir: &Path, settings: Settings) -> Result<Self, GatewayError> {
        let handle = Self::at(run_dir);
        fs::create_dir_all(run_dir).map_err(io_error("make", run_dir))?;
        let (file, cable) = (run_dir.join(SPEC), handle.cable());
        handle.clear();
        let spec = Spec { run_dir: run_dir.to_owned(), settings };
        let text = serde_json::to_vec(&spec).map_err(|error| io_error("write", &file)(error.into()))?;
        fs::write(&file, text).map_err(io_error("write", &file))?;
        drop(BoundedLog::new(run_dir, LOG));
        let log = run_dir.join(format!("{LOG}.log"));
        let out =
            fs::File::options().append(true).create(true).open(&log).map_err(io_error("write", &log))?;
        let err = out.try_clone().map_err(io_error("write", &log))?;
        let mut command = tokio::process::Command::new(exe);
        command.arg("gateway").arg("--spec").arg(&file);
        command.stdin(Stdio::null()).stdout(out).stderr(err).current_dir("/").process_group(0);
        let mut child = command.spawn().map_err(io_error("start", exe))?;
        let give_up = Instant::now() + START;
        while !cable.exists() {
            if let Ok(Some(status)) = child.try_wait() {
                let words = fs::read_to_string(&log).unwrap_or_default();
                let last = words.lines().last().unwrap_or_default();
                return Err(GatewayError::Start(format!("its process ended with {status}; {last}")));
            }
            if Instant::now() >= give_up {
                let _ = child.kill().await;
                return Err(GatewayError::Start(format!("it is not ready within {} s", START.as_secs())));
            }
            sleep(LOOK).await;
        }
        // When it ends, the runtime reaps it.
        Ok(handle)
    }

    /// Removes what one that is gone has left, so that nobody takes it to be there.
    pub fn clear(&self) {
        for old in [CABLE, LINE] {
            // Often there is none.
            let _ = fs::remove_file(self.run_dir.join(old));
        }
    }

    /// Where the machine's card is plugged in.
    pub fn cable(&self) -> PathBuf {
        self.run_dir.join(CABLE)
    }

    /// Whether there is one, as far as can be seen from here.
    pub fn is_there(&self) -> bool {
        self.run_dir.join(LINE).exists()
    }

    /// The line on which it is spoken to: see [`Request`] and [`Message`].
    pub async fn line(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.run_dir.join(LINE)).await
    }
}
