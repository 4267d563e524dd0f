//! A sprite's files: push, pull, edit, list.

use crate::arguments::{File as Wish, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::output;
use futures::TryStreamExt;
use sprites_api::files::{Entry, FileKind, Mode};
use sprites_backend::client::{Client, Error, WriteOptions};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use walkdir::WalkDir;

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

pub(crate) async fn file(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    match wish {
        Wish::Push { local, remote, recursive, parents } => {
            if recursive {
                push_all(&client, &name, &local, &remote).await?;
            } else {
                push_one(&client, &name, &local, &remote, parents).await?;
            }
        }
        Wish::Pull { remote, local, recursive } => {
            if recursive {
                pull_all(&client, &name, &remote, &local).await?;
            } else {
                pull_one(&client, &name, &remote, &local).await?;
            }
        }
        Wish::Edit { remote } => edit(&client, &name, &remote).await?,
        Wish::List { remote, recursive, format } => {
            let listing = client.list_files(&name, &remote, recursive).await?;
            if format.json {
                output::json(&listing);
                return Ok(ExitCode::SUCCESS);
            }
            let row = |entry: Entry| {
                let kind = match entry.kind {
                    FileKind::Directory => "/",
                    FileKind::Symlink => "@",
                    FileKind::File => "",
                };
                [
                    entry.mode,
                    output::bytes(entry.size),
                    output::time(Some(entry.mod_time)),
                    format!("{}{kind}", entry.name),
                ]
            };
            let rows = listing.entries.into_iter().map(row).collect();
            output::table(format, ["mode", "size", "changed", "name"], rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies a file into the sprite, with its permissions. A name that ends in a slash is a folder.
pub(crate) async fn push_one(
    client: &Client,
    name: &str,
    local: &Path,
    remote: &str,
    parents: bool,
) -> Result<(), Failure> {
    let failed = |error| Failure::io("read", local.display())(error);
    let metadata = fs::metadata(local).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::Usage(format!("{} is a folder; use --recursive", local.display())));
    }
    let remote = if remote.ends_with('/') {
        let file = local.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{remote}{file}")
    } else {
        remote.to_owned()
    };
    let file = tokio::fs::File::open(local).await.map_err(failed)?;
    let options = WriteOptions { mode: Some(Mode::new(metadata.permissions().mode())), parents };
    // What is no ordinary file does not know how long it is.
    let length = metadata.is_file().then_some(metadata.len());
    let bytes = ReaderStream::with_capacity(file, PIECE);
    let written = client.write_file(name, &remote, options, length, bytes).await?;
    output::progress(&format!("{} -> {} ({})", local.display(), written.path, output::bytes(written.size)));
    Ok(())
}

async fn push_all(client: &Client, name: &str, local: &Path, remote: &str) -> Result<(), Failure> {
    for found in WalkDir::new(local).sort_by_file_name() {
        let found = found.map_err(|error| Failure::Other(error.to_string()))?;
        // Folders come with what is in them; links and the like are not copied.
        if !found.file_type().is_file() {
            continue;
        }
        let below = found.path().strip_prefix(local).unwrap_or(found.path());
        let to = if below.as_os_str().is_empty() {
            remote.to_owned()
        } else {
            format!("{}/{}", remote.trim_end_matches('/'), below.to_string_lossy())
        };
        push_one(client, name, found.path(), &to, true).await?;
    }
    Ok(())
}

/// Copies a file from the sprite. It takes its place here when all of it has come.
async fn pull_one(client: &Client, name: &str, remote: &str, local: &Path) -> Result<(), Failure> {
    let local = if local.is_dir() {
        local.join(Path::new(remote).file_name().unwrap_or(remote.as_ref()))
    } else {
        local.to_owned()
    };
    let failed = |error| Failure::io("write", local.display())(error);
    let folder = local.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = NamedTempFile::new_in(folder).map_err(failed)?;
    let mut size = 0;
    {
        let mut pieces = client.read_file(name, remote).await?;
        let mut file = tokio::fs::File::from_std(draft.as_file().try_clone().map_err(failed)?);
        while let Some(piece) = pieces.try_next().await? {
            size += piece.len() as u64;
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
    }
    let mode = fs::metadata(&local).map_or(0o644, |old| old.permissions().mode() & 0o777);
    draft.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    draft.persist(&local).map_err(|error| failed(error.error))?;
    output::progress(&format!("{remote} -> {} ({})", local.display(), output::bytes(size)));
    Ok(())
}

async fn pull_all(client: &Client, name: &str, remote: &str, local: &Path) -> Result<(), Failure> {
    let listing = client.list_files(name, remote, true).await?;
    for entry in &listing.entries {
        let to = local.join(inside(&entry.name)?);
        match entry.kind {
            FileKind::Directory => fs::create_dir_all(&to).map_err(Failure::io("make", to.display()))?,
            FileKind::File => {
                if let Some(folder) = to.parent() {
                    fs::create_dir_all(folder).map_err(Failure::io("make", folder.display()))?;
                }
                pull_one(client, name, &entry.path, &to).await?;
            }
            // Where they lead is in the sprite.
            FileKind::Symlink => output::remark(&format!("{} is a link and is left out", entry.path)),
        }
    }
    Ok(())
}

/// A name that the sprite told, as a path that stays below the folder it is put into.
fn inside(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(Failure::Other(format!(
            "the sprite names a file {name:?}, which is not below its folder; nothing was written there"
        )));
    }
    Ok(path.to_owned())
}

async fn edit(client: &Client, name: &str, remote: &str) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".into());
    let suffix =
        Path::new(remote).file_name().map(|file| format!("-{}", file.to_string_lossy())).unwrap_or_default();
    let failed = |error| Failure::io("use", "a file for the editor")(error);
    let copy = tempfile::Builder::new().prefix("sprite-").suffix(&suffix).tempfile().map_err(failed)?;
    match client.read_file(name, remote).await {
        Ok(mut pieces) => {
            let mut file = tokio::fs::File::from_std(copy.reopen().map_err(failed)?);
            while let Some(piece) = pieces.try_next().await? {
                file.write_all(&piece).await.map_err(failed)?;
            }
            file.flush().await.map_err(failed)?;
        }
        // A new file.
        Err(Error::NotFound(answer)) if !answer.message.contains("sprite not found") => {}
        Err(error) => return Err(error.into()),
    }
    let before = fs::read(copy.path()).map_err(failed)?;
    // Editors are configured with arguments, as a shell would read them.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(copy.path())
        .status()
        .map_err(Failure::io("run", &editor))?;
    if !status.success() {
        return Err(Failure::Other(format!("{editor} ended with {status}; nothing was changed")));
    }
    let after = fs::read(copy.path()).map_err(failed)?;
    if after == before {
        output::remark("Nothing was changed.");
        return Ok(());
    }
    let length = after.len() as u64;
    let bytes = futures::stream::once(async move { Ok(after.into()) });
    let written = client.write_file(name, remote, WriteOptions::default(), Some(length), bytes).await?;
    output::remark(&format!("Wrote {} ({})", written.path, output::bytes(written.size)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_sprite_tells_stay_below_their_folder() {
        for name in ["a", "a/b.txt", "..a"] {
            assert!(inside(name).is_ok(), "{name}");
        }
        for name in ["", "..", "../x", "a/../../x", "/etc/passwd"] {
            assert!(inside(name).is_err(), "{name}");
        }
    }
}
