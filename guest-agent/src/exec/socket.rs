//! A client's WebSocket: output, input, control messages, the end.

use super::Stillborn;
use crate::Agent;
use crate::config::Limits;
use crate::ports::Ports;
use crate::process::signal;
use crate::session::log::Next;
use crate::session::{Attachment, Session};
use crate::websocket::{Gone, Sink, closing, finish, send, text};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::{self, SplitStream};
use futures::{Stream, StreamExt};
use sprites_api::exec::{ClientMessage, ServerMessage, SessionInfo, stream as ids};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Payload of one output frame at most; every client takes 64 KiB.
const FRAME: usize = 32 << 10;
/// Close code of a terminal session that ended with another exit code than zero: one client knows no other sign.
const CLOSE_FAILED: u16 = 4000;
/// Close code for a client that was too slow beside faster ones.
const CLOSE_SLOW: u16 = 4008;
/// A session that lives this long is told of ports.
const PORTS: Duration = Duration::from_millis(300);
/// Complaints waiting for a client; it sent as many wrong frames without listening, and needs no more.
const COMPLAINTS: usize = 8;

/// How a client is connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// It created the session.
    pub(super) owner: bool,
    /// Its input is wanted.
    pub(super) stdin: bool,
}

/// Serves one client until the session or the connection ends.
pub(super) async fn serve(socket: WebSocket, mut attachment: Attachment, mode: Mode, agent: Arc<Agent>) {
    let (mut sink, mut incoming) = socket.split();
    let (complain, complaints) = mpsc::channel(COMPLAINTS);
    let session = attachment.session.clone();
    let close = tokio::select! {
        close = deliver(&mut sink, &mut attachment, mode, complaints, &agent) => close,
        close = receive(&mut incoming, &session, mode, complain) => close,
    };
    // From here on the session is free of this client.
    drop(attachment);
    if let Ok(frame) = close {
        finish(sink, incoming, frame).await;
    }
}

/// Tells of a program that could not start: as a session would, with the reason as error output.
pub(super) async fn serve_stillborn(socket: WebSocket, stillborn: Stillborn, tty: bool, limits: Limits) {
    let (mut sink, incoming) = socket.split();
    let info = SessionInfo { session_id: "0".into(), is_owner: true, tty, ..SessionInfo::default() };
    let told = async {
        send(&mut sink, text(&ServerMessage::SessionInfo(info)), limits.stall).await?;
        let mut frame = if tty { Vec::new() } else { vec![ids::STDERR] };
        frame.extend_from_slice(stillborn.message.as_bytes());
        frame.extend_from_slice(if tty { b"\r\n" } else { b"\n" });
        send(&mut sink, Message::Binary(frame.into()), limits.stall).await?;
        send_exit(&mut sink, stillborn.code, tty, &limits).await
    };
    if let Ok(frame) = told.await {
        finish(sink, incoming, frame).await;
    }
}

/// Sends everything the session has to say; returns how to close.
async fn deliver(
    sink: &mut Sink,
    attachment: &mut Attachment,
    mode: Mode,
    mut complaints: mpsc::Receiver<String>,
    agent: &Agent,
) -> Result<CloseFrame, Gone> {
    let limits = &agent.config.limits;
    let mut ports = pin!(port_events(&agent.ports));
    let tty = attachment.session.tty;
    let info = attachment.session.info(mode.owner);
    send(sink, text(&ServerMessage::SessionInfo(info)), limits.stall).await?;
    send_picture(sink, attachment, limits).await?;
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(limits.keepalive, attachment.next(FRAME, !tty)) => next,
            Some(message) = complaints.recv() => {
                send(sink, text(&ServerMessage::Error { message }), limits.stall).await?;
                continue;
            }
            Some(event) = ports.next() => {
                send(sink, text(&event), limits.stall).await?;
                continue;
            }
        };
        match next {
            Ok(Next::Data(frame)) => send(sink, Message::Binary(frame.into()), limits.stall).await?,
            Ok(Next::End(code)) => return send_exit(sink, code, tty, limits).await,
            Ok(Next::Lost) if tty => {
                // What was missed shows on the screen as it is now.
                attachment.redraw().await;
                send_picture(sink, attachment, limits).await?;
            }
            Ok(Next::Lost) => {
                return Ok(closing(CLOSE_SLOW, "too slow: output was lost while another client read on"));
            }
            // Silence.
            Err(_) if tty => send(sink, text(&ServerMessage::Keepalive), limits.stall).await?,
            Err(_) => send(sink, Message::Binary(Bytes::from_static(&[ids::STDOUT])), limits.stall).await?,
        }
    }
}

/// What happens to the sprite's ports while the session lives. Commands that are over at once have no time for it.
fn port_events(ports: &Arc<Ports>) -> impl Stream<Item = ServerMessage> {
    let begin = async {
        tokio::time::sleep(PORTS).await;
        ports.subscribe().await.1
    };
    stream::once(begin).flat_map(|events| {
        stream::unfold(events, |mut events| async {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((event, events)),
                    // Too many at once for this client; the next ones count.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    })
}

async fn send_picture(sink: &mut Sink, attachment: &mut Attachment, limits: &Limits) -> Result<(), Gone> {
    let picture = Bytes::from(std::mem::take(&mut attachment.picture));
    for start in (0..picture.len()).step_by(FRAME) {
        let piece = picture.slice(start..(start + FRAME).min(picture.len()));
        send(sink, Message::Binary(piece), limits.stall).await?;
    }
    Ok(())
}

/// The exit in every form that some client needs.
async fn send_exit(sink: &mut Sink, code: u8, tty: bool, limits: &Limits) -> Result<CloseFrame, Gone> {
    if !tty {
        send(sink, Message::Binary(Bytes::copy_from_slice(&[ids::EXIT, code])), limits.stall).await?;
    }
    let exit = ServerMessage::Exit { exit_code: code.into(), code: code.into() };
    send(sink, text(&exit), limits.stall).await?;
    Ok(if tty && code != 0 { closing(CLOSE_FAILED, "exit") } else { closing(close_code::NORMAL, "") })
}

/// Takes what the client sends; returns when it has left, or with a close frame when it broke the protocol.
async fn receive(
    incoming: &mut SplitStream<WebSocket>,
    session: &Arc<Session>,
    mode: Mode,
    complain: mpsc::Sender<String>,
) -> Result<CloseFrame, Gone> {
    while let Some(message) = incoming.next().await {
        match message {
            Ok(Message::Binary(bytes)) if mode.stdin => input(session, bytes).await,
            Ok(Message::Text(text)) => {
                if let Err(complaint) = control(session, &text).await {
                    // A client that does not listen to complaints does not get all of them.
                    let _ = complain.try_send(complaint);
                }
            }
            // Pings and closes are answered by the WebSocket itself, with the next read; after a close that gives nothing more.
            Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => {}
            Err(error) => return broken(&error),
        }
    }
    Err(Gone)
}

/// What to say to a client whose frames cannot be read.
fn broken(error: &axum::Error) -> Result<CloseFrame, Gone> {
    let reason = error.to_string();
    if reason.contains("too long") || reason.contains("too big") {
        Ok(closing(close_code::SIZE, "message too large"))
    } else if reason.contains("utf-8") || reason.contains("UTF-8") {
        Ok(closing(close_code::INVALID, "text frame is not UTF-8"))
    } else {
        Err(Gone)
    }
}

async fn input(session: &Session, mut bytes: Bytes) {
    if session.tty {
        return session.write(bytes).await;
    }
    match bytes.first() {
        Some(&ids::STDIN) => session.write(bytes.split_off(1)).await,
        Some(&ids::STDIN_EOF) if bytes.len() == 1 => session.end_input(),
        // Anything without a stream id is dropped, as the original service does.
        _ => {}
    }
}

/// Obeys a control message. The error is a sentence for the client.
async fn control(session: &Arc<Session>, text: &str) -> Result<(), String> {
    let message: ClientMessage = serde_json::from_str(text)
        .map_err(|_| "this text frame is no control message; expected JSON with a \"type\"".to_owned())?;
    match message {
        ClientMessage::Resize { cols, rows } => session.resize(cols, rows).await,
        ClientMessage::Signal { signal: name } => {
            let signal = signal::parse(&name).ok_or_else(|| "there is no signal of this name".to_owned())?;
            session.signal(signal).map_err(|error| format!("the signal was not sent: {}", error.desc()))?;
        }
        ClientMessage::Unknown => {}
    }
    Ok(())
}
