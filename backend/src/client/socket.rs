//! Opening a WebSocket on an endpoint, and noticing that nothing comes from it any more.

use super::error::Result;
use super::transport::{Call, Transport};
use reqwest::Upgraded;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Largest message taken; the API keeps them at 64 KiB, one vendor client takes 1 MiB.
const MAX_MESSAGE: usize = 1 << 20;

/// Between two pings: what stands between us and the endpoint may drop silent connections.
pub(super) const PING: Duration = Duration::from_secs(15);
/// After this long without any sign of life the connection is taken for dead.
pub(super) const DEAD: Duration = Duration::from_secs(45);
/// How long the last words of a connection may take.
pub(super) const CLOSE: Duration = Duration::from_secs(5);

/// A WebSocket that is open (RFC 6455, section 4).
pub(super) type Socket = WebSocketStream<Upgraded>;

/// Asks for one and waits for it, within the call's deadline.
pub(super) async fn open(transport: &Transport, mut call: Call) -> Result<Socket> {
    let key = generate_key();
    let headers = vec![
        ("connection", "Upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-version", "13".to_owned()),
        ("sec-websocket-key", key.clone()),
    ];
    call.accept = "*/*";
    let deadline = call.deadline;
    let response = transport.upgrade(call, headers).await?;
    let accepted = response.headers().get("sec-websocket-accept").and_then(|value| value.to_str().ok());
    if accepted != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(transport.protocol("it did not open a WebSocket".into()));
    }
    let upgraded = transport
        .within(deadline, async {
            response.upgrade().await.map_err(|error| transport.protocol(error.to_string()))
        })
        .await?;
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

/// How long nothing has come from an endpoint. A new one begins with each sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    end: Instant,
}

impl Default for Silence {
    fn default() -> Self {
        Self { end: Instant::now() + DEAD }
    }
}

impl Silence {
    /// When it has lasted too long.
    pub fn end(self) -> Instant {
        self.end
    }

    /// Does something during which nothing is read; that time is not the endpoint's.
    pub async fn aside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let outcome = work.await;
        self.end += began.elapsed();
        outcome
    }
}
