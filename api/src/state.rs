//! Files of a sprite's checkpoints and of its present disk, read from outside: what `/v1/local/sprites/{name}/files…` and `…/diff…` answer.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/local/sprites/{name}/files?at=v3&path=/etc` | [`FilesAt`]: what a directory holds, or the one entry of anything else |
//! | `GET /v1/local/sprites/{name}/files/read?at=v3&path=/etc/hosts` | the bytes; `offset` and `length` ask for a part |
//! | `GET /v1/local/sprites/{name}/diff?from=v1&to=Current` | [`Diff`] |
//! | `GET /v1/local/sprites/{name}/diff/file?from=v1&to=Current&path=/etc/hosts` | [`FileDiff`] |
//!
//! `at`, `from` and `to` take a checkpoint's id or `Current`. Paths are absolute; links are followed within the disk, and nowhere else.
//! None of it wakes a sprite or keeps one awake. A sprite that runs is asked for its present files; to compare with them an automatic checkpoint is made, and
//! told, when something was written since the last one.

use crate::files::{FileKind, Listing};
use serde::{Deserialize, Serialize};

/// Most lines of a [`Diff`]; how many more there are is told.
pub const MAX_CHANGES: usize = 20_000;
/// Largest file whose text is compared, bytes.
pub const MAX_TEXT: u64 = 1 << 20;
/// Most bytes of a [`FileDiff`]'s text.
pub const MAX_DIFF: usize = 2 << 20;
/// Header of the bytes of a file: how far they are those of the state that was asked for, a [`Seen`].
pub const SEEN: &str = "sprite-seen";

/// How far an answer is the state that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// All of it: a checkpoint, or the disk of a sprite that was stopped in order.
    #[default]
    Whole,
    /// The sprite runs and was asked.
    Live,
    /// The sprite sleeps with its memory: what its kernel had not yet written to the disk is not in it.
    AsWritten,
}

impl Seen {
    /// As in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Live => "live",
            Self::AsWritten => "as_written",
        }
    }
}

/// Files of one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesAt {
    /// The state that was asked for.
    pub at: String,
    /// How far this is it.
    pub seen: Seen,
    /// The entries, at most [`MAX_LISTED`](crate::files::MAX_LISTED); `count` tells how many there are.
    #[serde(flatten)]
    pub listing: Listing,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// In what something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Its bytes.
    Contents,
    /// Where a link leads.
    Target,
    /// Its permissions.
    Mode,
    /// Its owner or group.
    Owner,
    /// It was something else, such as a file that is now a link.
    Kind,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Absolute path. Bytes that are not UTF-8 are shown with replacement characters.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// What it is, or was.
    #[serde(rename = "type")]
    pub kind: FileKind,
    /// Bytes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Bytes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// In what it changed; empty when it is new or gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<Aspect>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What was asked for.
    pub asked: String,
    /// What was looked at; for the present of a sprite that runs a checkpoint. Ask for this to see more of the same comparison.
    pub at: String,
    /// How far it is what was asked for.
    pub seen: Seen,
}

/// What is different between two states of a sprite's files. What is of another time but otherwise the same is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The earlier state, or whichever was named first.
    pub from: Side,
    /// The other one.
    pub to: Side,
    /// By path, at most [`MAX_CHANGES`].
    pub changes: Vec<Changed>,
    /// How many were added in all.
    pub added: u64,
    /// How many were changed in all.
    pub changed: u64,
    /// How many were removed in all.
    pub removed: u64,
    /// Bytes of the disks that are not the same by where they are stored, file system metadata and free space included.
    pub disk_bytes: u64,
    /// Whether everything was compared; else why not, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// How the contents of one file compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    /// The same.
    #[default]
    Same,
    /// Different lines of text.
    Text,
    /// Different, and at least one is no text.
    Binary,
    /// Different, and at least one is larger than [`MAX_TEXT`].
    Large,
}

/// What is different in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// The earlier state.
    pub from: Side,
    /// The other one.
    pub to: Side,
    /// Absolute path.
    pub path: String,
    /// Bytes before; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Bytes after; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How they compare.
    pub contents: Contents,
    /// In unified form with three lines of context, for [`Contents::Text`]; links are compared by their targets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unified: String,
    /// Whether the text was cut off at [`MAX_DIFF`] bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}
