//! One TCP connection into a sprite, inside a WebSocket.

use super::error::{Error, Result, clean};
use super::socket::{self, CLOSE, PING, Silence, Socket};
use super::transport::{Call, Transport};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

/// How long the sprite may take to connect.
const CONNECT: Duration = Duration::from_secs(20);
/// How long either side may take a piece.
const PIECE: Duration = Duration::from_secs(60);
/// Bytes of a frame.
const FRAME: usize = 32 << 10;

/// A connection that stands.
#[derive(Debug)]
pub struct Proxy {
    socket: Socket,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: String,
}

impl Proxy {
    pub(super) async fn open(transport: &Transport, call: Call, host: &str, port: u16) -> Result<Self> {
        let mut socket = socket::open(transport, call).await?;
        let target = json!({ "host": host, "port": port }).to_string();
        let broken = |why: String| transport.protocol(why);
        let answer = transport
            .within(CONNECT, async {
                let sent = socket.send(Message::Text(target.into())).await;
                sent.map_err(|error| broken(error.to_string()))?;
                while let Some(message) = socket.next().await {
                    match message {
                        Ok(Message::Text(text)) => return Ok(text),
                        Ok(Message::Close(Some(frame))) if !frame.reason.is_empty() => {
                            return Err(broken(format!("it closed the connection: {}", frame.reason)));
                        }
                        Ok(Message::Close(_)) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
                Err(broken("it closed the connection".into()))
            })
            .await?;
        let answer: Answer = serde_json::from_str(&answer).map_err(|error| broken(error.to_string()))?;
        if answer.status != "connected" {
            let why = if answer.error.is_empty() { answer.status } else { answer.error };
            return Err(Error::NotConnected { target: format!("{host}:{port}"), why: clean(&why) });
        }
        Ok(Self { socket })
    }

    /// Carries bytes in both directions until either side ends, or the endpoint gives no sign of life any more.
    pub async fn join(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut sink, mut source) = self.socket.split();
        let mut buffer = BytesMut::with_capacity(FRAME);
        let mut pings = tokio::time::interval(PING);
        let mut silence = Silence::default();
        loop {
            buffer.reserve(FRAME);
            tokio::select! {
                read = from.read_buf(&mut buffer) => match read {
                    Ok(1..) => {
                        let piece: Bytes = buffer.split().freeze();
                        let sent = timeout(PIECE, sink.send(Message::Binary(piece)));
                        if !matches!(silence.aside(sent).await, Ok(Ok(()))) {
                            break;
                        }
                    }
                    // A WebSocket cannot be half closed: what is still on its way back is lost with the end.
                    Ok(0) | Err(_) => break,
                },
                message = source.next() => {
                    match message {
                        Some(Ok(Message::Binary(piece))) => {
                            let written = async {
                                to.write_all(&piece).await?;
                                to.flush().await
                            };
                            if !matches!(timeout(PIECE, written).await, Ok(Ok(()))) {
                                break;
                            }
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                        Some(Ok(_)) => {}
                    }
                    silence = Silence::default();
                }
                _ = pings.tick() => {
                    let sent = timeout(PIECE, sink.send(Message::Ping(Bytes::new())));
                    if !matches!(silence.aside(sent).await, Ok(Ok(()))) {
                        break;
                    }
                }
                () = sleep_until(silence.end()) => break,
            }
        }
        // Either may be gone already.
        let _ = to.shutdown().await;
        let _ = timeout(CLOSE, sink.close()).await;
    }
}
