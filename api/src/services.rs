//! Services: programs that a sprite keeps running. `/v1/sprites/{name}/services…`.

use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long the answer of a start follows what happens, when the client tells nothing, seconds.
pub const FOLLOW: u64 = 5;
/// How long a service may take to end before it is made to, when the client tells nothing, seconds.
pub const STOP: u64 = 10;
/// Most bytes of a program's output in one line of an answer. Its JSON form stays below 64 KiB, which one client cannot exceed.
pub const MAX_LINE: usize = 8 << 10;
/// Where logs are, in the sprite.
pub const LOGS: &str = "/.sprite/logs/services";

/// What a service is. Body of `PUT …/services/{service}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Program: a path, or a name that is looked up; no arguments.
    pub cmd: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Services that start before it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Port on which it answers the sprite's URL; one service of a sprite may have one.
    #[serde(default)]
    pub http_port: Option<u16>,
    /// Environment, beside the usual one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; absent: home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
}

/// A service as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub definition: Definition,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// In a word.
    pub status: Status,
    /// Its process, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When that process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Why it does not run, or ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was started again because it ended by itself.
    #[serde(default)]
    pub restart_count: u32,
    /// When that is to happen next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_restart_at: Option<Time>,
}

/// Part of [`State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was stopped, and stays so until somebody starts it.
    #[default]
    Stopped,
    /// It is on its way.
    Starting,
    /// It has a process.
    Running,
    /// It was told to end.
    Stopping,
    /// It ended by itself again and again; it is tried again later.
    Failed,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// One NDJSON line of start, stop, restart, definition and logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// A line of output without its end, or a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// With [`EventKind::Exit`]: 0 to 255; 128 + n after signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// With [`EventKind::Complete`]: where the log is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_files: Option<LogFiles>,
}

/// Part of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A process was started.
    Started,
    /// It wrote a line.
    Stdout,
    /// It wrote a line of errors.
    Stderr,
    /// It ended.
    Exit,
    /// Something went wrong.
    Error,
    /// It was told to end.
    Stopping,
    /// It has ended because it was told to.
    Stopped,
    /// Last line of every answer.
    Complete,
    /// Extension: nothing happened for a while.
    Keepalive,
    /// Extension: the sprite runs no longer; last line of a log that is followed without keeping it awake.
    Asleep,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// Paths in the sprite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// Both streams.
    pub combined: String,
    /// Lines of output; the same file.
    pub stdout: String,
    /// Lines of errors; the same file.
    pub stderr: String,
}

impl LogFiles {
    /// Those of a service.
    pub fn of(service: &str) -> Self {
        let path = format!("{LOGS}/{service}.log");
        Self { combined: path.clone(), stdout: path.clone(), stderr: path }
    }
}

/// Body of `POST …/services/signal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalService {
    /// Which service.
    pub name: String,
    /// Signal, with or without `SIG`.
    pub signal: String,
}

/// Why a name is none for a service.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&name.len())
        || !name.bytes().all(fits)
        || !name.as_bytes()[0].is_ascii_alphanumeric()
    {
        return Err(
            "a service's name is 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit",
        );
    }
    if name == "signal" {
        return Err("a service cannot be called signal: the API has another meaning for that path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["web", "a", "my-app_2.0"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "signal", "-a", "a b", "é", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_object_on_the_wire() {
        let text = r#"{"name":"web","cmd":"python3","args":["-m","http.server"],"needs":[],"http_port":8000,
            "state":{"name":"web","status":"running","pid":42,"restart_count":0}}"#;
        let service: Service = serde_json::from_str(text).unwrap();
        assert_eq!(service.definition.http_port, Some(8000));
        let told = serde_json::to_value(&service).unwrap();
        assert_eq!(told["state"]["status"], "running");
        // One client cannot read an empty time.
        assert!(told["state"].get("next_restart_at").is_none());
    }
}
