//! The first process inside a sprite. It starts and keeps sessions, counts what they use, brings the file system to rest
//! for a checkpoint and ends the computer in good order.
//!
//! Two HTTP routers, see `docs/agent.md`:
//!
//! - the *inner* API, `/v1/exec…`, `/v1/fs…`, `/v1/services…`, ports, for the server outside (vsock) and for programs inside (`/.sprite/api.sock`);
//! - the *host-only* calls, `/v1/agent/…`, on vsock alone, because code inside a sprite is not to be trusted with them.
//!
//! The same code runs in two roles: as PID 1 of a machine ([`boot`]), and as an ordinary process over unix sockets, which
//! is how servers and clients are tested with real commands and without a machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sprites_guest_agent::{Config, Listener, serve};
//! let host = tokio::net::UnixListener::bind("/tmp/example/host.sock")?;
//! let stop = tokio_util::sync::CancellationToken::new();
//! serve(vec![Listener::host_unix(host)], Config::process(), stop).await?;
//! # Ok(()) }
//! ```

pub mod boot;
mod cgroup;
mod config;
mod exec;
mod files;
mod host;
mod identity;
mod interior;
mod listen;
mod outward;
mod plain;
mod policy;
mod ports;
mod process;
mod reply;
mod services;
mod session;
mod shown;
pub mod tool;
mod websocket;

pub use cgroup::CgroupError;
pub use config::{Config, Disk, Limits};
pub use listen::Listener;

use host::quiesce::Quiescer;
use outward::Outward;
use policy::Policy;
use ports::Ports;
use process::reaper::Reaper;
use services::Services;
use session::registry::Sessions;
use shown::Shown;
use sprites_api::agent::Identity;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Version of the agent, sent with every answer as `Sprite-Version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the agent could not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The stream of child signals could not be had.
    #[error("the agent cannot watch its child processes: {0}")]
    Reaper(std::io::Error),
    /// The sprite's cgroup could not be made.
    #[error("the agent cannot set up the cgroup of the sprite's sessions: {0}")]
    Cgroup(#[from] CgroupError),
}

/// What every handler works on.
pub(crate) struct Agent {
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) services: Arc<Services>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) outward: Outward,
    pub(crate) shown: Shown,
    pub(crate) policy: Arc<Policy>,
    pub(crate) quiescer: Arc<Quiescer>,
    /// Changes when the machine wakes as another.
    pub(crate) identity: Arc<Mutex<Identity>>,
    pub(crate) stop: CancellationToken,
}

impl Agent {
    /// Who the machine is now.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on sessions are told another.
    pub(crate) fn become_known_as(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

/// Serves on `listeners` until `stop` is cancelled or the host asks for a shutdown; then ends all sessions and returns.
///
/// Sessions get [`Limits::shutdown_grace`] to end by themselves. When this returns no session runs and nothing listens; clients
/// still connected may be hearing the last of their session.
pub async fn serve(
    listeners: Vec<Listener>,
    config: Config,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let group = match &config.cgroup {
        Some(path) => Some(cgroup::Cgroup::create(path.clone())?),
        None => None,
    };
    let reaper = Reaper::start(config.adopt_orphans).map_err(AgentError::Reaper)?;
    let identity = Arc::new(Mutex::new(config.identity.clone()));
    let told = Arc::clone(&identity);
    let known = Arc::new(move || told.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let policy = Arc::new(Policy::new(group.clone()));
    let agent = Arc::new(Agent {
        services: Arc::new(Services::new(reaper.clone(), group.clone(), policy.clone(), &config, known)),
        ports: Ports::new(),
        outward: Outward::default(),
        shown: Shown::default(),
        sessions: Sessions::new(reaper, group, policy.clone(), &config),
        policy,
        quiescer: Arc::new(Quiescer::new(config.disk.clone())),
        identity,
        stop: stop.clone(),
        config,
    });
    agent.services.load().await;
    let serving = CancellationToken::new();
    let accepting: Vec<_> =
        listeners.into_iter().map(|one| tokio::spawn(one.run(agent.clone(), serving.clone()))).collect();
    let booting = {
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            // What they may do must be known before they do anything.
            if agent.config.is_machine {
                agent.policy.told().await;
            }
            agent.services.boot().await;
        })
    };
    stop.cancelled().await;
    // A boot that is not over would start what is ended here.
    booting.abort();
    agent.services.end_all(agent.config.limits.shutdown_grace).await;
    agent.sessions.end_all(agent.config.limits.shutdown_grace).await;
    serving.cancel();
    for task in accepting {
        // A listener that panicked has nothing left to stop.
        let _ = task.await;
    }
    Ok(())
}
