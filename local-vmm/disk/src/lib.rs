//! The disk of a sprite: a directory of sealed, immutable layers under one flat map.
//!
//! A [`Volume`] is opened by exactly one process and read and written by block devices from any thread. A [`Store`] sees
//! all volumes of a machine and does what needs more than one: forks, reclaiming of bytes nothing reaches, destruction.
//! Format, crash rules and their proofs: `docs/disk.md`.

mod account;
mod chain;
mod check;
mod deltas;
mod error;
mod export;
mod frozen;
mod host;
mod layer;
mod manifest;
mod map;
mod ranges;
mod reader;
mod receive;
mod seal;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

pub use account::Stored;
pub use check::{Report, check};
pub use deltas::{Delta, Deltas, MAX_RUNS, Start};
pub use error::{Error, Result};
pub use export::{Format, export};
pub use layer::{extents, layers, raise_file_limit};
pub use reader::CheckpointReader;
pub use receive::{Foundation, Incoming, Source};
pub use store::Store;
pub use tree::{Checkpoint, Kind, NewCheckpoint, Node, Restored, Tree};
pub use volume::Volume;

/// Bytes of a block: the unit of the map, of sharing and of accounting.
pub const BLOCK: u64 = 4096;

/// Size of a new disk unless told otherwise, in bytes. It is sparse and costs nothing.
pub const DEFAULT_SIZE: u64 = 100 << 30;

/// Beginning of the ids of checkpoints of what a restore replaced.
pub const UNDO: &str = "pre-restore-";

/// Longest comment of a checkpoint, in bytes.
pub const MAX_COMMENT: usize = 4096;

/// Id that stands for the live disk in lists; no checkpoint ever has it.
pub const CURRENT: &str = "Current";
