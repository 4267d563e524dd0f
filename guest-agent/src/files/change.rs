//! Delete, rename, permissions, owners.

use super::copy::{How, copy};
use super::failure::Failure;
use super::place::{self, NewOwner, Wish};
use super::write::shown;
use super::{Agent, blocking};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use nix::errno::Errno;
use sprites_api::files::{
    Affected, ChangeMode, ChangeOwner, Delete, Deleted, MAX_LISTED, ModeOf, Owner, OwnerOf, Pair, Transfer,
};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;
use std::sync::Arc;
use walkdir::WalkDir;

/// `DELETE /v1/fs/delete`: words in the query, or in a body.
pub(super) async fn delete(
    Query(pairs): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Result<Json<Deleted>, Failure> {
    let query = Wish::new(pairs);
    let (path, recursive) = if query.get("path").is_none() && !body.is_empty() {
        let wish: Delete = place::body(&body)?;
        (place::absolute(&wish.path, wish.working_dir.as_deref())?, wish.recursive)
    } else {
        (query.path()?, query.flag("recursive")?)
    };
    let deleted = blocking(move || {
        remove(&path, recursive)?;
        Ok(shown(&path))
    });
    Ok(Json(Deleted { deleted: vec![deleted.await?], count: 1 }))
}

fn remove(path: &Path, recursive: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::of(&error, path);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return fs::remove_file(path).map_err(failed);
    }
    if !recursive {
        return fs::remove_dir(path).map_err(failed);
    }
    if fs::canonicalize(path).is_ok_and(|whole| whole == Path::new("/")) {
        return Err(Failure::invalid("the whole disk cannot be deleted; destroy the sprite instead", path));
    }
    super::remove::all(path).map_err(failed)
}

/// `POST /v1/fs/rename`.
pub(super) async fn rename(State(agent): State<Arc<Agent>>, body: Bytes) -> Result<Json<Pair>, Failure> {
    let wish: Transfer = place::body(&body)?;
    let source = place::absolute(&wish.source, wish.working_dir.as_deref())?;
    let dest = place::absolute(&wish.dest, wish.working_dir.as_deref())?;
    let owner = NewOwner::choose(&agent, wish.as_root);
    let moved = blocking(move || {
        match fs::rename(&source, &dest) {
            Ok(()) => {}
            // From one file system to another, as `mv` does it.
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                copy(&source, &dest, true, How { owner, preserve: true })?;
                remove(&source, true)?;
            }
            Err(error) if fs::symlink_metadata(&source).is_ok() => return Err(Failure::of(&error, &dest)),
            Err(error) => return Err(Failure::of(&error, &source)),
        }
        Ok(Pair { source: shown(&source), dest: shown(&dest) })
    });
    Ok(Json(moved.await?))
}

/// `POST /v1/fs/chmod`.
pub(super) async fn mode(body: Bytes) -> Result<Json<Affected<ModeOf>>, Failure> {
    let wish: ChangeMode = place::body(&body)?;
    let path = place::absolute(&wish.path, wish.working_dir.as_deref())?;
    let mode = wish.mode.ok_or_else(|| Failure::invalid("`mode` is missing", &path))?;
    let done = blocking(move || {
        every(&path, wish.recursive, |at, is_top| {
            // A link within a tree has no permissions of its own.
            if !is_top && at.is_symlink() {
                return Ok(None);
            }
            fs::set_permissions(at, Permissions::from_mode(mode.bits()))?;
            Ok(Some(ModeOf { path: shown(at), mode: mode.to_string() }))
        })
    });
    Ok(Json(done.await?))
}

/// `POST /v1/fs/chown`.
pub(super) async fn owner(body: Bytes) -> Result<Json<Affected<OwnerOf>>, Failure> {
    let wish: ChangeOwner = place::body(&body)?;
    let path = place::absolute(&wish.path, wish.working_dir.as_deref())?;
    let done = blocking(move || {
        let uid = wish.uid.map(|owner| number(owner, "/etc/passwd", &path)).transpose()?;
        let gid = wish.gid.map(|owner| number(owner, "/etc/group", &path)).transpose()?;
        if uid.is_none() && gid.is_none() {
            return Err(Failure::invalid("neither `uid` nor `gid` is given", &path));
        }
        every(&path, wish.recursive, |at, is_top| {
            if is_top {
                chown(at, uid, gid)?
            } else {
                lchown(at, uid, gid)?
            };
            let now = fs::symlink_metadata(at)?;
            Ok(Some(OwnerOf { path: shown(at), uid: now.uid(), gid: now.gid() }))
        })
    });
    Ok(Json(done.await?))
}

/// Does something with a path, and with everything below it if that is wanted.
fn every<T>(
    path: &Path,
    recursive: bool,
    mut change: impl FnMut(&Path, bool) -> std::io::Result<Option<T>>,
) -> Result<Affected<T>, Failure> {
    let mut done = Affected { affected: Vec::new(), count: 0 };
    let mut one = |at: &Path, is_top: bool| {
        if let Some(item) = change(at, is_top).map_err(|error| Failure::of(&error, at))? {
            done.count += 1;
            if done.affected.len() < MAX_LISTED {
                done.affected.push(item);
            }
        }
        Ok(())
    };
    one(path, true)?;
    if recursive && path.is_dir() {
        for found in WalkDir::new(path).follow_root_links(true).min_depth(1) {
            match found {
                Ok(found) => one(found.path(), false)?,
                // It vanished meanwhile.
                Err(error)
                    if error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
                }
                Err(error) => {
                    let at = error.path().unwrap_or(path).to_owned();
                    let error = error.into_io_error();
                    return Err(error.map_or_else(
                        || Failure::system(Errno::ELOOP, &at),
                        |error| Failure::of(&error, &at),
                    ));
                }
            }
        }
    }
    Ok(done)
}

/// The number of a user or group, which `file` (`passwd` or `group`) tells for a name.
fn number(owner: Owner, file: &str, path: &Path) -> Result<u32, Failure> {
    let name = match owner {
        Owner::Number(number) => return Ok(number),
        Owner::Name(name) => name,
    };
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown = || Failure::invalid(format!("{file} has no {name:.64}"), path);
    crate::process::user::number_of(Path::new(file), &name).ok_or_else(unknown)
}
