//! A file's new bytes.
//!
//! They are put into a file beside it, which takes its place when all of them have arrived. Until then, and when they break off, the old one stays.

use super::failure::Failure;
use super::place::{self, NewOwner, Wish};
use super::{Agent, blocking};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use futures::StreamExt;
use nix::errno::Errno;
use sprites_api::files::{Mode, Written};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

/// Files that clients write only to make the directory above them, because there is no call for that.
const PLACEHOLDERS: [&str; 2] = [".keep", ".mkdir_placeholder"];
/// Beginning of the name of a file that is not whole yet.
const UNFINISHED: &str = ".sprite-upload-";

/// `PUT /v1/fs/write`.
pub(super) async fn run(
    State(agent): State<Arc<Agent>>,
    Query(pairs): Query<Vec<(String, String)>>,
    body: Body,
) -> Result<Json<Written>, Failure> {
    let wish = Wish::new(pairs);
    let path = wish.path()?;
    let mode = match wish.get("mode") {
        Some(text) => Some(
            Mode::parse(text)
                .ok_or_else(|| Failure::invalid("`mode` must be octal digits such as 0644", &path))?,
        ),
        None => None,
    };
    let parents = wish.flag("mkdirParents")? || wish.flag("mkdir")?;
    let owner = NewOwner::choose(&agent, wish.flag("asRoot")?);
    let draft = {
        let path = path.clone();
        blocking(move || Draft::begin(path, mode, parents, owner)).await?
    };
    let draft = draft.fill(body, agent.config.limits.stall).await?;
    Ok(Json(blocking(move || draft.finish()).await?))
}

/// A file on its way to its place. Dropped, it leaves nothing behind.
pub(super) struct Draft {
    /// What was asked for.
    path: PathBuf,
    /// Where links led.
    real: PathBuf,
    pub(super) file: NamedTempFile,
    mode: Mode,
    owner: NewOwner,
    size: u64,
}

impl Draft {
    /// Looks whether a file can stand at `path`, makes what is missing above it, and opens a new one beside it.
    pub(super) fn begin(
        path: PathBuf,
        mode: Option<Mode>,
        parents: bool,
        owner: NewOwner,
    ) -> Result<Self, Failure> {
        let real = place::follow(&path)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(Failure::system(Errno::EISDIR, &path));
        };
        let (owner, old) = match fs::metadata(&real) {
            Ok(metadata) if metadata.is_dir() => return Err(Failure::system(Errno::EISDIR, &path)),
            Ok(metadata) if !metadata.is_file() => {
                let sentence = "it is a device, pipe or socket, and only files can be written";
                return Err(Failure::invalid(sentence, &path));
            }
            // It stays who it was, as it would if it were written in place.
            Ok(metadata) => (NewOwner::of(&metadata), Some(Mode::new(metadata.permissions().mode()))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => (owner, None),
            Err(error) => return Err(Failure::of(&error, &path)),
        };
        if parents {
            place::make_directories(parent, owner)?;
        } else if PLACEHOLDERS.iter().any(|word| name == *word) && !parent.exists() {
            place::make_directory(parent, owner)?;
            if let Some(mode) = mode {
                // It was meant for the directory.
                fs::set_permissions(parent, Permissions::from_mode(mode.bits()))
                    .map_err(|error| Failure::of(&error, parent))?;
            }
        }
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(parent)
            .map_err(|error| Failure::of(&error, &path))?;
        Ok(Self { path, real, file, mode: mode.or(old).unwrap_or(Mode::FILE), owner, size: 0 })
    }

    /// Takes all bytes of a body, each piece within `stall`.
    async fn fill(mut self, body: Body, stall: Duration) -> Result<Self, Failure> {
        let file = self.file.as_file().try_clone().map_err(|error| Failure::of(&error, &self.path))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut pieces = body.into_data_stream();
        loop {
            let piece = match tokio::time::timeout(stall, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(Failure::cut_off(&self.path)),
            };
            self.size += piece.len() as u64;
            file.write_all(&piece).await.map_err(|error| Failure::of(&error, &self.path))?;
        }
        // What a file of this kind was told last is only known to have worked then.
        file.flush().await.map_err(|error| Failure::of(&error, &self.path))?;
        Ok(self)
    }

    /// Puts it in its place.
    pub(super) fn finish(self) -> Result<Written, Failure> {
        let Self { path, real, file, mode, owner, size } = self;
        owner.give(file.as_file(), &path)?;
        // After the change of owner, which takes some of these bits away.
        file.as_file()
            .set_permissions(Permissions::from_mode(mode.bits()))
            .map_err(|error| Failure::of(&error, &path))?;
        file.persist(&real).map_err(|error| Failure::of(&error.error, &path))?;
        Ok(Written { path: shown(&path), size, mode: mode.to_string() })
    }
}

/// A path as answers show it.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
