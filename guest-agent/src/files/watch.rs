//! Telling of changes as they happen: a WebSocket on which a client names what it wants to hear of.
//!
//! Writes are gathered for a moment, because the kernel tells of each single one.

use super::failure::Failure;
use super::write::shown;
use super::{Agent, place};
use crate::reply::Refusal;
use crate::websocket::{self, Gone, Sink, Upgrade, send, text};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::StreamExt;
use notify::event::{EventKind, Flag, MetadataKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sprites_api::Time;
use sprites_api::files::{Change, WatchMessage, WatchRequest};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use walkdir::WalkDir;

/// Events that wait for a slow client; more are missed, and it is told so.
const WAITING: usize = 4096;
/// Paths that one client may name.
const PATHS: usize = 256;
/// Writes to a file within this time are told as one.
const GATHER: Duration = Duration::from_millis(50);
/// Files told of that were in a new directory before it could be watched.
const FOUND: usize = 10_000;
/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(30);

/// `GET /v1/fs/watch`.
pub(super) async fn run(
    State(agent): State<Arc<Agent>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let upgrade = websocket::required(upgrade, &headers, &agent)?;
    let stall = agent.config.limits.stall;
    Ok(upgrade.on_upgrade(move |socket| async move {
        // It ends when the client does.
        let _ = serve(socket, stall).await;
    }))
}

/// What comes out of the kernel, as far as it matters here.
#[derive(Debug)]
enum Heard {
    Changed(PathBuf, Change),
    /// A new directory, which may hold files already.
    NewDirectory(PathBuf),
}

async fn serve(socket: WebSocket, stall: Duration) -> Result<(), Gone> {
    let (mut sink, mut incoming) = socket.split();
    let (tell, mut heard) = mpsc::channel(WAITING);
    let missed = Arc::new(AtomicBool::new(false));
    let mut watched = match Watched::new(tell, Arc::clone(&missed)) {
        Ok(watched) => Some(watched),
        Err(message) => return send(&mut sink, text(&WatchMessage::Error { message }), stall).await,
    };
    let mut written: Vec<PathBuf> = Vec::new();
    let mut due = Instant::now();
    // New directories, which are watched a moment after they are told: what is made in them in between is found by looking.
    let mut fresh: Vec<PathBuf> = Vec::new();
    let mut look = Instant::now();
    loop {
        tokio::select! {
            frame = incoming.next() => match frame {
                Some(Ok(Message::Text(frame))) => {
                    let Some(mut mine) = watched.take() else { return Err(Gone) };
                    let frame = frame.to_string();
                    // Looking for what is below a directory takes as long as there is something.
                    let work = tokio::task::spawn_blocking(move || {
                        let answer = mine.subscribe(&frame);
                        (mine, answer)
                    });
                    let (mine, answer) = work.await.map_err(|_| Gone)?;
                    watched = Some(mine);
                    if let Some(answer) = answer {
                        send(&mut sink, text(&answer), stall).await?;
                    }
                }
                Some(Err(_)) | None => return Err(Gone),
                // A close too: the next read answers it and gives nothing more.
                Some(Ok(_)) => {}
            },
            Some(one) = heard.recv() => match one {
                Heard::Changed(path, Change::Write) => {
                    if written.is_empty() {
                        due = Instant::now() + GATHER;
                    }
                    if !written.contains(&path) {
                        written.push(path);
                    }
                }
                Heard::Changed(path, change) => {
                    flush(&mut sink, &mut written, stall).await?;
                    report(&mut sink, path, change, stall).await?;
                }
                Heard::NewDirectory(path) => {
                    flush(&mut sink, &mut written, stall).await?;
                    if fresh.len() < FOUND {
                        fresh.push(path.clone());
                    }
                    look = Instant::now() + GATHER;
                    report(&mut sink, path, Change::Create, stall).await?;
                }
            },
            () = sleep_until(look), if !fresh.is_empty() => {
                for path in inside(std::mem::take(&mut fresh)).await {
                    report(&mut sink, path, Change::Create, stall).await?;
                }
            }
            () = sleep_until(due), if !written.is_empty() => flush(&mut sink, &mut written, stall).await?,
            () = tokio::time::sleep(ALIVE) => send(&mut sink, Message::Ping(Default::default()), stall).await?,
        }
        if missed.swap(false, Ordering::Relaxed) {
            let message = "some changes were missed; look at the files anew".to_owned();
            send(&mut sink, text(&WatchMessage::Error { message }), stall).await?;
        }
    }
}

async fn flush(sink: &mut Sink, written: &mut Vec<PathBuf>, stall: Duration) -> Result<(), Gone> {
    for path in written.drain(..) {
        report(sink, path, Change::Write, stall).await?;
    }
    Ok(())
}

async fn report(sink: &mut Sink, path: PathBuf, event: Change, stall: Duration) -> Result<(), Gone> {
    let metadata = fs::symlink_metadata(&path).ok();
    let message = WatchMessage::Event {
        path: shown(&path),
        event,
        timestamp: Time::now(),
        size: metadata.as_ref().map_or(0, fs::Metadata::len),
        is_dir: metadata.is_some_and(|metadata| metadata.is_dir()),
    };
    send(sink, text(&message), stall).await
}

/// What stands in new directories already, each once.
async fn inside(directories: Vec<PathBuf>) -> BTreeSet<PathBuf> {
    let walk = move || {
        let all =
            directories.into_iter().flat_map(|one| WalkDir::new(one).min_depth(1).into_iter().flatten());
        all.take(FOUND).map(walkdir::DirEntry::into_path).collect()
    };
    tokio::task::spawn_blocking(walk).await.unwrap_or_default()
}

/// What one client wants to hear of.
struct Watched {
    watcher: RecommendedWatcher,
    paths: usize,
    /// Whether new directories are watched as well.
    recursive: Arc<AtomicBool>,
}

impl Watched {
    fn new(tell: mpsc::Sender<Heard>, missed: Arc<AtomicBool>) -> Result<Self, String> {
        let recursive = Arc::new(AtomicBool::new(false));
        let deep = Arc::clone(&recursive);
        let config = notify::Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(
            move |event: notify::Result<notify::Event>| match event {
                Ok(event) if event.flag() == Some(Flag::Rescan) => missed.store(true, Ordering::Relaxed),
                Ok(event) => {
                    let is_deep = deep.load(Ordering::Relaxed);
                    for one in changes(event, is_deep) {
                        if tell.try_send(one).is_err() {
                            missed.store(true, Ordering::Relaxed);
                        }
                    }
                }
                Err(_) => missed.store(true, Ordering::Relaxed),
            },
            config,
        )
        .map_err(|error| reason(&error))?;
        Ok(Self { watcher, paths: 0, recursive })
    }

    /// Takes a client's frame; the answer to it, if it deserves one.
    fn subscribe(&mut self, frame: &str) -> Option<WatchMessage> {
        let error = |message: String| Some(WatchMessage::Error { message });
        let request: WatchRequest = match serde_json::from_str(frame) {
            Ok(request) => request,
            Err(_) => {
                return error("this frame is no subscription; expected {\"type\":\"subscribe\"}".into());
            }
        };
        let WatchRequest::Subscribe { paths, recursive, working_dir } = request else { return None };
        self.paths += paths.len();
        if self.paths > PATHS {
            return error(format!("at most {PATHS} paths can be watched on one connection"));
        }
        let mut all = Vec::new();
        for path in &paths {
            match place::absolute(path, working_dir.as_deref()) {
                Ok(path) => all.push(path),
                Err(failure) => return error(failure.sentence().to_owned()),
            }
        }
        if recursive {
            self.recursive.store(true, Ordering::Relaxed);
        }
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        for path in &all {
            if let Err(cause) = self.watcher.watch(path, mode) {
                return error(format!("{} cannot be watched: {}", path.display(), reason(&cause)));
            }
        }
        Some(WatchMessage::Subscribed { paths: all.iter().map(|path| shown(path)).collect() })
    }
}

fn reason(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::Io(cause) => Failure::of(cause, Path::new("")).sentence().to_owned(),
        notify::ErrorKind::PathNotFound => "no such file or directory".into(),
        notify::ErrorKind::MaxFilesWatch => {
            "the kernel watches as many files as it may; raise fs.inotify.max_user_watches".into()
        }
        _ => error.to_string(),
    }
}

fn changes(event: notify::Event, deep: bool) -> Vec<Heard> {
    let change = match event.kind {
        EventKind::Create(_) => Change::Create,
        EventKind::Remove(_) => Change::Remove,
        EventKind::Modify(ModifyKind::Data(_)) => Change::Write,
        // Reading a file changes its time of access, which nobody wants to hear of.
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => return Vec::new(),
        EventKind::Modify(ModifyKind::Metadata(_)) => Change::Chmod,
        // Both names in one were told one by one before.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
        EventKind::Modify(ModifyKind::Name(_)) => Change::Rename,
        _ => return Vec::new(),
    };
    let is_new_directory = matches!(event.kind, EventKind::Create(notify::event::CreateKind::Folder)) && deep;
    event
        .paths
        .into_iter()
        .map(|path| if is_new_directory { Heard::NewDirectory(path) } else { Heard::Changed(path, change) })
        .collect()
}
