//! Copies of files and trees.

use super::failure::Failure;
use super::place::{self, NewOwner};
use super::write::{Draft, shown};
use super::{Agent, blocking};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use nix::errno::Errno;
use sprites_api::files::{Copied, MAX_LISTED, Mode, Pair, Transfer};
use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walkdir::WalkDir;

/// `POST /v1/fs/copy`.
pub(super) async fn run(State(agent): State<Arc<Agent>>, body: Bytes) -> Result<Json<Copied>, Failure> {
    let wish: Transfer = place::body(&body)?;
    let source = place::absolute(&wish.source, wish.working_dir.as_deref())?;
    let dest = place::absolute(&wish.dest, wish.working_dir.as_deref())?;
    let owner = NewOwner::choose(&agent, wish.as_root);
    let how = How { owner, preserve: wish.preserve_attrs };
    Ok(Json(blocking(move || copy(&source, &dest, wish.recursive, how)).await?))
}

/// What a copy takes over.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) owner: NewOwner,
    /// Owner and times of the original; its permissions in any case.
    pub(super) preserve: bool,
}

/// Copies what stands at `source` to `dest`: links as links within a tree, and what they lead to when they are named.
pub(super) fn copy(source: &Path, dest: &Path, recursive: bool, how: How) -> Result<Copied, Failure> {
    let metadata = fs::metadata(source).map_err(|error| Failure::of(&error, source))?;
    let mut done = Copied::default();
    if !metadata.is_dir() {
        let here = fs::metadata(dest).is_ok_and(|there| same(&metadata, &there));
        if here {
            return Err(Failure::invalid("source and dest are the same file", dest));
        }
        one(source, dest, &metadata, how, &mut done)?;
        return Ok(done);
    }
    if !recursive {
        return Err(Failure::system(Errno::EISDIR, source));
    }
    outside(source, dest)?;
    for found in WalkDir::new(source).follow_root_links(true) {
        let found = found.map_err(|error| walked(error, source))?;
        let below = found.path().strip_prefix(source).unwrap_or(Path::new(""));
        let to: PathBuf = if below.as_os_str().is_empty() { dest.to_owned() } else { dest.join(below) };
        let metadata = if found.depth() == 0 {
            metadata.clone()
        } else {
            found.metadata().map_err(|error| walked(error, found.path()))?
        };
        if metadata.is_dir() {
            place::make_directory(&to, how.owner)?;
            attributes(&to, &metadata, how)?;
        } else if metadata.is_symlink() {
            link(found.path(), &to, how)?;
            note(&mut done, found.path(), &to, 0);
        } else if metadata.is_file() {
            one(found.path(), &to, &metadata, how, &mut done)?;
        }
        // Pipes, sockets and devices have nothing that could be copied.
    }
    Ok(done)
}

fn one(from: &Path, to: &Path, metadata: &Metadata, how: How, done: &mut Copied) -> Result<(), Failure> {
    if !metadata.is_file() {
        return Err(Failure::invalid("it is a device, pipe or socket, and only files can be copied", from));
    }
    let mode = Mode::new(metadata.permissions().mode());
    let owner = if how.preserve { NewOwner::of(metadata) } else { how.owner };
    let mut draft = Draft::begin(to.to_owned(), Some(mode), false, owner)?;
    let mut source = File::open(from).map_err(|error| Failure::of(&error, from))?;
    // The kernel copies from file to file where it can.
    let bytes = io::copy(&mut source, draft.file.as_file_mut()).map_err(|error| Failure::of(&error, to))?;
    draft.finish()?;
    if how.preserve {
        attributes(to, metadata, how)?;
    }
    note(done, from, to, bytes);
    Ok(())
}

fn link(from: &Path, to: &Path, how: How) -> Result<(), Failure> {
    let target = fs::read_link(from).map_err(|error| Failure::of(&error, from))?;
    if fs::symlink_metadata(to).is_ok_and(|there| !there.is_dir()) {
        fs::remove_file(to).map_err(|error| Failure::of(&error, to))?;
    }
    std::os::unix::fs::symlink(target, to).map_err(|error| Failure::of(&error, to))?;
    how.owner.give_at(to)
}

fn attributes(to: &Path, metadata: &Metadata, how: How) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::of(&error, to);
    if how.preserve {
        NewOwner::of(metadata).give_at(to)?;
        let mut times = FileTimes::new();
        if let Ok(at) = metadata.modified() {
            times = times.set_modified(at);
        }
        if let Ok(at) = metadata.accessed() {
            times = times.set_accessed(at);
        }
        File::open(to).and_then(|file| file.set_times(times)).map_err(failed)?;
    }
    fs::set_permissions(to, metadata.permissions()).map_err(failed)
}

fn note(done: &mut Copied, from: &Path, to: &Path, bytes: u64) {
    done.count += 1;
    done.total_bytes += bytes;
    if done.copied.len() < MAX_LISTED {
        done.copied.push(Pair { source: shown(from), dest: shown(to) });
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// A tree that is copied into itself has no end.
fn outside(source: &Path, dest: &Path) -> Result<(), Failure> {
    let whole = fs::canonicalize(source).map_err(|error| Failure::of(&error, source))?;
    let inside = dest
        .ancestors()
        .find_map(|above| fs::canonicalize(above).ok())
        .is_some_and(|above| above.starts_with(&whole));
    if inside {
        return Err(Failure::invalid("a directory cannot be copied into itself", dest));
    }
    Ok(())
}

fn walked(error: walkdir::Error, path: &Path) -> Failure {
    let path = error.path().unwrap_or(path).to_owned();
    match error.into_io_error() {
        Some(error) => Failure::of(&error, &path),
        None => Failure::system(Errno::ELOOP, &path),
    }
}
