//! What can go wrong when files are looked for on a disk.

use serde::{Deserialize, Serialize};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure, as it goes from the process that looks to the one that asked. Paths in it are a guest's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// Nothing stands at that path.
    #[error("there is no {0:?} in this state of the disk")]
    NotFound(String),
    /// A folder was wanted.
    #[error("{0:?} is not a directory")]
    NotADirectory(String),
    /// A file was wanted.
    #[error("{0:?} is a directory; name a file in it")]
    IsADirectory(String),
    /// Sockets, pipes and devices hold nothing.
    #[error("{0:?} is a socket, pipe or device and has no contents on the disk")]
    NotAFile(String),
    /// A path that cannot be.
    #[error("a path is absolute and at most 4096 bytes long; {0:?} is not")]
    BadPath(String),
    /// Links that lead to links.
    #[error("{0:?} leads through too many symbolic links")]
    Links(String),
    /// No such checkpoint, or a volume that cannot be opened.
    #[error("{0}")]
    Disk(String),
    /// The sprite was woken, or the checkpoint deleted, while it was looked at.
    #[error("this changed while it was looked at; ask again")]
    Moved,
    /// The file system contradicts itself.
    #[error(
        "the file system on this disk is damaged: {0}; start the sprite and run `fsck -n` in it to learn more"
    )]
    Damaged(String),
    /// A feature of ext4 that sprites' disks do not have from the beginning.
    #[error(
        "the file system on this disk has {0}, which cannot be read from outside; start the sprite and look inside"
    )]
    Unsupported(String),
    /// More than is looked through for one question.
    #[error("this takes too long to look through ({0}); ask for less at once")]
    TooMuch(String),
}

impl Error {
    pub(crate) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }
}
