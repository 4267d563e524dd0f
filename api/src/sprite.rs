//! A sprite as the control plane sees it.

use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a sprite is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Stopped; only the disk is kept.
    #[default]
    Cold,
    /// Paused in memory.
    Warm,
    /// Executing; compute is metered.
    Running,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Running => "running",
            Self::Unknown => "unknown",
        }
    }
}

/// Who may open a sprite's URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlSettings {
    /// `sprite` (token needed) or `public`.
    #[serde(default = "default_auth")]
    pub auth: String,
    /// `admins` or `org_users`, under `sprite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_access: Option<String>,
}

fn default_auth() -> String {
    "sprite".into()
}

impl Default for UrlSettings {
    fn default() -> Self {
        Self { auth: default_auth(), private_access: None }
    }
}

/// Size wishes; advisory on the vendor's cloud, honoured locally.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Memory, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram_mb: Option<u32>,
    /// Number of vCPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Vendor's region code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Disk, GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_gb: Option<u32>,
}

/// A sprite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sprite {
    /// Survives checkpoints and restores; changes when a name is destroyed and created again.
    #[serde(default)]
    pub id: String,
    /// Unique in its organization; see [`crate::name`].
    pub name: String,
    /// Organization slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The same slug under the name that list entries use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_slug: Option<String>,
    /// What it is doing.
    #[serde(default)]
    pub status: Status,
    /// Its web address, without trailing slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who may open the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_settings: Option<UrlSettings>,
    /// Free labels; null on the wire means none.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: Vec<String>,
    /// Version of the runtime inside.
    #[serde(default)]
    pub version: Option<String>,
    /// Version of the base environment.
    #[serde(default)]
    pub environment_version: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When its record last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
    /// Last time it woke to running.
    #[serde(default)]
    pub last_running_at: Option<Time>,
    /// Last time it was paused to warm.
    #[serde(default)]
    pub last_warming_at: Option<Time>,
    /// Sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// Environment given at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// Extension of the local server: why the sprite is in a failed state, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Extension: why it is in its state, as the end of a sentence that begins with the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Extension: what keeps it awake now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_use_by: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Body of `POST /v1/sprites`. Unknown members are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CreateSprite {
    /// The name.
    pub name: String,
    /// Who may open its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_settings: Option<UrlSettings>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Wait instead of failing when the host is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_capacity: Option<bool>,
    /// `default` or `dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// Environment of every command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// Body of `PUT /v1/sprites/{name}`: only what is present changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpdateSprite {
    /// New URL settings, member by member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_settings: Option<UpdateUrlSettings>,
    /// Replaces the whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Empties the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_labels: Option<bool>,
}

/// Part of [`UpdateSprite`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateUrlSettings {
    /// `sprite` or `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// `admins` or `org_users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_access: Option<String>,
}

/// Counters of an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgCounts {
    /// Organization slug.
    #[serde(default)]
    pub name: String,
    /// Sprites running now.
    #[serde(default)]
    pub running: u64,
    /// Sprites warm now.
    #[serde(default)]
    pub warm: u64,
    /// Sprites cold now.
    #[serde(default)]
    pub cold: u64,
    /// How many may run at once; absent when there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_limit: Option<u64>,
    /// How many may be warm at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_limit: Option<u64>,
}

/// Answer of `GET /v1/sprites`. The counters stand twice because clients read either place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpriteList {
    /// One page, ordered by name.
    pub sprites: Vec<Sprite>,
    /// Whether another page follows.
    #[serde(default)]
    pub has_more: bool,
    /// Opaque; present whenever `has_more` is true.
    #[serde(default)]
    pub next_continuation_token: Option<String>,
    /// Counters at the top level.
    #[serde(flatten)]
    pub counts: OrgCounts,
    /// The same counters, nested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgCounts>,
}

/// One line of the watch stream (`GET /v1/sprites` with `Accept: application/x-ndjson`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WatchLine {
    /// `sprite`, `deleted` (extension: the name is gone), or `heartbeat`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Absent on heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Version of the runtime inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_version: Option<String>,
    /// Last wake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_running_at: Option<Time>,
    /// Last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_warming_at: Option<Time>,
    /// When the line was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// Counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgCounts>,
}
