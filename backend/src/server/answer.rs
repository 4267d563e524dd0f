//! Errors and streams as answers.

use crate::sprites::SpriteError;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sprites_api::ErrorBody;
use std::any::Any;
use std::convert::Infallible;
use std::time::Duration;

/// An endless stream says something at least this often.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(20);

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct ApiError {
    status: u16,
    // Boxed, because every handler's result carries room for one.
    body: Box<ErrorBody>,
}

impl ApiError {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, body: Box::new(ErrorBody::new(code, message)) }
    }

    /// Whether what was asked for contradicts how things are now.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == 409
    }

    pub(super) fn text(&self) -> &str {
        self.body.text()
    }
}

impl From<SpriteError> for ApiError {
    fn from(error: SpriteError) -> Self {
        if error.status() >= 500 {
            tracing::error!("{error}");
        }
        Self::new(error.status(), error.code(), error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(*self.body)).into_response()
    }
}

/// Reads a body as JSON whatever its content type says; an empty one stands for an empty object.
pub(super) fn json<T: DeserializeOwned>(
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| match rejection.status().as_u16() {
        413 => ApiError::new(413, "too_large", "the body is longer than this call can need"),
        status => ApiError::new(status, "invalid", rejection.body_text()),
    })?;
    let text: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| {
        ApiError::new(400, "invalid", format!("the body is not what this call takes: {error}"))
    })
}

/// An answer of JSON lines.
pub(super) fn lines<T: Serialize + Send + 'static>(
    lines: impl Stream<Item = T> + Send + 'static,
) -> Response {
    use futures::StreamExt;
    let pieces = lines.map(|line| {
        // These are plain structures, which always have a JSON form.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response()
}

/// What a caller gets when a handler panics.
#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let why =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("a call panicked: {}", why.unwrap_or("no reason given"));
    ApiError::new(
        500,
        "internal",
        "the server has a fault and could not do this; its log tells more, please report it",
    )
    .into_response()
}
