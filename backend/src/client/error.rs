//! What can go wrong between a client and an endpoint.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Result of every call.
pub type Result<T> = std::result::Result<T, Error>;

/// Longest text of a server that is shown, characters.
const MAX_TEXT: usize = 600;
/// Longest time a server can ask to be left alone for; what is more is taken for this.
const MAX_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Code of the cloud's answer to one running sprite too many.
const TOO_MANY_RUN: &str = "concurrent_sprite_limit_exceeded";

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
    /// Nothing was sent: the endpoint's certificate does not show that it is the endpoint.
    #[error("no connection to {endpoint}: {why}")]
    Untrusted {
        /// The endpoint as shown to people.
        endpoint: String,
        /// What is wrong with the certificate, and what helps.
        why: String,
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
    #[error("{answer}{advice}")]
    Busy {
        /// What the server said.
        answer: Answer,
        /// The limit that was hit and what to do, ready to follow the answer; may be empty.
        advice: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Any other status below 500.
    #[error("{0}")]
    Refused(Answer),
    /// Any other status from 500 up.
    #[error("the server failed: {0}; its log may tell more")]
    Failed(Answer),
    /// The endpoint lacks something that the local server has.
    #[error("{endpoint} does not offer {what}; the local server of sprites-tui does")]
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
        matches!(
            self,
            Self::Connect { .. }
                | Self::Untrusted { .. }
                | Self::Broken { .. }
                | Self::Deadline { .. }
                | Self::Cut { .. }
        )
    }

    /// True when a sprite has begun nothing because it is just coming back from a restore, or seems so.
    pub(super) fn is_coming_back(&self) -> bool {
        let Some(answer) = self.answer() else { return false };
        let restores = |text: &str| text.to_lowercase().contains("restor");
        match answer.status {
            409 => restores(&answer.code) || restores(&answer.message),
            // Not 504, after which the command may run all the same; and a machine that does not start will not do so in a moment.
            502 => answer.code != "machine_failed",
            503 => true,
            _ => false,
        }
    }

    /// The same without what a server says about files of its own machine, which are not to be found on this one.
    pub(super) fn without_own_files(mut self) -> Self {
        if let Self::Unauthorized(answer) = &mut self {
            let parts = answer.message.split("; ").filter(|part| !part.contains("configuration folder"));
            answer.message = parts.collect::<Vec<_>>().join("; ");
        }
        self
    }

    /// The error for a status that is no success. `body` is the answer's body, possibly cut.
    pub(crate) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let told = Told::read(body);
        let retry_after = told
            .retry_after
            .or_else(|| number_in(headers, RETRY_AFTER.as_str()))
            .or_else(|| Some(number_in(headers, "x-ratelimit-reset")?.saturating_sub(unix_now())))
            .map(|seconds| Duration::from_secs(seconds).min(MAX_PAUSE));
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(clean);
        let said = !told.text().is_empty();
        let message = match location.filter(|_| status.is_redirection()) {
            // It is not followed: the token would go to whatever address the answer names.
            Some(to) => format!("it points to another address, {to}; use that one if it is right"),
            None if said => clean(told.text()),
            None if is_page(body) => {
                "a web page came instead of an answer of the API, perhaps from a proxy on the way".to_owned()
            }
            None => clean(&String::from_utf8_lossy(body)),
        };
        let message = if message.is_empty() {
            status.canonical_reason().unwrap_or("the server gave no reason").to_lowercase()
        } else {
            message
        };
        let advice = told.advice(retry_after, said, message.contains("try again"));
        let answer = Answer { status: status.as_u16(), code: told.code(), message };
        match status.as_u16() {
            401 => Self::Unauthorized(answer),
            403 => Self::Forbidden(answer),
            404 => Self::NotFound(answer),
            409 => Self::Conflict(answer),
            429 | 503 => Self::Busy { answer, advice, retry_after },
            ..500 => Self::Refused(answer),
            _ => Self::Failed(answer),
        }
    }
}

/// What the body of an error tells. Each member is read by itself, so that one of an unexpected kind costs none of the others.
#[derive(Debug, Default)]
struct Told {
    error: String,
    /// Name of the system's error, which calls about files tell beside their sentence.
    name: String,
    message: String,
    limit: Option<u64>,
    window: Option<u64>,
    current: Option<u64>,
    retry_after: Option<u64>,
    upgrade: String,
}

impl Told {
    fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return Self::default() };
        let text = |members: &Map<String, Value>, name: &str| {
            members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let number = |name: &str| {
            // A delay of 2.5 s is over after 3.
            let whole = |value: &Value| value.as_u64().or_else(|| Some(value.as_f64()?.ceil() as u64));
            members.get(name).and_then(whole)
        };
        let mut told = Self {
            error: text(&members, "error"),
            name: text(&members, "code"),
            message: text(&members, "message"),
            limit: number("limit"),
            window: number("window_seconds"),
            current: number("current_count"),
            retry_after: number("retry_after_seconds"),
            upgrade: text(&members, "upgrade_url"),
        };
        if told.text().is_empty() {
            told.message = match (members.get("error"), members.get("errors")) {
                (Some(Value::Object(inner)), _) => text(inner, "message"),
                (_, Some(Value::Array(all))) => {
                    all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
                }
                _ => String::new(),
            };
        }
        told
    }

    /// What to show a person.
    fn text(&self) -> &str {
        if self.message.is_empty() { &self.error } else { &self.message }
    }

    /// `error` is a code only when it looks like one; some answers put their sentence there.
    fn code(&self) -> String {
        let is_code = |text: &&String| {
            text.len() <= 80 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        [&self.name, &self.error]
            .into_iter()
            .filter(|text| !text.is_empty())
            .find(is_code)
            .cloned()
            .unwrap_or_default()
    }

    /// The limit that was hit and what to do about it. `said` is whether the server said something itself, `advised` whether that is what to do.
    fn advice(&self, retry_after: Option<Duration>, said: bool, advised: bool) -> String {
        let too_many_run = self.error == TOO_MANY_RUN;
        let of_what = if too_many_run { "sprites are running" } else { "are in use" };
        let mut parts = Vec::new();
        match (self.current, self.limit, self.window) {
            (Some(current), Some(limit), _) => parts.push(format!("{current} of {limit} {of_what}")),
            (Some(current), None, _) => parts.push(format!("{current} {of_what}")),
            (None, Some(limit), Some(window)) => parts.push(format!("the limit is {limit} in {window} s")),
            (None, Some(limit), None) => parts.push(format!("the limit is {limit}")),
            (None, None, _) => {}
        }
        match retry_after.map(|after| after.as_secs()) {
            Some(seconds @ 1..) => parts.push(format!("try again in {seconds} s")),
            _ if too_many_run && !advised => {
                parts.push("let one fall asleep or destroy one, then try again".into())
            }
            _ if !said => parts.push("try again in a moment".into()),
            _ => {}
        }
        if !self.upgrade.is_empty() {
            parts.push(format!("a higher limit can be had at {}", clean(&self.upgrade)));
        }
        parts.iter().map(|part| format!("; {part}")).collect()
    }
}

fn number_in(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether these bytes are a web page, or another document between angle brackets.
pub(super) fn is_page(body: &[u8]) -> bool {
    // Behind the mark that some programs put before their texts.
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start().starts_with(b"<")
}

/// Whether a terminal obeys this character instead of showing it: control characters, those that turn the direction of writing, and those that take
/// no room, by which one text can be made to look like another.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A server's text made safe for a terminal: one line, nothing that a terminal would obey, bounded.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || is_obeyed(c)).filter(|word| !word.is_empty()) {
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
    use reqwest::header::HeaderValue;

    fn error(status: u16, body: &str) -> Error {
        with(status, &[], body)
    }

    fn with(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        Error::from_answer(StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes())
    }

    fn pause(error: &Error) -> Option<u64> {
        match error {
            Error::Busy { retry_after, .. } => retry_after.map(|after| after.as_secs()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn json_bodies_give_code_and_sentence() {
        let limited =
            error(429, r#"{"error":"rate_limited","message":"Slow down.","retry_after_seconds":3}"#);
        assert_eq!((limited.status(), limited.code()), (Some(429), Some("rate_limited")));
        assert_eq!(pause(&limited), Some(3));
        let missing = error(404, r#"{"error":"sprite not found"}"#);
        assert_eq!((missing.to_string().as_str(), missing.code()), ("sprite not found (status 404)", None));
        let file = error(404, r#"{"error":"no such file or directory","code":"ENOENT","path":"/x"}"#);
        assert_eq!(
            (file.to_string().as_str(), file.code()),
            ("no such file or directory (status 404)", Some("ENOENT"))
        );
        assert_eq!(error(422, r#"{"errors":["a","b"]}"#).to_string(), "a; b (status 422)");
        assert_eq!(error(400, r#"{"error":{"message":"no"}}"#).to_string(), "no (status 400)");
    }

    #[test]
    fn limits_are_told_with_what_to_do() {
        let running = r#"{"error":"concurrent_sprite_limit_exceeded","message":"Too many sprites run","limit":3,
            "current_count":3,"upgrade_available":true,"upgrade_url":"https://sprites.dev/plans"}"#;
        assert_eq!(
            error(429, running).to_string(),
            "Too many sprites run (status 429); 3 of 3 sprites are running; let one fall asleep or destroy one, then try again; \
             a higher limit can be had at https://sprites.dev/plans"
        );
        let made = r#"{"error":"sprite_creation_rate_limited","limit":10,"window_seconds":60,"retry_after_seconds":30}"#;
        assert_eq!(
            error(429, made).to_string(),
            "sprite_creation_rate_limited (status 429); the limit is 10 in 60 s; try again in 30 s"
        );
        assert_eq!(error(503, "").to_string(), "service unavailable (status 503); try again in a moment");
        // One member of another kind, or beyond all bounds, costs no other.
        let odd = r#"{"error":"x","message":7,"limit":"many","retry_after_seconds":2.5}"#;
        assert_eq!(error(429, odd).to_string(), "x (status 429); try again in 3 s");
        assert_eq!(pause(&error(429, r#"{"retry_after_seconds":1e300}"#)), Some(MAX_PAUSE.as_secs()));
        assert_eq!(pause(&error(429, r#"{"retry_after_seconds":-1}"#)), Some(0));
    }

    #[test]
    fn other_bodies_are_shown_in_one_safe_line() {
        assert_eq!(error(500, "bad\x1b[31m\n thing").answer().unwrap().message, "bad [31m thing");
        assert_eq!(clean("a\u{9b}2J\u{202e}b"), "a 2J b");
        assert_eq!(error(502, "").answer().unwrap().message, "bad gateway");
        let page = error(502, "\n<!DOCTYPE html><html><body><h1>502</h1></body></html>").to_string();
        assert!(page.contains("web page") && !page.contains('<'), "{page}");
        let long = error(400, &"x".repeat(100_000)).answer().unwrap().message.chars().count();
        assert_eq!(long, MAX_TEXT + 1);
    }

    #[test]
    fn files_of_another_machine_are_not_pointed_at() {
        let told = r#"{"error":"unauthorized","message":"the token is wrong; the right one stands in the file `token` of the configuration folder"}"#;
        let far = error(401, told).without_own_files().to_string();
        assert!(far.contains("the token is wrong (status 401)") && !far.contains("folder"), "{far}");
        assert_eq!(error(401, "no").without_own_files().answer().unwrap().message, "no");
    }

    #[test]
    fn headers_count_when_the_body_is_silent() {
        assert_eq!(pause(&with(503, &[("retry-after", " 7 ")], "")), Some(7));
        assert_eq!(pause(&with(429, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], "")), None);
        let reset = (unix_now() + 100).to_string();
        assert!(matches!(pause(&with(429, &[("x-ratelimit-reset", &reset)], "")), Some(99..=100)));
        let moved = with(307, &[("location", "https://other.example/")], "<html>");
        assert!(moved.to_string().contains("https://other.example/"), "{moved}");
    }
}
