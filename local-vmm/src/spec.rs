//! What a machine consists of: written by the server, checked by the machine process.

use crate::Kind;
use crate::machine::files;
use serde::{Deserialize, Serialize};
use sprites_api::agent::{CMDLINE_IPV6, CMDLINE_MACHINE, CMDLINE_NAME, CMDLINE_URL, Identity};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

/// Name space of the machine ids that are made of sprites' ids.
const MACHINE_IDS: Uuid = uuid!("6f2a61ce-3f6d-4ac4-8e8a-5f25c9d1b0a7");
/// Largest specification that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// Most virtual CPUs.
const MAX_CPUS: u32 = 64;
/// Least memory that boots, MiB.
const MIN_MEMORY: u32 = 128;
/// Most memory, MiB.
const MAX_MEMORY: u32 = 1 << 20;
/// Longest path of a unix socket, bytes, without the final zero (`man 7 unix`).
const MAX_SOCKET_PATH: usize = 107;

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSpec {
    /// What runs it.
    pub kind: Kind,
    /// The sprite's id.
    pub id: String,
    /// The sprite's name; its host name inside.
    pub name: String,
    /// The sprite's URL, told inside as `SPRITE_URL`.
    pub url: String,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u32,
    /// Linux kernel: a bzImage, or on KVM the kernel that was packed in one.
    pub kernel: PathBuf,
    /// First part of the initramfs: the kernel modules.
    pub modules: PathBuf,
    /// Folder of the sprite's disk.
    pub volume: PathBuf,
    /// Folder in which the machine is kept while it sleeps without a process; need not exist.
    pub memory: PathBuf,
    /// Folder of the machine's lock and logs; what its process makes is [below](Self::inside).
    pub run_dir: PathBuf,
    /// Its network; without one it has no card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<NetSpec>,
}

/// A machine's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetSpec {
    /// Unix socket of whoever is the network: a stream of frames, each preceded by its length, four bytes in network order.
    pub socket: PathBuf,
    /// Address of the card.
    pub mac: [u8; 6],
    /// Whether it has IPv6.
    #[serde(default)]
    pub ipv6: bool,
}

/// Why a specification is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It cannot be read or written.
    #[error("cannot {doing} the machine's specification {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Its place.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("the machine's specification {path} cannot be understood: {why}")]
    Malformed {
        /// Its place.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A value is out of its bounds.
    #[error("the machine cannot be made: {0}")]
    Value(String),
}

impl MachineSpec {
    /// Folder of the memory that belongs to a checkpoint.
    pub fn memory_of(memory: &Path, checkpoint: &str) -> PathBuf {
        memory.join(checkpoint)
    }

    /// Who the machine is, for the agent inside.
    pub fn identity(&self) -> Identity {
        // Stable as long as the sprite is, and told to nobody else (`man 5 machine-id`).
        let machine_id = Uuid::new_v5(&MACHINE_IDS, self.id.as_bytes()).simple().to_string();
        Identity { name: Some(self.name.clone()), url: Some(self.url.clone()), machine_id: Some(machine_id) }
    }

    /// Whether its network has IPv6.
    pub(crate) fn has_ipv6(&self) -> bool {
        self.net.as_ref().is_some_and(|net| net.ipv6)
    }

    /// What the kernel's command line says to the agent.
    pub(crate) fn command_line(&self) -> String {
        let identity = self.identity();
        [(CMDLINE_NAME, identity.name), (CMDLINE_URL, identity.url), (CMDLINE_MACHINE, identity.machine_id)]
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| format!("{key}={value}")))
            .chain(self.has_ipv6().then(|| CMDLINE_IPV6.to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Folder of what the machine process makes: all of the run folder that is within its walls.
    pub fn inside(&self) -> PathBuf {
        self.run_dir.join(files::INSIDE)
    }

    /// Place of the specification within a run folder.
    pub fn path(run_dir: &Path) -> PathBuf {
        run_dir.join("spec.json")
    }

    /// Reads and checks a specification.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        let io = |source| SpecError::Io { doing: "read", path: path.to_owned(), source };
        if fs::metadata(path).map_err(io)?.len() > MAX_BYTES {
            return Err(SpecError::Malformed { path: path.to_owned(), why: "it is far too large".into() });
        }
        let spec: Self = serde_json::from_slice(&fs::read(path).map_err(io)?)
            .map_err(|error| SpecError::Malformed { path: path.to_owned(), why: error.to_string() })?;
        spec.check()?;
        Ok(spec)
    }

    /// Writes the specification into its run folder.
    pub fn save(&self) -> Result<PathBuf, SpecError> {
        self.check()?;
        let path = Self::path(&self.run_dir);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| SpecError::Malformed { path: path.clone(), why: error.to_string() })?;
        fs::write(&path, text).map_err(|source| SpecError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Checks every value against its bounds.
    pub fn check(&self) -> Result<(), SpecError> {
        let refuse = |why: String| Err(SpecError::Value(why));
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return refuse(format!("it must have 1 to {MAX_CPUS} CPUs, not {}", self.cpus));
        }
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory_mb) {
            return refuse(format!(
                "it must have {MIN_MEMORY} to {MAX_MEMORY} MiB of memory, not {}",
                self.memory_mb
            ));
        }
        if let Err(why) = sprites_api::name::check(&self.name) {
            return refuse(why.to_string());
        }
        // Both words stand on the kernel's command line, where a blank or a quote would begin another.
        let plain = |text: &str, most: usize| {
            text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
        };
        if !plain(&self.url, 500) {
            return refuse(format!("its URL {:?} has characters that do not belong there", self.url));
        }
        if self.id.is_empty() || !plain(&self.id, 100) {
            return refuse(format!("its id {:?} has characters that do not belong there", self.id));
        }
        let net = self.net.as_ref().map(|net| &net.socket);
        for path in
            [&self.kernel, &self.modules, &self.volume, &self.memory, &self.run_dir].into_iter().chain(net)
        {
            // A comma separates QEMU's options.
            if !path.is_absolute()
                || path.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b',' | b'\n' | 0))
            {
                return refuse(format!("{} must be an absolute path without commas", path.display()));
            }
        }
        let longest = self.inside().join(files::CONTROL);
        for socket in [&longest].into_iter().chain(net) {
            if socket.as_os_str().len() > MAX_SOCKET_PATH {
                return refuse(format!(
                    "the path of its socket {} is longer than {MAX_SOCKET_PATH} bytes; use a shorter folder",
                    socket.display()
                ));
            }
        }
        // The lowest bit of the first byte marks the address of a group, which no card has (IEEE 802).
        if let Some(mac) =
            self.net.as_ref().map(|net| net.mac).filter(|mac| mac[0] & 1 != 0 || *mac == [0; 6])
        {
            return refuse(format!("{mac:02x?} is no address of a network card"));
        }
        Ok(())
    }
}

/// A specification for tests.
#[cfg(test)]
pub(crate) fn example() -> MachineSpec {
    MachineSpec {
        kind: Kind::Emulated,
        id: "sprite-1".into(),
        name: "box".into(),
        url: "http://box.localhost:1/".into(),
        cpus: 2,
        memory_mb: 512,
        kernel: "/k".into(),
        modules: "/m".into(),
        volume: "/v".into(),
        memory: "/m".into(),
        run_dir: "/r".into(),
        net: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        example().check().unwrap();
        let net = |socket: &str, first| {
            Some(NetSpec { socket: socket.into(), mac: [first, 0, 0, 0, 0, 1], ipv6: false })
        };
        MachineSpec { net: net("/n", 2), ..example() }.check().unwrap();
        for net in [net("n", 2), net("/a,b", 2), net(&format!("/{}", "n".repeat(107)), 2), net("/n", 3)] {
            let spec = MachineSpec { net, ..example() };
            assert!(matches!(spec.check(), Err(SpecError::Value(_))), "{spec:?}");
        }
        let bad: [fn(&mut MachineSpec); 9] = [
            |spec| spec.cpus = 0,
            |spec| spec.memory_mb = 1,
            |spec| spec.name = "Box".into(),
            |spec| spec.url = "http://x/ init=/bin/sh".into(),
            |spec| spec.url = "\"".into(),
            |spec| spec.id = String::new(),
            |spec| spec.kernel = "k".into(),
            |spec| spec.volume = "/a,readonly=off".into(),
            |spec| spec.run_dir = format!("/{}", "r".repeat(100)).into(),
        ];
        for spoil in bad {
            let mut spec = example();
            spoil(&mut spec);
            assert!(matches!(spec.check(), Err(SpecError::Value(_))), "{spec:?}");
        }
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let spec = MachineSpec { run_dir: dir.path().to_owned(), ..example() };
        let path = spec.save().unwrap();
        assert_eq!(MachineSpec::load(&path).unwrap(), spec);
        // What earlier versions wrote has no word of a network.
        assert!(!fs::read_to_string(&path).unwrap().contains("net"));
        let net = Some(NetSpec { socket: "/n".into(), mac: [2, 0, 0, 0, 0, 1], ipv6: true });
        let spec = MachineSpec { net, ..spec };
        assert!(spec.command_line().ends_with(" sprite.ipv6"));
        assert_eq!(MachineSpec::load(&spec.save().unwrap()).unwrap(), spec);
        for bad in ["", "{}", "[1]", "{\"id\":1}"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(MachineSpec::load(&path), Err(SpecError::Malformed { .. })));
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(MachineSpec::load(&path), Err(SpecError::Io { .. })));
    }
}
