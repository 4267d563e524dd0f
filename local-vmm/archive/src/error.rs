//! What can go wrong with a sprite in a file.

use std::io;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Each one plain sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk it is read from or written to.
    #[error("{0}")]
    Disk(#[from] vmm_disk::Error),
    /// What it is written to.
    #[error("the export cannot be written: {0}")]
    Write(io::Error),
    /// Where it comes from.
    #[error("the export could not be read to its end: {0}; try again")]
    Read(io::Error),
    /// It ends too early.
    #[error("the export ends in the middle; fetch it or make it anew")]
    Cut,
    /// It is no export at all.
    #[error("this is no exported sprite ({0}); give a file that `sprite export` has made")]
    Foreign(String),
    /// It was made by a newer program.
    #[error(
        "the export has format {found}, and this program knows formats up to {known}; use a newer version"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// It contradicts itself.
    #[error("the export is damaged: {0}; fetch it or make it anew")]
    Damaged(String),
    /// It is more than is taken.
    #[error("the export is too much: {0}")]
    TooMuch(String),
    /// A checkpoint was deleted while it was read.
    #[error("a checkpoint was deleted while it was exported, so that the export is not whole; make it anew")]
    Moved,
}

impl Error {
    pub(crate) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }

    /// What came of reading the stream.
    pub(crate) fn read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            // The stream's own words for what it cannot unpack.
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Read(error),
        }
    }
}
