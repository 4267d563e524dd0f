//! Base images: what a new sprite starts from.
//!
//! An image is a folder `images/<id>/` with these files:
//!
//! | file | what |
//! |---|---|
//! | `rootfs.ext4` | Debian's root file system, sparse; a sprite's disk begins as this |
//! | `vmlinuz` | Debian's cloud kernel |
//! | `vmlinux` | the same, unpacked, as our own monitor takes it; made again when it is missing or damaged |
//! | `modules.cpio` | the kernel modules a machine needs before it can mount its disk (newc archive, see [`MODULES_DIR`]) |
//! | `image.json` | [`ImageInfo`] |
//!
//! [`ImageStore::build`] makes one with Debian's own tools and no root privileges. A build happens in a folder beside the
//! finished ones and enters the store by one rename, so that a build that dies leaves nothing half-made; sprites hold hard
//! links to what they use, so that later builds and removals never touch them.

mod archive;
mod build;
mod command;
mod config;
mod error;
mod kernel;
mod progress;
mod recipe;
mod store;
mod vmlinux;

pub use archive::{MODULES_DIR, MODULES_ORDER};
pub use config::Config;
pub use error::{Error, Result};
pub use progress::Progress;
pub use store::{Image, ImageInfo, ImageStore};
pub use vmlinux::{MAX_KERNEL, boot_kernel, unpack};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a build to stop. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A request nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the request; the build ends within a second and cleans up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was made.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
