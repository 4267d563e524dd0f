//! What the local server offers beyond the vendor's API, all below `/v1/local/`.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/local/version` | [`Version`] |
//! | `GET /v1/local/usage` as NDJSON | a [`UsageLine`] per sprite at once, then per running sprite each second; never ends |
//! | `GET /v1/local/sprites/{name}/usage?window=1h` | [`UsageHistory`] |
//! | `GET /v1/local/sprites/{name}/events` | [`Events`]: when it took on which state, and why; its checkpoints and restores |
//! | `GET /v1/local/events?since=…&kind=denied&limit=200` | [`Timeline`]: the same of all sprites, and what their networks denied |
//! | `GET /v1/local/sprites/{name}/network` | [`NetworkLog`]: what it tried to reach |
//! | `GET /v1/local/sprites/{name}/tree` | [`Tree`] |
//! | `POST /v1/local/sprites/{name}/fork` with [`Fork`] | 201 with the new sprite |
//! | `POST /v1/local/sprites/{name}/stop` | 204 when the sprite is cold: its programs have ended and its disk is at rest |
//! | `GET /v1/local/sprites/{name}/inside`, `…/services/{service}/logs` | see [`crate::inside`] |
//! | `GET /v1/local/sprites/{name}/files…`, `…/diff…` | see [`crate::state`] |
//! | `GET /v1/local/storage`, `…/sprites/{name}/storage` | see [`crate::storage`] |
//! | `GET /v1/local/sprites/{name}/export?checkpoint=v3&since=v1&whole=true` | the sprite as a file, as it comes (`docs/move.md`); which checkpoint it is of tells [`CHECKPOINT_HEADER`] |
//! | `POST /v1/local/import?name=box` with such a file | 201 with the new sprite |
//! | `GET /v1/local/images` | [`Images`] |
//! | `POST /v1/local/images/build` | NDJSON of [`BuildLine`], joins a build that is under way |
//!
//! Two calls of the vendor's API take one word more: `POST …/checkpoint` the body's `memory: true`, and `POST …/restore` the query
//! `memory=true`. The checkpoint then holds, or the restore brings back, all that runs. Machines must run on KVM for it.
//!
//! None of these wakes a sprite or keeps it awake.

use crate::Time;
use crate::sprite::Status;
use serde::{Deserialize, Serialize};

/// Header of the answer to an export: id of the checkpoint that it is of.
pub const CHECKPOINT_HEADER: &str = "sprite-checkpoint";

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `sprites-tui`.
    pub product: String,
    /// Version of the program.
    pub version: String,
    /// How sprites run here: `kvm` or `emulated`.
    pub machine: String,
    /// Process id of the server.
    pub pid: u32,
}

/// Accumulated use; hours are hours of the resource, GB is 10^9 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageTotals {
    /// CPU-hours with the floor applied.
    pub cpu_hours: f64,
    /// Memory GB-hours with the floor applied.
    pub memory_gb_hours: f64,
    /// Hot storage GB-hours.
    pub hot_gb_hours: f64,
    /// Stored GB-hours.
    pub stored_gb_hours: f64,
    /// Seconds awake.
    pub running_seconds: f64,
    /// Bytes sent into the network, without headers; they cost nothing.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes received from the network, without headers.
    #[serde(default)]
    pub received_bytes: u64,
    /// Money at the published rates, US dollars.
    pub cost_usd: f64,
}

impl std::ops::AddAssign for UsageTotals {
    fn add_assign(&mut self, more: Self) {
        self.cpu_hours += more.cpu_hours;
        self.memory_gb_hours += more.memory_gb_hours;
        self.hot_gb_hours += more.hot_gb_hours;
        self.stored_gb_hours += more.stored_gb_hours;
        self.running_seconds += more.running_seconds;
        self.sent_bytes = self.sent_bytes.saturating_add(more.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(more.received_bytes);
        self.cost_usd += more.cost_usd;
    }
}

/// One interval of use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// End of the interval.
    pub time: Time,
    /// Length of the interval, seconds (1 for live samples).
    pub seconds: f64,
    /// Average number of CPUs busy.
    pub cpus: f64,
    /// Memory at the end (average in rolled-up samples), bytes.
    pub memory_bytes: u64,
    /// Processes at the end.
    pub processes: u64,
    /// Bytes sent into the network in this interval, without headers.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes received from the network in this interval, without headers.
    #[serde(default)]
    pub received_bytes: u64,
    /// Bytes read from the disk in this interval.
    #[serde(default)]
    pub read_bytes: u64,
    /// Bytes written to the disk in this interval.
    #[serde(default)]
    pub written_bytes: u64,
    /// Cost of this interval, US dollars.
    pub cost_usd: f64,
}

/// One line of the live stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageLine {
    /// Sprite; empty on heartbeats.
    pub name: String,
    /// Absent while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<UsageSample>,
    /// Bytes its disk holds on the host, checkpoints included.
    pub stored_bytes: u64,
    /// Of these, bytes that forks hold as well.
    #[serde(default)]
    pub shared_bytes: u64,
    /// Use so far.
    pub totals: UsageTotals,
}

/// Past use of one sprite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageHistory {
    /// Oldest first, at most 1,000; a sprite that slept leaves a gap.
    pub samples: Vec<UsageSample>,
    /// Use so far.
    pub totals: UsageTotals,
    /// Bytes its disk holds on the host.
    pub stored_bytes: u64,
}

/// Of which kind something that happened was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A sprite took on another state.
    #[default]
    State,
    /// The same because something failed, or it stayed in its state for that reason.
    Failure,
    /// A checkpoint was made.
    Checkpoint,
    /// A checkpoint was restored.
    Restore,
    /// Its network denied something.
    Denied,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Failure => "failure",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

/// Something happened to a sprite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Time,
    /// Of which kind it was.
    #[serde(default)]
    pub kind: EventKind,
    /// The state it was in then.
    pub status: Status,
    /// As the end of a sentence that begins with the state, or with another kind: `woken by the command make`, `v3, before the upgrade`.
    pub reason: String,
}

/// Answer of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The last ones, newest first.
    pub events: Vec<Event>,
}

/// Something happened to one of all sprites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Name of the sprite.
    pub sprite: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Answer of what happened to all sprites.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The last ones, newest first; of sprites that are gone there are none.
    pub events: Vec<Happened>,
}

/// Something that a sprite tried to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEvent {
    /// When, or first of all that are counted.
    pub at: Time,
    /// `dns`, `tcp`, `udp`, `icmp`, or `frame` for what is none of these.
    pub kind: String,
    /// The name asked for, or under which the sprite knows the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// Which port there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `allowed`, `denied`, `failed`, `closed`, or `cut` when a policy no longer allowed it.
    pub verdict: String,
    /// Why, such as `no_rule`, `private`, `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Bytes from the sprite, when it has ended.
    #[serde(default)]
    pub sent: u64,
    /// Bytes for the sprite, when it has ended.
    #[serde(default)]
    pub received: u64,
    /// How often it happened.
    pub count: u64,
}

impl NetworkEvent {
    /// Where it went: the name, else the address, and the port.
    pub fn place(&self) -> String {
        let host = match (&self.name, self.address) {
            (Some(name), _) => name.clone(),
            (None, Some(std::net::IpAddr::V6(address))) if self.port.is_some() => format!("[{address}]"),
            (None, Some(address)) => address.to_string(),
            (None, None) => return "several places".into(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The reason in words.
    pub fn why(&self) -> Option<String> {
        let rule = self.rule.as_deref().unwrap_or("a rule");
        Some(match self.reason.as_deref()? {
            "rule" => format!("by {rule}"),
            "no_rule" => "no rule allows it".into(),
            "unresolved" => "no allowed name leads there".into(),
            "private" => "a private network".into(),
            "forbidden" => "this machine, or a cloud's secrets".into(),
            "other_resolver" => "another name server".into(),
            "record_type" => "records of that type".into(),
            "too_many" => "too many at once".into(),
            "refused" => "refused there".into(),
            "unreachable" => "no way there".into(),
            "timed_out" => "nobody answered".into(),
            "idle" => "nothing moved for long".into(),
            "not_permitted" => "this machine does not permit it".into(),
            "dropped" => "packets that are not in order".into(),
            other => other.replace('_', " "),
        })
    }
}

/// Answer of network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkLog {
    /// Why it has no network, as a sentence without its end; absent where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Bytes from the sprite since its machine started.
    pub sent: u64,
    /// Bytes for the sprite since its machine started.
    pub received: u64,
    /// Open connections.
    pub connections: u64,
    /// Events that were too many to keep.
    pub lost: u64,
    /// The last ones, newest first.
    pub events: Vec<NetworkEvent>,
}

/// One checkpoint in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Checkpoint id, or `Current`.
    pub id: String,
    /// Parent id; absent for a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was made.
    pub create_time: Time,
    /// What its maker said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Made by the system.
    pub is_auto: bool,
    /// Bytes that deleting it would free.
    pub exclusive_bytes: u64,
    /// Bytes it shares with others.
    pub shared_bytes: u64,
    /// Bytes of the memory that it has beside its disk: it can be restored and forked with all that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Answer of tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Parents before children; `Current` is last.
    pub nodes: Vec<TreeNode>,
}

/// Body of fork.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Name of the new sprite.
    pub name: String,
    /// Checkpoint to start from; absent means the present state, which makes an automatic checkpoint first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// All that ran then runs on in the new sprite; the checkpoint must have memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub memory: bool,
}

/// A base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// When it was built.
    pub created: Time,
    /// Distribution and release, for people.
    pub description: String,
    /// Kernel release.
    pub kernel: String,
    /// Bytes on the host.
    pub bytes: u64,
}

/// Answer of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// Newest first; new sprites use the first.
    pub images: Vec<Image>,
    /// A build is under way.
    pub building: bool,
}

/// Progress of an image build. The stream ends with `done` or `error`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildLine {
    /// 0 to 1, never falls.
    pub fraction: f64,
    /// What is being done now.
    pub step: String,
    /// The finished image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// Why it failed, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
