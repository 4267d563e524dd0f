//! What a directory holds.
//!
//! The answer is written while the directory is read, so that a large tree takes neither memory nor patience.

use super::blocking;
use super::failure::Failure;
use super::place::Wish;
use super::write::shown;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use glob::{MatchOptions, Pattern};
use sprites_api::Time;
use sprites_api::files::{Entry, FileKind, Mode};
use std::convert::Infallible;
use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use walkdir::WalkDir;

/// Bytes of an answer that are sent at once.
const PIECE: usize = 32 << 10;
/// Pieces that wait for a slow reader.
const WAITING: usize = 4;

/// `GET /v1/fs/list`.
pub(super) async fn run(Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Failure> {
    let wish = Wish::new(pairs);
    let path = wish.path()?;
    let recursive = wish.flag("recursive")?;
    let pattern = wish.get("pattern").map(Filter::new).transpose()?;
    let looked = path.clone();
    let found = blocking(move || look(&looked)).await?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(WAITING);
    tokio::task::spawn_blocking(move || {
        // A reader that has gone away needs no rest.
        let _ = tell(&path, found, recursive, pattern.as_ref(), &sender);
    });
    let kind = (header::CONTENT_TYPE, "application/json");
    Ok(([kind], Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// What stands at the path.
enum Found {
    Directory,
    /// Anything else, and a link that leads nowhere.
    One(Metadata),
}

fn look(path: &Path) -> Result<Found, Failure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            // Whether it may be read shows here, while the status can still tell.
            fs::read_dir(path).map(|_| Found::Directory).map_err(|error| Failure::of(&error, path))
        }
        Ok(_) => fs::symlink_metadata(path).map(Found::One).map_err(|error| Failure::of(&error, path)),
        Err(error) => fs::symlink_metadata(path).map(Found::One).map_err(|_| Failure::of(&error, path)),
    }
}

/// Names that are wanted: a pattern with a `/` is held against the path below the directory, others against the name.
struct Filter {
    pattern: Pattern,
    whole: bool,
}

impl Filter {
    fn new(text: &str) -> Result<Self, Failure> {
        let bad = |error| Failure::invalid(format!("`pattern` cannot be read: {error}"), Path::new(""));
        Ok(Self { pattern: Pattern::new(text).map_err(bad)?, whole: text.contains('/') })
    }

    fn fits(&self, below: &Path) -> bool {
        let text = if self.whole { Some(below.as_os_str()) } else { below.file_name() };
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        text.is_some_and(|text| self.pattern.matches_with(&text.to_string_lossy(), options))
    }
}

/// The reader has gone away.
struct Gone;

fn tell(
    path: &Path,
    found: Found,
    recursive: bool,
    filter: Option<&Filter>,
    out: &mpsc::Sender<Result<Bytes, Infallible>>,
) -> Result<(), Gone> {
    let mut answer = Answer { out, piece: Vec::with_capacity(PIECE), count: 0 };
    let quoted = serde_json::to_string(&shown(path)).unwrap_or_default();
    // Writing into memory does not fail.
    let _ = write!(answer.piece, "{{\"path\":{quoted},\"entries\":[");
    match found {
        Found::One(metadata) => {
            let name = path.file_name().map_or_else(|| shown(path), |name| shown(Path::new(name)));
            answer.add(&entry(name, path, &metadata))?;
        }
        Found::Directory => {
            let walk = WalkDir::new(path)
                .min_depth(1)
                .max_depth(if recursive { usize::MAX } else { 1 })
                .sort_by_file_name();
            // What vanishes meanwhile, or may not be looked at, is no reason to tell nothing of the rest.
            for one in walk.into_iter().flatten() {
                let below = one.path().strip_prefix(path).unwrap_or(one.path());
                if filter.is_some_and(|filter| !filter.fits(below)) {
                    continue;
                }
                if let Ok(metadata) = one.metadata() {
                    answer.add(&entry(shown(below), one.path(), &metadata))?;
                }
            }
        }
    }
    let count = answer.count;
    let _ = write!(answer.piece, "],\"count\":{count}}}");
    answer.send()
}

struct Answer<'a> {
    out: &'a mpsc::Sender<Result<Bytes, Infallible>>,
    piece: Vec<u8>,
    count: usize,
}

impl Answer<'_> {
    fn add(&mut self, entry: &Entry) -> Result<(), Gone> {
        if self.count > 0 {
            self.piece.push(b',');
        }
        self.count += 1;
        // Plain data becomes JSON without fail.
        let _ = serde_json::to_writer(&mut self.piece, entry);
        if self.piece.len() >= PIECE { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Gone> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.out.blocking_send(Ok(piece.into())).map_err(|_| Gone)
    }
}

fn entry(name: String, path: &Path, metadata: &Metadata) -> Entry {
    Entry {
        name,
        path: shown(path),
        kind: match metadata.file_type() {
            kind if kind.is_dir() => FileKind::Directory,
            kind if kind.is_symlink() => FileKind::Symlink,
            _ => FileKind::File,
        },
        size: metadata.len(),
        mode: Mode::new(metadata.permissions().mode()).to_string(),
        mod_time: changed(metadata),
        is_dir: metadata.is_dir(),
    }
}

/// When its contents last changed; before 1970 becomes 1970.
pub(super) fn changed(metadata: &Metadata) -> Time {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Time::from_micros(since.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let fits = |pattern: &str, path: &str| {
            Filter::new(pattern).unwrap_or_else(|_| panic!()).fits(Path::new(path))
        };
        assert!(fits("*.txt", "a.txt") && fits("*.txt", "deep/a.txt") && !fits("*.txt", "a.txt/b"));
        assert!(fits("src/*.rs", "src/a.rs") && !fits("src/*.rs", "src/deep/a.rs"));
        assert!(fits("src/**/*.rs", "src/deep/er/a.rs"));
        assert!(Filter::new("[").is_err());
    }
}
