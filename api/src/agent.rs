//! Host-only calls of the agent. They are served on the machine's vsock and never on the socket inside the sprite.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /v1/agent/health` | | 200 [`Health`] |
//! | `GET /v1/agent/usage` | | 200 [`Counters`] |
//! | `POST /v1/agent/freeze` | [`Freeze`] | 204; the agent thaws by itself when the deadline passes |
//! | `POST /v1/agent/thaw` | | 200 [`Thawed`]; 409 when the deadline already thawed it |
//! | `POST /v1/agent/clock` | [`Clock`] | 204 |
//! | `POST /v1/agent/shutdown` | | 202, then sessions end, file systems are flushed, the machine powers off |

use crate::Time;
use serde::{Deserialize, Serialize};

/// vsock port on which the agent listens.
pub const VSOCK_PORT: u32 = 1024;
/// Path of the API socket inside the sprite.
pub const API_SOCKET: &str = "/.sprite/api.sock";
/// Kernel command line key that carries the sprite's name to the agent.
pub const CMDLINE_NAME: &str = "sprite.name";
/// Kernel command line key that carries the sprite's URL to the agent.
pub const CMDLINE_URL: &str = "sprite.url";

/// The agent is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Version of the agent.
    pub version: String,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
}

/// Counters of everything the sprite's user runs, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// CPU time, microseconds (cgroup `cpu.stat` `usage_usec`).
    pub cpu_usec: u64,
    /// Memory in use now, bytes (cgroup `memory.current`).
    pub memory_bytes: u64,
    /// Processes now (cgroup `pids.current`).
    pub processes: u64,
    /// Milliseconds since the kernel started, when the counters were read.
    pub uptime_ms: u64,
    /// Sessions with a connected client.
    pub attached_sessions: u32,
    /// Milliseconds since any session last had input or output; absent when there is no session.
    pub session_idle_ms: Option<u64>,
}

/// Body of freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The agent thaws on its own after this long, milliseconds (at most 10,000), so that a lost host cannot wedge a guest.
    pub deadline_ms: u32,
}

/// Answer of thaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thawed {
    /// How long writers were held, microseconds.
    pub frozen_us: u64,
}

/// Body of clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Host's wall clock; the guest's is stepped to it.
    pub now: Time,
}
