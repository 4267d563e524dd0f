//! What can go wrong with a sprite, and the HTTP status it is told with.

use local_vmm::HandleError;
use sprites_api::name::NameError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Each one plain sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpriteError {
    #[error("sprite not found: {0}")]
    Unknown(String),
    #[error("a sprite named {0} exists; choose another name")]
    Exists(String),
    #[error("{0}")]
    Name(NameError),
    #[error("{0}")]
    Value(String),
    #[error("{0}")]
    Disk(#[from] vmm_disk::Error),
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    #[error(
        "there is no base image yet; build one with `sprites-tui image build` or in the app, then create the sprite again"
    )]
    NoImage,
    #[error("{0}")]
    Image(String),
    #[error("the policy is kept, and holds from the sprite's next start; for now {0}")]
    Untold(String),
    #[error("{0}")]
    Machine(#[from] HandleError),
    /// A sprite in a file.
    #[error("{0}")]
    Export(vmm_archive::Error),
    #[error(
        "the export stands on the image {0}, which is not here in the same form; export the sprite again with the image's blocks, which `sprite export` does unless told `--without-image`"
    )]
    OtherImage(String),
    #[error(
        "the export holds what changed since checkpoint {0}, and no sprite here has that state; import the export before it first, or export without `--since`"
    )]
    NoState(String),
    #[error(
        "the export unpacks to {needed} bytes, and the host has room for {room}; free some space and try again"
    )]
    NoRoom { needed: u64, room: u64 },
    #[error("checkpoint {0} is the one the sprite stands on; restore or make another before deleting it")]
    InUse(String),
    #[error("checkpoint {0} has no memory, only a disk; restore or fork it without memory")]
    WithoutMemory(String),
    #[error(
        "machines here are emulated, and their memory cannot be kept; make the checkpoint without memory"
    )]
    NoMemory,
    #[error(
        "this month's budget is used up, and sprites sleep until it is over; raise it with `sprites-tui budget` or in the app"
    )]
    OverBudget,
    #[error(
        "no more than {0} may run at once, and so many do; let one fall asleep or stop one, then try again"
    )]
    TooManyRun(usize),
    #[error("{0} connections to this sprite are open, and that is the most; close some, then try again")]
    Crowded(usize),
    #[error("the sprite is being destroyed; make another under this name when it is gone")]
    Ending,
    /// Others waited for the same.
    #[error("{0}")]
    Shared(Arc<SpriteError>),
    #[error(
        "the sprite did not do this within {0} s; its machine may be overloaded, try again or look at its console.log"
    )]
    Late(u64),
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the server has a fault: {0}; please report it")]
    Inner(String),
}

impl From<vmm_archive::Error> for SpriteError {
    fn from(error: vmm_archive::Error) -> Self {
        match error {
            vmm_archive::Error::Disk(error) => Self::Disk(error),
            other => Self::Export(other),
        }
    }
}

impl SpriteError {
    pub(crate) fn image(error: vmm_image::Error) -> Self {
        match error {
            vmm_image::Error::NoImages => Self::NoImage,
            other => Self::Image(other.to_string()),
        }
    }

    /// A file of a machine's memory.
    pub(crate) fn memory(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing: "keep memory in", path, source }
    }

    /// HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) | Self::Disk(vmm_disk::Error::NoCheckpoint(_)) => 404,
            Self::Exists(_) | Self::InUse(_) | Self::Ending | Self::NoImage => 409,
            Self::WithoutMemory(_) | Self::NoMemory | Self::OtherImage(_) | Self::NoState(_) => 409,
            Self::Disk(vmm_disk::Error::NoState(_)) => 409,
            Self::Disk(
                vmm_disk::Error::NotOnTheWay { .. }
                | vmm_disk::Error::Scattered(_)
                | vmm_disk::Error::BadId(_)
                | vmm_disk::Error::BadSize { .. },
            ) => 400,
            Self::NoRoom { .. } => 507,
            Self::Export(error) => match error {
                vmm_archive::Error::Moved => 409,
                vmm_archive::Error::Read(_) => 400,
                vmm_archive::Error::Write(_) | vmm_archive::Error::Disk(_) => 500,
                _ => 422,
            },
            Self::OverBudget => 402,
            Self::Crowded(_) | Self::TooManyRun(_) => 429,
            Self::Disk(vmm_disk::Error::IsCurrent | vmm_disk::Error::Order(_)) => 409,
            Self::Name(_) | Self::Value(_) | Self::Disk(vmm_disk::Error::CommentTooLong(_)) => 400,
            Self::Disk(error) if error.is_no_space() => 507,
            Self::Machine(_) | Self::Untold(_) => 502,
            Self::Late(_) => 504,
            Self::Shared(error) => error.status(),
            Self::Disk(_) | Self::Store(_) | Self::Image(_) | Self::Io { .. } | Self::Inner(_) => 500,
        }
    }

    /// Machine code of the answer's body.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoImage => "no_image",
            // The vendor's word for it.
            Self::TooManyRun(_) => "concurrent_sprite_limit_exceeded",
            Self::Shared(error) => error.code(),
            _ => match self.status() {
                402 => "budget_exceeded",
                404 => "not_found",
                409 => "conflict",
                400 => "invalid",
                422 => "unreadable",
                429 => "too_many",
                502 => "machine_failed",
                504 => "timeout",
                507 => "no_space",
                _ => "internal",
            },
        }
    }
}
