//! What a service says and what happens to it: kept in a file, and told to who listens.
//!
//! Lines of the file are `2026-06-02T17:11:17.821000Z [stderr] text`. A full file makes room once: the one before it is kept as `.log.1`.

use sprites_api::Time;
use sprites_api::services::{Event, EventKind, MAX_LINE};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Bytes of a file before it makes room.
const FULL: u64 = 16 << 20;
/// Bytes that are read for who wants to see the last lines.
const TAIL: u64 = 4 << 20;
/// Events that wait for a slow listener.
const WAITING: usize = 1024;

/// The log of one service.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Mutex<Option<File>>,
    events: broadcast::Sender<Event>,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, file: Mutex::default(), events: broadcast::Sender::new(WAITING) })
    }

    /// Everything that happens from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Tells what is no output; it is not kept.
    pub(super) fn tell(&self, kind: EventKind, data: Option<String>, exit_code: Option<i32>) {
        let timestamp = Time::now().as_micros() / 1000;
        // Nobody may be listening.
        let _ = self.events.send(Event { kind, data, exit_code, timestamp, log_files: None });
    }

    /// Keeps and tells lines of output. The disk is waited for, which is what holds a service back that writes more than the disk takes.
    pub(super) async fn lines(self: &Arc<Self>, kind: EventKind, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        let log = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || log.keep(kind, lines));
        // A panic there costs these lines.
        let _ = work.await;
    }

    fn keep(&self, kind: EventKind, lines: Vec<String>) {
        let now = Time::now();
        let stream = if kind == EventKind::Stderr { "stderr" } else { "stdout" };
        let mut text = String::new();
        for line in &lines {
            text.push_str(&format!("{now} [{stream}] {line}\n"));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk costs the log and not the service.
        if let Ok(open) = self.open(&mut file) {
            let _ = open.write_all(text.as_bytes());
        }
        // Told while the file is locked, so that who reads it and listens misses nothing and hears nothing twice.
        for line in lines {
            let timestamp = now.as_micros() / 1000;
            let event = Event { kind, data: Some(line), exit_code: None, timestamp, log_files: None };
            let _ = self.events.send(event);
        }
    }

    fn open<'a>(&self, file: &'a mut Option<File>) -> io::Result<&'a mut File> {
        let is_full =
            file.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|data| data.len() >= FULL);
        // Somebody may have moved or removed it, and means a new one.
        let is_gone = file.is_some() && !self.path.exists();
        if is_full {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if is_full || is_gone {
            *file = None;
        }
        if file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            // Neither a link nor a pipe that somebody put there is followed or waited for.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
            let opened = OpenOptions::new().create(true).append(true).custom_flags(flags).open(&self.path)?;
            if !opened.metadata()?.is_file() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            *file = Some(opened);
        }
        file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The last lines that are kept, at most `most`, oldest first, and everything that happens after them.
    pub(super) fn last(&self, most: usize) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let events = self.events.subscribe();
        // Nothing was kept yet, or it is gone.
        let text = tail(&self.path).unwrap_or_default();
        let mut lines: Vec<Event> = text.lines().rev().filter_map(read_line).take(most).collect();
        lines.reverse();
        (lines, events)
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_line(line: &str) -> Option<Event> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, text) =
        rest.strip_prefix('[')?.split_once("] ").or_else(|| rest.strip_prefix('[')?.split_once(']'))?;
    let kind = match stream {
        "stdout" => EventKind::Stdout,
        "stderr" => EventKind::Stderr,
        _ => return None,
    };
    let time: Time = serde_json::from_value(time.into()).ok()?;
    // What others wrote into the file may be longer than an answer's line.
    let end =
        text.char_indices().map(|(at, _)| at).chain([text.len()]).take_while(|at| *at <= MAX_LINE).last()?;
    let data = Some(text[..end].to_owned());
    Some(Event { kind, data, exit_code: None, timestamp: time.as_micros() / 1000, log_files: None })
}

/// Bytes on their way to lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes; gives the lines that are whole, and pieces of those that are too long.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut begin = 0;
        while begin < self.0.len() {
            let rest = &self.0[begin..];
            match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
                Some(end) => {
                    lines.push(text(&rest[..end]));
                    begin += end + 1;
                }
                None if rest.len() >= MAX_LINE => {
                    lines.push(text(&rest[..MAX_LINE]));
                    begin += MAX_LINE;
                }
                None => break,
            }
        }
        self.0.drain(..begin);
        lines
    }

    /// What waits for the end of its line.
    pub(super) fn flush(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.0);
        if rest.is_empty() { Vec::new() } else { vec![text(&rest)] }
    }

    /// Whether something does.
    pub(super) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\nb\r\nc"), ["a", "b"]);
        assert!(lines.is_waiting());
        assert_eq!(lines.push(b"d\n\n"), ["cd", ""]);
        assert!(lines.flush().is_empty());
        let long = lines.push(&vec![b'x'; MAX_LINE * 2 + 3]);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE]);
        assert_eq!(lines.flush(), ["xxx"]);
        assert_eq!(lines.push(b"\xff\n"), ["\u{fffd}"]);
    }

    #[tokio::test]
    async fn what_is_kept_is_read_again_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("deep/web.log"));
        assert!(log.last(10).0.is_empty());
        log.lines(EventKind::Stdout, vec!["one".into(), String::new()]).await;
        log.lines(EventKind::Stderr, vec!["[odd] two".into()]).await;
        let (last, mut events) = log.last(2);
        let data: Vec<_> = last.iter().map(|event| (event.kind, event.data.as_deref().unwrap())).collect();
        assert_eq!(data, [(EventKind::Stdout, ""), (EventKind::Stderr, "[odd] two")]);
        log.lines(EventKind::Stdout, vec!["three".into()]).await;
        assert_eq!(events.recv().await.unwrap().data.as_deref(), Some("three"));
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("web.log"));
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let log = Log::new(path);
        log.lines(EventKind::Stdout, vec!["theirs".into()]).await;
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    }
}
