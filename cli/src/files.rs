//! A sprite's files: push, pull, edit, list. Whole folders are in `trees`.

use crate::arguments::{File as Wish, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::{output, trees};
use futures::{Stream, TryStreamExt};
use sprites_api::files::{Entry, FileKind, Mode, Written};
use sprites_backend::client::{Client, Error, WriteOptions};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio_util::bytes::Bytes;
use tokio_util::io::ReaderStream;

/// Bytes of a piece.
pub(crate) const PIECE: usize = 256 << 10;
/// The standard input or output in the place of a local file.
pub(crate) const STANDARD: &str = "-";
/// To end with when nobody reads any more, as after the signal for it.
const PIPE: u8 = 141;

/// Help with a folder that is missing in a sprite.
pub(crate) const NO_FOLDER: (&str, &str) = ("ENOENT", "--parents makes the folders that are missing");
/// Help with a folder where a file was to be written.
pub(crate) const INTO_FOLDER: (&str, &str) =
    ("EISDIR", "a slash at the end of its name puts the file into it");
/// Help with a folder where a file was to be read.
const WHOLE_FOLDER: (&str, &str) = ("EISDIR", "--recursive copies a folder");

/// Why one file was not copied.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Names the file.
    pub(crate) failure: Failure,
    /// Whether the next file would fare no better.
    pub(crate) ends_all: bool,
}

impl Trouble {
    /// The system's error here.
    pub(crate) fn here(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        let what = path.display().to_string();
        move |error| {
            let ends_all = error.kind() == io::ErrorKind::StorageFull;
            Self { failure: Failure::io(doing, &what)(error), ends_all }
        }
    }

    /// The endpoint's error about a file of a sprite, with the help that fits.
    pub(crate) fn there(error: Error, name: &str, path: &str, help: &[(&str, &str)]) -> Self {
        let system = system_error(&error);
        let ends_all = system.is_none_or(|code| matches!(code, "ENOSPC" | "EIO"));
        let words = match (&error, system) {
            // It is the sprite that is not there.
            (Error::NotFound(_), None) => return Self { failure: error.into(), ends_all },
            // The status says nothing that the sentence does not.
            (_, Some(_)) => error.answer().map(|answer| answer.message.clone()).unwrap_or_default(),
            (_, None) => error.to_string(),
        };
        let help = help.iter().find(|(code, _)| system == Some(code));
        let help = help.map(|(_, help)| format!("; {help}")).unwrap_or_default();
        Self { failure: Failure::Other(format!("{path} in {name}: {words}{help}")), ends_all }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        trouble.failure
    }
}

/// Name of the system's error, where it is one.
pub(crate) fn system_error(error: &Error) -> Option<&str> {
    let code = error
        .code()
        .filter(|code| code.starts_with('E') && code.bytes().all(|byte| byte.is_ascii_uppercase()));
    // Not every endpoint tells the name.
    code.or_else(|| {
        let message = &error.answer()?.message;
        let known =
            [("no such file", "ENOENT"), ("is a directory", "EISDIR"), ("permission denied", "EACCES")];
        known.iter().find(|(words, _)| message.to_lowercase().contains(words)).map(|(_, code)| *code)
    })
}

pub(crate) async fn file(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    match wish {
        Wish::Push { local, remote, recursive, parents } => {
            match (local.as_os_str() == STANDARD, recursive) {
                (true, true) => {
                    return Err(Failure::Usage(
                        "a folder cannot come from the standard input; leave --recursive".into(),
                    ));
                }
                (true, false) => push_input(&client, &name, &remote, parents).await?,
                (false, true) => return trees::push(&client, &name, &local, &remote).await,
                (false, false) => {
                    push_one(&client, &name, &local, &remote, parents).await?;
                }
            }
        }
        Wish::Pull { remote, local, recursive } => {
            let local = local.unwrap_or_else(|| own_name(&remote));
            match (local.as_os_str() == STANDARD, recursive) {
                (true, true) => {
                    return Err(Failure::Usage(
                        "a folder cannot go to the standard output; leave --recursive".into(),
                    ));
                }
                (true, false) => return pull_output(&client, &name, &remote).await,
                (false, true) => return trees::pull(&client, &name, &remote, &local).await,
                (false, false) => {
                    let local = if local.is_dir() { local.join(own_name(&remote)) } else { local };
                    pull_one(&client, &name, &remote, &local, None).await?;
                }
            }
        }
        Wish::Edit { remote } => edit(&client, &name, &remote).await?,
        Wish::List { remote, recursive, at, format } => {
            let listing = match &at {
                Some(at) => client.files_at(&name, at, &remote).await.map(|found| found.listing),
                None => client.list_files(&name, &remote, recursive).await,
            };
            let listing = listing.map_err(|error| Trouble::there(error, &name, &remote, &[]))?;
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

/// The last part of a path of a sprite, as the name of something elsewhere.
pub(crate) fn own_name(remote: &str) -> PathBuf {
    Path::new(remote).file_name().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Copies a file into the sprite, with its permissions; gives its size. A name that ends in a slash is a folder.
pub(crate) async fn push_one(
    client: &Client,
    name: &str,
    local: &Path,
    remote: &str,
    parents: bool,
) -> Result<u64, Trouble> {
    let failed = Trouble::here("read", local);
    let metadata = fs::metadata(local).map_err(&failed)?;
    if metadata.is_dir() {
        let failure = Failure::Usage(format!("{} is a folder; use --recursive", local.display()));
        return Err(Trouble { failure, ends_all: false });
    }
    let remote = if remote.ends_with('/') {
        let file = local.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{remote}{file}")
    } else {
        remote.to_owned()
    };
    let file = tokio::fs::File::open(local).await.map_err(&failed)?;
    let options = WriteOptions { mode: Some(Mode::new(metadata.permissions().mode())), parents };
    // What is no ordinary file does not know how long it is.
    let length = metadata.is_file().then_some(metadata.len());
    let bytes = ReaderStream::with_capacity(file, PIECE);
    let written = write(client, name, &remote, options, length, bytes).await?;
    output::progress(&format!("{} -> {} ({})", local.display(), written.path, output::bytes(written.size)));
    Ok(written.size)
}

/// Copies what comes on the standard input into a file of the sprite.
async fn push_input(client: &Client, name: &str, remote: &str, parents: bool) -> Result<(), Failure> {
    if remote.ends_with('/') {
        return Err(Failure::Usage(format!(
            "{remote} is a folder; what comes on the standard input has no name of its own"
        )));
    }
    let bytes = ReaderStream::with_capacity(tokio::io::stdin(), PIECE);
    let written = write(client, name, remote, WriteOptions { mode: None, parents }, None, bytes).await?;
    output::progress(&format!("standard input -> {} ({})", written.path, output::bytes(written.size)));
    Ok(())
}

async fn write(
    client: &Client,
    name: &str,
    remote: &str,
    options: WriteOptions,
    length: Option<u64>,
    bytes: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
) -> Result<Written, Trouble> {
    // Who has asked for the folders needs no help with them.
    let help = if options.parents { &[INTO_FOLDER][..] } else { &[INTO_FOLDER, NO_FOLDER] };
    let written = client.write_file(name, remote, options, length, bytes).await;
    written.map_err(|error| Trouble::there(error, name, remote, help))
}

/// Copies a file from the sprite; gives its size. It takes its place here when all of it has come. Without `mode` it has the permissions of
/// the file that stands there, or the usual ones.
pub(crate) async fn pull_one(
    client: &Client,
    name: &str,
    remote: &str,
    local: &Path,
    mode: Option<u32>,
) -> Result<u64, Trouble> {
    let failed = Trouble::here("write", local);
    let there = |error| Trouble::there(error, name, remote, &[WHOLE_FOLDER]);
    // First: what is not there leaves no trace here.
    let mut pieces = client.read_file(name, remote).await.map_err(there)?;
    let folder = local.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = NamedTempFile::new_in(folder).map_err(&failed)?;
    let mut size = 0;
    {
        let mut file = tokio::fs::File::from_std(draft.as_file().try_clone().map_err(&failed)?);
        while let Some(piece) = pieces.try_next().await.map_err(there)? {
            size += piece.len() as u64;
            file.write_all(&piece).await.map_err(&failed)?;
        }
        file.flush().await.map_err(&failed)?;
    }
    let usual = || fs::metadata(local).map_or(0o644, |old| old.permissions().mode() & 0o777);
    let mode = mode.unwrap_or_else(usual);
    draft.as_file().set_permissions(Permissions::from_mode(mode)).map_err(&failed)?;
    draft.persist(local).map_err(|error| failed(error.error))?;
    output::progress(&format!("{remote} -> {} ({})", local.display(), output::bytes(size)));
    Ok(size)
}

/// Copies a file of the sprite to the standard output.
async fn pull_output(client: &Client, name: &str, remote: &str) -> Outcome {
    let there = |error| Trouble::there(error, name, remote, &[WHOLE_FOLDER]);
    let pieces = client.read_file(name, remote).await.map_err(there)?;
    to_output(pieces, |error| there(error).into()).await
}

/// Writes bytes to the standard output as they come.
pub(crate) async fn to_output(
    mut pieces: impl Stream<Item = Result<Bytes, Error>> + Unpin,
    failed: impl Fn(Error) -> Failure,
) -> Outcome {
    let mut out = tokio::io::stdout();
    while let Some(piece) = pieces.try_next().await.map_err(&failed)? {
        let written = async {
            out.write_all(&piece).await?;
            out.flush().await
        };
        match written.await {
            Ok(()) => {}
            // Nobody reads any more, as with any program in a pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::from(PIPE)),
            Err(error) => return Err(Failure::io("write to", "the output")(error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn edit(client: &Client, name: &str, remote: &str) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".into());
    let suffix =
        Path::new(remote).file_name().map(|file| format!("-{}", file.to_string_lossy())).unwrap_or_default();
    let failed = |error| Failure::io("use", "a file for the editor")(error);
    let there = |error| Trouble::there(error, name, remote, &[]);
    let copy = tempfile::Builder::new().prefix("sprite-").suffix(&suffix).tempfile().map_err(failed)?;
    match client.read_file(name, remote).await {
        Ok(mut pieces) => {
            let mut file = tokio::fs::File::from_std(copy.reopen().map_err(failed)?);
            while let Some(piece) = pieces.try_next().await.map_err(there)? {
                file.write_all(&piece).await.map_err(failed)?;
            }
            file.flush().await.map_err(failed)?;
        }
        // A new file.
        Err(error) if system_error(&error) == Some("ENOENT") => {}
        Err(error) => return Err(there(error).into()),
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
    let written = client.write_file(name, remote, WriteOptions::default(), Some(length), bytes).await;
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            let help = [("ENOENT", "its folder must be there first")];
            let failure = Trouble::there(error, name, remote, &help).failure;
            // What somebody has written is not thrown away.
            let (_, kept) = copy.keep().map_err(|error| failed(error.error))?;
            return Err(Failure::Other(format!("{failure}; what you wrote is kept in {}", kept.display())));
        }
    };
    output::remark(&format!("Wrote {} ({})", written.path, output::bytes(written.size)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_pulled() {
        for (remote, name) in
            [("work/a.txt", "a.txt"), ("/x/work/", "work"), (".", "."), ("..", "."), ("/", ".")]
        {
            assert_eq!(own_name(remote), Path::new(name), "{remote}");
        }
    }
}
