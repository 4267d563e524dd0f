//! Connections to web apps inside. A way there is long: a connection to the machine, one through it to the agent, and one from there to the app.
//! So it is kept for a while for the next request.
//!
//! Kept ways keep no sprite awake; one that sleeps finds them again when it wakes, and with its machine they end.

use super::Reason;
use crate::agent;
use crate::sprites::{SpriteError, Sprites};
use axum::body::Body;
use axum::http::{StatusCode, Uri};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sprites_api::ErrorBody;
use sprites_api::agent::WEB;
use std::error::Error as _;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tower::Service;

/// How long an agent may take to reach the app: it starts a service and waits for its port.
const REACH: Duration = Duration::from_secs(40);
/// Longest reason that is read from an agent, bytes.
const REASON: usize = 16 << 10;
/// How long a way is kept unused: less than the five seconds after which many apps close it.
const KEPT: Duration = Duration::from_secs(4);
/// Most ways that are kept unused of a sprite.
const MOST: usize = 16;

/// Ways to the apps of all sprites; the host of an address is a sprite's name.
#[derive(Clone, Debug)]
pub(in crate::server) struct Ways {
    /// For what can be asked twice.
    pub(super) kept: Client<Inside, Body>,
    /// For everything else.
    pub(super) fresh: Client<Inside, Body>,
}

impl Ways {
    pub(in crate::server) fn new(sprites: Arc<Sprites>) -> Self {
        let client = |most| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(KEPT)
                .pool_max_idle_per_host(most)
                // The app is to see the host that its user sees.
                .set_host(false)
                .build(Inside(Arc::clone(&sprites)))
        };
        Self { kept: client(MOST), fresh: client(0) }
    }
}

/// What an agent said, or that the app said nothing.
pub(super) fn find(error: Error) -> Reason {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Reason(status, message)) = inner.downcast_ref::<Reason>() {
            return Reason(*status, message.clone());
        }
        source = inner.source();
    }
    Reason(StatusCode::BAD_GATEWAY, "the web app closed the connection without an answer".to_owned())
}

impl From<SpriteError> for Reason {
    fn from(error: SpriteError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        Self(status, error.to_string())
    }
}

/// Makes ways into sprites that are awake.
#[derive(Clone, Debug)]
pub(super) struct Inside(Arc<Sprites>);

impl Service<Uri> for Inside {
    type Response = TokioIo<UnixStream>;
    type Error = Reason;
    type Future = BoxFuture<'static, Result<Self::Response, Reason>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let sprites = Arc::clone(&self.0);
        // It may go on when nobody waits for it any more.
        Box::pin(async move {
            let reached = timeout(REACH, reach(&sprites, target.host().unwrap_or_default()));
            reached.await.unwrap_or_else(|_| {
                let message = "the sprite does not reach its web app in time; look at its log";
                Err(Reason(StatusCode::GATEWAY_TIMEOUT, message.to_owned()))
            })
        })
    }
}

/// A connection to the app of a sprite.
async fn reach(sprites: &Sprites, name: &str) -> Result<TokioIo<UnixStream>, Reason> {
    let broken = || {
        let message = "the agent inside the sprite broke the connection; try again";
        Reason(StatusCode::BAD_GATEWAY, message.to_owned())
    };
    let machine = sprites.get(name)?.running_machine().ok_or_else(broken)?;
    let stream = machine.connect().await.map_err(SpriteError::from)?;
    let answer = agent::upgrade(stream, "web", WEB).await.map_err(|_| broken())?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(answer).await.map_err(|_| broken())?;
        let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| broken())?;
        // What an app says before it is asked is no answer.
        return if parts.read_buf.is_empty() { Ok(parts.io) } else { Err(broken()) };
    }
    let status = match answer.status() {
        status @ StatusCode::GATEWAY_TIMEOUT => status,
        _ => StatusCode::BAD_GATEWAY,
    };
    let body = Limited::new(answer.into_body(), REASON).collect().await.map_err(|_| broken())?.to_bytes();
    let reason = serde_json::from_slice::<ErrorBody>(&body).map_err(|_| broken())?;
    Err(Reason(status, reason.text().chars().take(500).collect()))
}
