//! Sessions over WebSockets (section 5 of the API's description: with a terminal, bytes are the terminal's).

use crate::Stage;
use axum::extract::ws::{Message, WebSocket};
use sprites_api::exec::{ServerMessage, SessionInfo};
use tokio::sync::broadcast::error::RecvError;

/// Joins a WebSocket to a console until either ends.
pub async fn join(stage: Stage, name: String, id: u32, mut socket: WebSocket) {
    let attached = stage.world().actor(&name).and_then(|actor| actor.attach(id));
    let (shown, mut output) = match attached {
        Ok(attached) => attached,
        Err(message) => {
            say(&mut socket, &ServerMessage::Error { message }).await;
            return;
        }
    };
    let info = SessionInfo {
        session_id: id.to_string(),
        command: "bash -l".into(),
        is_owner: true,
        tty: true,
        ..SessionInfo::default()
    };
    say(&mut socket, &ServerMessage::SessionInfo(info)).await;
    if socket.send(Message::Binary(shown.into())).await.is_ok() {
        while pass(&stage, &name, id, &mut socket, &mut output).await {}
    }
    if let Ok(actor) = stage.world().actor(&name) {
        actor.detach(id);
    }
}

/// One message in either direction; false at the end.
async fn pass(
    stage: &Stage,
    name: &str,
    id: u32,
    socket: &mut WebSocket,
    output: &mut tokio::sync::broadcast::Receiver<Vec<u8>>,
) -> bool {
    tokio::select! {
        message = socket.recv() => match message {
            Some(Ok(Message::Binary(bytes))) => {
                let ended = stage.world().typed(name, id, &bytes);
                stage.told();
                if ended == Ok(false) {
                    return true;
                }
                while let Ok(bytes) = output.try_recv() {
                    let _ = socket.send(Message::Binary(bytes.into())).await;
                }
                say(socket, &ServerMessage::Exit { exit_code: 0, code: 0 }).await;
                let _ = socket.send(Message::Close(None)).await;
                false
            }
            // Sizes change nothing here.
            Some(Ok(Message::Close(_)) | Err(_)) | None => false,
            Some(Ok(_)) => true,
        },
        bytes = output.recv() => match bytes {
            Ok(bytes) => socket.send(Message::Binary(bytes.into())).await.is_ok(),
            Err(RecvError::Lagged(_)) => true,
            // The sprite was stopped or destroyed under it.
            Err(RecvError::Closed) => {
                say(socket, &ServerMessage::Exit { exit_code: 137, code: 137 }).await;
                false
            }
        },
    }
}

async fn say(socket: &mut WebSocket, message: &ServerMessage) {
    if let Ok(text) = serde_json::to_string(message) {
        // Whoever is gone needs to hear nothing.
        let _ = socket.send(Message::Text(text.into())).await;
    }
}
