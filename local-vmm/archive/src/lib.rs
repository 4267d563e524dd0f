//! A sprite as one file, for other machines. Format, rules and limits: `docs/move.md`.
//!
//! The file is a tar archive in a zstd stream: [`Manifest`], the blocks of each step of the disk, sums. Writing takes one pass over the disk and no
//! room. Reading trusts nothing: every number is held against the others before it is used, what is unpacked is what was promised before, and the
//! new disk takes its place when all sums are right.

mod digest;
mod entry;
mod error;
mod manifest;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use digest::image_digest;
pub use error::{Error, Result};
pub use manifest::{Image, MAX_BYTES, MAX_DISK, MAX_STEPS, Manifest, Since, Step};
pub use read::Reader;
pub use write::write;

/// Kind of a body that is one.
pub const MEDIA_TYPE: &str = "application/zstd";
/// End of the names of files that are one.
pub const EXTENSION: &str = "sprite";
