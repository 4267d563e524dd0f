//! What is said over `control.sock`: one JSON object a line; each connection carries one call and its answer.

use crate::monitor::Kind;
use serde::{Deserialize, Serialize};
use vmm_disk::Checkpoint;

/// Longest line, in bytes; a checkpoint's comment is the longest thing said.
pub(crate) const MAX_LINE: u64 = 64 << 10;

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The agent has not answered yet.
    Booting,
    /// The agent answers.
    Running,
    /// The virtual CPUs stand still; memory is kept.
    Paused,
    /// On its way down.
    Stopping,
}

/// A machine as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// What it is doing.
    pub state: State,
    /// How it is run.
    pub kind: Kind,
    /// Process id of the machine process.
    pub pid: u32,
    /// When the process began, microseconds since 1970-01-01 UTC.
    pub started_at: i64,
    /// From the start of the process to the agent's first answer, milliseconds.
    pub boot_ms: Option<u64>,
    /// Host memory that backs the machine now, bytes.
    pub memory_bytes: u64,
    /// Why it booted although it had a memory to go on from.
    #[serde(default)]
    pub memory_lost: Option<String>,
}

/// A checkpoint that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDone {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// How long changes of metadata inside were held, while the journal was emptied, microseconds.
    pub journal_us: u64,
    /// After it, how long all writers inside were held, microseconds.
    pub pause_us: u64,
    /// The whole call, microseconds.
    pub call_us: u64,
    /// Whether the guest's file system was at rest. When it was not, because the agent did not answer, the checkpoint is what a power
    /// cut would have left: consistent, but without what was not flushed.
    pub froze: bool,
    /// Bytes of memory that were written; none when memory was not asked for.
    pub memory_bytes: Option<u64>,
}

/// What came of a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Bytes of memory that were written; what was zero or unchanged cost nothing.
    pub written_bytes: u64,
    /// The whole call, microseconds.
    pub call_us: u64,
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Call {
    /// Answered by a [`MachineStatus`].
    Status,
    /// Answered when the agent answers, or when that long has passed.
    WaitReady {
        deadline_ms: u64,
    },
    Pause,
    Resume,
    /// Keeps the machine in its folder and ends the process. Answered by a [`Suspended`] before it does.
    Suspend,
    /// Answered by a [`CheckpointDone`].
    Checkpoint {
        comment: Option<String>,
        auto: bool,
        /// Keep the memory as well.
        memory: bool,
    },
    Forget {
        checkpoint: String,
    },
    /// Orderly first, by force after the deadline. Answered when the machine is down.
    Stop {
        deadline_ms: u64,
    },
    /// Never answered: the connection closes when the process ends.
    Watch,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What was asked for.
    Ok(serde_json::Value),
    /// One sentence.
    Error(String),
}
