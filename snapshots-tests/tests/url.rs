//! A real web app inside a sprite is reached through the sprite's URL from cold: by a browser, by curl, by WebSockets. The sprite wakes for each of
//! them, and goes back to sleep.

use futures::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use snapshots_tests::harness::Home;
use sprites_api::Time;
use sprites_api::sprite::{CreateSprite, Status, UpdateSprite, UpdateUrlSettings};
use sprites_backend::client::{Client, ExecRequest, WriteOptions};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const LONG: Duration = Duration::from_secs(120);
/// How long a browser that was told to end gets for it.
const END: Duration = Duration::from_secs(10);
const NAME: &str = "web";

/// The files of its folder, as `python3 -m http.server` serves them, the headers of the request, and a WebSocket that says what it is told.
const APP: &str = r#"
import base64, hashlib, http.server, struct

# RFC 6455, section 1.3.
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/echo":
            self.echo()
        elif self.path == "/headers":
            told = f"{self.headers}client-port: {self.client_address[1]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)
        else:
            super().do_GET()

    def echo(self):
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.close_connection = True
        while self.frame():
            pass

    def frame(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return False
        opcode, size = head[0] & 15, head[1] & 127
        if size == 126:
            (size,) = struct.unpack(">H", self.rfile.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.rfile.read(8))
        mask, body = self.rfile.read(4), self.rfile.read(size)
        mask = (mask * (size // 4 + 1))[:size]
        body = (int.from_bytes(body, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
        # A ping is answered by a pong, everything else, a close too, by itself.
        first = 128 | (10 if opcode == 9 else opcode)
        if size < 126:
            head = struct.pack(">BB", first, size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", first, 126, size)
        else:
            head = struct.pack(">BBQ", first, 127, size)
        self.wfile.write(head + body)
        return opcode != 8


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"#;

const PAGE: &str = "<!doctype html>\n<title>an echo</title>\n<p id=\"answer\">nothing yet</p>\n<script src=\"page.js\"></script>\n";

const SCRIPT: &str = r#"
const show = text => document.getElementById("answer").textContent = text;
const socket = new WebSocket(`ws://${location.host}/echo`);
socket.onopen = () => socket.send("hello from the page");
socket.onmessage = event => show(`the echo says: ${event.data}`);
socket.onerror = () => show("the WebSocket broke");
"#;

/// What the page holds when its WebSocket has answered.
const ANSWERED: &str = "<p id=\"answer\">the echo says: hello from the page</p>";

/// Never listens.
const SILENT: &str = "
import signal
open('ready', 'w')
signal.pause()
";

/// Takes connections and says nothing on them.
const RUDE: &str = "
import socket
listener = socket.create_server(('127.0.0.1', 8000))
open('ready', 'w')
while True:
    listener.accept()[0].close()
";

/// Listens and takes no connection; its own fill the kernel's queue.
const FULL: &str = "
import signal, socket
listener = socket.create_server(('127.0.0.1', 8000), backlog=0)
own = [socket.socket() for _ in range(3)]
for one in own:
    one.setblocking(False)
    one.connect_ex(('127.0.0.1', 8000))
open('ready', 'w')
signal.pause()
";

/// A service has ten seconds to listen, and on a software CPU several machines at once may need them all: one test after the other.
static TURN: Mutex<()> = Mutex::const_new(());

type Socket = WebSocketStream<TcpStream>;

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < give_up, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An installation with one sprite that has a web app. Its sprites soon fall asleep.
struct App {
    home: Home,
    client: Client,
    /// Host and port of the sprite's URL.
    address: String,
    /// Let go of when all else is over.
    _turn: MutexGuard<'static, ()>,
}

impl App {
    async fn new() -> Self {
        let turn = TURN.lock().await;
        let home = Home::new();
        home.serve_with(&["--idle", "2", "--warm", "2"]);
        let client = home.client();
        let wish = CreateSprite { name: NAME.into(), ..CreateSprite::default() };
        let made = client.create(&wish).await.unwrap();
        let url = made.url.expect("it has a URL");
        let address = url.strip_prefix("http://").expect("it is plain HTTP").to_owned();
        let app = Self { home, client, address, _turn: turn };
        for (name, content) in [("index.html", PAGE), ("page.js", SCRIPT)] {
            app.put(name, content).await;
        }
        app.serve(APP).await;
        app
    }

    fn token(&self) -> String {
        self.home.tcp().1
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    async fn status(&self, name: &str) -> Status {
        self.client.get(name).await.unwrap().status
    }

    async fn last_running_at(&self) -> Option<Time> {
        self.client.get(NAME).await.unwrap().last_running_at
    }

    /// Writes a file into the app's folder.
    async fn put(&self, name: &str, content: &str) {
        let bytes = content.as_bytes().to_vec();
        let length = bytes.len() as u64;
        let pieces = futures::stream::iter([Ok(bytes.into())]);
        let options = WriteOptions { mode: None, parents: true };
        self.client.write_file(NAME, &format!("app/{name}"), options, Some(length), pieces).await.unwrap();
    }

    /// Runs a shell command inside, which must succeed.
    async fn sh(&self, name: &str, command: &str) {
        let request =
            ExecRequest { cmd: ["sh", "-c", command].map(str::to_owned).into(), ..ExecRequest::default() };
        let run = timeout(LONG, self.client.exec_http(name, &request));
        let done = run.await.unwrap_or_else(|_| panic!("{command} does not end")).unwrap();
        assert_eq!(done.exit_code, 0, "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Makes that program the sprite's web app, in the place of the one before.
    async fn serve(&self, program: &str) {
        self.put("app.py", program).await;
        let delete = "if sprite-env services get app; then sprite-env services delete app; fi";
        let create = "sprite-env services create app --cmd python3 --args app.py --dir /home/sprite/app \
                      --http-port 8000 --duration 0s";
        self.sh(NAME, &format!("{delete}; rm -f app/ready; {create}")).await;
    }

    async fn make_public(&self) {
        let settings = UpdateUrlSettings { auth: Some("public".into()), private_access: None };
        let wish = UpdateSprite { url_settings: Some(settings), ..UpdateSprite::default() };
        self.client.update(NAME, &wish).await.unwrap();
    }

    async fn stop(&self) {
        self.client.stop(NAME).await.unwrap();
        assert_eq!(self.status(NAME).await, Status::Cold);
    }

    /// Waits until the sprite sleeps, and then until no machine is there any more.
    async fn rests(&self) {
        until("sleep", async || self.status(NAME).await != Status::Running).await;
        until("rest", async || self.home.machine_pids().is_empty()).await;
    }

    /// What curl gets from the sprite's URL, head and body.
    fn curl(&self, path: &str, headers: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sSi", "--noproxy", "*", "--max-time", "120"]);
        for header in headers {
            command.args(["-H", header]);
        }
        let output = command.arg(format!("http://{}{path}", self.address)).output().expect("there is curl");
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// Opens the app's WebSocket.
    async fn open(&self, token: Option<&str>) -> Result<Socket, Error> {
        // Not every system's resolver knows names below localhost.
        let port = self.address.rsplit_once(':').expect("it has a port").1;
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        let mut request = format!("ws://{}/echo", self.address).into_client_request().unwrap();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let opened = timeout(LONG, client_async(request, stream)).await.expect("there is an answer");
        opened.map(|(socket, _)| socket)
    }
}

/// The next message; none when the connection has ended in order.
async fn next(socket: &mut Socket) -> Option<Message> {
    timeout(LONG, socket.next()).await.expect("something comes").map(Result::unwrap)
}

/// Sends a message and waits until it comes back.
async fn exchange(socket: &mut Socket, message: Message) {
    timeout(LONG, socket.send(message.clone())).await.expect("it is taken").unwrap();
    assert!(next(socket).await == Some(message), "another message came back");
}

/// A headless Chromium with one page, led by its DevTools protocol over a pipe. It ends with that pipe, so it does not outlive this process either.
struct Browser {
    child: Child,
    calls: Option<ChildStdin>,
    answers: Receiver<Value>,
    number: u64,
    session: Option<Value>,
    dir: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("sprites-browser-").tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("sh");
        // It reads calls from descriptor 3 and writes answers to 4. Root, and many a host, cannot have its sandbox; the page is our own.
        command
            .args(["-c", "exec chromium-headless-shell \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
            .env("HOME", dir.path())
            .env("TMPDIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel::<Value>();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let calls = child.stdin.take();
        let mut browser = Self { child, calls, answers, number: 0, session: None, dir };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let wish = json!({ "targetId": page["targetId"], "flatten": true });
        let joined = browser.call("Target.attachToTarget", wish);
        assert!(joined["sessionId"].is_string(), "{page} {joined}");
        browser.session = Some(joined["sessionId"].clone());
        browser
    }

    /// Makes a call, and waits for its result.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut call = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.clone();
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.calls.as_mut().expect("it is open").write_all(&bytes).expect("the browser takes calls");
        let give_up = Instant::now() + LONG;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(left);
            let mut answer = answer.unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            if answer["id"] == self.number {
                return answer["result"].take();
            }
        }
    }

    /// Goes to an address, and waits for the head of its answer.
    fn open(&mut self, url: &str) {
        let told = self.call("Page.navigate", json!({ "url": url }));
        assert!(told["frameId"].is_string() && told["errorText"].is_null(), "{url}: {told}");
    }

    /// Waits until the page, as its scripts have made it, holds `text`.
    fn wait_for(&mut self, text: &str) {
        let give_up = Instant::now() + LONG;
        loop {
            let expression = "document.documentElement?.outerHTML";
            // There is no result while one page takes the place of another.
            let told = self.call("Runtime.evaluate", json!({ "expression": expression }));
            let page = told["result"]["value"].as_str().unwrap_or_default();
            if page.contains(text) {
                return;
            }
            assert!(Instant::now() < give_up, "{text:?} never came; the page is\n{page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.calls.take());
        let pid = Pid::from_raw(self.child.id() as i32);
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let give_up = Instant::now() + END;
        while waitid(Id::Pid(pid), ended) == Ok(WaitStatus::StillAlive) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(10));
        }
        // All that it started is in its process group. The first of them is not waited for before this, so the number is still its own.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
            println!("--- the browser\n{}", String::from_utf8_lossy(&log));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_opens_a_page_and_its_web_socket() {
    let app = App::new().await;
    app.stop().await;
    // Without the token a person is told what to do, and the sprite sleeps on.
    let mut browser = Browser::start();
    browser.open(&app.url());
    browser.wait_for("<h1>401 Unauthorized</h1>");
    browser.wait_for("This sprite's address is not public");
    assert_eq!(app.status(NAME).await, Status::Cold);
    // The token as a password opens all of it: the page, its script, its WebSocket.
    browser.open(&format!("http://anybody:{}@{}/", app.token(), app.address));
    browser.wait_for(ANSWERED);
    assert_eq!(app.status(NAME).await, Status::Running);
    drop(browser);
    app.rests().await;

    // When it is public, nothing is needed.
    app.make_public().await;
    app.stop().await;
    let mut browser = Browser::start();
    browser.open(&app.url());
    browser.wait_for(ANSWERED);
    assert_eq!(app.status(NAME).await, Status::Running);
    drop(browser);
    app.rests().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_wake_a_sprite_and_keep_it_awake() {
    let app = App::new().await;
    let token = app.token();
    app.stop().await;
    for wrong in [None, Some("wrong")] {
        let Err(Error::Http(answer)) = app.open(wrong).await else { panic!("it was let in") };
        assert_eq!(answer.status().as_u16(), 401);
    }
    assert_eq!(app.status(NAME).await, Status::Cold);

    let mut socket = app.open(Some(&token)).await.unwrap();
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    exchange(&mut socket, Message::binary(large)).await;
    exchange(&mut socket, Message::text("x".repeat(1 << 20))).await;
    // Small ones, one after the other, then all at once.
    let small = |n: usize| Message::text(format!("message {n}"));
    for n in 0..100 {
        exchange(&mut socket, small(n)).await;
    }
    for n in 0..100 {
        timeout(LONG, socket.feed(small(n))).await.expect("it is taken").unwrap();
    }
    timeout(LONG, socket.flush()).await.expect("it is taken").unwrap();
    for n in 0..100 {
        assert_eq!(next(&mut socket).await, Some(small(n)));
    }
    timeout(LONG, socket.send(Message::Ping("it".into()))).await.expect("it is taken").unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("it".into())));

    // It keeps the sprite awake though nothing is said: another one, used after it, falls asleep meanwhile.
    let other = CreateSprite { name: "other".into(), ..CreateSprite::default() };
    app.client.create(&other).await.unwrap();
    app.sh("other", "true").await;
    until("sleep of the other", async || app.status("other").await != Status::Running).await;
    assert_eq!(app.status(NAME).await, Status::Running);
    exchange(&mut socket, small(0)).await;
    timeout(LONG, socket.close(None)).await.expect("it is taken").unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Close(_))));
    drop(socket);
    app.rests().await;

    // Who is connected does not hold up a stop.
    let mut socket = app.open(Some(&token)).await.unwrap();
    exchange(&mut socket, small(1)).await;
    app.stop().await;
    let last = timeout(LONG, socket.next()).await.expect("the connection ends");
    assert!(!matches!(last, Some(Ok(Message::Text(_) | Message::Binary(_)))), "{last:?}");
    assert_eq!(app.status(NAME).await, Status::Cold);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_wakes_a_sprite_which_sleeps_again() {
    let app = App::new().await;
    let bearer = format!("Authorization: Bearer {}", app.token());
    app.stop().await;
    let refused = app.curl("/", &[]);
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Basic"), "{refused}");
    assert_eq!(app.status(NAME).await, Status::Cold);
    let before = app.last_running_at().await;
    let page = app.curl("/", &[&bearer]);
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with(PAGE), "{page}");
    assert_ne!(app.last_running_at().await, before, "it was not woken");
    // The token is for the server, not for the app; what a client of a public app sends is the app's.
    let told = app.curl("/headers", &[&bearer]).to_lowercase();
    assert!(!told.contains("authorization") && !told.contains(&app.token().to_lowercase()), "{told}");
    assert!(told.contains(&format!("x-forwarded-host: {}", app.address)), "{told}");
    app.rests().await;
    app.make_public().await;
    let told = app.curl("/headers", &["Authorization: Bearer of-the-app"]).to_lowercase();
    assert!(told.contains("authorization: bearer of-the-app"), "{told}");
    // Not even of a public one: a browser that was asked once goes on sending it.
    let told = app.curl("/headers", &[&bearer]).to_lowercase();
    assert!(!told.contains("authorization") && !told.contains(&app.token().to_lowercase()), "{told}");
    // The next request takes the way of the one before, unless this machine is so busy that it has been given up.
    let port = || {
        let told = app.curl("/headers", &[]);
        told.lines().find_map(|line| line.strip_prefix("client-port: ").map(str::to_owned)).expect("it tells")
    };
    until("a request on a kept way", async || port() == port()).await;
    // Headers that would speak for somebody else go no further.
    let told = app.curl(
        "/headers",
        &[
            "Connection: host, x-forwarded-for, x-forwarded-host, close",
            "Forwarded: for=1.2.3.4",
            "X-Real-IP: 1.2.3.4",
        ],
    );
    assert!(told.to_lowercase().contains(&format!("x-forwarded-host: {}", app.address)), "{told}");
    assert!(
        !told.contains("1.2.3.4") && told.to_lowercase().contains("x-forwarded-for: 127.0.0.1"),
        "{told}"
    );
    app.rests().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_answer_is_told_as_a_page() {
    let app = App::new().await;
    app.make_public().await;
    for (program, status, words) in [
        (SILENT, "502 Bad Gateway", "The service app does not answer on port 8000 (connection refused)"),
        (FULL, "504 Gateway Timeout", "The service app does not answer on port 8000 (no answer within"),
        (RUDE, "502 Bad Gateway", "The web app closed the connection without an answer"),
    ] {
        app.serve(program).await;
        app.sh(NAME, "until [ -e app/ready ]; do sleep 0.05; done").await;
        let page = app.curl("/", &["Accept: text/html"]);
        assert!(page.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{page}");
        assert!(page.contains("content-type: text/html; charset=utf-8"), "{page}");
        assert!(page.contains(&format!("<h1>{status}</h1>")) && page.contains(words), "{page}");
    }
    // Programs get an object, and a browser shows the page as it is.
    let told = app.curl("/", &["Accept: application/json"]);
    let body = told.split_once("\r\n\r\n").expect("it has a head").1;
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], "unreachable");
    let mut browser = Browser::start();
    browser.open(&app.url());
    browser.wait_for("<p>The web app closed the connection without an answer</p>");
    // The next answer is the app's, as soon as there is one.
    app.serve(APP).await;
    browser.open(&app.url());
    browser.wait_for(ANSWERED);
}
