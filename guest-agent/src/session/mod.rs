//! Sessions: one process tree each, its terminal or pipes, its clients.

pub(crate) mod log;
mod modes;
mod numbers;
pub(crate) mod rate;
pub(crate) mod registry;
pub mod screen;
pub(crate) mod start;
pub(crate) mod view;

use crate::cgroup::SessionGroup;
use crate::process::file::AsyncFile;
use crate::process::{pty, signal, tree};
use bytes::Bytes;
use log::{Log, Next, Reader};
use nix::sys::signal::Signal;
use rate::Activity;
use sprites_api::Time;
use sprites_api::exec::SessionInfo;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use view::View;

/// A session counts as active with a client, or with input or output within this time.
pub(crate) const ACTIVE_FOR: Duration = Duration::from_secs(30);

/// One running command.
pub(crate) struct Session {
    /// PID as text; the session's name.
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) workdir: String,
    pub(crate) created: Time,
    pub(crate) born: Instant,
    pub(crate) tty: bool,
    pub(crate) activity: Activity,
    /// How long the process may live without a client; `None` means forever.
    pub(crate) linger: Option<Duration>,
    log: Arc<Log>,
    terminal: Option<Terminal>,
    input: Input,
    clients: watch::Sender<usize>,
    client_limit: usize,
    exit: watch::Sender<Option<u8>>,
    group: Option<SessionGroup>,
    /// The session's place among the bounded number of sessions; given back when the last owner is gone.
    _place: OwnedSemaphorePermit,
}

struct Terminal {
    master: Arc<AsyncFile>,
    view: View,
    /// Columns, rows.
    size: Mutex<(u16, u16)>,
}

/// The way into the process's standard input. Closed: input is dropped.
struct Input {
    queue: Option<mpsc::UnboundedSender<Piece>>,
    /// Bytes that may still be queued; this bounds the queue.
    room: Arc<Semaphore>,
    limit: usize,
}

/// An item of the input queue.
enum Piece {
    Data(Bytes, #[allow(dead_code, reason = "held until the data is written")] OwnedSemaphorePermit),
    End,
}

/// Why a client cannot attach.
#[derive(Debug, thiserror::Error)]
#[error("the session has {limit} clients already; close one of them first")]
pub(crate) struct TooManyClients {
    pub(crate) limit: usize,
}

/// One client's hold on a session. Dropping it is the disconnect.
pub(crate) struct Attachment {
    pub(crate) session: Arc<Session>,
    reader: Reader,
    /// For a terminal: bytes that draw the present picture, to be sent before anything else.
    pub(crate) picture: Vec<u8>,
}

impl Session {
    /// Attaches the creating client, before any output exists.
    fn attach_owner(self: &Arc<Self>) -> Attachment {
        self.clients.send_modify(|count| *count += 1);
        Attachment { session: self.clone(), reader: self.log.reader_from_start(), picture: Vec::new() }
    }

    /// Attaches a later client: a terminal shows its present picture, pipes replay the output that is kept.
    pub(crate) async fn attach(self: &Arc<Self>) -> Result<Attachment, TooManyClients> {
        let mut full = false;
        self.clients.send_modify(|count| {
            full = *count >= self.client_limit;
            if !full {
                *count += 1;
            }
        });
        if full {
            return Err(TooManyClients { limit: self.client_limit });
        }
        // From here on the count is given back by the attachment, also when this call is cancelled.
        let mut attachment =
            Attachment { session: self.clone(), reader: self.log.reader_from_start(), picture: Vec::new() };
        attachment.redraw().await;
        Ok(attachment)
    }

    /// What is told to a client first.
    pub(crate) fn info(&self, is_owner: bool) -> SessionInfo {
        let (cols, rows) = self.size();
        SessionInfo {
            session_id: self.id.clone(),
            command: self.command.clone(),
            created: self.created.as_micros().div_euclid(1_000_000),
            cols,
            rows,
            is_owner,
            tty: self.tty,
        }
    }

    /// Terminal size, columns and rows; zero without one.
    fn size(&self) -> (u16, u16) {
        self.terminal
            .as_ref()
            .map_or((0, 0), |terminal| *terminal.size.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of connected clients.
    pub(crate) fn client_count(&self) -> usize {
        *self.clients.borrow()
    }

    /// Hands input to the process, waiting while too much is queued. Input nobody can take any more is dropped.
    pub(crate) async fn write(&self, bytes: Bytes) {
        self.activity.note(0);
        let Some(queue) = &self.input.queue else { return };
        if bytes.is_empty() || queue.is_closed() {
            return;
        }
        let cost = bytes.len().min(self.input.limit) as u32;
        let room = tokio::select! {
            room = self.input.room.clone().acquire_many_owned(cost) => room,
            () = queue.closed() => return,
        };
        if let Ok(room) = room {
            // A queue closed in this instant drops the input, as intended.
            let _ = queue.send(Piece::Data(bytes, room));
        }
    }

    /// Ends the input of a session without a terminal; a terminal has no end of input.
    pub(crate) fn end_input(&self) {
        if let (Some(queue), false) = (&self.input.queue, self.tty) {
            let _ = queue.send(Piece::End);
        }
    }

    /// Changes the terminal's size. Sizes of zero are ignored, as is everything without a terminal.
    pub(crate) async fn resize(self: &Arc<Self>, cols: u16, rows: u16) {
        if self.terminal.is_none() || cols == 0 || rows == 0 || self.size() == (cols, rows) {
            return;
        }
        let session = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let Some(terminal) = &session.terminal else { return };
            // The picture first: what the program draws after the signal belongs to the new size.
            terminal.view.resize(cols, rows);
            *terminal.size.lock().unwrap_or_else(PoisonError::into_inner) = (cols, rows);
            // It can only fail when the terminal is gone, and then nobody needs the size.
            let _ = pty::set_size(&*terminal.master, cols, rows);
        });
        let _ = work.await;
    }

    /// Sends a signal to the session's process group. On a terminal whose foreground belongs to another group, that one gets
    /// it too; signals that a key could send go there alone, as the key would. SIGKILL reaches every process of the session.
    pub(crate) fn signal(&self, number: Signal) -> Result<(), nix::errno::Errno> {
        if self.exit.borrow().is_some() {
            return Ok(());
        }
        if number == Signal::SIGKILL {
            self.kill();
            return Ok(());
        }
        if let Some(terminal) = &self.terminal
            && let Some(front) = pty::foreground(&*terminal.master)
            && front != self.pid
        {
            signal::send_group(front, number)?;
            if matches!(number, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP) {
                return Ok(());
            }
        }
        signal::send_group(self.pid, number)
    }

    /// Ends all processes of the session at once.
    pub(crate) fn kill(&self) {
        if self.group.as_ref().is_some_and(|group| group.kill().is_ok()) {
            return;
        }
        if self.exit.borrow().is_some() {
            // The leader is gone and its number may belong to somebody else.
            return;
        }
        tree::kill_session(self.pid);
    }

    /// The exit code, once the process has ended.
    pub(crate) async fn ended(&self) -> u8 {
        let mut exit = self.exit.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        exit.wait_for(Option::is_some).await.ok().and_then(|code| *code).unwrap_or(0)
    }

    /// Resolves when the session has been without a client for as long as it may; never when it may for ever.
    async fn abandoned(&self) {
        let Some(linger) = self.linger else { return std::future::pending().await };
        let mut clients = self.clients.subscribe();
        loop {
            if clients.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            let returned = clients.wait_for(|count| *count > 0);
            if tokio::time::timeout(linger, returned).await.is_err() {
                return;
            }
        }
    }
}

impl Attachment {
    /// Waits for the next piece of output. Cancelling loses nothing.
    pub(crate) async fn next(&mut self, max: usize, prefix: bool) -> Next {
        self.reader.next(max, prefix).await
    }

    /// Puts this client where the terminal's picture ends and takes the picture. Nothing for a session without one.
    pub(crate) async fn redraw(&mut self) {
        if self.session.terminal.is_none() {
            return;
        }
        let session = self.session.clone();
        let work = tokio::task::spawn_blocking(move || {
            let terminal = session.terminal.as_ref()?;
            Some(terminal.view.snapshot(|| session.log.reader_from_end()))
        });
        if let Ok(Some((reader, picture))) = work.await {
            self.reader = reader;
            self.picture = picture;
        } else {
            self.reader.skip_to_end();
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.activity.note(0);
        self.session.clients.send_modify(|count| *count = count.saturating_sub(1));
    }
}
