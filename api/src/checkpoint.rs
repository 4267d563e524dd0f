//! Checkpoints.

use crate::Time;
use serde::{Deserialize, Serialize};

/// Id of the entry that stands for the live disk.
pub const CURRENT: &str = "Current";

/// A checkpoint in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// `Current`, `v0`, `v1`, … or `auto-…` / `pre-restore-…`.
    pub id: String,
    /// When it was made.
    pub create_time: Time,
    /// What its maker said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Ancestors, nearest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<String>>,
    /// Made by the system.
    #[serde(default)]
    pub is_auto: bool,
    /// Parent checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Empty or `mount_failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

/// Body of `POST …/checkpoint`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CreateCheckpoint {
    /// What to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// With all that runs; local servers only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub memory: bool,
}

/// One NDJSON line of create and restore (and of our image build).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressLine {
    /// `info`, `complete` or `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Text of `info` and `complete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Text of `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the line was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

impl ProgressLine {
    /// An `info` line.
    pub fn info(text: impl Into<String>) -> Self {
        Self { kind: "info".into(), data: Some(text.into()), error: None, time: Some(Time::now()) }
    }

    /// The `complete` line that ends a stream well.
    pub fn complete(text: impl Into<String>) -> Self {
        Self { kind: "complete".into(), data: Some(text.into()), error: None, time: Some(Time::now()) }
    }

    /// The `error` line that ends a stream badly.
    pub fn error(text: impl Into<String>) -> Self {
        Self { kind: "error".into(), data: None, error: Some(text.into()), time: Some(Time::now()) }
    }
}
