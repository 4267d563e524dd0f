//! Answers other than success: a status and the common error body.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sprites_api::ErrorBody;

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
