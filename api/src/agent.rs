//! Host-only calls of the agent. They are served on the machine's vsock and never on the socket inside the sprite.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /v1/agent/health` | | 200 [`Health`] |
//! | `GET /v1/agent/usage` | | 200 [`Counters`] |
//! | `GET /v1/agent/inside` | | 200 [`crate::inside::Interior`] |
//! | `POST /v1/agent/quiesce` | [`Quiesce`] | 200 [`Quiesced`]: the file system was at rest, and the disk's bell rung meanwhile |
//! | `POST /v1/agent/wake` | [`Wake`] | 204: the machine knows that it was away |
//! | `GET /v1/agent/web`, upgrade to [`WEB`] | | 101, then the bytes of one connection to the web app inside; 502, 504 when there is none |
//! | `GET /v1/agent/outward`, upgrade to [`OUTWARD`] | | 101, then the agent asks, as an HTTP client, what only the host can answer |
//! | `PUT /v1/agent/checkpoints` | a list of names | 204: these are shown below `/.sprite/checkpoints`, newest first |
//! | `PUT /v1/agent/policy` | [`crate::policy::Policies`] | 204: they hold; services start after the first one |
//! | `POST /v1/agent/shutdown` | | 202, then sessions end, file systems are flushed, the machine powers off |

use crate::Time;
use serde::{Deserialize, Serialize};

/// vsock port on which the agent listens.
pub const VSOCK_PORT: u32 = 1024;
/// Where the guest reads its disk's name. Each reading is a request to the disk (VIRTIO 1.2, section 5.2.6, `VIRTIO_BLK_T_GET_ID`), which
/// makes it a bell: a disk that waits for a checkpoint switches its layers at the first one, and answers with the [`Quiesce::word`].
pub const BELL: &str = "/sys/block/vda/serial";
/// Path of the API socket inside the sprite.
pub const API_SOCKET: &str = "/.sprite/api.sock";
/// Kernel command line key that carries the sprite's name to the agent.
pub const CMDLINE_NAME: &str = "sprite.name";
/// Kernel command line key that carries the sprite's URL to the agent.
pub const CMDLINE_URL: &str = "sprite.url";
/// Kernel command line key that carries the machine id to the agent.
pub const CMDLINE_MACHINE: &str = "sprite.machine";

/// Kernel command line word that tells the agent that its network has IPv6.
pub const CMDLINE_IPV6: &str = "sprite.ipv6";

/// What a machine's network card is called inside.
pub const CARD: &str = "eth0";
/// Address of a machine on the cable to its gateway; every sprite has the same, since no cable meets another.
pub const ADDRESS: [u8; 4] = [10, 0, 2, 15];
/// Its gateway there, which is its name server too.
pub const GATEWAY: [u8; 4] = [10, 0, 2, 2];
/// Which addresses are on the cable.
pub const NETMASK: [u8; 4] = [255, 255, 255, 0];
/// The same for IPv6, where the network has it: an address of a local prefix (RFC 4193).
pub const ADDRESS_V6: [u16; 8] = [0xfd53, 0x7072, 0x6974, 0, 0, 0, 0, 0x15];
/// Its gateway there.
pub const GATEWAY_V6: [u16; 8] = [0xfd53, 0x7072, 0x6974, 0, 0, 0, 0, 2];
/// Bits that addresses on the cable have in common.
pub const PREFIX_V6: u8 = 64;

/// Protocol of a connection to the web app inside.
pub const WEB: &str = "sprite-web";
/// Protocol of a connection on which the agent asks the host. It waits there until somebody inside asks for something that the host has to
/// answer, carries that one request, and is closed.
pub const OUTWARD: &str = "sprite-outward";

/// Protocol of a connection over which the host serves the disk of a checkpoint: the transmission phase of the NBD protocol.
pub const NBD: &str = "nbd";
/// Header that tells the size of that disk, bytes.
pub const SIZE: &str = "x-size";

/// The agent is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Version of the agent.
    pub version: String,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
}

/// Counters of everything the sprite's user runs, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Tells one boot of the kernel from another: counters of two boots have nothing to do with each other. The beginning of the kernel's
    /// `boot_id` (`man 4 random`); 0 when there is none.
    #[serde(default)]
    pub boot: u64,
    /// CPU time, microseconds (cgroup `cpu.stat` `usage_usec`).
    pub cpu_usec: u64,
    /// Memory in use now, bytes (cgroup `memory.current`).
    pub memory_bytes: u64,
    /// Processes now (cgroup `pids.current`).
    pub processes: u64,
    /// Bytes read from the disk (`Documentation/block/stat.rst`, read sectors of 512 bytes).
    #[serde(default)]
    pub read_bytes: u64,
    /// Bytes written to it.
    #[serde(default)]
    pub written_bytes: u64,
    /// Milliseconds since the kernel started, when the counters were read.
    pub uptime_ms: u64,
    /// Sessions with a connected client.
    pub attached_sessions: u32,
    /// Milliseconds since any session last had input or output; absent when there is no session.
    pub session_idle_ms: Option<u64>,
}

/// Body of quiesce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiesce {
    /// What the bell answers to who rings it first: the proof that the layers were switched while the file system was at rest. At most
    /// 20 bytes, the length of a disk's name.
    pub word: String,
}

/// Answer of quiesce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiesced {
    /// How long changes of metadata were held before, while the journal was emptied, microseconds.
    pub journal_us: u64,
    /// How long all writers were held, microseconds.
    pub held_us: u64,
    /// Whether the bell gave the word. When it did not, somebody inside had rung it before the file system was at rest.
    pub rung: bool,
}

/// Bytes of a [`Wake::seed`].
pub const SEED: usize = 32;

/// Body of wake: what a machine that stood still could not notice by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// Host's wall clock; the guest's is stepped to it.
    pub now: Time,
    /// Fresh randomness, [`SEED`] bytes as hexadecimal digits. Without it two machines that came from one memory would draw the same
    /// random numbers.
    pub seed: String,
    /// Who the machine is, when it may have been another before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whether its network has IPv6, when it may have had another network before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
}

/// Who a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The sprite's name, which is its host name.
    pub name: Option<String>,
    /// The sprite's URL.
    pub url: Option<String>,
    /// 32 lower-case hexadecimal digits for `/etc/machine-id` (`man 5 machine-id`).
    pub machine_id: Option<String>,
}

impl Identity {
    /// Longest URL, bytes.
    const URL_LIMIT: usize = 512;

    /// Without the values that break the rules.
    pub fn checked(self) -> Self {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        Self {
            name: self.name.filter(|name| crate::name::check(name).is_ok()),
            url: self.url.filter(|url| {
                (1..=Self::URL_LIMIT).contains(&url.len()) && url.bytes().all(|byte| byte.is_ascii_graphic())
            }),
            machine_id: self.machine_id.filter(|id| id.len() == 32 && id.bytes().all(digit)),
        }
    }
}
