//! Commands inside a sprite: query of the exec socket, its frames, sessions, kill.

use crate::Time;
use serde::{Deserialize, Serialize};

/// Header by which the host asks that each frame of `POST exec` is preceded by its length, four bytes, big end first; the answer repeats it.
/// Towards clients frames have no length: each is one HTTP chunk, sent alone.
pub const FRAME_LENGTHS: &str = "sprite-frame-lengths";
/// Longest frame of `POST exec`, bytes.
pub const MAX_FRAME: usize = 64 << 10;

/// First byte of a binary frame when there is no TTY.
pub mod stream {
    /// Client to server: input bytes.
    pub const STDIN: u8 = 0x00;
    /// Server to client: output bytes.
    pub const STDOUT: u8 = 0x01;
    /// Server to client: error output bytes.
    pub const STDERR: u8 = 0x02;
    /// Server to client: exactly one byte, the exit code.
    pub const EXIT: u8 = 0x03;
    /// Client to server: input is over; no payload.
    pub const STDIN_EOF: u8 = 0x04;
}

/// Text frame of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// New terminal size, cells.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Deliver a signal to the process group; the name may or may not begin with `SIG`.
    Signal {
        /// Signal name.
        signal: String,
    },
    /// Anything else; ignored.
    #[serde(other)]
    Unknown,
}

/// Text frame of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First text frame of every session, before any output.
    SessionInfo(SessionInfo),
    /// The process ended.
    Exit {
        /// 0 to 255; 128 + n after signal n.
        #[serde(default)]
        exit_code: i32,
        /// The same number under the name one client reads.
        #[serde(default)]
        code: i32,
    },
    /// A process began to listen on a TCP port.
    PortOpened(PortEvent),
    /// It stopped listening.
    PortClosed(PortEvent),
    /// Keeps silent sessions alive; one client gives up after 45 s without a message.
    Keepalive,
    /// Something went wrong; the session goes on or ends as the next frames tell.
    Error {
        /// One sentence.
        #[serde(default)]
        message: String,
    },
    /// Anything else; ignored.
    #[serde(other)]
    Unknown,
}

/// What a session is, told on connect and attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Decimal PID, as text.
    pub session_id: String,
    /// Command line.
    #[serde(default)]
    pub command: String,
    /// Unix seconds.
    #[serde(default)]
    pub created: i64,
    /// Terminal columns; 0 without TTY.
    #[serde(default)]
    pub cols: u16,
    /// Terminal rows; 0 without TTY.
    #[serde(default)]
    pub rows: u16,
    /// True for the connection that created the session.
    #[serde(default)]
    pub is_owner: bool,
    /// Decides how binary frames are read.
    #[serde(default)]
    pub tty: bool,
}

/// Part of [`ServerMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortEvent {
    /// TCP port.
    pub port: u16,
    /// Listening address.
    #[serde(default)]
    pub address: String,
    /// Listening process.
    #[serde(default)]
    pub pid: i32,
}

/// A live session in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Decimal PID, as text.
    pub id: String,
    /// Command line.
    #[serde(default)]
    pub command: String,
    /// Working directory at start.
    #[serde(default)]
    pub workdir: String,
    /// When it started.
    pub created: Time,
    /// Output rate over the last seconds.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Has a connected client or recent output.
    #[serde(default)]
    pub is_active: bool,
    /// Has a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Last input or output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Time>,
    /// Extension: number of connected clients.
    #[serde(default)]
    pub attached: u32,
}

/// Answer of `GET …/exec`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SessionList {
    /// Number of sessions.
    #[serde(default)]
    pub count: usize,
    /// Live sessions, oldest first.
    pub sessions: Vec<Session>,
}

/// One NDJSON line of `POST …/exec/{id}/kill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum KillLine {
    /// The signal was sent.
    Signal {
        /// Sentence.
        message: String,
        /// Signal name.
        signal: String,
        /// Process group.
        pid: i32,
    },
    /// It did not end in time.
    Timeout {
        /// Sentence.
        message: String,
    },
    /// It ended.
    Exited {
        /// Sentence.
        message: String,
    },
    /// SIGKILL was needed.
    Killed {
        /// Sentence.
        message: String,
    },
    /// It failed.
    Error {
        /// Sentence.
        message: String,
    },
    /// Last line.
    Complete {
        /// Exit code, when known.
        exit_code: i32,
    },
}
