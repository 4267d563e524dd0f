//! One asynchronous client for every endpoint: the vendor's cloud, the local server, anything that speaks the API.
//!
//! Nothing that comes from an endpoint is trusted: bodies, lines and frames have bounds, silences have deadlines, texts are made safe for a
//! terminal. Calls that cannot repeat an effect are tried again, when the endpoint wants that to be soon.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the calls |
//! | `exec` | a command over a WebSocket |
//! | `http_exec` | a command over plain HTTP |
//! | `proxy` | a TCP connection over a WebSocket |
//! | `forward` | a port of this machine that leads to one of a sprite |
//! | `inside` | what goes on in a sprite, and its services |
//! | `cost` | bills, budgets, what happened |
//! | `network` | what a sprite reaches, and what it may reach |
//! | `files` | files of a sprite |
//! | `state` | files of checkpoints, what changed between them, what disks take |
//! | `exports` | sprites as files for other machines |
//! | `socket` | opening a WebSocket, noticing that it is dead |
//! | `transport` | requests, deadlines, retries |
//! | `certificate` | why an endpoint is not believed, in plain words |
//! | `lines` | streams of JSON lines |
//! | `error` | what can go wrong |

mod certificate;
mod cost;
mod error;
mod exec;
mod exports;
mod files;
mod forward;
mod http_exec;
mod inside;
mod lines;
mod network;
mod proxy;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod transport;

pub use error::{Answer, Error, Result, clean, is_obeyed};
pub use exec::{ExecEvent, ExecReceiver, ExecRequest, ExecSender, ExecSession};
pub use exports::{Export, ExportWish};
pub use files::{HOME, WriteOptions};
pub use forward::Forward;
pub use http_exec::Done;
pub use inside::ServiceAction;
#[cfg(feature = "server")]
pub(crate) use inside::checked;
pub use lines::Lines;
#[cfg(feature = "server")]
pub(crate) use lines::{End, read as read_lines};
pub use proxy::Proxy;
pub use state::plain;
pub use transport::is_name;

use crate::endpoint::Endpoint;
use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use sprites_api::checkpoint::{Checkpoint, CreateCheckpoint, ProgressLine};
use sprites_api::exec::{KillLine, Session, SessionList};
use sprites_api::extension::{BuildLine, Fork, Images, Tree, UsageHistory, UsageLine, Version};
use sprites_api::sprite::{CreateSprite, Sprite, SpriteList, UpdateSprite, WatchLine};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use transport::{Call, HEARTBEAT, LONG_CALL, Transport, WORK};

/// Most pages of a list that are read; with fifty sprites a page far more than anybody has.
const MAX_PAGES: usize = 2000;
/// Most bytes of all of them, and most sprites: what the endpoint says becomes memory here.
const MAX_LIST: usize = 64 * 1024 * 1024;
/// See [`MAX_LIST`].
const MAX_SPRITES: usize = 100_000;
/// Most bytes that one sprite is told in.
const MAX_SPRITE: usize = 256 * 1024;
/// A sprite that comes back from a restore is asked again for this long.
const COMING_BACK: Duration = Duration::from_secs(20);
/// Between two such tries.
const AGAIN: Duration = Duration::from_millis(500);

/// A client of one endpoint. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of that endpoint. Nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        Ok(Self { transport: Arc::new(Transport::new(endpoint)?) })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// Who answers; local servers only.
    pub async fn version(&self) -> Result<Version> {
        self.local("version", self.transport.json(self.get_call(&["v1", "local", "version"])?).await)
    }

    /// All sprites, page by page.
    pub async fn list_sprites(&self) -> Result<Vec<Sprite>> {
        self.transport.within(LONG_CALL, self.pages()).await
    }

    async fn pages(&self) -> Result<Vec<Sprite>> {
        let mut all = Vec::new();
        let mut tokens = HashSet::new();
        let mut call = self.page(None)?;
        let mut bytes = 0;
        loop {
            let body = self.transport.body(call).await?;
            bytes += body.len();
            let page: SpriteList = self.transport.parsed(&body)?;
            all.extend(page.sprites);
            if bytes > MAX_LIST || all.len() > MAX_SPRITES {
                let most = format!("its list of sprites has more than {MAX_SPRITES} entries or 64 MiB");
                return Err(self.transport.protocol(most));
            }
            let Some(next) = page.next_continuation_token.filter(|next| page.has_more && !next.is_empty())
            else {
                return Ok(all);
            };
            call = self.page(Some(&next))?;
            // A part that passes for the whole would hide sprites, so it is an error.
            if tokens.len() >= MAX_PAGES || !tokens.insert(next) {
                return Err(self.transport.protocol("its list of sprites has no end".into()));
            }
        }
    }

    fn page(&self, token: Option<&str>) -> Result<Call> {
        let mut call = self.get_call(&["v1", "sprites"])?;
        call.url.query_pairs_mut().append_pair("max_results", "50");
        if let Some(token) = token {
            call.url.query_pairs_mut().append_pair("continuation_token", token);
        }
        Ok(call)
    }

    /// Every sprite once, then every change; ends only with an error, which is [`Error::NotSupported`] where there is no such stream.
    pub fn watch(&self) -> Lines<WatchLine> {
        self.transport.lines(self.get_call(&["v1", "sprites"]), HEARTBEAT, lines::End::Never)
    }

    /// One sprite.
    pub async fn get(&self, name: &str) -> Result<Sprite> {
        let body = self.transport.body(self.get_call(&["v1", "sprites", name])?).await?;
        if body.len() > MAX_SPRITE {
            return Err(self.transport.protocol("a sprite is told in more than 256 KiB".into()));
        }
        self.transport.parsed(&body)
    }

    /// Makes a sprite.
    pub async fn create(&self, wish: &CreateSprite) -> Result<Sprite> {
        self.transport.json(self.long(self.post(&["v1", "sprites"], wish)?)).await
    }

    /// Changes a sprite's settings.
    pub async fn update(&self, name: &str, wish: &UpdateSprite) -> Result<Sprite> {
        let mut call = self.post(&["v1", "sprites", name], wish)?;
        call.method = Method::PUT;
        self.transport.json(call).await
    }

    /// Destroys a sprite with everything that belongs to it.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let call = self.transport.call(Method::DELETE, &["v1", "sprites", name])?;
        self.transport.body(self.long(call)).await.map(drop)
    }

    /// All checkpoints, automatic ones too, newest first, led by `Current`.
    pub async fn checkpoints(&self, name: &str) -> Result<Vec<Checkpoint>> {
        let mut call = self.get_call(&["v1", "sprites", name, "checkpoints"])?;
        call.url.query_pairs_mut().append_pair("includeAuto", "true");
        self.transport.json(call).await
    }

    /// Makes a checkpoint; the stream ends with a line of type `complete` or `error`.
    pub fn checkpoint(&self, name: &str, wish: &CreateCheckpoint) -> Lines<ProgressLine> {
        let call = self.post(&["v1", "sprites", name, "checkpoint"], wish);
        self.transport.lines(call.map(|call| self.long(call)), WORK, lines::End::Line(is_last))
    }

    /// Goes back to a checkpoint, with `memory` to all that ran as well, which local servers can do; the stream ends with a line of type
    /// `complete` or `error`.
    pub fn restore(&self, name: &str, id: &str, memory: bool) -> Lines<ProgressLine> {
        let mut call =
            self.transport.call(Method::POST, &["v1", "sprites", name, "checkpoints", id, "restore"]);
        if let (true, Ok(call)) = (memory, &mut call) {
            call.url.query_pairs_mut().append_pair("memory", "true");
        }
        self.transport.lines(call.map(|call| self.long(call)), WORK, lines::End::Line(is_last))
    }

    /// Deletes a checkpoint.
    pub async fn delete_checkpoint(&self, name: &str, id: &str) -> Result<()> {
        let call = self.transport.call(Method::DELETE, &["v1", "sprites", name, "checkpoints", id])?;
        self.transport.body(self.long(call)).await.map(drop)
    }

    /// The checkpoint tree with bytes; local servers only.
    pub async fn tree(&self, name: &str) -> Result<Tree> {
        let call = self.get_call(&["v1", "local", "sprites", name, "tree"])?;
        self.local("the checkpoint tree", self.transport.json(self.long(call)).await)
    }

    /// Makes a sprite from a checkpoint of another; local servers only.
    pub async fn fork(&self, name: &str, wish: &Fork) -> Result<Sprite> {
        let call = self.post(&["v1", "local", "sprites", name, "fork"], wish)?;
        self.local("forks", self.transport.json(self.long(call)).await)
    }

    /// Ends a sprite's programs in order and takes it down until its next use; local servers only.
    pub async fn stop(&self, name: &str) -> Result<()> {
        let call = self.transport.call(Method::POST, &["v1", "local", "sprites", name, "stop"])?;
        self.local("stopping a sprite", self.transport.body(self.long(call)).await.map(drop))
    }

    /// Use of every sprite, each second; ends only with an error; local servers only.
    pub fn usage_stream(&self) -> Lines<UsageLine> {
        self.transport.lines(self.get_call(&["v1", "local", "usage"]), HEARTBEAT, lines::End::Never)
    }

    /// Past use of a sprite; local servers only.
    pub async fn usage_history(&self, name: &str, window: Duration) -> Result<UsageHistory> {
        let mut call = self.get_call(&["v1", "local", "sprites", name, "usage"])?;
        call.url.query_pairs_mut().append_pair("window", &format!("{}s", window.as_secs().max(1)));
        self.local("usage", self.transport.json(call).await)
    }

    /// Base images; local servers only.
    pub async fn images(&self) -> Result<Images> {
        self.local("images", self.transport.json(self.get_call(&["v1", "local", "images"])?).await)
    }

    /// Builds a base image, or joins a build; the stream ends with `done` or `error`; local servers only.
    pub fn build_image(&self) -> Lines<BuildLine> {
        let call = self.transport.call(Method::POST, &["v1", "local", "images", "build"]);
        self.transport.lines(
            call,
            WORK,
            lines::End::Line(|line: &BuildLine| line.done.is_some() || line.error.is_some()),
        )
    }

    /// Live sessions of a sprite. A sprite that sleeps may be woken by it.
    pub async fn sessions(&self, name: &str) -> Result<Vec<Session>> {
        let list: SessionList = self.transport.json(self.get_call(&["v1", "sprites", name, "exec"])?).await?;
        Ok(list.sessions)
    }

    /// Sends a signal to a session, and SIGKILL ten seconds later if it still lives.
    pub fn kill_session(&self, name: &str, id: &str, signal: &str) -> Lines<KillLine> {
        let call = self.transport.call(Method::POST, &["v1", "sprites", name, "exec", id, "kill"]).map(
            |mut call| {
                call.url.query_pairs_mut().append_pair("signal", signal);
                call
            },
        );
        self.transport.lines(call, WORK, lines::End::Line(|line| matches!(line, KillLine::Complete { .. })))
    }

    /// Runs a command. The sprite is woken if needed, and waited for when it comes back from a restore.
    pub async fn exec(&self, name: &str, request: ExecRequest) -> Result<ExecSession> {
        let mut call = self.get_call(&["v1", "sprites", name, "exec"])?;
        request.write(&mut call.url);
        self.session(self.long(call), request.tty).await
    }

    /// A TCP connection to a port of the sprite, which is woken if needed.
    pub async fn connect(&self, name: &str, host: &str, port: u16) -> Result<Proxy> {
        let call = self.get_call(&["v1", "sprites", name, "proxy"])?;
        Proxy::open(&self.transport, self.long(call), host, port).await
    }

    /// Attaches to a session that runs; its terminal takes the given size.
    pub async fn attach(&self, name: &str, id: &str, size: Option<(u16, u16)>) -> Result<ExecSession> {
        let mut call = self.get_call(&["v1", "sprites", name, "exec", id])?;
        call.url.query_pairs_mut().append_pair("stdin", "true");
        if let Some((rows, cols)) = size {
            call.url
                .query_pairs_mut()
                .append_pair("rows", &rows.to_string())
                .append_pair("cols", &cols.to_string());
        }
        self.session(self.long(call), true).await
    }

    /// Opens a session; a sprite that says that it is coming back is asked again, for it has begun nothing.
    async fn session(&self, call: Call, tty: bool) -> Result<ExecSession> {
        let give_up = Instant::now() + COMING_BACK;
        loop {
            let error = match ExecSession::open(&self.transport, call.clone(), tty).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let wanted = match &error {
                Error::Busy { retry_after: Some(after), .. } => *after,
                _ => Duration::ZERO,
            };
            let pause = wanted.max(AGAIN);
            if !error.is_coming_back() || Instant::now() + pause >= give_up {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    fn get_call(&self, segments: &[&str]) -> Result<Call> {
        self.transport.call(Method::GET, segments)
    }

    fn post(&self, segments: &[&str], body: &impl Serialize) -> Result<Call> {
        let mut call = self.transport.call(Method::POST, segments)?;
        let text = serde_json::to_vec(body).map_err(|error| Error::Setup(error.to_string()))?;
        call.body = Some(Bytes::from(text));
        Ok(call)
    }

    fn long(&self, call: Call) -> Call {
        Call { deadline: LONG_CALL.max(call.deadline), ..call }
    }

    /// An endpoint without our extensions answers 404 to all of them; one that has them tells what was not found.
    fn local<T>(&self, what: &'static str, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(Error::NotFound(answer))
                if !self.endpoint().is_local() && !answer.message.contains("sprite not found") =>
            {
                Err(Error::NotSupported { endpoint: self.transport.label(), what })
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.endpoint())
    }
}

fn is_last(line: &ProgressLine) -> bool {
    matches!(line.kind.as_str(), "complete" | "error")
}
