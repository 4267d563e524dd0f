//! Signals by plain HTTP: `POST /v1/exec/{id}/kill`, answered by lines that tell what happens.

use super::Shared;
use super::query::Pairs;
use crate::process::signal;
use crate::reply::{self, Refusal};
use crate::session::Session;
use crate::session::registry::Found;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use nix::sys::signal::Signal;
use serde::Deserialize;
use sprites_api::duration;
use sprites_api::exec::KillLine;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Wait before SIGKILL, when the client tells none.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait before SIGKILL.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(600);
/// Wait after SIGKILL.
const KILLED: Duration = Duration::from_secs(5);

/// JSON form of the parameters.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    signal: Option<String>,
    timeout: Option<serde_json::Value>,
}

pub(super) async fn run(
    State(agent): Shared,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let session = match agent.sessions.find(&id) {
        Found::Live(session) => session,
        Found::Ended => {
            return Err(Refusal::new(StatusCode::GONE, "session_ended", "the session has ended already"));
        }
        Found::Unknown => return Err(Refusal::no_session(&id)),
    };
    let (signal, timeout) = parameters(&pairs, &body)?;
    let (tell, lines) = mpsc::channel(8);
    // A task of its own: what was begun is carried through also when the client leaves.
    tokio::spawn(kill(session, signal, timeout, tell));
    Ok(reply::lines(lines))
}

fn parameters(pairs: &Pairs, body: &[u8]) -> Result<(Signal, Duration), Refusal> {
    let mut given = if body.iter().all(u8::is_ascii_whitespace) {
        Parameters::default()
    } else {
        serde_json::from_slice(body).map_err(|_| {
            Refusal::bad("the body must be a JSON object with `signal` and `timeout`, or empty")
        })?
    };
    for (key, value) in pairs {
        match key.as_str() {
            "signal" if !value.is_empty() => given.signal = Some(value.clone()),
            "timeout" if !value.is_empty() => given.timeout = Some(value.clone().into()),
            _ => {}
        }
    }
    let name = given.signal.as_deref().unwrap_or("SIGTERM");
    let signal = signal::parse(name).ok_or_else(|| Refusal::bad("there is no signal of this name"))?;
    let timeout = match given.timeout {
        None | Some(serde_json::Value::Null) => TIMEOUT,
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            duration::parse(&text).ok_or_else(|| {
                Refusal::bad("`timeout` must be a duration such as 10s or a number of seconds")
            })?
        }
    };
    Ok((signal, timeout.min(TIMEOUT_LIMIT)))
}

async fn kill(session: Arc<Session>, signal: Signal, timeout: Duration, tell: mpsc::Sender<KillLine>) {
    let pid = session.pid;
    let say = async |line| {
        // A client that left misses the lines, nothing else.
        let _ = tell.send(line).await;
    };
    say(KillLine::Signal {
        message: format!("Signaling {} to process group {pid}", signal.as_str()),
        signal: signal.as_str().to_owned(),
        pid,
    })
    .await;
    if let Err(error) = session.signal(signal) {
        let message = format!("the signal was not sent to process group {pid}: {}", error.desc());
        return say(KillLine::Error { message }).await;
    }
    if timeout.is_zero() {
        // Only to deliver a signal: whether it ends anything is not waited for.
        return say(KillLine::Complete { exit_code: 0 }).await;
    }
    let mut code = tokio::time::timeout(timeout, session.ended()).await.ok();
    if code.is_some() {
        say(KillLine::Exited { message: format!("Process group {pid} exited") }).await;
    } else {
        let message = format!("Process group {pid} did not exit within {} s", timeout.as_secs_f64());
        say(KillLine::Timeout { message }).await;
        session.kill();
        code = tokio::time::timeout(KILLED, session.ended()).await.ok();
        let line = match code {
            Some(_) => KillLine::Killed { message: format!("Process group {pid} was killed") },
            None => KillLine::Error {
                message: format!("Process group {pid} hangs in the kernel even after SIGKILL"),
            },
        };
        say(line).await;
    }
    say(KillLine::Complete { exit_code: code.map_or(-1, i32::from) }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)], body: &str) -> Option<(Signal, u64)> {
        let pairs = query.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        parameters(&pairs, body.as_bytes()).ok().map(|(signal, timeout)| (signal, timeout.as_secs()))
    }

    #[test]
    fn forms() {
        assert_eq!(read(&[], ""), Some((Signal::SIGTERM, 10)));
        assert_eq!(read(&[("signal", "INT"), ("timeout", "0s")], ""), Some((Signal::SIGINT, 0)));
        assert_eq!(read(&[], r#"{"signal":"SIGHUP","timeout":3}"#), Some((Signal::SIGHUP, 3)));
        assert_eq!(read(&[], r#"{"timeout":"1m","x":1}"#), Some((Signal::SIGTERM, 60)));
        assert_eq!(read(&[], r#"{"timeout":9999999}"#), Some((Signal::SIGTERM, 600)));
        for (query, body) in [
            (&[("signal", "NOPE")][..], ""),
            (&[], "hello"),
            (&[], "[1"),
            (&[("timeout", "soon")][..], ""),
            (&[], r#"{"timeout":[]}"#),
        ] {
            assert_eq!(read(query, body), None, "{query:?} {body}");
        }
    }
}
