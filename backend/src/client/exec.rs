//! A command over a WebSocket: the frames of the API, in both directions.

use super::error::{Error, Result, clean};
use super::socket::{self, CLOSE, DEAD, PING, Silence};
use super::transport::{Call, Transport};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use reqwest::Url;
use sprites_api::exec::{ClientMessage, PortEvent, ServerMessage, SessionInfo, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Bytes of input that may wait: each key is a piece of its own, so pieces say little.
const INPUT: u32 = 1 << 20;
/// Events that may wait for the caller; then the socket is not read, and the sprite's side waits.
const EVENTS: usize = 16;
/// Most input of one frame.
const FRAME: usize = 32 << 10;
/// How long a frame may take on its way out.
const SEND: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Program and arguments; nothing means a shell.
    pub cmd: Vec<String>,
    /// With a terminal.
    pub tty: bool,
    /// The terminal's rows.
    pub rows: u16,
    /// The terminal's columns.
    pub cols: u16,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Working directory; the home directory when absent.
    pub dir: Option<String>,
    /// Whether input will be sent.
    pub stdin: bool,
    /// How long it lives without a connected client; the server's usual time when absent.
    pub linger: Option<Duration>,
}

impl ExecRequest {
    pub(super) fn write(&self, url: &mut Url) {
        let mut query = url.query_pairs_mut();
        for word in &self.cmd {
            query.append_pair("cmd", word);
        }
        if let Some(program) = self.cmd.first() {
            query.append_pair("path", program);
        }
        query.append_pair("tty", if self.tty { "true" } else { "false" });
        query.append_pair("stdin", if self.stdin || self.tty { "true" } else { "false" });
        if self.tty {
            query
                .append_pair("rows", &self.rows.max(1).to_string())
                .append_pair("cols", &self.cols.max(1).to_string());
        }
        for (key, value) in &self.env {
            query.append_pair("env", &format!("{key}={value}"));
        }
        if let Some(dir) = &self.dir {
            query.append_pair("dir", dir);
        }
        if let Some(linger) = self.linger {
            query.append_pair("max_run_after_disconnect", &format!("{}s", linger.as_secs()));
        }
    }
}

/// What a session tells.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecEvent {
    /// Which session it is; comes first, and again when it turns out to differ.
    Info(SessionInfo),
    /// Output, or the terminal's bytes.
    Stdout(Bytes),
    /// Error output; never with a terminal.
    Stderr(Bytes),
    /// It ended with this code.
    Exit(i32),
    /// A process inside began or ceased to listen.
    Port {
        /// Whether it began.
        open: bool,
        /// On what.
        event: PortEvent,
    },
    /// Something went wrong; one sentence.
    Error(String),
    /// The connection ended; nothing follows. Without an [`Exit`](Self::Exit) before, the session may still run.
    Closed,
}

/// A connection to a session.
#[derive(Debug)]
pub struct ExecSession {
    sender: ExecSender,
    receiver: ExecReceiver,
}

/// The half that sends. Clones share the connection.
#[derive(Clone, Debug)]
pub struct ExecSender {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
}

/// The half that receives.
#[derive(Debug)]
pub struct ExecReceiver {
    events: mpsc::Receiver<ExecEvent>,
}

#[derive(Debug)]
enum Command {
    /// With the room it takes until it is sent.
    Input(Bytes, OwnedSemaphorePermit),
    Eof,
    Message(ClientMessage),
    Close,
}

impl ExecSession {
    /// Opens a connection. `tty` tells how frames are to be read until the session says so itself.
    pub(super) async fn open(transport: &Transport, call: Call, tty: bool) -> Result<Self> {
        Ok(Self::over(socket::open(transport, call).await?, tty))
    }

    /// A session over a WebSocket that is open.
    fn over<S>(socket: WebSocketStream<S>, tty: bool) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (outbox, events) = mpsc::channel(EVENTS);
        let (sink, source) = socket.split();
        let pump = Pump { sink, outbox, tty, begun: false, exited: false };
        tokio::spawn(pump.run(source, inbox));
        let sender = ExecSender { commands, room: Arc::new(Semaphore::new(INPUT as usize)) };
        Self { sender, receiver: ExecReceiver { events } }
    }

    /// Both halves.
    pub fn split(self) -> (ExecSender, ExecReceiver) {
        (self.sender, self.receiver)
    }
}

impl ExecReceiver {
    /// The next event; none after [`ExecEvent::Closed`].
    pub async fn next(&mut self) -> Option<ExecEvent> {
        self.events.recv().await
    }
}

impl ExecSender {
    /// Sends input; waits when much is under way.
    pub async fn input(&self, bytes: Bytes) -> Result<()> {
        let room = Arc::clone(&self.room).acquire_many_owned(room_for(&bytes)).await;
        self.send(Command::Input(bytes, room.map_err(|_| Error::SessionOver)?))
    }

    /// Sends input if there is room for it now; for callers that must not wait.
    pub fn try_input(&self, bytes: Bytes) -> Result<()> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(room_for(&bytes));
        self.send(Command::Input(bytes, room.map_err(|_| Error::SessionFull)?))
    }

    /// Ends the input; without a terminal only.
    pub fn eof(&self) -> Result<()> {
        self.send(Command::Eof)
    }

    /// Tells the terminal's new size.
    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        self.send(Command::Message(ClientMessage::Resize { cols, rows }))
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.send(Command::Message(ClientMessage::Signal { signal: name.into() }))
    }

    /// Ends the connection. A session with a terminal goes on without it.
    pub fn detach(&self) {
        // One that is over needs no end.
        let _ = self.send(Command::Close);
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| Error::SessionOver)
    }
}

/// What a piece takes of the room; one that is larger than all of it takes all.
fn room_for(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(INPUT).min(INPUT)
}

/// Moves frames in both directions until either side ends.
struct Pump<S> {
    sink: SplitSink<WebSocketStream<S>, Message>,
    outbox: mpsc::Sender<ExecEvent>,
    tty: bool,
    /// Whether the session has given any sign of itself.
    begun: bool,
    exited: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    async fn run(
        mut self,
        mut source: SplitStream<WebSocketStream<S>>,
        mut inbox: mpsc::UnboundedReceiver<Command>,
    ) {
        let mut pings = interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::default();
        loop {
            let goes_on = tokio::select! {
                message = source.next() => {
                    let goes_on = match message {
                        Some(Ok(message)) => self.receive(message).await,
                        Some(Err(error)) => {
                            let why = super::transport::chain(&error);
                            self.fail(format!("the connection broke: {why}")).await
                        }
                        None => self.closed(None).await,
                    };
                    // Only now: whoever takes the events may have been slow.
                    silence = Silence::default();
                    goes_on
                }
                command = inbox.recv() => match command {
                    Some(Command::Input(first, _room)) => silence.aside(self.input(first, &mut inbox)).await,
                    Some(command) => silence.aside(self.send(command)).await,
                    None => false,
                },
                _ = pings.tick() => silence.aside(self.put(Message::Ping(Bytes::new()))).await,
                () = sleep_until(silence.end()) => {
                    self.fail(format!("nothing was heard from the endpoint for {} s", DEAD.as_secs())).await
                }
                () = self.outbox.closed() => false,
            };
            if !goes_on {
                break;
            }
        }
        // At once: an endpoint that is silent takes no last words either.
        let Self { mut sink, outbox, .. } = self;
        // Nobody may listen any more.
        let _ = tokio::join!(timeout(CLOSE, sink.close()), outbox.send(ExecEvent::Closed));
    }

    /// Sends input, and in the same frame what follows it at once: keys come one by one, and a frame for each would be slow.
    async fn input(&mut self, first: Bytes, inbox: &mut mpsc::UnboundedReceiver<Command>) -> bool {
        let mut bytes = BytesMut::from(first);
        let mut next = None;
        while bytes.len() < FRAME && next.is_none() {
            match inbox.try_recv() {
                Ok(Command::Input(more, _room)) => bytes.extend_from_slice(&more),
                Ok(other) => next = Some(other),
                Err(_) => break,
            }
        }
        for piece in bytes.chunks(FRAME) {
            let frame = if self.tty {
                Bytes::copy_from_slice(piece)
            } else {
                [&[stream::STDIN], piece].concat().into()
            };
            if !self.put(Message::Binary(frame)).await {
                return false;
            }
        }
        match next {
            Some(command) => self.send(command).await,
            None => true,
        }
    }

    /// Sends anything but input; false when the connection is to end.
    async fn send(&mut self, command: Command) -> bool {
        match command {
            // Input has its own way out.
            Command::Input(..) => true,
            Command::Eof if self.tty => true,
            Command::Eof => self.put(Message::Binary(Bytes::from_static(&[stream::STDIN_EOF]))).await,
            Command::Message(message) => match serde_json::to_string(&message) {
                Ok(text) => self.put(Message::Text(text.into())).await,
                Err(_) => true,
            },
            Command::Close => false,
        }
    }

    async fn put(&mut self, message: Message) -> bool {
        match timeout(SEND, self.sink.send(message)).await {
            Ok(Ok(())) => true,
            // What came in before the end is still to be read, and tells more.
            Ok(Err(_)) => true,
            Err(_) => self.fail(format!("the endpoint has taken nothing for {} s", SEND.as_secs())).await,
        }
    }

    /// Reads one message; false when the connection is over.
    async fn receive(&mut self, message: Message) -> bool {
        self.begun |= message.is_binary() || message.is_text();
        match message {
            Message::Binary(bytes) if self.tty => self.tell(ExecEvent::Stdout(bytes)).await,
            Message::Binary(bytes) => match bytes.first() {
                // An empty piece of output only shows that the session lives.
                Some(&stream::STDOUT) if bytes.len() > 1 => {
                    self.tell(ExecEvent::Stdout(bytes.slice(1..))).await
                }
                Some(&stream::STDERR) if bytes.len() > 1 => {
                    self.tell(ExecEvent::Stderr(bytes.slice(1..))).await
                }
                Some(&stream::EXIT) => self.exit(bytes.get(1).copied().map_or(0, i32::from)).await,
                _ => true,
            },
            Message::Text(text) => match serde_json::from_str::<ServerMessage>(&text) {
                Ok(ServerMessage::SessionInfo(info)) => {
                    self.tty = info.tty;
                    self.tell(ExecEvent::Info(info)).await
                }
                Ok(ServerMessage::Exit { exit_code, .. }) => self.exit(exit_code).await,
                Ok(ServerMessage::PortOpened(event)) => {
                    self.tell(ExecEvent::Port { open: true, event }).await
                }
                Ok(ServerMessage::PortClosed(event)) => {
                    self.tell(ExecEvent::Port { open: false, event }).await
                }
                Ok(ServerMessage::Error { message }) => self.tell(ExecEvent::Error(clean(&message))).await,
                Ok(ServerMessage::Keepalive | ServerMessage::Unknown) | Err(_) => true,
            },
            Message::Close(frame) => self.closed(frame).await,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => true,
        }
    }

    /// The endpoint closed the connection; with a reason, or before there was a session, that is worth telling.
    async fn closed(&mut self, frame: Option<CloseFrame>) -> bool {
        let reason = frame.map(|frame| clean(&frame.reason)).unwrap_or_default();
        match (reason.is_empty(), self.begun) {
            (false, _) => self.fail(format!("the endpoint closed the connection: {reason}")).await,
            (true, false) => {
                self.fail("the endpoint closed the connection before the session began".into()).await
            }
            (true, true) => false,
        }
    }

    /// Tells why the connection ends; after the session's own end that is of no interest. Always false, for the connection is over.
    async fn fail(&self, why: String) -> bool {
        if !self.exited {
            self.tell(ExecEvent::Error(why)).await;
        }
        false
    }

    /// Both forms of the exit may come; one is told.
    async fn exit(&mut self, code: i32) -> bool {
        if std::mem::replace(&mut self.exited, true) {
            return true;
        }
        self.tell(ExecEvent::Exit(code)).await
    }

    /// False when nobody listens any more.
    async fn tell(&self, event: ExecEvent) -> bool {
        self.outbox.send(event).await.is_ok()
    }
}

#[cfg(test)]
mod tests;
