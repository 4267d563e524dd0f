//! What every WebSocket of the agent has in common: how it is accepted, sent on with a deadline, and closed in good order.

use crate::Agent;
use crate::reply::Refusal;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use std::time::Duration;

/// After our close frame the client gets this long to answer with its own.
const CLOSING: Duration = Duration::from_secs(5);

/// The half that sends.
pub(crate) type Sink = SplitSink<WebSocket, Message>;
/// A request that may be one for a WebSocket.
pub(crate) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// The client is gone or does not listen.
#[derive(Debug)]
pub(crate) struct Gone;

/// The upgrade, if the request asks for one: refused when it asks in a wrong way.
pub(crate) fn asked(
    upgrade: Upgrade,
    headers: &HeaderMap,
    agent: &Agent,
) -> Result<Option<WebSocketUpgrade>, Refusal> {
    let limit = agent.config.limits.message;
    match upgrade {
        // Small buffers: there may be many connections, and frames are written through at once.
        Ok(upgrade) => Ok(Some(
            upgrade
                .max_message_size(limit)
                .max_frame_size(limit)
                .read_buffer_size(16 << 10)
                .write_buffer_size(16 << 10),
        )),
        Err(reason) if headers.contains_key(header::UPGRADE) => {
            Err(Refusal::bad(format!("this is no proper WebSocket upgrade: {reason}")))
        }
        Err(_) => Ok(None),
    }
}

/// The same for a path that takes nothing else.
pub(crate) fn required(
    upgrade: Upgrade,
    headers: &HeaderMap,
    agent: &Agent,
) -> Result<WebSocketUpgrade, Refusal> {
    asked(upgrade, headers, agent)?.ok_or_else(|| Refusal::bad("this path takes WebSockets only"))
}

/// Sends a message to a client that takes it within `stall`.
pub(crate) async fn send(sink: &mut Sink, message: Message, stall: Duration) -> Result<(), Gone> {
    match tokio::time::timeout(stall, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// A text frame of JSON.
pub(crate) fn text(message: &impl Serialize) -> Message {
    // Plain data with string keys always has a JSON form.
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}

/// A close frame.
pub(crate) fn closing(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// Closes in good order: our close frame, then reading on, so that nothing already sent is torn down by a reset.
pub(crate) async fn finish(mut sink: Sink, mut incoming: SplitStream<WebSocket>, frame: CloseFrame) {
    let closing = async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = incoming.next().await {}
        }
    };
    // A client that does not close is left alone.
    let _ = tokio::time::timeout(CLOSING, closing).await;
}
