//! One HTTP request and its answer: addresses, the token, deadlines, bounded bodies, retries.

use super::error::{Error, Result};
use super::lines::{self, End, Lines};
use crate::endpoint::{Endpoint, Place};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Method, RequestBuilder, Response, Url, redirect};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;
use tokio_tungstenite::tungstenite::error::ProtocolError;

/// Longest a plain call may take, from connecting to the last byte, retries included.
pub(crate) const CALL: Duration = Duration::from_secs(30);
/// The same for calls that make or copy a sprite.
pub(crate) const LONG_CALL: Duration = Duration::from_secs(120);
/// Longest silence in an endless stream; servers send a heartbeat at least every 30 s.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(95);
/// Longest silence in a stream that reports work.
pub(crate) const WORK: Duration = Duration::from_secs(300);

const CONNECT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 32 * 1024 * 1024;
const MAX_ERROR_BODY: usize = 64 * 1024;
const RETRIES: usize = 3;
/// A server that wants a longer pause than this gets none: a person decides then.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Sends requests to one endpoint.
pub(crate) struct Transport {
    endpoint: Endpoint,
    label: String,
    base: Url,
    http: reqwest::Client,
    /// WebSockets begin with an HTTP/1.1 upgrade, which HTTP/2 does not have.
    http1: reqwest::Client,
}

/// What is sent.
#[derive(Clone)]
pub(crate) struct Call {
    pub method: Method,
    pub url: Url,
    pub body: Option<Bytes>,
    pub accept: &'static str,
    pub deadline: Duration,
}

impl Transport {
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        // The only failure is that some other part of the process has chosen a provider before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = match endpoint.place() {
            Place::Socket(_) => {
                Url::parse("http://localhost/").map_err(|error| Error::Setup(error.to_string()))?
            }
            Place::Url(url) => url.clone(),
        };
        let build = |http1: bool| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("sprites-tui/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT)
                .pool_idle_timeout(Duration::from_secs(30));
            if http1 {
                builder = builder.http1_only();
            }
            if base.scheme() == "http" {
                // No TLS and no proxy will be used, so a machine without root certificates must not fail here.
                builder = builder.tls_certs_only([]).no_proxy();
            }
            if let Place::Socket(path) = endpoint.place() {
                builder = builder.unix_socket(path.as_path());
            }
            builder.build().map_err(|error| Error::Setup(chain(&error)))
        };
        let (http, http1) = (build(false)?, build(true)?);
        Ok(Self { label: endpoint.to_string(), base, endpoint, http, http1 })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn label(&self) -> String {
        self.label.clone()
    }

    /// The address of `segments` below the endpoint's root, each one percent-encoded.
    pub fn url(&self, segments: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        for segment in segments {
            // Dots would be taken as a step upwards, and no legal name or id is that long.
            let bad = segment.is_empty() || segment.len() > 255 || matches!(*segment, "." | "..");
            if bad || segment.chars().any(char::is_control) {
                return Err(Error::BadName(segment.chars().take(64).collect()));
            }
        }
        url.path_segments_mut()
            .map_err(|()| Error::Setup("the endpoint's address has no path".into()))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// A call without body that expects JSON within [`CALL`].
    pub fn call(&self, method: Method, segments: &[&str]) -> Result<Call> {
        let url = self.url(segments)?;
        Ok(Call { method, url, body: None, accept: "application/json", deadline: CALL })
    }

    /// Sends and reads the answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let body = self.body(call).await?;
        serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()))
    }

    /// Sends and reads the whole answer.
    pub async fn body(&self, call: Call) -> Result<Bytes> {
        let deadline = call.deadline;
        let work = self.retrying(call, |call| async move {
            let response = self.send(&self.http, call, None).await?;
            self.read(response, MAX_BODY).await
        });
        self.within(deadline, work).await
    }

    /// Sends and reads the answer as lines. The deadline covers the time to the answer's head; `idle` each later silence.
    pub fn lines<T>(self: &std::sync::Arc<Self>, call: Result<Call>, idle: Duration, end: End<T>) -> Lines<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let transport = self.clone();
        let opening = async move {
            let mut call = call?;
            call.accept = "application/x-ndjson";
            let deadline = call.deadline;
            let work = transport.retrying(call, |call| transport.send(&transport.http, call, None));
            let response = transport.within(deadline, work).await?;
            let pieces = transport.pieces(response);
            Ok(lines::read(transport.label(), pieces, idle, end))
        };
        futures::stream::once(opening).try_flatten().boxed()
    }

    /// Sends and gives the answer's body as it comes. The deadline covers the time to the answer's head.
    pub async fn stream(self: &std::sync::Arc<Self>, call: Call) -> Result<Lines<Bytes>> {
        let deadline = call.deadline;
        let work = self.retrying(call, |call| self.send(&self.http, call, None));
        let response = self.within(deadline, work).await?;
        Ok(self.pieces(response).boxed())
    }

    /// Sends a body that is not kept, so once only, and reads the answer. As long as the body moves there is no deadline.
    pub async fn upload(&self, call: Call, length: Option<u64>, body: Body) -> Result<Bytes> {
        let mut request = self.http.request(call.method, call.url).header(ACCEPT, call.accept);
        request = request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream");
        if let Some(length) = length {
            request = request.header(reqwest::header::CONTENT_LENGTH, length);
        }
        let request = self.signed(request)?.body(body);
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let response = self.checked(response, false).await?;
        self.read(response, MAX_BODY).await
    }

    /// Asks for a protocol change and gives back the bare connection. `headers` are the handshake's own.
    pub async fn upgrade(&self, call: Call, headers: Vec<(&'static str, String)>) -> Result<Response> {
        let deadline = call.deadline;
        self.within(deadline, self.send(&self.http1, call, Some(headers))).await
    }

    pub fn protocol(&self, reason: String) -> Error {
        Error::Protocol { endpoint: self.label(), reason }
    }

    /// Runs `work`, at most for `deadline`.
    pub async fn within<T>(&self, deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::Deadline { endpoint: self.label(), after: deadline }),
        }
    }

    async fn retrying<T, F, Fut>(&self, call: Call, send: F) -> Result<T>
    where
        F: Fn(Call) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let method = call.method.clone();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(150))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(RETRIES)
            .with_jitter();
        (|| send(call.clone()))
            .retry(backoff)
            .when(|error| may_retry(&method, error))
            .adjust(|error, pause| match error {
                Error::Busy { retry_after: Some(after), .. } => pause.map(|pause| pause.max(*after)),
                _ => pause,
            })
            .await
    }

    async fn send(
        &self,
        http: &reqwest::Client,
        call: Call,
        upgrade: Option<Vec<(&'static str, String)>>,
    ) -> Result<Response> {
        let upgrading = upgrade.is_some();
        let mut request = self.signed(http.request(call.method, call.url).header(ACCEPT, call.accept))?;
        for (name, value) in upgrade.into_iter().flatten() {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.broken(error))?;
        self.checked(response, upgrading).await
    }

    /// With the endpoint's token.
    fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        let Some(token) = self.endpoint.token() else { return Ok(request) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Error::Setup("the token holds characters that cannot be sent".into()))?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    /// An answer that is what was asked for; else the reason.
    async fn checked(&self, response: Response, upgrading: bool) -> Result<Response> {
        let status = response.status();
        if status.is_success() || (upgrading && status == reqwest::StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(response);
        }
        let retry =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The status says enough when the body cannot be read.
        let body = self.read_start(response, MAX_ERROR_BODY).await;
        Err(Error::from_answer(status, retry.as_deref(), &body))
    }

    fn broken(&self, error: reqwest::Error) -> Error {
        let (endpoint, reason) = (self.label(), chain(&error));
        if error.is_connect() {
            Error::Connect { endpoint, reason }
        } else {
            Error::Broken { endpoint, reason }
        }
    }

    async fn read(&self, mut response: Response, limit: usize) -> Result<Bytes> {
        let mut body = bytes::BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + piece.len() > limit {
                return Err(self.protocol(format!("it is larger than {} MiB", limit >> 20)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    async fn read_start(&self, mut response: Response, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece[..piece.len().min(limit - body.len())]);
            if body.len() == limit {
                break;
            }
        }
        body
    }

    fn pieces(
        self: &std::sync::Arc<Self>,
        response: Response,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let transport = self.clone();
        response.bytes_stream().map_err(move |error| transport.broken(error))
    }
}

/// Whether sending once more can neither repeat an effect nor annoy the server.
fn may_retry(method: &Method, error: &Error) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let idempotent = reads || matches!(*method, Method::PUT | Method::DELETE);
    match error {
        Error::Connect { .. } => idempotent,
        Error::Busy { retry_after: Some(after), .. } => *after <= MAX_RETRY_AFTER,
        Error::Busy { retry_after: None, .. } | Error::Broken { .. } => reads,
        Error::Failed(answer) => reads && matches!(answer.status, 502 | 504),
        _ => false,
    }
}

/// The innermost reason of an error: the outer ones only tell that there was one.
///
/// However a connection ends before its time, and whichever layer finds out, is told in the same words.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
        let closed = matches!(
            kind,
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        ) || matches!(
            innermost.downcast_ref(),
            Some(ProtocolError::ResetWithoutClosingHandshake)
        );
        if closed {
            return "it was closed".into();
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return super::error::clean(&innermost.to_string()),
        }
    }
}
