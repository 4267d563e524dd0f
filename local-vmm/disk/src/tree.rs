//! Checkpoints and the tree they form.

use serde::{Deserialize, Serialize};

/// A state of the disk one can go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// `v0`, `v1`, …, `auto-<unix seconds>` or `pre-restore-v<N>-<unix seconds>`.
    pub id: String,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub create_time: i64,
    /// What its maker said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The checkpoint this one was made on top of; none for a child of the base image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Made by the system, not by a person.
    #[serde(default)]
    pub is_auto: bool,
}

/// Who wants a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A person: the id is the next `v<N>`.
    #[default]
    Manual,
    /// The system: the id is `auto-<unix seconds>`.
    Automatic,
}

/// What to record about a checkpoint that is being made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// What its maker says about it, at most [`MAX_COMMENT`](crate::MAX_COMMENT) bytes.
    pub comment: Option<String>,
    /// Who wants it.
    pub kind: Kind,
}

/// The outcome of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The checkpoint that holds what was replaced; restoring it undoes the restore. `None` when the live disk had not
    /// changed since its parent, so that restoring that parent is the undo.
    pub undo: Option<String>,
}

/// One line of a [`Tree`]. All bytes are whole blocks of disk content; file system metadata is not in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Id of the checkpoint, or [`CURRENT`](crate::CURRENT).
    pub id: String,
    /// The checkpoint this one stands on.
    pub parent: Option<String>,
    /// Microseconds since 1970-01-01 UTC; for `Current` the time of the question.
    pub create_time: i64,
    /// What its maker said about it.
    pub comment: Option<String>,
    /// Made by the system.
    pub is_auto: bool,
    /// Bytes stored for this one alone: what deleting it frees.
    pub exclusive: u64,
    /// Bytes it has in common with another checkpoint, the live disk, a fork or the base image.
    pub shared: u64,
    /// Bytes that are not zero by map: `exclusive + shared`.
    pub logical: u64,
}

/// All checkpoints of a volume and the live disk, parents before children; the live disk is last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The lines.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The line of that id.
    pub fn get(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }
}
