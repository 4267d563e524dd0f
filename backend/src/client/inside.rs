//! What goes on in a sprite. Looking neither wakes it nor keeps it awake, which is an extension of the local server; starting and stopping
//! its services does.

use super::transport::{HEARTBEAT, WORK};
use super::{Client, Lines, Method, Result, clean, lines};
use sprites_api::exec::Session;
use sprites_api::inside::{Inside, Interior, MAX_PORTS, MAX_SERVICES, MAX_SESSIONS, Port, Service, cut};
use sprites_api::services::{Event, EventKind, check_name};
use std::net::IpAddr;

/// Most tasks that are taken from an answer.
const MAX_TASKS: usize = 64;

/// What can be done with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAction {
    /// Run it, and what it needs.
    Start,
    /// End it; it stays so.
    Stop,
    /// Both.
    Restart,
}

impl ServiceAction {
    /// Its name in the path of the call.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

impl Client {
    /// Services, tasks, ports and sessions; of a sprite that sleeps as they were last. Local servers only.
    pub async fn inside(&self, name: &str) -> Result<Inside> {
        let call = self.get_call(&["v1", "local", "sprites", name, "inside"])?;
        let mut told: Inside = self.local("looking into a sprite", self.transport.json(call).await)?;
        told.tasks.truncate(MAX_TASKS);
        for task in &mut told.tasks {
            task.name = line(&task.name);
        }
        Ok(Inside { interior: checked(told.interior), ..told })
    }

    /// The last lines of a service's log and all that follow, for as long as the sprite runs; ends with a line of the kind `asleep`, or
    /// `complete` after an hour, or `error`. Local servers only.
    pub fn follow_log(&self, name: &str, service: &str, count: usize) -> Lines<Event> {
        let call = self.get_call(&["v1", "local", "sprites", name, "services", service, "logs"]);
        let call = call.map(|mut call| {
            call.url.query_pairs_mut().append_pair("lines", &count.to_string());
            call
        });
        let last = |event: &Event| {
            // What goes wrong with a service is told in its log too, and that goes on.
            matches!(event.kind, EventKind::Asleep | EventKind::Complete)
        };
        self.transport.lines(call, HEARTBEAT, lines::End::Line(last))
    }

    /// Starts, stops or restarts a service of a sprite, which is woken if needed; the stream ends when that is done.
    pub fn service(&self, name: &str, service: &str, action: ServiceAction) -> Lines<Event> {
        let path = ["v1", "sprites", name, "services", service, action.as_str()];
        let call = self.transport.call(Method::POST, &path).map(|mut call| {
            if action != ServiceAction::Stop {
                // Long enough to tell that there is no such program.
                call.url.query_pairs_mut().append_pair("duration", "1s");
            }
            self.long(call)
        });
        self.transport.lines(call, WORK, lines::End::Line(|event: &Event| event.kind == EventKind::Complete))
    }
}

/// The same without what no agent of ours would tell: a program may have taken its place.
pub(crate) fn checked(told: Interior) -> Interior {
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
