//! One request to the sprite's own API.

use axum::body::Body;
use futures::StreamExt;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the head of an answer may take: a checkpoint is made before it.
const ANSWER: Duration = Duration::from_secs(180);
/// Overrides where the socket is, for tests.
const SOCKET: &str = "SPRITE_API_SOCKET";

/// What came of a request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Body,
}

/// Why there is no answer, in a sentence.
pub(super) type Trouble = String;

/// Asks; a body is JSON.
pub(super) async fn ask(method: Method, path: &str, body: Option<String>) -> Result<Answer, Trouble> {
    let socket =
        std::env::var_os(SOCKET).map_or_else(|| sprites_api::agent::API_SOCKET.into(), PathBuf::from);
    let stream = UnixStream::connect(&socket)
        .await
        .map_err(|error| format!("{} cannot be reached ({error}); is this a sprite?", socket.display()))?;
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        // Its end shows in the answer.
        let _ = connection.await;
    });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "sprite")
        .header("content-type", "application/json")
        .body(Body::from(body.unwrap_or_default()))
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let answer = timeout(ANSWER, sender.send_request(request))
        .await
        .map_err(|_| "the sprite's API does not answer".to_owned())?
        .map_err(broken)?;
    let (head, body) = answer.into_parts();
    Ok(Answer { status: head.status, body: Body::new(body) })
}

impl Answer {
    /// Hands the body on, piece by piece, as it comes.
    pub(super) async fn print(self, mut show: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Trouble> {
        let mut pieces = self.body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| format!("the answer broke off: {error}"))?;
            // A reader that has gone away wants no more.
            if show(&piece).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The whole body.
    pub(super) async fn text(self) -> Result<String, Trouble> {
        let mut text = Vec::new();
        self.print(|piece| text.write_all(piece)).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
