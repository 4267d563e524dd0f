//! A file or a folder from one sprite to another, through this machine, which keeps nothing of it. The two may be of different contexts.
//!
//! What is copied is what `trees` copies, by the same rules; links stay as they are, because neither sprite is this machine. Nothing there is written over
//! unless that was said, and nothing through a link: the sprite it comes from must not choose where in the other one it goes.

use crate::arguments::{Copy as Wish, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::files::{INTO_FOLDER, Trouble, own_name, system_error};
use crate::output;
use crate::trees::{Tally, USUAL, bits, inside, joined, make_folder, make_links, one_file, targets};
use futures::{Stream, TryStreamExt};
use sprites_api::files::{Entry, FileKind, Listing, Mode};
use sprites_backend::client::{Client, Error, WriteOptions};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

/// Pieces that wait to be taken by the other side.
const PIECES: usize = 8;

/// One side.
struct Side {
    client: Client,
    name: String,
    path: String,
}

impl Side {
    /// `[CONTEXT/]NAME:PATH`.
    async fn find(place: &PlaceArguments, text: &str) -> Result<Self, Failure> {
        let (context, name, path) = parse(text)?;
        let place = match context {
            Some(context) => PlaceArguments { context: Some(context), org: None, sprite: None },
            None => place.clone(),
        };
        Ok(Self { client: place.client().await?, name, path })
    }

    fn trouble(&self, error: Error, path: &str, help: &[(&str, &str)]) -> Trouble {
        Trouble::there(error, &self.name, path, help)
    }

    /// What stands at a path, with all below; none when nothing does.
    async fn listing(&self, path: &str) -> Result<Option<Listing>, Failure> {
        match self.client.list_files(&self.name, path, true).await {
            Ok(listing) => Ok(Some(listing)),
            Err(error) if system_error(&error) == Some("ENOENT") => Ok(None),
            Err(error) => Err(self.trouble(error, path, &[]).into()),
        }
    }
}

fn parse(text: &str) -> Result<(Option<String>, String, String), Failure> {
    let odd =
        || Failure::Usage(format!("{text}: a file of a sprite is said as NAME:PATH or CONTEXT/NAME:PATH"));
    let (sprite, path) = text.split_once(':').ok_or_else(odd)?;
    let (context, name) = match sprite.rsplit_once('/') {
        Some((context, name)) => (Some(context.to_owned()), name),
        None => (None, sprite),
    };
    if name.is_empty() || path.is_empty() || context.as_ref().is_some_and(String::is_empty) {
        return Err(odd());
    }
    Ok((context, name.to_owned(), path.to_owned()))
}

pub(crate) async fn copy(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (from, to) = (Side::find(place, &wish.from).await?, Side::find(place, &wish.to).await?);
    let missing =
        || Failure::Other(format!("{} in {}: there is no such file or folder", from.path, from.name));
    let listing = from.listing(&from.path).await?.ok_or_else(missing)?;
    let mut tally = Tally::default();
    let outcome = match one_file(&listing) {
        Some(entry) if entry.kind == FileKind::File => {
            single(&from, &to, entry, wish.force, &mut tally).await
        }
        Some(_) => Err(Failure::Other(format!(
            "{} in {}: it is a link; name what it leads to",
            from.path, from.name
        ))),
        None => folder(&from, &to, &listing, wish.force, &mut tally).await,
    };
    tally.end(outcome)
}

/// Copies one file, into a folder when one is there or its name ends in a slash.
async fn single(
    from: &Side,
    to: &Side,
    entry: &Entry,
    force: bool,
    tally: &mut Tally,
) -> Result<(), Failure> {
    // By the name that was typed: what the other side says it is called may be anything.
    let file = own_name(&from.path);
    let file = file.to_string_lossy();
    let there = match to.client.list_files(&to.name, &to.path, false).await {
        Ok(listing) => Some(listing),
        Err(error) if system_error(&error) == Some("ENOENT") => None,
        Err(error) => return Err(to.trouble(error, &to.path, &[]).into()),
    };
    let is_folder = there.as_ref().is_some_and(|listing| one_file(listing).is_none());
    let (path, there) = if is_folder || to.path.ends_with('/') {
        let path = joined(&to.path, &file);
        let there = there.and_then(|listing| listing.entries.into_iter().find(|entry| entry.name == *file));
        (path, there.map(|entry| entry.kind))
    } else {
        let kind = |listing: Listing| one_file(&listing).map_or(FileKind::File, |entry| entry.kind);
        (to.path.clone(), there.map(kind))
    };
    if there == Some(FileKind::Symlink) {
        return Err(Failure::Other(format!(
            "{path} in {}: a link stands there; name what it leads to",
            to.name
        )));
    }
    if there.is_some() && !force {
        return Err(Failure::Other(format!(
            "{path} in {}: it is there already; --force writes over it",
            to.name
        )));
    }
    tally.file(one(from, to, entry, &path).await?);
    Ok(())
}

/// Copies a folder's contents into a folder.
async fn folder(
    from: &Side,
    to: &Side,
    listing: &Listing,
    force: bool,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let there = to.listing(&to.path).await?;
    if there.as_ref().is_some_and(|there| one_file(there).is_some()) {
        return Err(Failure::Other(format!(
            "{} in {}: it is no folder, and {} is one",
            to.path, to.name, from.path
        )));
    }
    let there: HashMap<PathBuf, FileKind> = there
        .map(|there| there.entries.into_iter().map(|entry| (entry.name.into(), entry.kind)).collect())
        .unwrap_or_default();
    let (mut folders, mut links, mut made) = (Vec::new(), Vec::new(), HashSet::new());
    for entry in &listing.entries {
        let below = match inside(&entry.name).and_then(|below| clear(&there, &below).map(|()| below)) {
            Ok(below) => below,
            Err(why) => {
                tally.fail(&why);
                continue;
            }
        };
        let path = joined(&to.path, &entry.name);
        let stands = there.get(&below).copied();
        match (entry.kind, stands) {
            (FileKind::Directory, None | Some(FileKind::Directory)) => {
                folders.push((below, path, entry, stands.is_none()));
            }
            (FileKind::Directory, Some(_)) | (_, Some(FileKind::Directory)) => {
                tally.fail(&format!("{path} in {}: something else stands there", to.name));
            }
            (_, Some(_)) if !force => {
                tally.fail(&format!("{path} in {}: it is there already; --force writes over it", to.name));
            }
            (FileKind::File, Some(FileKind::Symlink)) => {
                tally.fail(&format!("{path} in {}: it is a link there, and is not written through", to.name));
            }
            (FileKind::Symlink, _) => links.push((entry, path)),
            (FileKind::File, _) => match one(from, to, entry, &path).await {
                Ok(size) => {
                    tally.file(size);
                    made.extend(below.ancestors().skip(1).map(Path::to_owned));
                }
                // A listing shows them as files, and reading one tells what it is.
                Err(trouble) if trouble.failure.to_string().contains("only files can be read") => {
                    tally.pass(&format!("{} is a device, pipe or socket and is left out", entry.path));
                }
                Err(trouble) => tally.trouble(trouble)?,
            },
        }
    }
    // The deepest first, which brings those above along.
    for (below, path, _, _) in folders.iter().rev().filter(|(.., is_new)| *is_new) {
        if !made.contains(below) {
            match make_folder(&to.client, &to.name, path).await {
                Ok(()) => made.extend(below.ancestors().map(Path::to_owned)),
                Err(trouble) => {
                    tally.trouble(trouble)?;
                    continue;
                }
            }
        }
        tally.folders += 1;
    }
    make(from, to, &listing.path, links, tally).await?;
    // Last, for in a folder that may not be written nothing could be made. One that was there keeps its own.
    for (below, path, entry, is_new) in folders.iter().rev() {
        let mode = bits(entry).filter(|mode| *is_new && *mode != USUAL && made.contains(below));
        if let Some(mode) = mode
            && let Err(error) = to.client.change_mode(&to.name, path, Mode::new(mode)).await
        {
            tally.trouble(to.trouble(error, path, &[]))?;
        }
    }
    Ok(())
}

/// Makes the links of a folder, each to where it leads in the sprite it comes from.
async fn make(
    from: &Side,
    to: &Side,
    folder: &str,
    links: Vec<(&Entry, String)>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    if links.is_empty() {
        return Ok(());
    }
    let known = targets(&from.client, &from.name, folder).await?;
    let mut told = Vec::new();
    for (entry, path) in links {
        match known.get(std::ffi::OsStr::new(&entry.name)) {
            Some(target) => told.push((target.clone(), path)),
            None => tally.fail(&format!(
                "{} in {}: where this link leads is not told; it is left out",
                entry.path, from.name
            )),
        }
    }
    make_links(&to.client, &to.name, &told, tally).await
}

/// Whether no link stands above a path in the other sprite, by which it would lead elsewhere.
fn clear(there: &HashMap<PathBuf, FileKind>, below: &Path) -> Result<(), String> {
    let link = below.ancestors().skip(1).find(|part| there.get(*part) == Some(&FileKind::Symlink));
    match link {
        Some(link) => Err(format!(
            "{} would be written through {}, which is a link there; it is left out",
            below.display(),
            link.display()
        )),
        None => Ok(()),
    }
}

/// Copies one file with its permissions; gives its size. The old one stays until all has come.
async fn one(from: &Side, to: &Side, entry: &Entry, path: &str) -> Result<u64, Trouble> {
    let pieces = from.client.read_file(&from.name, &entry.path).await;
    let pieces = pieces.map_err(|error| from.trouble(error, &entry.path, &[]))?;
    // What breaks on the one side is told by the other as broken, without a reason.
    let reason = Arc::new(Mutex::new(None));
    let options = WriteOptions { mode: bits(entry).map(Mode::new), parents: true };
    let bytes = carried(pieces, Arc::clone(&reason));
    let written = to.client.write_file(&to.name, path, options, None, bytes).await;
    if let Some(error) = reason.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(from.trouble(error, &entry.path, &[]));
    }
    let written = written.map_err(|error| to.trouble(error, path, &[INTO_FOLDER]))?;
    output::progress(&format!(
        "{}:{} -> {}:{} ({})",
        from.name,
        entry.path,
        to.name,
        written.path,
        output::bytes(written.size)
    ));
    Ok(written.size)
}

/// A stream as the other side takes one; an error of its own ends it and is kept.
fn carried(
    mut pieces: impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static,
    reason: Arc<Mutex<Option<Error>>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        loop {
            let piece = match pieces.try_next().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => {
                    let told = io::Error::other(error.to_string());
                    *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(told)
                }
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let said = |text: &str| parse(text).ok();
        let side = |context: Option<&str>, name: &str, path: &str| {
            Some((context.map(str::to_owned), name.to_owned(), path.to_owned()))
        };
        assert_eq!(said("box:/etc/hosts"), side(None, "box", "/etc/hosts"));
        assert_eq!(said("work/box:a:b"), side(Some("work"), "box", "a:b"));
        for odd in ["box", "box:", ":/a", "/box:/a", "work/:/a"] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn nothing_goes_through_a_link() {
        let there = HashMap::from([
            (PathBuf::from("a"), FileKind::Directory),
            (PathBuf::from("a/l"), FileKind::Symlink),
        ]);
        assert!(clear(&there, Path::new("a/b")).is_ok() && clear(&there, Path::new("a/l")).is_ok());
        assert!(clear(&there, Path::new("a/l/b")).is_err());
    }
}
