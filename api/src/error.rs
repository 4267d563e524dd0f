//! The error body of every endpoint outside the file system calls.

use serde::{Deserialize, Serialize};

/// Body of a non-2xx answer. Clients prefer `message` and fall back to `error`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Machine code, or plain text when there is no code. Always a string.
    #[serde(default)]
    pub error: String,
    /// One plain sentence for a person: what happened, why, what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Limit that was hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Window of a rate limit, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// Delay suggested to the client, seconds; beats the `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Present number of running sprites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_count: Option<u64>,
    /// Whether a larger plan would help (vendor's cloud).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_available: Option<bool>,
    /// Where to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_url: Option<String>,
}

impl ErrorBody {
    /// A body with a machine code and a sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error: code.into(), message: Some(message.into()), ..Self::default() }
    }

    /// What to show a person.
    pub fn text(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.error)
    }
}
