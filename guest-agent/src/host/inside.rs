//! What goes on inside, in one answer of bounded size.

use super::{Refusal, Shared, blocking};
use axum::Json;
use axum::extract::State;
use sprites_api::exec::{PortEvent, Session};
use sprites_api::inside::{Interior, MAX_PORTS, MAX_SESSIONS, MAX_TEXT, Port, Service, cut};
use sprites_api::services;
use std::fs;

/// `GET /v1/agent/inside`.
pub(super) async fn look(State(agent): Shared) -> Result<Json<Interior>, Refusal> {
    let mut ports = agent.ports.now().await;
    let more_ports = ports.len().saturating_sub(MAX_PORTS);
    ports.truncate(MAX_PORTS);
    let mut sessions = agent.sessions.list().sessions;
    let more_sessions = sessions.len().saturating_sub(MAX_SESSIONS);
    sessions.truncate(MAX_SESSIONS);
    Ok(Json(Interior {
        services: agent.services.list().into_iter().map(service).collect(),
        ports: blocking(move || ports.into_iter().map(port).collect()).await?,
        more_ports,
        sessions: sessions.into_iter().map(session).collect(),
        more_sessions,
    }))
}

fn service(service: services::Service) -> Service {
    let services::Service { name, definition, state } = service;
    let mut command = definition.cmd;
    // There may be very many, and what is long enough needs no more of them.
    for word in definition.args.iter().take(MAX_TEXT) {
        command.push(' ');
        command.push_str(&cut(word));
    }
    let mut state = state.unwrap_or_default();
    state.error = state.error.as_deref().map(cut);
    Service { name, command: cut(&command), http_port: definition.http_port, state }
}

fn port(event: PortEvent) -> Port {
    let PortEvent { port, address, pid } = event;
    // One that has ended since has no name any more.
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Port { port, address, pid, program: program.trim_end_matches('\n').to_owned() }
}

fn session(session: Session) -> Session {
    Session { command: cut(&session.command), workdir: cut(&session.workdir), ..session }
}
