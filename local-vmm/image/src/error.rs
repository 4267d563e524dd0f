//! What can go wrong with images.

use std::io;
use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure of the image store, told so that a person knows what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program the build runs is not installed.
    #[error("the program {tool} is missing; install it with `apt-get install {package}` and build again")]
    MissingTool {
        /// Name of the program.
        tool: &'static str,
        /// Debian package that holds it.
        package: &'static str,
    },
    /// Debian's archive could not be reached.
    #[error(
        "Debian's packages could not be fetched ({detail}); check the network and the package sources, then build again"
    )]
    Network {
        /// The tool's own line.
        detail: String,
    },
    /// The host's disk is full.
    #[error(
        "the disk is full while {doing}; an image needs about 2 GB while it is built, free some space and build again"
    )]
    NoSpace {
        /// Step of the build.
        doing: &'static str,
    },
    /// A tool ended with an error.
    #[error("{doing} failed: {detail}")]
    Command {
        /// Step of the build.
        doing: &'static str,
        /// Its last words.
        detail: String,
    },
    /// A tool did not end in time.
    #[error("{doing} took longer than {minutes} minutes and was stopped; check the network and build again")]
    Timeout {
        /// Step of the build.
        doing: &'static str,
        /// The deadline.
        minutes: u64,
    },
    /// Somebody asked to stop.
    #[error("the image build was stopped; nothing was left behind")]
    Cancelled,
    /// A needed part is not in the kernel package.
    #[error("the kernel package has no {what}; build with another Debian release (`suite`)")]
    Kernel {
        /// The missing part.
        what: String,
    },
    /// A kernel that is packed in an unknown way, or damaged.
    #[error("the kernel {path} cannot be unpacked: {why}")]
    Packing {
        /// The packed kernel.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A setting makes no sense.
    #[error("the image setting {setting} is wrong: {why}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No image of that id.
    #[error("there is no image {0:?}; `sprites-tui image list` shows the images there are")]
    NoImage(String),
    /// No image at all.
    #[error("there is no base image yet; `sprites-tui image build` makes one")]
    NoImages,
    /// The folder of an image contradicts the format.
    #[error("the image {id} is damaged ({why}); remove its folder and run `sprites-tui image build`")]
    Damaged {
        /// Id of the image.
        id: String,
        /// What is wrong.
        why: String,
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
}

impl Error {
    /// Wraps a host error with what was being done to which file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { doing },
            _ => Self::Io { doing, path, source },
        }
    }
}
