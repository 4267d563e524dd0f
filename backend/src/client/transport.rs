//! One HTTP request and its answer: addresses, the token, deadlines, bounded bodies, retries.

use super::error::{Error, Result, clean, is_obeyed, is_page};
use super::lines::{self, End, Lines};
use crate::endpoint::{Endpoint, Place};
use crate::lock::locked;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, Url, redirect};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
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
/// How long the body of an error may take: its status is there already, and says most.
const ERROR_BODY: Duration = Duration::from_secs(5);
/// How long an endpoint may take to accept a piece of an upload, and to answer after the last one.
const STILL: Duration = Duration::from_secs(120);
/// What is left of a call's time after a pause must be enough for one more try.
const ONE_TRY: Duration = Duration::from_secs(2);
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
        if let Some(bad) = segments.iter().find(|segment| !is_name(segment)) {
            return Err(Error::BadName(bad.chars().take(64).collect()));
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
        self.parsed(&self.body(call).await?)
    }

    /// The same for an answer that was read.
    pub fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body)
            .map_err(|error| self.protocol(if is_page(body) { PAGE.to_owned() } else { error.to_string() }))
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
    pub fn lines<T>(self: &Arc<Self>, call: Result<Call>, idle: Duration, end: End<T>) -> Lines<T>
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
            // An endpoint that does not know the stream answers with the list that stands at the same address.
            if matches!(end, End::Never) && kind(&response).starts_with("application/json") {
                return Err(Error::NotSupported { endpoint: transport.label(), what: "a stream of changes" });
            }
            let pieces = transport.pieces(response);
            Ok(lines::read(transport.label(), pieces, idle, end))
        };
        futures::stream::once(opening).try_flatten().boxed()
    }

    /// Sends and gives the answer's body as it comes. The deadline covers the time to the answer's head.
    pub async fn stream(self: &Arc<Self>, call: Call) -> Result<Lines<Bytes>> {
        Ok(self.headed(call).await?.1)
    }

    /// The same with the answer's headers.
    pub async fn headed(self: &Arc<Self>, call: Call) -> Result<(HeaderMap, Lines<Bytes>)> {
        let deadline = call.deadline;
        let work = self.retrying(call, |call| self.send(&self.http, call, None));
        let response = self.within(deadline, work).await?;
        Ok((response.headers().clone(), self.pieces(response).boxed()))
    }

    /// Sends a body that is not kept, so once only, and reads the answer. There is no deadline as long as the endpoint takes what is sent;
    /// how long the body takes to come is its own affair.
    pub async fn upload(
        &self,
        call: Call,
        length: Option<u64>,
        body: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<Bytes> {
        // Since when the endpoint is waited for; none while it is the body.
        let since = Arc::new(Mutex::new(Some(Instant::now())));
        let (seen, mut body) = (Arc::clone(&since), Box::pin(body));
        let body = futures::stream::poll_fn(move |context| {
            let piece = body.as_mut().poll_next(context);
            *locked(&seen) = piece.is_ready().then(Instant::now);
            piece
        });
        let accept = call.accept;
        let mut request = self.http.request(call.method, call.url).header(ACCEPT, accept);
        request = request.header(CONTENT_TYPE, "application/octet-stream");
        if let Some(length) = length {
            request = request.header(reqwest::header::CONTENT_LENGTH, length);
        }
        let request = self.signed(request)?.body(Body::wrap_stream(body));
        let work = async {
            let response = request.send().await.map_err(|error| self.broken(error))?;
            let response = self.checked(response, accept, false).await?;
            self.read(response, MAX_BODY).await
        };
        let stands_still = async {
            loop {
                let waited = *locked(&since);
                match waited.map(|at| at + STILL) {
                    Some(end) if end <= Instant::now() => return,
                    Some(end) => sleep_until(end).await,
                    None => sleep(STILL).await,
                }
            }
        };
        tokio::select! {
            answer = work => answer,
            () = stands_still => Err(Error::Deadline { endpoint: self.label(), after: STILL }),
        }
    }

    /// Asks for a protocol change and gives back the bare connection. `headers` are the handshake's own.
    pub async fn upgrade(&self, call: Call, headers: Vec<(&'static str, String)>) -> Result<Response> {
        let deadline = call.deadline;
        self.within(deadline, self.send(&self.http1, call, Some(headers))).await
    }

    pub fn protocol(&self, reason: String) -> Error {
        // It may repeat words of the answer.
        Error::Protocol { endpoint: self.label(), reason: clean(&reason) }
    }

    /// Runs `work`, at most for `deadline`.
    pub async fn within<T>(&self, deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout(deadline, work).await {
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
        let give_up = Instant::now() + call.deadline;
        // An answer that says when is worth more than a deadline that says nothing.
        let in_time = |error: &Error| match error {
            Error::Busy { retry_after: Some(after), .. } => Instant::now() + *after + ONE_TRY < give_up,
            _ => true,
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(150))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(RETRIES)
            .with_jitter();
        (|| send(call.clone()))
            .retry(backoff)
            .when(|error| may_retry(&method, error) && in_time(error))
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
        let accept = call.accept;
        let mut request = self.signed(http.request(call.method, call.url).header(ACCEPT, accept))?;
        for (name, value) in upgrade.into_iter().flatten() {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.broken(error))?;
        self.checked(response, accept, upgrading).await
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
    async fn checked(&self, response: Response, accept: &str, upgrading: bool) -> Result<Response> {
        let status = response.status();
        if status.is_success() || (upgrading && status == reqwest::StatusCode::SWITCHING_PROTOCOLS) {
            // A page to log in at, say, which a network puts in the way, must not be taken for work done.
            if accept != "*/*" && kind(&response).starts_with("text/html") {
                return Err(self.protocol(PAGE.to_owned()));
            }
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = self.read_start(response, MAX_ERROR_BODY).await;
        let error = Error::from_answer(status, &headers, &body);
        Err(if self.endpoint.is_local() { error } else { error.without_own_files() })
    }

    fn broken(&self, error: reqwest::Error) -> Error {
        let endpoint = self.label();
        if let Some(why) = super::certificate::mistrust(&error) {
            return Error::Untrusted { endpoint, why };
        }
        let reason = chain(&error);
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

    /// What comes of a body in a short while: the status says enough when it cannot be read.
    async fn read_start(&self, mut response: Response, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let give_up = Instant::now() + ERROR_BODY;
        while let Ok(Ok(Some(piece))) = tokio::time::timeout_at(give_up, response.chunk()).await {
            body.extend_from_slice(&piece[..piece.len().min(limit - body.len())]);
            if body.len() == limit {
                break;
            }
        }
        body
    }

    fn pieces(self: &Arc<Self>, response: Response) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let transport = self.clone();
        response.bytes_stream().map_err(move |error| transport.broken(error))
    }
}

/// Whether this can be the name or id of something at an endpoint: it must be able to stand in a URL, and no legal one is that long.
pub fn is_name(text: &str) -> bool {
    // Dots would be taken as a step upwards, by some proxies even behind an encoded slash.
    !text.is_empty()
        && text.len() <= 255
        && !matches!(text, "." | "..")
        && !text.chars().any(|c| is_obeyed(c) || matches!(c, '/' | '\\'))
}

/// Told of an answer that some proxy or network has given instead of the endpoint.
const PAGE: &str = "it is a web page, perhaps from a proxy on the way";

/// The answer's content type, in small letters; empty when there is none.
fn kind(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim_start().to_ascii_lowercase()
}

/// Whether sending once more can neither repeat an effect nor annoy the server.
fn may_retry(method: &Method, error: &Error) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let idempotent = reads || matches!(*method, Method::PUT | Method::DELETE);
    match error {
        Error::Connect { .. } => idempotent,
        // A limit refuses before anything is done; 503 may come from something in between, after the call has passed it.
        Error::Busy { answer, retry_after: Some(after), .. } => {
            *after <= MAX_RETRY_AFTER && (idempotent || answer.status == 429)
        }
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
            None => return clean(&innermost.to_string()),
        }
    }
}
