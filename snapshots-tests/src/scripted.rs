//! A server that answers as a script wants, well or badly: what the vendor's cloud, and what stands on the way to it, have been seen to do,
//! and what a hostile one might.

use crate::programs;
use portable_pty::PtySize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use futures::{SinkExt, StreamExt};

/// What came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What follows the question mark; may be empty.
    pub query: String,
    /// Names in small letters.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
    /// How many with this method and path came before.
    pub before: usize,
}

impl Request {
    /// Method and path, to compare with.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A number of the query; 1 when there is none.
    pub fn number(&self, name: &str) -> u16 {
        let value = self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    /// Whether a WebSocket is asked for.
    pub fn is_upgrade(&self) -> bool {
        self.headers.contains_key("sec-websocket-key")
    }

    /// Whether lines are asked for as they come.
    pub fn wants_lines(&self) -> bool {
        self.headers.get("accept").is_some_and(|accept| accept.contains("ndjson"))
    }
}

/// What goes out.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Bytes as they are, then the end of the connection.
    Bytes(Vec<u8>),
    /// Bytes as they are; then the connection stays open and nothing more comes.
    Open(Vec<u8>),
    /// Bytes as they are, then these again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Another reply, later.
    Later(Duration, Box<Reply>),
    /// A WebSocket, and what happens on it; then the end of the connection, without a word.
    Socket(Vec<Step>),
    /// A session of this id: a program of this host in a terminal of the size that is asked for.
    Program(String, &'static [&'static str]),
}

/// What happens on a WebSocket.
#[derive(Clone, Debug)]
pub enum Step {
    /// A message goes out.
    Send(Message),
    /// Messages are read until one holds these bytes.
    Until(&'static str),
    /// Messages are read, and pings answered, until the client closes.
    Stay,
}

/// An answer with a body of JSON.
pub fn json(status: &str, body: impl ToString) -> Reply {
    answer(status, "Content-Type: application/json\r\n", body)
}

/// An answer with more headers, each with its line end.
pub fn answer(status: &str, headers: &str, body: impl ToString) -> Reply {
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    Reply::Bytes((head + &body).into_bytes())
}

/// Lines of JSON, then the end.
pub fn lines(body: impl ToString) -> Reply {
    answer("200 OK", "Content-Type: application/x-ndjson\r\n", body)
}

/// A stream of lines that goes on for ever, silently after these.
pub fn stream(body: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n";
    Reply::Open(format!("{head}{body}").into_bytes())
}

/// A text message.
pub fn text(message: impl ToString) -> Step {
    Step::Send(Message::Text(message.to_string().into()))
}

/// A binary message.
pub fn binary(message: impl AsRef<[u8]>) -> Step {
    Step::Send(Message::Binary(message.as_ref().to_vec().into()))
}

/// The end of the WebSocket, with a reason.
pub fn close(code: u16, reason: &'static str) -> Step {
    Step::Send(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })))
}

/// The first message of a session.
pub fn info(session: &str, tty: bool) -> Step {
    text(format!(r#"{{"type":"session_info","session_id":"{session}","command":"bash","tty":{tty}}}"#))
}

/// Both forms of a session's end, as the cloud sends them.
pub fn exit(code: u8) -> [Step; 2] {
    [binary([3, code]), text(format!(r#"{{"type":"exit","exit_code":{code}}}"#))]
}

/// What a well-behaved cloud with one sleeping sprite named `box` answers; a script begins with what it does otherwise.
pub fn usual(request: &Request) -> Reply {
    match request.line().as_str() {
        "GET /v1/sprites" if request.wants_lines() => {
            stream("{\"name\":\"box\",\"status\":\"cold\"}\n{\"type\":\"heartbeat\"}\n")
        }
        "GET /v1/sprites" => {
            json("200 OK", r#"{"sprites":[{"name":"box","status":"cold"}],"has_more":false,"name":"acme"}"#)
        }
        "GET /v1/sprites/box" => json("200 OK", r#"{"name":"box","status":"cold","labels":null}"#),
        "GET /v1/sprites/box/exec" if !request.is_upgrade() => json("200 OK", r#"{"count":0,"sessions":[]}"#),
        _ => json("404 Not Found", r#"{"error":"not found"}"#),
    }
}

/// See the module. Dropped, it ends with all its connections.
pub struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    runtime: Option<Runtime>,
}

/// How long a client may go on after the last step.
const DRAIN: Duration = Duration::from_secs(5);

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

impl Scripted {
    /// A server on a port of its own.
    pub fn new(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, theirs): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&theirs));
                tokio::spawn(async move {
                    // A client that goes away is its own business.
                    let _ = serve(stream, &*script, &seen).await;
                });
            }
        });
        Self { address, seen, runtime: Some(runtime) }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came with this method and path.
    pub fn count(&self, line: &str) -> usize {
        self.seen().iter().filter(|request| request.line() == line).count()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(mut stream: TcpStream, script: &Script, seen: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let Some(mut request) = read(&mut stream).await? else { return Ok(()) };
    {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        request.before = seen.iter().filter(|other| other.line() == request.line()).count();
        seen.push(request.clone());
    }
    let mut reply = script(&request);
    while let Reply::Later(after, then) = reply {
        tokio::time::sleep(after).await;
        reply = *then;
    }
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await,
        Reply::Open(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the client leaves.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map(drop)
        }
        Reply::Endless(bytes, again) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&again).await?;
            }
        }
        Reply::Socket(steps) => {
            play(upgrade(stream, &request).await?, steps).await;
            Ok(())
        }
        Reply::Program(id, words) => {
            let (rows, cols) = (request.number("rows"), request.number("cols"));
            let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
            programs::join(upgrade(stream, &request).await?, &id, words, size).await;
            Ok(())
        }
        Reply::Later(..) => Ok(()),
    }
}

/// Opens the WebSocket that was asked for (RFC 6455, section 4.2.2).
async fn upgrade(mut stream: TcpStream, request: &Request) -> std::io::Result<WebSocketStream<TcpStream>> {
    let key = request.headers.get("sec-websocket-key").cloned().unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(WebSocketStream::from_raw_socket(stream, Role::Server, None).await)
}

async fn play(mut socket: WebSocketStream<TcpStream>, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Send(message) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Step::Until(bytes) => loop {
                match socket.next().await {
                    Some(Ok(message)) if message.to_text().is_ok_and(|text| text.contains(bytes)) => break,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                }
            },
            Step::Stay => while let Some(Ok(_)) = socket.next().await {},
        }
    }
    // What was sent would be lost with a connection that is closed before all that came was read (RFC 1122, section 4.2.2.13).
    let mut stream = socket.into_inner();
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let drain = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(DRAIN, drain).await;
}

/// A request with its body; none when the client has nothing to ask.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    Ok(Some(Request { method, path, query, headers, body, before: 0 }))
}
