//! What goes on in a sprite: asked of its agent while it runs, remembered while it sleeps. Neither is a use of it.

use super::Sprite;
use crate::agent;
use crate::client::clean;
use sprites_api::Time;
use sprites_api::exec::Session;
use sprites_api::inside::{Inside, Interior, MAX_PORTS, MAX_SERVICES, MAX_SESSIONS, Port, Service, cut};
use sprites_api::services::check_name;
use sprites_api::sprite::Status;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long an agent may take to tell.
const ANSWER: Duration = Duration::from_secs(2);
/// Many who look ask the agent once in this time.
const FRESH: Duration = Duration::from_millis(500);
/// Largest answer of an agent, bytes. What may be told is smaller, however it is written.
const MAX_ANSWER: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When the agent was last asked, and whether it answered.
    asked: Option<(Instant, bool)>,
    /// What it told last.
    known: Option<(Time, Interior)>,
}

impl Sprite {
    /// What goes on in it; of one that sleeps what was last known. It is neither woken nor kept awake.
    pub(crate) async fn look(&self) -> Inside {
        // Whoever comes meanwhile gets what the first one is told.
        let mut seen = self.sight.0.lock().await;
        let answered = match (self.running_machine(), seen.asked) {
            (Some(_), Some((at, answered))) if at.elapsed() < FRESH => answered,
            (Some(machine), _) => {
                let asking = agent::ask::<Interior>(&machine, "inside", MAX_ANSWER);
                let told = timeout(ANSWER, asking).await.ok().flatten();
                let answered = told.is_some();
                seen.asked = Some((Instant::now(), answered));
                if let Some(told) = told {
                    seen.known = Some((Time::now(), checked(told)));
                }
                answered
            }
            (None, _) => false,
        };
        // It may have fallen asleep meanwhile.
        let status = self.state().status;
        let (as_of, interior) = seen.known.clone().unzip();
        Inside {
            status,
            as_of,
            live: answered && status == Status::Running,
            tasks: self.tasks(),
            interior: interior.unwrap_or_default(),
        }
    }
}

/// The same without what no agent of ours would tell: a program may have taken its place.
fn checked(told: Interior) -> Interior {
    let services = told.services.into_iter().filter(|service| check_name(&service.name).is_ok());
    let ports = told.ports.into_iter().filter(|port| port.port != 0);
    let sessions = told.sessions.into_iter().filter(|session| is_number(&session.id));
    Interior {
        services: services.take(MAX_SERVICES).map(service).collect(),
        ports: ports.take(MAX_PORTS).map(port).collect(),
        more_ports: told.more_ports.min(usize::from(u16::MAX)),
        sessions: sessions.take(MAX_SESSIONS).map(session).collect(),
        more_sessions: told.more_sessions.min(usize::from(u16::MAX)),
    }
}

fn service(mut told: Service) -> Service {
    told.command = line(&told.command);
    told.state.name.clone_from(&told.name);
    told.state.error = told.state.error.as_deref().map(line);
    told
}

fn port(told: Port) -> Port {
    let address = told.address.parse::<IpAddr>().map(|address| address.to_string()).unwrap_or_default();
    Port { address, program: line(&told.program), ..told }
}

fn session(told: Session) -> Session {
    let bytes_per_second = if told.bytes_per_second.is_finite() { told.bytes_per_second } else { 0.0 };
    Session { command: line(&told.command), workdir: line(&told.workdir), bytes_per_second, ..told }
}

fn line(text: &str) -> String {
    clean(&cut(text))
}

/// Whether this can be the id of a session, which is that of a process.
fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(interior: Value) -> Interior {
        checked(serde_json::from_value(interior).unwrap())
    }

    #[test]
    fn what_an_agent_of_ours_would_not_tell() {
        let services: Vec<Value> = ["web", "a/b", "", "signal", "\u{1b}[2J", &"n".repeat(65)]
            .iter()
            .map(|name| json!({ "name": name, "command": "x\u{1b}]0;y\u{7}\u{202e}z".repeat(100), "state": { "name": "other", "status": "running", "error": "\n\n" } }))
            .collect();
        let ports: Vec<Value> = (0..60_000)
            .map(|port| json!({ "port": port, "address": "\u{1b}c", "program": "p\u{1b}\nq", "pid": -7 }))
            .collect();
        let sessions: Vec<Value> = ["1", "../1", "", "12345678901", "x"]
            .iter()
            .map(|id| json!({ "id": id, "command": "a\tb", "created": "2026-03-14T21:31:57Z" }))
            .collect();
        let kept = told(json!({
            "services": services, "ports": ports, "sessions": sessions, "more_ports": u64::MAX,
        }));
        assert_eq!(kept.services.len(), 1);
        let service = &kept.services[0];
        assert_eq!((service.name.as_str(), service.state.name.as_str()), ("web", "web"));
        assert!(service.command.chars().count() <= 200 && !service.command.contains(['\u{1b}', '\u{202e}']));
        assert_eq!(service.state.error.as_deref(), Some(""));
        assert_eq!((kept.ports.len(), kept.ports[0].port, kept.more_ports), (MAX_PORTS, 1, 65_535));
        assert_eq!((kept.ports[0].address.as_str(), kept.ports[0].program.as_str()), ("", "p q"));
        assert_eq!(kept.sessions.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["1"]);
        assert_eq!(kept.sessions[0].command, "a b");
    }
}
