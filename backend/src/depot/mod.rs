//! Where exported sprites are kept: files of this machine, and S3-compatible object stores that the user has.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | places; from a sprite to a place and back |
//! | `object` | object stores |
//! | `answer` | their answers, at the door |

mod answer;
mod object;

pub use object::Listed;

use crate::client::{Client, Error as ClientError, Export, ExportWish, clean};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use sprites_api::sprite::Sprite;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

/// Bytes of a piece of a file.
const PIECE: usize = 256 << 10;
/// How long an object store may take for nothing.
const STILL: Duration = Duration::from_secs(120);
/// Beginning of an object's address.
const SCHEME: &str = "s3://";
/// End of an export's name.
const EXTENSION: &str = ".sprite";

/// Where an export is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, or a folder for it.
    File(PathBuf),
    /// An object. A key that is empty or ends in a slash is a folder for it.
    Object {
        /// Which bucket.
        bucket: String,
        /// Which object of it.
        key: String,
    },
}

impl Place {
    /// `s3://bucket/key`, or else a path.
    ///
    /// # Errors
    /// A sentence, when it is no address of an object.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return if text.is_empty() {
                Err("a file has a name".into())
            } else {
                Ok(Self::File(text.into()))
            };
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(format!(
                "{} is no address of an object; give one such as {SCHEME}bucket/key",
                clean(text)
            ));
        }
        Ok(Self::Object { bucket: bucket.into(), key: key.into() })
    }

    /// The place itself, or one for this export in it when it is a folder.
    fn within(&self, name: &str, checkpoint: &str) -> Self {
        let file = file_name(name, checkpoint);
        match self {
            Self::File(path) if path.is_dir() => Self::File(path.join(file)),
            Self::Object { bucket, key } if key.is_empty() || key.ends_with('/') => {
                Self::Object { bucket: bucket.clone(), key: format!("{key}{file}") }
            }
            place => place.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object { bucket, key } => write!(f, "{SCHEME}{bucket}/{key}"),
        }
    }
}

/// What an export is called, unless somebody says otherwise.
pub fn file_name(name: &str, checkpoint: &str) -> String {
    format!("{name}-{checkpoint}{EXTENSION}")
}

/// Why an export is not where it was to be. Each one plain sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file of this machine.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something stands there.
    #[error("{0} exists and is not written over; choose another name, or remove it")]
    Exists(Place),
    /// An object store.
    #[error("{place}: {why}")]
    Object {
        /// What was wanted of it.
        place: Place,
        /// Its reason, and what helps.
        why: String,
    },
    /// Somebody wanted it so.
    #[error("it was broken off, and nothing of it is left")]
    Cancelled,
    /// The same, where the server may have been done already.
    #[error("it was broken off; if all had come by then the sprite is there, so look before trying again")]
    Left,
}

impl Error {
    fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { doing, path: path.clone(), source }
    }
}

/// An export that is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub place: Place,
    /// Id of the checkpoint that it is of.
    pub checkpoint: String,
    /// Its bytes.
    pub bytes: u64,
}

/// Exports a sprite to a place, where nothing stands unless `over` says that it may be replaced. It is there when it is whole, or not at all. `tell` hears the
/// bytes that have come.
///
/// # Errors
/// When the endpoint does not give it, the place does not take it, or `cancel` ends it.
pub async fn export(
    client: &Client,
    name: &str,
    wish: &ExportWish,
    place: &Place,
    over: bool,
    cancel: &CancellationToken,
    tell: impl Fn(u64) + Send + Sync,
) -> Result<Stored, Error> {
    let work = async {
        let Export { checkpoint, bytes } = client.export(name, wish).await?;
        Ok::<_, Error>((place.within(name, &checkpoint), checkpoint, bytes))
    };
    let (place, checkpoint, bytes) = cancel.run_until_cancelled(work).await.ok_or(Error::Cancelled)??;
    let done = AtomicU64::new(0);
    let counted = bytes.map_err(Error::from).inspect_ok(|piece| {
        tell(done.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64);
    });
    // The stream ends with an error, by which whoever takes it clears away what has come.
    let counted = counted.take_until(cancel.cancelled()).chain(futures::stream::once(async {
        if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(Bytes::new()) }
    }));
    match &place {
        Place::File(path) => to_file(path, &place, over, counted).await?,
        Place::Object { bucket, key } => {
            let told = [("sprite-name", name), ("sprite-checkpoint", &checkpoint)];
            object::put(bucket, key, over, &told, counted, cancel).await?;
        }
    }
    Ok(Stored { place, checkpoint, bytes: done.into_inner() })
}

async fn to_file(
    path: &Path,
    place: &Place,
    over: bool,
    bytes: impl Stream<Item = Result<Bytes, Error>>,
) -> Result<(), Error> {
    if !over && path.symlink_metadata().is_ok() {
        return Err(Error::Exists(place.clone()));
    }
    let failed = Error::file("write", path);
    if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        return Err(failed(io::Error::other("something else than a file stands there")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = tempfile::Builder::new().prefix(".sprite-").suffix(".part").tempfile_in(folder);
    let draft: NamedTempFile = draft.map_err(&failed)?;
    let mut file = tokio::fs::File::from_std(draft.as_file().try_clone().map_err(&failed)?);
    let mut bytes = std::pin::pin!(bytes);
    while let Some(piece) = bytes.try_next().await? {
        file.write_all(&piece).await.map_err(&failed)?;
    }
    file.flush().await.map_err(&failed)?;
    file.sync_all().await.map_err(&failed)?;
    let placed = if over { draft.persist(path) } else { draft.persist_noclobber(path) };
    match placed {
        // Its name has to last as well.
        Ok(_) => tokio::fs::File::open(folder).await.map_err(&failed)?.sync_all().await.map_err(&failed),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(place.clone())),
        Err(error) => Err(failed(error.error)),
    }
}

/// Makes a sprite from an export, named as it says or `name`. `tell` hears the bytes that were sent, and how many there are.
///
/// # Errors
/// When the export cannot be read, the endpoint does not take it, or `cancel` ends it.
pub async fn import(
    client: &Client,
    place: &Place,
    name: Option<&str>,
    cancel: &CancellationToken,
    tell: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
) -> Result<Sprite, Error> {
    let done = AtomicU64::new(0);
    let counted = move |piece: &Bytes, all: Option<u64>| {
        tell(done.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64, all);
    };
    let work = async {
        match place {
            Place::File(path) => {
                let failed = Error::file("read", path);
                let file = tokio::fs::File::open(path).await.map_err(&failed)?;
                let found = file.metadata().await.map_err(&failed)?;
                if found.is_dir() {
                    return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
                }
                // What is no ordinary file does not know how long it is.
                let all = found.is_file().then_some(found.len());
                let bytes = ReaderStream::with_capacity(file, PIECE);
                let bytes = bytes.inspect_ok(move |piece| counted(piece, all));
                Ok(client.import(name, all, bytes).await?)
            }
            Place::Object { bucket, key } => {
                let (all, bytes) = object::get(bucket, key).await?;
                let bytes = bytes.inspect_ok(move |piece| counted(piece, Some(all)));
                Ok(client.import(name, Some(all), bytes).await?)
            }
        }
    };
    cancel.run_until_cancelled(work).await.unwrap_or(Err(Error::Left))
}

/// Exports below an address of objects, the newest first.
///
/// # Errors
/// When it is none, or the store does not tell.
pub async fn list(place: &Place) -> Result<Vec<Listed>, Error> {
    match place {
        Place::Object { bucket, key } => object::list(bucket, key).await,
        Place::File(path) => {
            let why = io::Error::other(format!("it is no address of objects such as {SCHEME}bucket/folder/"));
            Err(Error::file("list", path)(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let object = |bucket: &str, key: &str| Place::Object { bucket: bucket.into(), key: key.into() };
        assert_eq!(Place::parse("s3://team/a/b.sprite"), Ok(object("team", "a/b.sprite")));
        assert_eq!(Place::parse("s3://team"), Ok(object("team", "")));
        assert_eq!(Place::parse("a/s3:/b"), Ok(Place::File("a/s3:/b".into())));
        for bad in ["", "s3://", "s3:///x", "s3://a b/c", "s3://user@host/c"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(object("team", "a/").within("box", "v1"), object("team", "a/box-v1.sprite"));
        assert_eq!(object("team", "").within("box", "v1"), object("team", "box-v1.sprite"));
        assert_eq!(object("team", "a").within("box", "v1"), object("team", "a"));
        assert_eq!(object("team", "a/b").to_string(), "s3://team/a/b");
    }

    #[tokio::test]
    async fn a_file_is_there_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box.sprite");
        let place = Place::File(path.clone());
        let put = async |over, pieces: Vec<Result<Bytes, Error>>| {
            to_file(&path, &place, over, futures::stream::iter(pieces)).await
        };
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let broken = put(false, vec![Ok("a".into()), Err(Error::Cancelled)]).await;
        assert!(matches!(broken, Err(Error::Cancelled)) && names() == 0);
        put(false, vec![Ok("a".into()), Ok("b".into())]).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        assert!(matches!(put(false, vec![Ok("c".into())]).await, Err(Error::Exists(_))));
        put(true, vec![Ok("c".into())]).await.unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), names()), (b"c".to_vec(), 1));
    }
}
