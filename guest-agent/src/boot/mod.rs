//! From the kernel's first process to a sprite that serves.
//!
//! ```text
//! mounts of the initramfs → modules → disk → switch to the disk's root → its mounts → name, loopback, hosts → serve
//! ```
//!
//! Each phase prints one line with the milliseconds since the kernel started. A phase that fails prints one sentence and
//! turns the machine off: the host sees that, and the console log tells why.

mod cmdline;
mod disk;
mod modules;
mod mounts;
mod network;
mod power;

pub(crate) use network::set_ipv6;

use crate::host::clock::uptime_ms;
use crate::session::screen;
use crate::{Config, Listener, identity, interior, serve};
use nix::errno::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};

/// Why a machine did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A step on a file or mount failed.
    #[error("{what} {}: {}", path.display(), reason.desc())]
    Step {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's reason.
        reason: Errno,
    },
    /// The disk did not appear.
    #[error("the disk {} did not appear within {} s; are the virtio modules in the initramfs?", path.display(), waited.as_secs())]
    NoDisk {
        /// Its device.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// A module did not load.
    #[error("the kernel module {name} did not load: {}", reason.desc())]
    Module {
        /// Its file name.
        name: String,
        /// The kernel's reason.
        reason: Errno,
    },
    /// The agent could not listen.
    #[error("the agent cannot listen on {what}: {reason}")]
    Listen {
        /// On what.
        what: &'static str,
        /// Why.
        reason: io::Error,
    },
    /// The runtime or the agent itself failed.
    #[error("the agent cannot run: {0}")]
    Agent(String),
}

impl BootError {
    fn step(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |reason| Self::Step { what, path, reason }
    }

    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let step = Self::step(what, path);
        move |error| step(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
    }
}

/// Brings the machine up, serves until a shutdown, turns the machine off.
pub fn run() -> ! {
    quiet_contained_panics();
    match life() {
        Ok(()) => say("off"),
        Err(error) => say(&format!("the sprite cannot start: {error}")),
    }
    power::off()
}

fn life() -> Result<(), BootError> {
    mounts::early()?;
    say("first mounts");
    let (identity, ipv6) = cmdline::read();
    let loaded = modules::load_all(Path::new("/modules"))?;
    modules::keep(Path::new("/modules"));
    say(&format!("{loaded} modules"));
    disk::mount(Path::new("/dev/vda"), Path::new("/newroot"))?;
    say("disk");
    // Before the file is gone from which they are made.
    if let Err(error) = mounts::tools(Path::new("/newroot/.sprite/bin")) {
        say(&format!("the tools for programs inside are missing: {error}"));
    }
    mounts::switch_root(Path::new("/newroot"))?;
    mounts::late()?;
    say("root");
    // None of this is worth stopping a sprite for.
    if let Err(error) = identity::take(&identity) {
        say(&error.to_string());
    }
    let home = Path::new("/.sprite");
    if let Err(error) = interior::furnish(home).and_then(|()| interior::close_policy(home)) {
        say(&format!("/.sprite is not complete: {error}"));
    }
    if let Err(error) = interior::link_tools(home, Path::new("/usr/local/bin")) {
        say(&format!("/usr/local/bin does not have the tools: {error}"));
    }
    if let Err(error) = network::loopback_up() {
        say(&format!("the loopback device did not come up: {error}"));
    }
    match network::card_up(ipv6) {
        Ok(true) => say("network"),
        Ok(false) => {}
        Err(error) => say(&format!("there is no network: {error}")),
    }
    shield();
    say("name and loopback");

    let mut config = Config::machine();
    config.identity = identity;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .map_err(|error| BootError::Agent(error.to_string()))?;
    runtime.block_on(async {
        let listeners = listen()?;
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone()).map_err(|error| BootError::Agent(error.to_string()))?;
        say("ready");
        serve(listeners, config, stop).await.map_err(|error| BootError::Agent(error.to_string()))
    })
}

fn listen() -> Result<Vec<Listener>, BootError> {
    let vsock = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, sprites_api::agent::VSOCK_PORT))
        .map_err(|reason| BootError::Listen { what: "vsock", reason })?;
    let path = Path::new(sprites_api::agent::API_SOCKET);
    // Without the inner socket the sprite is still of use, so its failure is told and no more.
    let inner = bind_inner(path).map_err(|reason| BootError::Listen { what: "its socket inside", reason });
    let mut listeners = vec![Listener::host_vsock(vsock)];
    match inner {
        Ok(inner) => listeners.push(Listener::inner_unix(inner)),
        Err(error) => say(&error.to_string()),
    }
    Ok(listeners)
}

/// Binds the socket for programs inside; every user may use it, as in the original.
fn bind_inner(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}

/// Makes SIGTERM and SIGINT an orderly end. For PID 1 and for an ordinary process alike.
pub fn stop_on_signal(stop: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stop.cancelled() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// Loads those modules that a machine does not need from its beginning. Once is enough.
pub(crate) fn load_later_modules() -> io::Result<()> {
    modules::load_later()
}

/// Keeps a panic that is caught at once off the console, where a program inside could otherwise write at will.
pub fn quiet_contained_panics() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !screen::is_contained() {
            loud(panic);
        }
    }));
}

/// Keeps the kernel's out-of-memory killer away from the agent, and lets it have enough files.
fn shield() {
    use nix::sys::resource::{Resource, setrlimit};
    // Neither is worth failing for; the defaults work until memory or files run out.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = setrlimit(Resource::RLIMIT_NOFILE, 65_536, 1 << 20);
}

/// One line on the console.
fn say(what: &str) {
    eprintln!("sprite-agent: {what} at {} ms", uptime_ms());
}
