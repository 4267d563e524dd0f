//! What the agent inside answers: woken if needed, then handed through byte by byte. The path loses the sprite's part; the rest is the
//! same API on both sides.

use super::App;
use super::answer::ApiError;
use super::frames;
use super::join::join;
use crate::agent;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use sprites_api::exec::FRAME_LENGTHS;
use sprites_api::sprite::Status;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an agent may take to the head of its answer, while nothing of the request moves. Sessions answer at once; what takes long is in the body.
const HEAD: Duration = Duration::from_secs(60);
/// The same for work with files: a tree may be large.
const FILES: Duration = Duration::from_secs(900);
/// Tells clients that signals may be sent on the socket.
const CAPABILITIES: HeaderName = HeaderName::from_static("x-sprite-capabilities");

/// Headers that belong to one connection, not to the message (RFC 9110, section 7.6.1), and those that are for this server alone.
const OURS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

/// What is told of an agent's answer.
const PASSED: [HeaderName; 6] = [
    header::ACCEPT_RANGES,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    CAPABILITIES,
    header::RETRY_AFTER,
];
/// What is told when the protocol changes.
const CHANGED: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
    CAPABILITIES,
];

/// Words of a command that are told of it.
const WORDS: usize = 8;

/// Connections on which something is only looked at: they wake a sprite and do not keep it awake.
const QUIET: [&str; 2] = ["/v1/fs/watch", "/v1/ports/watch"];

/// `/v1/sprites/{name}/exec`.
pub(super) async fn exec(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let lists = request.method() == Method::GET && !upgrades(request.headers());
    if lists && sprite.state().status == Status::Cold {
        // A sprite without memory has no sessions, and looking must not wake it.
        return Ok(axum::Json(serde_json::json!({ "count": 0, "sessions": [] })).into_response());
    }
    forward(&app, &name, request).await
}

/// `/v1/sprites/{name}/exec/…`.
pub(super) async fn session(
    State(app): State<App>,
    Path((name, rest)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let sprite = app.sprites.get(&name)?;
    if sprite.state().status == Status::Cold {
        let id: String = rest.split('/').next().unwrap_or_default().chars().take(80).collect();
        return Err(ApiError::new(404, "not_found", format!("session not found: {id}")));
    }
    forward(&app, &name, request).await
}

/// Everything else that the agent answers: files, services, ports, connections.
pub(super) async fn any(
    State(app): State<App>,
    Path(parts): Path<HashMap<String, String>>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = parts.get("name").map(String::as_str).unwrap_or_default();
    forward(&app, name, request).await
}

fn upgrades(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The path as the agent knows it: without `/sprites/{name}`.
fn inner_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v1/sprites/")?.split_once('/')?.1;
    Some(format!("/v1/{rest}"))
}

async fn forward(app: &App, name: &str, request: Request) -> Result<Response, ApiError> {
    let unreadable = || ApiError::new(400, "invalid", "the address cannot be read");
    let path = inner_path(request.uri().path()).ok_or_else(unreadable)?;
    let what = match path.as_str() {
        "/v1/exec" if request.method() == Method::GET && !upgrades(request.headers()) => {
            "a look at its sessions".to_owned()
        }
        path => what(path, request.uri().query().unwrap_or_default()),
    };
    let (stream, guard) = app.sprites.get(name)?.connect(what).await?;
    if QUIET.contains(&path.as_str()) {
        let answer = carry(stream, (), &path, request).await;
        drop(guard);
        return answer;
    }
    carry(stream, guard, &path, request).await
}

/// What a call is for, for those who wonder why a sprite is awake.
fn what(path: &str, query: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match parts.as_slice() {
        ["exec"] => {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            let words: Vec<_> =
                pairs.filter(|(key, _)| key == "cmd").map(|(_, word)| word).take(WORDS).collect();
            if words.is_empty() { "a shell".to_owned() } else { format!("the command {}", words.join(" ")) }
        }
        ["exec", session, ..] => format!("session {session}"),
        ["fs", ..] => "its files".to_owned(),
        ["services"] => "a look at its services".to_owned(),
        ["services", name, ..] => format!("the service {name}"),
        ["proxy", ..] => "a forwarded port".to_owned(),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

/// Puts a request to the agent at the other end of `stream`. The guard is kept until the last byte has gone through.
pub(super) async fn carry<G: Send + 'static>(
    stream: UnixStream,
    guard: G,
    path: &str,
    mut request: Request,
) -> Result<Response, ApiError> {
    let broken = |what: &str| {
        ApiError::new(502, "agent_failed", format!("the agent inside the sprite {what}; try again"))
    };
    let mut sender = agent::open(stream).await.map_err(|_| broken("closed the connection"))?;
    let upgrading = upgrades(request.headers());
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let uri: Uri = target.parse().map_err(|_| ApiError::new(400, "invalid", "the address cannot be read"))?;
    // A large body takes its time; as long as it moves nothing hangs.
    let moved = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&moved);
    let body = body.map_frame(move |frame| {
        counter.fetch_add(1, Ordering::Relaxed);
        frame
    });
    let mut inner = hyper::Request::new(Body::new(body));
    *inner.method_mut() = parts.method;
    *inner.uri_mut() = uri;
    *inner.version_mut() = Version::HTTP_11;
    *inner.headers_mut() = parts.headers;
    strip(inner.headers_mut(), upgrading);
    inner.headers_mut().insert(header::HOST, HeaderValue::from_static("sprite"));
    // Only answers that have frames take notice.
    inner.headers_mut().insert(FRAME_LENGTHS, HeaderValue::from_static("1"));
    let patience = if path.starts_with("/v1/fs/") { FILES } else { HEAD };
    let mut answering = pin!(sender.send_request(inner));
    let answer = loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(patience, &mut answering).await {
            Ok(Ok(answer)) => break answer,
            Ok(Err(_)) => return Err(broken("broke the connection")),
            Err(_) if moved.load(Ordering::Relaxed) != before => {}
            Err(_) => {
                let message = "the agent inside the sprite does not answer; the sprite may be overloaded";
                return Err(ApiError::new(504, "timeout", message));
            }
        }
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let client = client.ok_or_else(|| broken("changed the protocol without being asked"))?;
        return Ok(switch(client, answer, guard));
    }
    if answer.status().is_redirection() || answer.status().is_informational() {
        // A client that follows it would take its token to wherever a program inside likes.
        return Err(broken("answers with a redirection, which it never should"));
    }
    let (mut parts, body) = answer.into_parts();
    let framed = parts.headers.remove(FRAME_LENGTHS).is_some();
    let headers = passed(&parts.headers, &PASSED);
    let body = if framed {
        frames::paced(Body::new(body), guard)
    } else {
        // The sprite stays awake until the last byte has gone through.
        Body::from_stream(futures::stream::unfold(
            (Body::new(body).into_data_stream(), guard),
            |(mut pieces, guard)| async {
                let piece = pieces.next().await?;
                Some((piece, (pieces, guard)))
            },
        ))
    };
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Connects both sides after they changed to WebSocket.
fn switch(
    client: hyper::upgrade::OnUpgrade,
    mut answer: hyper::Response<hyper::body::Incoming>,
    guard: impl Send + 'static,
) -> Response {
    let inside = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = passed(answer.headers(), &CHANGED);
    response.headers_mut().entry(CAPABILITIES).or_insert(HeaderValue::from_static("signal"));
    tokio::spawn(async move {
        let _guard = guard;
        match tokio::try_join!(client, inside) {
            Ok((client, inside)) => {
                join(TokioIo::new(client), TokioIo::new(inside)).await;
            }
            Err(error) => tracing::info!("a socket closed before it opened: {error}"),
        }
    });
    response
}

/// Those of an agent's headers that a client is told. An agent may be a program that took its place.
fn passed(given: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let pairs = names.iter().flat_map(|name| given.get_all(name).iter().map(move |value| (name, value)));
    pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn strip(headers: &mut HeaderMap, upgrading: bool) {
    for name in OURS {
        headers.remove(name);
    }
    if !upgrading {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
        headers.remove("keep-alive");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn paths() {
        let inner = |path: &str| inner_path(path);
        assert_eq!(inner("/v1/sprites/box/fs/read").as_deref(), Some("/v1/fs/read"));
        assert_eq!(
            inner("/v1/sprites/a%20b/services/x%2Fy/logs").as_deref(),
            Some("/v1/services/x%2Fy/logs")
        );
        assert_eq!(inner("/v1/sprites/box"), None);
        assert_eq!(inner("/v1/local/version"), None);
    }

    /// What a client is told when an agent answers this.
    async fn told(answer: &'static str) -> Result<Response, ApiError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(answer.as_bytes()).await.unwrap();
        });
        let request = Request::get("/v1/sprites/a/exec").body(Body::empty()).unwrap();
        carry(ours, (), "/v1/exec", request).await
    }

    #[tokio::test]
    async fn an_agent_that_lies_sends_nobody_elsewhere() {
        for answer in [
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/sprites/b/exec?cmd=reboot\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let error = told(answer).await.unwrap_err();
            assert_eq!(error.into_response().status(), StatusCode::BAD_GATEWAY, "{answer}");
        }
    }

    #[tokio::test]
    async fn only_known_headers_pass() {
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nset-cookie: a=b\r\n\
            access-control-allow-origin: *\r\nlocation: /x\r\nsprite-version: 9\r\ncontent-length: 2\r\n\r\n{}";
        let response = told(answer).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&"content-type") && names.contains(&"content-length"));
    }
}
