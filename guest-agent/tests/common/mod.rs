//! An agent in this process, and clients for it over its unix sockets.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sprites_guest_agent::{Config, Listener, serve};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message, http};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Agent {
    folder: TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// An answer to a plain request.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn lines(&self) -> Vec<Value> {
        std::str::from_utf8(&self.body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Agent {
    pub async fn start() -> Self {
        Self::with(Config::process()).await
    }

    pub async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let listeners = vec![
            Listener::host_unix(UnixListener::bind(folder.path().join("host.sock")).unwrap()),
            Listener::inner_unix(UnixListener::bind(folder.path().join("inner.sock")).unwrap()),
        ];
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { serve(listeners, config, stop).await.unwrap() }
        });
        Self { folder, stop, task }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        request(&self.path("host.sock"), method, path, body.into()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.request(Method::POST, path, body).await
    }

    /// A WebSocket on `/v1/exec` with this rest of the path.
    pub async fn exec(&self, rest: &str) -> Client {
        Client::connect(&self.path("host.sock"), rest).await.unwrap()
    }

    /// A WebSocket on any other path.
    pub async fn socket(&self, path: &str) -> WebSocketStream<UnixStream> {
        let stream = UnixStream::connect(self.path("host.sock")).await.unwrap();
        client_async(format!("ws://sprite{path}"), stream).await.unwrap().0
    }

    /// A WebSocket that must be refused; gives status and body.
    pub async fn refused(&self, rest: &str) -> (u16, Value) {
        match Client::connect(&self.path("host.sock"), rest).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                (response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default())
            }
            other => panic!("expected a refusal, got {:?}", other.map(|_| "a connection")),
        }
    }

    /// Waits until the list of sessions satisfies a condition.
    pub async fn until_list(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        until(what, async || holds(self.get("/v1/exec").await.json()["sessions"].as_array().unwrap())).await;
    }

    pub async fn finish(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }

    /// Waits for an end that something else has asked for.
    pub async fn ended(self) {
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

pub async fn request(socket: &Path, method: Method, path: &str, body: Bytes) -> Answer {
    request_with(socket, method, path, ("x-nothing", ""), body).await
}

pub async fn request_with(
    socket: &Path,
    method: Method,
    path: &str,
    header: (&str, &str),
    body: Bytes,
) -> Answer {
    let work = async {
        let stream = UnixStream::connect(socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "sprite")
            .header("content-type", "application/json")
            .header(header.0, header.1)
            .body(Full::new(body))
            .unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        connection.abort();
        Answer { status: head.status, headers: head.headers, body }
    };
    tokio::time::timeout(DEADLINE, work).await.expect("the request hangs")
}

/// Everything a session said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_frame: Option<u8>,
    pub exit_text: Option<Value>,
    pub close: Option<u16>,
    pub errors: Vec<String>,
    pub keepalives: usize,
    pub ports: Vec<Value>,
}

impl Said {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub fn code(&self) -> i64 {
        self.exit_text.as_ref().unwrap_or_else(|| panic!("no exit: {self:?}"))["exit_code"].as_i64().unwrap()
    }
}

pub struct Client {
    pub ws: WebSocketStream<UnixStream>,
    pub headers: http::HeaderMap,
    pub info: Value,
    pub said: Said,
    tty: bool,
}

impl Client {
    pub async fn connect(socket: &Path, rest: &str) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket).await.unwrap();
        let (mut ws, response) = client_async(format!("ws://sprite/v1/exec{rest}"), stream).await?;
        let first = tokio::time::timeout(DEADLINE, ws.next()).await.expect("no first frame").unwrap()?;
        let info: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
        assert_eq!(info["type"], "session_info", "the first frame");
        assert!(info["session_id"].is_string());
        let tty = info["tty"].as_bool().unwrap();
        Ok(Self { ws, headers: response.headers().clone(), info, said: Said::default(), tty })
    }

    pub fn id(&self) -> String {
        self.info["session_id"].as_str().unwrap().to_owned()
    }

    /// Takes one frame. False at the end.
    pub async fn step(&mut self) -> bool {
        let frame = tokio::time::timeout(DEADLINE, self.ws.next()).await.expect("the session hangs");
        match frame {
            Some(Ok(Message::Binary(bytes))) => {
                assert!(self.said.exit_text.is_none(), "output after the exit");
                assert!(bytes.len() <= 64 << 10);
                match (self.tty, bytes.first()) {
                    (true, _) => self.said.stdout.extend(&bytes),
                    (false, Some(1)) if bytes.len() == 1 => self.said.keepalives += 1,
                    (false, Some(1)) => self.said.stdout.extend(&bytes[1..]),
                    (false, Some(2)) => self.said.stderr.extend(&bytes[1..]),
                    (false, Some(3)) => {
                        assert_eq!(bytes.len(), 2);
                        assert!(self.said.exit_frame.replace(bytes[1]).is_none());
                    }
                    (false, other) => panic!("unknown stream {other:?}"),
                }
                true
            }
            Some(Ok(Message::Text(text))) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                match value["type"].as_str() {
                    Some("exit") => self.said.exit_text = Some(value),
                    Some("error") => self.said.errors.push(value["message"].as_str().unwrap().to_owned()),
                    Some("keepalive") => self.said.keepalives += 1,
                    Some("port_opened" | "port_closed") => self.said.ports.push(value),
                    other => panic!("unknown text {other:?}"),
                }
                true
            }
            Some(Ok(Message::Close(close))) => {
                self.said.close = close.map(|close| close.code.into());
                true
            }
            Some(Ok(_)) => true,
            Some(Err(_)) | None => false,
        }
    }

    /// Reads until output holds this text.
    pub async fn until(&mut self, text: &str) {
        // A deadline for the whole, because a silent session is kept alive by messages.
        let give_up = Instant::now() + DEADLINE;
        while !self.said.out().contains(text) {
            assert!(self.step().await, "the session ended before {text:?}: {:?}", self.said.out());
            assert!(Instant::now() < give_up, "{text:?} never came: {:?}", self.said.out());
        }
    }

    pub async fn until_error(&mut self) {
        let give_up = Instant::now() + DEADLINE;
        while self.said.errors.is_empty() {
            assert!(self.step().await, "the session ended before an error");
            assert!(Instant::now() < give_up, "the error never came");
        }
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Said {
        let give_up = Instant::now() + DEADLINE;
        while self.step().await {
            assert!(Instant::now() < give_up, "the session never ended: {:?}", self.said);
        }
        self.said
    }

    pub async fn send(&mut self, message: Message) {
        tokio::time::timeout(DEADLINE, self.ws.send(message)).await.expect("sending hangs").unwrap();
    }

    pub async fn stdin(&mut self, bytes: &[u8]) {
        let mut frame = vec![0];
        frame.extend(bytes);
        self.send(Message::Binary(frame.into())).await;
    }

    pub async fn eof(&mut self) {
        self.send(Message::Binary(vec![4].into())).await;
    }

    pub async fn typed(&mut self, text: &str) {
        self.send(Message::Binary(Bytes::copy_from_slice(text.as_bytes()))).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.send(Message::Text(text.into())).await;
    }
}

/// The next text frame of a WebSocket, as JSON; pings are passed over.
pub async fn frame(socket: &mut WebSocketStream<UnixStream>) -> Value {
    loop {
        let next = tokio::time::timeout(DEADLINE, socket.next()).await.expect("no frame comes");
        match next.expect("the socket has ended").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("expected text, got {other:?}"),
        }
    }
}

/// Query of a command, percent-encoded.
pub fn cmd(argv: &[&str]) -> String {
    let mut query = String::from("?");
    for (index, argument) in argv.iter().enumerate() {
        if index > 0 {
            query.push('&');
        }
        query.push_str("cmd=");
        query.push_str(&encode(argument));
    }
    query
}

/// Query of a shell command.
pub fn sh(script: &str) -> String {
    cmd(&["sh", "-c", script])
}

pub fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// Whether a process exists and is no zombie.
pub fn alive(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat[stat.rfind(')').unwrap()..].starts_with(") Z"))
}
