//! What can go wrong between a client and an endpoint.

use reqwest::StatusCode;
use sprites_api::ErrorBody;
use std::time::Duration;

/// Result of every call.
pub type Result<T> = std::result::Result<T, Error>;

/// Longest text of a server that is shown, characters.
const MAX_TEXT: usize = 600;

/// What the server said when it refused: HTTP status, machine code and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, such as 404.
    pub status: u16,
    /// Machine code of the body, such as `concurrent_sprite_limit_exceeded`; empty when there was none.
    pub code: String,
    /// Sentence for a person, free of control characters, at most 600 characters.
    pub message: String,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (status {})", self.message, self.status)
    }
}

/// Why a call failed. Each message is one plain sentence that may be shown as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was sent: no connection could be made.
    #[error("no connection to {endpoint}: {reason}; check that it is up and that the address is right")]
    Connect {
        /// The endpoint as shown to people.
        endpoint: String,
        /// Short reason of the system.
        reason: String,
    },
    /// The connection broke after something was sent, so it is not known whether the call took effect.
    #[error(
        "the connection to {endpoint} broke while waiting for an answer ({reason}); look at the result before trying again"
    )]
    Broken {
        /// The endpoint as shown to people.
        endpoint: String,
        /// Short reason of the system.
        reason: String,
    },
    /// The call took longer than it may.
    #[error("{endpoint} gave no answer within {} s; try again, or look at its log", .after.as_secs())]
    Deadline {
        /// The endpoint as shown to people.
        endpoint: String,
        /// How long was waited.
        after: Duration,
    },
    /// 401: no token, or one the endpoint does not know.
    #[error("the endpoint does not accept the token: {0}; set a valid one for this context")]
    Unauthorized(Answer),
    /// 403: the token may not do this.
    #[error("the token may not do this: {0}")]
    Forbidden(Answer),
    /// 404: there is no such sprite, session or checkpoint.
    #[error("{0}")]
    NotFound(Answer),
    /// 409: a name is taken, or the state does not allow it now.
    #[error("{0}")]
    Conflict(Answer),
    /// 429 or 503: not now.
    #[error("{answer}")]
    Busy {
        /// What the server said.
        answer: Answer,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Any other status below 500.
    #[error("{0}")]
    Refused(Answer),
    /// Any other status from 500 up.
    #[error("the server failed: {0}; its log may tell more")]
    Failed(Answer),
    /// The endpoint lacks one of the local server's extensions.
    #[error("{endpoint} does not offer {what}; only the local server of sprites-tui does")]
    NotSupported {
        /// The endpoint as shown to people.
        endpoint: String,
        /// What was asked for, such as `forks`.
        what: &'static str,
    },
    /// An answer that breaks the protocol.
    #[error(
        "{endpoint} sent an answer that cannot be read ({reason}); is this a Sprites API of a fitting version?"
    )]
    Protocol {
        /// The endpoint as shown to people.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The sprite could not connect to the port.
    #[error("{target} of the sprite cannot be reached: {why}")]
    NotConnected {
        /// Host and port.
        target: String,
        /// The sprite's reason.
        why: String,
    },
    /// A stream ended before its last line.
    #[error(
        "{endpoint} ended the stream before the work was reported done; look at the result before trying again"
    )]
    Cut {
        /// The endpoint as shown to people.
        endpoint: String,
    },
    /// A name or id that cannot stand in a URL.
    #[error("{0:?} cannot be the name or id of anything; use letters, digits and hyphens")]
    BadName(String),
    /// The session is over, so nothing can be sent to it.
    #[error("the session is over")]
    SessionOver,
    /// More was queued for the session than it takes.
    #[error("the session does not take input fast enough; wait until it has read what was sent")]
    SessionFull,
    /// The machinery of the client could not be set up.
    #[error("the client could not be set up: {0}")]
    Setup(String),
}

impl Error {
    /// HTTP status of the answer, when there was one.
    pub fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }

    /// Machine code of the answer's body; `None` when there was none.
    pub fn code(&self) -> Option<&str> {
        self.answer().map(|answer| answer.code.as_str()).filter(|code| !code.is_empty())
    }

    /// What the server said, when it said something.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Unauthorized(answer)
            | Self::Forbidden(answer)
            | Self::NotFound(answer)
            | Self::Conflict(answer)
            | Self::Busy { answer, .. }
            | Self::Refused(answer)
            | Self::Failed(answer) => Some(answer),
            _ => None,
        }
    }

    /// True when the endpoint could not be reached at all, so that waiting for it may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. } | Self::Deadline { .. } | Self::Cut { .. })
    }

    /// The error for a status that is no success. `body` is the answer's body, possibly cut.
    pub(crate) fn from_answer(status: StatusCode, retry_header: Option<&str>, body: &[u8]) -> Self {
        let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let retry_after = parsed
            .as_ref()
            .and_then(|body| body.retry_after_seconds)
            .or_else(|| retry_header.and_then(|text| text.trim().parse().ok()))
            .map(Duration::from_secs);
        let (code, message) = match parsed {
            Some(body) if !body.text().is_empty() => (code_of(&body), clean(body.text())),
            _ => (String::new(), clean(&String::from_utf8_lossy(body))),
        };
        let message = if message.is_empty() {
            status.canonical_reason().unwrap_or("the server gave no reason").to_lowercase()
        } else {
            message
        };
        let answer = Answer { status: status.as_u16(), code, message };
        match status.as_u16() {
            401 => Self::Unauthorized(answer),
            403 => Self::Forbidden(answer),
            404 => Self::NotFound(answer),
            409 => Self::Conflict(answer),
            429 | 503 => Self::Busy { answer, retry_after },
            ..500 => Self::Refused(answer),
            _ => Self::Failed(answer),
        }
    }
}

/// `error` is a code only when it looks like one; some answers put their sentence there.
fn code_of(body: &ErrorBody) -> String {
    let is_code = body.error.len() <= 80
        && !body.error.is_empty()
        && body.error.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_code { body.error.clone() } else { String::new() }
}

/// A server's text made safe for a terminal: one line, no control characters, bounded.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        for c in word.chars() {
            if count == MAX_TEXT {
                out.push('…');
                return out;
            }
            out.push(c);
            count += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> Error {
        Error::from_answer(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn json_bodies_give_code_and_sentence() {
        let limited =
            error(429, r#"{"error":"rate_limited","message":"Slow down.","retry_after_seconds":3}"#);
        assert_eq!((limited.status(), limited.code()), (Some(429), Some("rate_limited")));
        assert!(matches!(limited, Error::Busy { retry_after: Some(after), .. } if after.as_secs() == 3));
        let missing = error(404, r#"{"error":"sprite not found"}"#);
        assert_eq!((missing.to_string().as_str(), missing.code()), ("sprite not found (status 404)", None));
    }

    #[test]
    fn other_bodies_are_shown_in_one_safe_line() {
        assert_eq!(error(500, "bad\x1b[31m\n thing").answer().unwrap().message, "bad [31m thing");
        assert_eq!(error(502, "").answer().unwrap().message, "bad gateway");
        let long = error(400, &"x".repeat(100_000)).answer().unwrap().message.chars().count();
        assert_eq!(long, MAX_TEXT + 1);
    }

    #[test]
    fn the_header_counts_when_the_body_is_silent() {
        let busy = Error::from_answer(StatusCode::SERVICE_UNAVAILABLE, Some(" 7 "), b"");
        assert!(matches!(busy, Error::Busy { retry_after: Some(after), .. } if after.as_secs() == 7));
    }
}
