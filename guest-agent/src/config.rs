//! How an agent is set up: its role, and every bound it keeps.

use sprites_api::agent::{BELL, Identity};
use std::path::PathBuf;
use std::time::Duration;

/// Set-up of an agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sessions run as this user of `/etc/passwd`; `None`, or a name that does not exist, means the agent's own user.
    pub user: Option<String>,
    /// Who the machine is; every session is told.
    pub identity: Identity,
    /// A cgroup v2 directory below which each session gets its own group; `None` counts usage from `/proc` instead.
    pub cgroup: Option<PathBuf>,
    /// Reap every child of the process, not only sessions. Right for PID 1 and child subreapers; wrong in a process
    /// that starts children by other means, whose exit statuses would be stolen.
    pub adopt_orphans: bool,
    /// Folder of the sprite's own things: definitions and logs of services. Without one there are no services.
    pub home: Option<PathBuf>,
    /// The disk that quiesce calls bring to rest; without one they are refused.
    pub disk: Option<Disk>,
    /// Whether it is a machine: the host may set its clock, its randomness and its identity.
    pub is_machine: bool,
    /// Bounds.
    pub limits: Limits,
}

/// The sprite's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where its file system is mounted.
    pub mount: PathBuf,
    /// The file whose reading is a request to the disk; see [`BELL`].
    pub bell: PathBuf,
}

/// Bounds of memory, number and time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: usize,
    /// Connected clients of one session.
    pub clients: usize,
    /// HTTP connections at once, for each listener.
    pub connections: usize,
    /// The process is held back when the fastest client of its session is this many bytes behind.
    pub window: usize,
    /// Output kept in memory for one session, bytes. At least `window`.
    pub history: usize,
    /// Input kept in memory for one session, bytes.
    pub input: usize,
    /// Scrolled-off lines kept for the redraw of one terminal, bytes.
    pub scrollback: usize,
    /// Largest WebSocket message of a client, bytes.
    pub message: usize,
    /// A silent session sends something this often; one client gives up after 45 s without a message.
    pub keepalive: Duration,
    /// A client that takes no output for this long is disconnected.
    pub stall: Duration,
    /// Sessions get this long to end by themselves at a shutdown.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 256,
            clients: 32,
            connections: 512,
            window: 256 << 10,
            history: 512 << 10,
            input: 256 << 10,
            scrollback: 256 << 10,
            message: 16 << 20,
            keepalive: Duration::from_secs(20),
            stall: Duration::from_secs(15 * 60),
            shutdown_grace: Duration::from_secs(3),
        }
    }
}

impl Config {
    /// An agent that is an ordinary process: sessions run as the present user, nothing of the machine is changed.
    pub fn process() -> Self {
        Self {
            user: None,
            identity: Identity::default(),
            cgroup: None,
            adopt_orphans: false,
            home: None,
            disk: None,
            is_machine: false,
            limits: Limits::default(),
        }
    }

    /// An agent that is PID 1 of a machine and owns all of it.
    pub fn machine() -> Self {
        Self {
            user: Some("sprite".into()),
            identity: Identity::default(),
            cgroup: Some("/sys/fs/cgroup/sprite".into()),
            adopt_orphans: true,
            home: Some("/.sprite".into()),
            disk: Some(Disk { mount: "/".into(), bell: BELL.into() }),
            is_machine: true,
            limits: Limits::default(),
        }
    }
}
