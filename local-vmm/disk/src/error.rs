//! What can go wrong with a volume.

use std::io;
use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure of the disk, told so that a person knows what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the volume open.
    #[error("the disk {0} is in use by another process; stop the sprite that runs on it and try again")]
    InUse(PathBuf),
    /// There is no volume where one was expected.
    #[error("there is no disk at {0}; the sprite was never created completely or has been destroyed")]
    NoVolume(PathBuf),
    /// A volume stands where a new one was to be made.
    #[error("a disk already exists at {0}; choose another place or destroy that one first")]
    Exists(PathBuf),
    /// The base image does not fit into the requested size, or the size makes no sense.
    #[error("a disk of {size} bytes cannot be made: {why}")]
    BadSize {
        /// Requested size in bytes.
        size: u64,
        /// The reason.
        why: &'static str,
    },
    /// The manifest or a layer contradicts the format.
    #[error("the disk is damaged: {path}: {why}; run `sprites-tui disk check` on it")]
    Damaged {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The volume was written by a newer version of this program.
    #[error("the disk has format {found}, this program knows up to {known}; use a newer version")]
    Format {
        /// Format number in the manifest.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// The host file system lacks something the layers need.
    #[error(
        "the file system of {path} cannot hold sprite disks: {why}; move the data directory to ext4, xfs, btrfs or tmpfs"
    )]
    Unfit {
        /// The directory that was tried.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// No checkpoint of that name.
    #[error("there is no checkpoint {0:?}; list the checkpoints to see which exist")]
    NoCheckpoint(String),
    /// What is to be left out of a checkpoint's way is not on it.
    #[error("checkpoint {to} does not come from {since}; choose one that it comes from")]
    NotOnTheWay {
        /// The checkpoint.
        to: String,
        /// The one that it was to come from.
        since: String,
    },
    /// What is asked for is in too many pieces.
    #[error(
        "its blocks lie in more than {0} pieces, which no export holds; export it since an earlier checkpoint"
    )]
    Scattered(usize),
    /// A checkpoint from elsewhere has an id that none can have.
    #[error("{0:?} is no id of a checkpoint; have the export made anew")]
    BadId(String),
    /// The volume on which one from elsewhere is to stand has no such state.
    #[error("the disk {0} no longer has the state on which the new one is to stand; try again")]
    NoState(PathBuf),
    /// The live disk cannot be deleted or restored.
    #[error("\"Current\" is the live disk, not a checkpoint; name a checkpoint instead")]
    IsCurrent,
    /// A comment is longer than the limit.
    #[error("the comment has {0} bytes, at most {max} are kept; shorten it", max = crate::MAX_COMMENT)]
    CommentTooLong(usize),
    /// The steps of a checkpoint were called out of order.
    #[error("the checkpoint cannot go on: {0}")]
    Order(&'static str),
    /// More layers or checkpoints than the format allows.
    #[error("the disk has reached its limit of {0} layers; delete checkpoints you no longer need")]
    TooManyLayers(usize),
    /// A request reaches beyond the end of the disk.
    #[error("a request for {len} bytes at {offset} lies outside the disk of {size} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Size of the disk.
        size: u64,
    },
    /// An earlier flush or metadata write failed, so nothing later may be promised.
    #[error(
        "an earlier write to the disk failed and its durable state is unknown; stop the sprite and start it again"
    )]
    Poisoned,
    /// The host file system is full.
    #[error("the host has no space left ({doing} {path}); free some space and try again")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// The file concerned.
        path: PathBuf,
    },
    /// The host refused a file operation.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// The host's own words.
        source: io::Error,
    },
    /// Writing an exported image failed.
    #[error("cannot write the exported image {path}: {source}")]
    Export {
        /// Where the image was to stand.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// Wraps a host error with what was being done to which file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace { doing, path },
            _ => Self::Io { doing, path, source },
        }
    }

    /// A contradiction found in `path`.
    pub(crate) fn damaged(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), why: why.into() }
    }

    /// Whether the cause is a full host disk.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Device code that speaks `io::Error` gets the nearest errno.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NoSpace { .. } => io::ErrorKind::StorageFull,
            Error::OutOfRange { .. } => io::ErrorKind::InvalidInput,
            Error::InUse(_) => io::ErrorKind::WouldBlock,
            Error::NoVolume(_) | Error::NoCheckpoint(_) => io::ErrorKind::NotFound,
            Error::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
