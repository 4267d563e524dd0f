//! One TCP connection inside a WebSocket.

use super::Agent;
use crate::host::clock;
use crate::reply::Refusal;
use crate::websocket::{self, Gone, Sink, Upgrade, closing, finish, send, text};
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::SplitStream;
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout};

/// A client that does not say where it wants to go for this long is sent away.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long a connection may take; one client gives up after ten seconds.
const DIAL: Duration = Duration::from_secs(8);
/// Milliseconds after its start in which a machine's services may still be on their way.
const YOUNG: u64 = 15_000;
/// How long one that refuses a connection then is tried again, and between two tries.
const PATIENCE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of a frame.
const PIECE: usize = 32 << 10;

/// Where a client wants to go.
#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    host: String,
    port: u16,
}

/// `GET /v1/proxy`.
pub(super) async fn run(
    State(agent): State<Arc<Agent>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let upgrade = websocket::required(upgrade, &headers, &agent)?;
    let stall = agent.config.limits.stall;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (mut sink, mut incoming) = socket.split();
        if let Ok(frame) = serve(&mut sink, &mut incoming, stall).await {
            finish(sink, incoming, frame).await;
        }
    }))
}

async fn serve(
    sink: &mut Sink,
    incoming: &mut SplitStream<WebSocket>,
    stall: Duration,
) -> Result<CloseFrame, Gone> {
    let target = match timeout(HANDSHAKE, first_text(incoming)).await {
        Ok(Ok(target)) => target,
        Ok(Err(Gone)) => return Err(Gone),
        Err(_) => return Ok(closing(close_code::POLICY, "no target was named in time")),
    };
    let wanted: Target = match serde_json::from_str(&target) {
        Ok(wanted) => wanted,
        Err(_) => {
            let error = "the first message must be {\"host\":\"localhost\",\"port\":8080}";
            send(sink, text(&json!({ "status": "error", "error": error })), stall).await?;
            return Ok(closing(close_code::PROTOCOL, "no target"));
        }
    };
    let host = if wanted.host.is_empty() { "localhost" } else { &wanted.host };
    let target = format!("{host:.253}:{}", wanted.port);
    let stream = match dial(host, wanted.port).await {
        Ok(stream) => stream,
        Err(error) => {
            let answer = json!({ "status": "error", "target": target, "error": error.to_string() });
            send(sink, text(&answer), stall).await?;
            return Ok(closing(close_code::NORMAL, "not connected"));
        }
    };
    send(sink, text(&json!({ "status": "connected", "target": target })), stall).await?;
    let (reader, writer) = stream.into_split();
    // The end of either direction is the end of both: a WebSocket cannot be half closed.
    tokio::select! {
        end = outwards(sink, reader, stall) => end,
        end = inwards(incoming, writer, stall) => end,
    }
}

async fn first_text(incoming: &mut SplitStream<WebSocket>) -> Result<String, Gone> {
    while let Some(frame) = incoming.next().await {
        match frame {
            Ok(Message::Text(text)) => return Ok(text.to_string()),
            Err(_) => return Err(Gone),
            // A close too: the next read answers it and gives nothing more.
            Ok(_) => {}
        }
    }
    Err(Gone)
}

async fn outwards(sink: &mut Sink, mut from: OwnedReadHalf, stall: Duration) -> Result<CloseFrame, Gone> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(0) => return Ok(closing(close_code::NORMAL, "")),
            Ok(_) => send(sink, Message::Binary(buffer.split().freeze()), stall).await?,
            Err(_) => return Ok(closing(close_code::ERROR, "the connection was reset")),
        }
    }
}

async fn inwards(
    incoming: &mut SplitStream<WebSocket>,
    mut to: OwnedWriteHalf,
    stall: Duration,
) -> Result<CloseFrame, Gone> {
    while let Some(frame) = incoming.next().await {
        let bytes: Bytes = match frame {
            Ok(Message::Binary(bytes)) => bytes,
            Err(_) => break,
            Ok(_) => continue,
        };
        match timeout(stall, to.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(closing(close_code::ERROR, "the connection was reset")),
            Err(_) => return Ok(closing(close_code::ERROR, "the other side takes nothing")),
        }
    }
    // What was sent still arrives; a failure means that the other side was faster.
    let _ = to.shutdown().await;
    Err(Gone)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// A name that only a resolver would know.
    #[error("{0} is neither localhost nor an address; give an address")]
    Name(String),
    /// Nobody listens, or it cannot be reached.
    #[error("{}", plain(.0))]
    Refused(io::Error),
    /// No answer.
    #[error("no answer within {} s", DIAL.as_secs())]
    Late,
}

fn plain(error: &io::Error) -> String {
    let text = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |number| nix::errno::Errno::from_raw(number).desc().to_owned());
    text.to_lowercase()
}

/// Connects to a port of the sprite, or of an address it can reach. `localhost` is tried as IPv4 and as IPv6.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<IpAddr> = match bare.parse::<IpAddr>() {
        // An address to listen on is none to connect to, and what it means is the host itself.
        Ok(address) if address.is_unspecified() => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Ok(address) => vec![address],
        Err(_) if bare.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => return Err(DialError::Name(bare.chars().take(64).collect())),
    };
    let is_here = addresses.iter().all(IpAddr::is_loopback);
    let connect = async {
        // Whoever wakes a sprite by its port is faster than the service that is to answer.
        let give_up = Instant::now() + PATIENCE;
        while is_here && clock::uptime_ms() < YOUNG && Instant::now() < give_up {
            match reach(&addresses, port).await {
                Err(DialError::Refused(_)) => sleep(LOOK).await,
                outcome => return outcome,
            }
        }
        reach(&addresses, port).await
    };
    timeout(DIAL, connect).await.unwrap_or(Err(DialError::Late))
}

/// Connects to the first address that can be reached.
async fn reach(addresses: &[IpAddr], port: u16) -> Result<TcpStream, DialError> {
    // The reason of the first one is told: that there is no IPv6 says nothing.
    let mut refused = None;
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => {
                // Small messages are not to wait for more; a stream without this works too.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(DialError::Refused(refused.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into())))
}
