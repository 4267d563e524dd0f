//! `manifest.json`: what a volume consists of. Read and checked as a whole, replaced as a whole.

use crate::host::Host;
use crate::tree::Checkpoint;
use crate::{BLOCK, CURRENT, Error, MAX_COMMENT, Result};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Newest format this program reads. It has [origins](Layer::origin).
pub(crate) const FORMAT: u32 = 2;
/// The format of volumes without them, which programs of before can read.
pub(crate) const PLAIN: u32 = 1;
/// Most layers of a volume; far beyond use, and a bound on what a damaged file can make this program allocate.
pub(crate) const MAX_LAYERS: usize = 100_000;
/// Largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Largest disk, in bytes.
pub(crate) const MAX_SIZE: u64 = 16 << 40;

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub id: Uuid,
    /// The layer this one was written over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Uuid>,
    /// Part of an image: never written, never punched, not counted as this sprite's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base: bool,
    /// Where it came from another machine: the name that the state has everywhere whose top it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Uuid>,
}

impl Layer {
    /// Names the state whose top this layer is, on every machine that has it.
    pub(crate) fn state(&self) -> Uuid {
        self.origin.unwrap_or(self.id)
    }
}

/// A checkpoint and the sealed layer that is its top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub layer: Uuid,
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub format: u32,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Every layer stands after the one below it.
    pub layers: Vec<Layer>,
    /// In the order they were made.
    pub checkpoints: Vec<Entry>,
    /// The layer that takes writes.
    pub head: Uuid,
    /// The checkpoint the live disk stands on.
    #[serde(default)]
    pub head_parent: Option<String>,
    /// The head of after the checkpoint that is being made.
    #[serde(default)]
    pub next: Option<Uuid>,
    /// Number of the next `v<N>`.
    pub next_number: u64,
}

/// Path of the manifest of a volume.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("manifest.json")
}

impl Manifest {
    /// Reads and checks the manifest of the volume in `dir`.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = path(dir);
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoVolume(dir.to_owned()));
            }
            Err(error) => return Err(Error::io("read", path, error)),
        };
        if found.len() > MAX_BYTES {
            return Err(Error::damaged(path, "it is far larger than any manifest"));
        }
        let text = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version =
            serde_json::from_slice(&text).map_err(|error| Error::damaged(&path, error.to_string()))?;
        if version.format > FORMAT {
            return Err(Error::Format { found: version.format, known: FORMAT });
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| Error::damaged(&path, error.to_string()))?;
        manifest.check().map_err(|why| Error::damaged(&path, why))?;
        Ok(manifest)
    }

    /// Replaces the manifest of the volume in `dir`, durably.
    pub(crate) fn save(&self, dir: &Path, host: &dyn Host) -> Result<()> {
        let path = path(dir);
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| Error::io("write", &path, error.into()))?;
        host.replace(&path, &text).map_err(|error| Error::io("write", path, error))
    }

    /// Every rule of the format; the answer tells the first one that is broken.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        if self.size == 0 || !self.size.is_multiple_of(BLOCK) || self.size > MAX_SIZE {
            return Err(format!("a disk cannot have {} bytes", self.size));
        }
        if self.layers.len() > MAX_LAYERS || self.checkpoints.len() > MAX_LAYERS {
            return Err("it lists too many layers or checkpoints".into());
        }
        let mut seen = HashSet::new();
        for layer in &self.layers {
            if layer.below.is_some_and(|below| !seen.contains(&below)) {
                return Err(format!("layer {} stands before the one below it", layer.id));
            }
            if !seen.insert(layer.id) {
                return Err(format!("layer {} is listed twice", layer.id));
            }
            if layer.base && layer.below.is_some() {
                return Err(format!("base layer {} has a layer below it", layer.id));
            }
        }
        let by_id: HashMap<Uuid, &Layer> = self.layers.iter().map(|layer| (layer.id, layer)).collect();
        match by_id.get(&self.head) {
            None => return Err("its head is not among its layers".into()),
            Some(head) if head.base => return Err("its head is a base layer".into()),
            Some(_) => {}
        }
        if let Some(next) = self.next {
            match by_id.get(&next) {
                Some(layer) if layer.below == Some(self.head) => {}
                _ => return Err("its next head does not stand on its head".into()),
            }
        }
        let mut ids = HashSet::new();
        for Entry { layer, checkpoint } in &self.checkpoints {
            if !is_id(&checkpoint.id) {
                return Err(format!("{:?} is no id of a checkpoint", checkpoint.id));
            }
            if !ids.insert(checkpoint.id.as_str()) {
                return Err(format!("checkpoint {} is listed twice", checkpoint.id));
            }
            if *layer == self.head || Some(*layer) == self.next || !by_id.contains_key(layer) {
                return Err(format!("checkpoint {} has no sealed layer", checkpoint.id));
            }
            if checkpoint.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) {
                return Err(format!("the comment of checkpoint {} is too long", checkpoint.id));
            }
        }
        for parent in self.checkpoints.iter().map(|entry| &entry.checkpoint.parent).chain([&self.head_parent])
        {
            if parent.as_ref().is_some_and(|parent| !ids.contains(parent.as_str())) {
                return Err("a checkpoint's parent is missing".into());
            }
        }
        Ok(())
    }

    /// The checkpoint of that id.
    pub(crate) fn find(&self, id: &str) -> Result<&Entry> {
        if id == CURRENT {
            return Err(Error::IsCurrent);
        }
        self.checkpoints
            .iter()
            .find(|entry| entry.checkpoint.id == id)
            .ok_or_else(|| Error::NoCheckpoint(id.to_owned()))
    }

    /// The layer of that id; present by [`check`](Self::check).
    pub(crate) fn layer(&self, id: Uuid) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.id == id)
    }

    /// The layer that takes writes after a crash: the next head when there is one, because the guest may have written to it.
    pub(crate) fn top(&self) -> Uuid {
        self.next.unwrap_or(self.head)
    }

    /// Takes a checkpoint out of the list; its children become its parent's.
    pub(crate) fn forget(&mut self, id: &str) -> Result<()> {
        let parent = self.find(id)?.checkpoint.parent.clone();
        self.checkpoints.retain(|entry| entry.checkpoint.id != id);
        for held in self
            .checkpoints
            .iter_mut()
            .map(|entry| &mut entry.checkpoint.parent)
            .chain([&mut self.head_parent])
        {
            if held.as_deref() == Some(id) {
                held.clone_from(&parent);
            }
        }
        Ok(())
    }

    /// An id of the form `prefix`, made different from all that exist.
    pub(crate) fn unused(&self, prefix: &str) -> String {
        let taken = |id: &str| self.checkpoints.iter().any(|entry| entry.checkpoint.id == id);
        let mut id = prefix.to_owned();
        let mut n = 2;
        while taken(&id) {
            id = format!("{prefix}-{n}");
            n += 1;
        }
        id
    }
}

/// Whether text may be a checkpoint's id: it appears in URLs and on screens, so it is plain.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=80).contains(&id.len())
        && id != CURRENT
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
