//! What sprites' disks take on the host, and what to delete first: `GET /v1/local/storage` and `GET /v1/local/sprites/{name}/storage`.

use crate::Time;
use serde::{Deserialize, Serialize};

/// All sprites of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// By bytes, the largest first.
    pub sprites: Vec<SpriteStorage>,
    /// What the disks take in all. What forks share is counted once for each.
    pub stored_bytes: u64,
    /// What deleting all that is [first](SpriteStorage::first) frees at least.
    pub first_bytes: u64,
    /// What is free on the host's file system, for this user.
    pub free_bytes: u64,
}

/// One sprite's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpriteStorage {
    /// Which one.
    pub name: String,
    /// What its disk takes, checkpoints included, the image not.
    pub stored_bytes: u64,
    /// Of these, what forks hold as well.
    pub shared_bytes: u64,
    /// Its checkpoints in the order in which to delete them: automatic ones before those that people made, and the oldest first.
    pub checkpoints: Vec<Deletable>,
    /// Ids of those to delete first: the automatic ones, oldest first, but for the one that the disk stands on.
    pub first: Vec<String>,
    /// What deleting these frees at least: what two of them hold in common comes on top.
    pub first_bytes: u64,
}

/// A checkpoint, and what there is to win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletable {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub create_time: Time,
    /// What its maker said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Made by the system.
    pub is_auto: bool,
    /// What deleting it alone frees, its memory included.
    pub frees_bytes: u64,
    /// Of these, of the memory that it has beside its disk.
    #[serde(default)]
    pub memory_bytes: u64,
    /// The disk stands on it, so that it cannot be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_used: bool,
}
