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
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long the sprite may take to connect.
const CONNECT: Duration = Duration::from_secs(20);
/// How long either side may take a piece.
const PIECE: Duration = Duration::from_secs(60);
/// After the end of what goes in: longest time in which nothing comes back.
const QUIET: Duration = Duration::from_secs(30);
/// Between two looks whether somebody still takes what comes back.
const LOOK: Duration = Duration::from_secs(1);
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

    /// Carries bytes in both directions until the sprite's side closes, or the endpoint gives no sign of life any more.
    ///
    /// A WebSocket cannot be half closed, so the sprite's side does not learn that `from` has ended: what comes back is carried on until that
    /// side closes by itself, or nothing has come for half a minute. A program that waits for the end of its input before it answers is
    /// therefore cut off without an answer.
    pub async fn join(self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) {
        self.join_while(from, to, || true).await;
    }

    /// The same; when `from` has ended, only as long as `wanted` says that somebody takes what comes back.
    pub async fn join_while(
        self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        wanted: impl Fn() -> bool,
    ) {
        carry(self.socket, from, to, wanted).await;
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocketStream<S>,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    wanted: impl Fn() -> bool,
) {
    let (mut sink, mut source) = socket.split();
    let mut buffer = BytesMut::with_capacity(FRAME);
    let mut pings = tokio::time::interval(PING);
    let mut silence = Silence::default();
    // Once nothing more goes in: when it is over if nothing comes back.
    let mut quiet = None;
    loop {
        buffer.reserve(FRAME);
        let look = quiet.map_or_else(Instant::now, |end: Instant| end.min(Instant::now() + LOOK));
        tokio::select! {
            read = from.read_buf(&mut buffer), if quiet.is_none() => match read {
                Ok(1..) => {
                    let piece: Bytes = buffer.split().freeze();
                    let sent = timeout(PIECE, sink.send(Message::Binary(piece)));
                    if !matches!(silence.aside(sent).await, Ok(Ok(()))) {
                        break;
                    }
                }
                Ok(0) if wanted() => quiet = Some(Instant::now() + QUIET),
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
                        quiet = quiet.map(|_| Instant::now() + QUIET);
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
            () = sleep_until(look), if quiet.is_some() => {
                if quiet.is_some_and(|end| end <= Instant::now()) || !wanted() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// A connection that is being carried, its sprite's side, and the person's two ends.
    async fn carried(wanted: bool) -> (WebSocketStream<DuplexStream>, DuplexStream, DuplexStream) {
        let (near, far) = duplex(1 << 16);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let ((input, from), (to, output)) = (duplex(1 << 16), duplex(1 << 16));
        tokio::spawn(carry(near, from, to, move || wanted));
        (far, input, output)
    }

    async fn request(far: &mut WebSocketStream<DuplexStream>) -> Bytes {
        loop {
            match far.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => return bytes,
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_after_the_end_of_the_input_is_carried_on() {
        let (mut far, mut input, mut output) = carried(true).await;
        input.write_all(b"GET /").await.unwrap();
        drop(input);
        assert_eq!(request(&mut far).await, "GET /");
        for _ in 0..3 {
            tokio::time::sleep(QUIET - LOOK).await;
            far.send(Message::Binary("piece".into())).await.unwrap();
        }
        far.close(None).await.unwrap();
        let mut all = String::new();
        output.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "piecepiecepiece");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        for (wanted, least, most) in [(true, QUIET, QUIET + LOOK), (false, Duration::ZERO, LOOK)] {
            let (mut far, input, mut output) = carried(wanted).await;
            let began = Instant::now();
            drop(input);
            // Signs of life are answered meanwhile, and are nothing that comes back.
            tokio::spawn(async move { while let Some(Ok(_)) = far.next().await {} });
            output.read_to_end(&mut Vec::new()).await.unwrap();
            let took = began.elapsed();
            assert!(took >= least && took <= most, "{wanted}: {took:?}");
        }
    }
}
