//! What goes on in a sprite, as the local server tells it without waking the sprite or keeping it awake.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/local/sprites/{name}/inside` | [`Inside`]: services, tasks, ports, sessions; of one that sleeps, as they were last |
//! | `GET /v1/local/sprites/{name}/services/{service}/logs?lines=100` as NDJSON | [`crate::services::Event`]: the last lines and all that follow; ends with `asleep` when the sprite does not run |
//!
//! The vendor's calls for the same wake a sprite: they are uses of it.

use crate::Time;
use crate::exec::Session;
use crate::services::State;
use crate::sprite::Status;
use crate::task::Task;
use serde::{Deserialize, Serialize};

/// Most services that are told; no sprite has more.
pub const MAX_SERVICES: usize = 64;
/// Most ports that are told.
pub const MAX_PORTS: usize = 256;
/// Most sessions that are told.
pub const MAX_SESSIONS: usize = 64;
/// Longest text of each kind, characters.
pub const MAX_TEXT: usize = 200;
/// Lines of a log that are told before those that follow, when the client tells no number.
pub const LINES: usize = 100;
/// Most of them.
pub const MAX_LINES: usize = 1000;

/// Answer of inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    /// How the sprite is.
    pub status: Status,
    /// When what is told of its interior was so; absent when nothing is known of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Whether that is now. It is not while the sprite sleeps, and when its agent does not answer.
    pub live: bool,
    /// What keeps it awake until when; known always.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// The rest.
    #[serde(flatten)]
    pub interior: Interior,
}

/// What an agent tells of its sprite, answer of `GET /v1/agent/inside`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interior {
    /// Services by name.
    #[serde(default)]
    pub services: Vec<Service>,
    /// TCP ports that somebody listens on, lowest first, at most [`MAX_PORTS`].
    #[serde(default)]
    pub ports: Vec<Port>,
    /// How many more there are.
    #[serde(default)]
    pub more_ports: usize,
    /// Live sessions, oldest first, at most [`MAX_SESSIONS`].
    #[serde(default)]
    pub sessions: Vec<Session>,
    /// How many more there are.
    #[serde(default)]
    pub more_sessions: usize,
}

/// A service without what may be long in its definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Program and arguments, cut.
    #[serde(default)]
    pub command: String,
    /// Port on which it answers the sprite's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// How it is.
    pub state: State,
}

/// A port that somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// TCP port.
    pub port: u16,
    /// Listening address.
    #[serde(default)]
    pub address: String,
    /// Listening process; 0 when it is not known.
    #[serde(default)]
    pub pid: i32,
    /// Name of that process (`man 5 proc_pid_comm`); empty when it is not known.
    #[serde(default)]
    pub program: String,
}

/// The beginning of a text, as long as it may be here.
pub fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_on_the_wire() {
        let text = r#"{"status":"warm","as_of":"2026-03-14T21:31:57Z","live":false,"services":[
            {"name":"web","command":"python3 -m http.server","http_port":8000,
             "state":{"name":"web","status":"running","pid":42,"restart_count":0}}],
            "ports":[{"port":8000,"address":"0.0.0.0","pid":42,"program":"python3"}],"more_ports":3}"#;
        let inside: Inside = serde_json::from_str(text).unwrap();
        assert_eq!(inside.interior.services[0].state.pid, Some(42));
        assert_eq!((inside.interior.ports[0].port, inside.interior.more_ports), (8000, 3));
        assert!(inside.tasks.is_empty() && inside.interior.sessions.is_empty());
        let told = serde_json::to_value(&inside).unwrap();
        assert_eq!(told["services"][0]["http_port"], 8000);
        let unknown = Inside { as_of: None, interior: Interior::default(), ..inside };
        assert!(serde_json::to_value(&unknown).unwrap().get("as_of").is_none());
    }
}
