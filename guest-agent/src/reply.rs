//! Answers: the common error body, and lines of JSON.

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sprites_api::ErrorBody;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// A request that is refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", body.text())]
pub(crate) struct Refusal {
    status: StatusCode,
    body: Box<ErrorBody>,
}

impl Refusal {
    /// A status, a machine code and one sentence.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, body: Box::new(ErrorBody::new(code, message)) }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404 in the wording clients know.
    pub(crate) fn no_session(id: &str) -> Self {
        // The id comes from a request: a long one is not worth repeating.
        let id: String = id.chars().take(64).collect();
        let text = format!("session not found: {id}");
        Self::new(StatusCode::NOT_FOUND, &text, text.clone())
    }

    /// 429 with the limit that was hit.
    pub(crate) fn limit(code: &str, message: impl Into<String>, limit: usize) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, code, message);
        refusal.body.limit = Some(limit as u64);
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(*self.body)).into_response()
    }
}

/// Our own fault.
pub(crate) fn ours() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the agent failed at this request")
}

/// An answer of lines (NDJSON) that come as they are made, and ends with their sender.
pub(crate) fn lines<T: Serialize + Send + 'static>(lines: mpsc::Receiver<T>) -> Response {
    let body = Body::from_stream(futures::stream::unfold(lines, |mut lines| async {
        let line = lines.recv().await?;
        // Plain data with string keys always has a JSON form.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        Some((Ok::<_, Infallible>(text), lines))
    }));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
