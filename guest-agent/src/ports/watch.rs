//! The WebSocket that tells which ports are open, and every change.

use super::Agent;
use crate::reply::Refusal;
use crate::websocket::{self, Gone, Upgrade, send, text};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::StreamExt;
use serde_json::json;
use sprites_api::exec::ServerMessage;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(30);

/// `GET /v1/ports/watch`.
pub(super) async fn run(
    State(agent): State<Arc<Agent>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let upgrade = websocket::required(upgrade, &headers, &agent)?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        // It ends when the client does.
        let _ = serve(socket, &agent).await;
    }))
}

async fn serve(socket: WebSocket, agent: &Agent) -> Result<(), Gone> {
    let stall = agent.config.limits.stall;
    let (mut sink, mut incoming) = socket.split();
    loop {
        let (present, mut changes) = agent.ports.subscribe().await;
        let ports: Vec<ServerMessage> = present.into_iter().map(ServerMessage::PortOpened).collect();
        send(&mut sink, text(&json!({ "type": "port_list", "ports": ports })), stall).await?;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => send(&mut sink, text(&change), stall).await?,
                    // Too slow to be told every change: it gets the whole list again.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                },
                frame = incoming.next() => match frame {
                    Some(Err(_)) | None => return Err(Gone),
                    // A close too: the next read answers it and gives nothing more.
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep(ALIVE) => send(&mut sink, Message::Ping(Default::default()), stall).await?,
            }
        }
    }
}
