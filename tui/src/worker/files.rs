//! Files of a sprite: listed, shown, copied here, edited here.

use super::Worker;
use crate::edits::present;
use crate::model::{Edit, MAX_SHOWN};
use crate::update::Event;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use sprites_backend::client::{Error, Result};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// Bytes of a name that a copy for the editor keeps: the end, which tells the editor what it is.
const MAX_NAME: usize = 100;

impl Worker {
    /// What a folder holds.
    pub(super) async fn load_files(&self, name: String, at: String, path: String) {
        let outcome = self.client.files_at(&name, &at, &path).await.map(Box::new);
        self.tell(Event::Files { name, at, path, outcome: outcome.map_err(told) }).await;
    }

    /// The beginning of a file. A link may lead to a folder.
    pub(super) async fn read_file(&self, id: u64, name: String, at: String, path: String, link: bool) {
        if link
            && let Ok(found) = self.client.files_at(&name, &at, &path).await
            // That of a file tells the file, which stands in no folder of that path.
            && !(found.listing.entries.len() == 1 && found.listing.entries[0].path == found.listing.path)
        {
            return self.tell(Event::FolderBehind(id, found.listing.path)).await;
        }
        let outcome = async {
            let pieces = self.client.read_at(&name, &at, &path, Some(MAX_SHOWN + 1)).await?;
            let mut bytes = collect(pieces, MAX_SHOWN as usize + 1).await?;
            let is_cut = bytes.len() as u64 > MAX_SHOWN;
            bytes.truncate(MAX_SHOWN as usize);
            Ok((bytes, is_cut))
        };
        let outcome = outcome.await.map_err(told);
        self.tell(Event::FileRead(id, outcome)).await;
    }

    /// Copies a file into the folder that the app was started in. What stands there is left alone.
    pub(super) async fn copy_out(&self, job: u64, name: &str, at: &str, path: &str) {
        let outcome = self.copy_to(name, at, path, &own_name(path)).await;
        self.done(job, outcome.map(|to| format!("{path} is copied to {}.", to.display())), None).await;
    }

    async fn copy_to(
        &self,
        name: &str,
        at: &str,
        path: &str,
        to: &Path,
    ) -> std::result::Result<PathBuf, String> {
        let here = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!(
                    "a file {} is here already; move it away or start the app in another folder",
                    to.display()
                )
            }
            _ => format!("cannot write {}: {error}", to.display()),
        };
        let mut pieces = self.client.read_at(name, at, path, None).await.map_err(told)?;
        let file = tokio::fs::File::options().write(true).create_new(true).open(to).await;
        let mut file = file.map_err(here)?;
        let copied = async {
            while let Some(piece) = pieces.try_next().await.map_err(told)? {
                file.write_all(&piece).await.map_err(here)?;
            }
            file.flush().await.map_err(here)
        };
        if let Err(why) = copied.await {
            // Half of it is of no use.
            let _ = tokio::fs::remove_file(to).await;
            return Err(why);
        }
        Ok(std::path::absolute(to).unwrap_or_else(|_| to.to_owned()))
    }

    /// Brings a file here to be edited.
    pub(super) async fn fetch_edit(&self, job: u64, name: String, path: String) {
        let fetched = async {
            let before = present(&self.client, &name, &path).await?;
            let own = own_name(&path).display().to_string();
            let end = own.char_indices().map(|(at, _)| at).find(|at| own.len() - at <= MAX_NAME);
            let suffix = format!("-{}", &own[end.unwrap_or(0)..]);
            let copy = tempfile::Builder::new().prefix("sprite-").suffix(&suffix).tempfile();
            let kept = copy.and_then(|mut copy| {
                copy.write_all(&before)?;
                copy.flush()?;
                // It outlives this: the editor writes to it, or replaces it.
                Ok(copy.keep().map_err(|error| error.error)?.1)
            });
            let copy = kept.map_err(|error| format!("cannot make a file for the editor: {error}"))?;
            Ok(Edit { job, name: name.clone(), path: path.clone(), copy, before: Arc::new(before) })
        };
        let outcome = fetched.await;
        self.tell(Event::EditFetched(job, outcome)).await;
    }
}

/// What a file is called here: only its own name, which a guest chose.
fn own_name(path: &str) -> PathBuf {
    let name: String =
        path.rsplit('/').next().unwrap_or_default().chars().filter(|sign| !sign.is_control()).collect();
    PathBuf::from(if matches!(name.as_str(), "" | "." | "..") { "file".to_owned() } else { name })
}

/// All bytes of a stream, at most so many.
async fn collect(mut pieces: impl Stream<Item = Result<Bytes>> + Unpin, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < most
        && let Some(piece) = pieces.try_next().await?
    {
        bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
    }
    Ok(bytes)
}

/// Why files cannot be looked at.
pub(super) fn told(error: Error) -> String {
    match error {
        Error::NotSupported { endpoint, .. } => {
            format!(
                "{endpoint} does not tell files without waking a sprite, so it is not asked; a console (t) wakes it"
            )
        }
        other => other.to_string(),
    }
}
