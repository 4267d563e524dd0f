//! `manifest.json`, the first file of an export.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sprites_api::Time;
use sprites_api::policy::Policies;
use std::collections::HashSet;
use std::ops::Range;
use uuid::Uuid;
use vmm_disk::{BLOCK, Checkpoint, Deltas, MAX_RUNS};

/// Newest format this program reads and the one it writes.
pub(crate) const FORMAT: u32 = 1;
/// Longest manifest, bytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Largest disk, bytes: what disks have here. The map of one that a stranger has laid out takes up to a thousandth of it in memory.
pub const MAX_DISK: u64 = vmm_disk::DEFAULT_SIZE;
/// Most steps.
pub const MAX_STEPS: usize = 1000;
/// Longest manifest without its steps, bytes.
const MAX_HEAD: usize = 256 << 10;
/// Most characters of what is wrong with a manifest that are told.
const MAX_WHY: usize = 200;
/// The end of the year 9999, microseconds since 1970-01-01 UTC.
const LAST: i64 = 253_402_300_799_999_999;

/// What an export is of. It tells no token, no environment and no path of the machine that it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Name of the sprite where it comes from.
    pub name: String,
    /// When the export was made.
    pub created: Time,
    /// Size of the disk, bytes.
    pub disk_bytes: u64,
    /// The sprite's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// CPUs of its machine, where somebody has said how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory of its machine in MiB, where somebody has said how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// What it may reach, do and take.
    #[serde(default, skip_serializing_if = "Policies::is_unset")]
    pub policy: Policies,
    /// The image on which the first step stands; its blocks are not in the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The checkpoint on which the first step stands; what led to it is not in the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Checkpoints, each made after the one before it; the last one is the state that was exported.
    pub steps: Vec<Step>,
}

/// A base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its id, for people.
    pub id: String,
    /// See [`image_digest`](crate::image_digest).
    pub sha256: String,
}

/// A state that the other machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Names it on every machine.
    pub state: Uuid,
    /// Id of its checkpoint where the export comes from.
    pub checkpoint: String,
}

/// A checkpoint, and what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Names the state on every machine that has it.
    pub state: Uuid,
    /// Id of the checkpoint.
    pub checkpoint: String,
    /// When it was made.
    pub created: Time,
    /// What its maker said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Made by the system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_auto: bool,
    /// Runs of blocks of 4096 bytes whose bytes are in the step's file, in this order: number of the first block, and how many.
    pub data: Vec<(u64, u64)>,
    /// Runs of blocks that became zeros.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zero: Vec<(u64, u64)>,
}

impl Step {
    /// Name of the file with its blocks.
    pub(crate) fn file(&self, place: usize) -> String {
        format!("steps/{place:04}-{}.blocks", self.checkpoint)
    }

    /// Bytes of that file.
    pub fn bytes(&self) -> u64 {
        self.data.iter().map(|(_, count)| count.saturating_mul(BLOCK)).fold(0, u64::saturating_add)
    }

    /// Bytes that it takes on a disk at most, marks of zeros included.
    fn room(&self) -> u64 {
        let marks = |(_, count): &(u64, u64)| (count / 8).saturating_add(2 * BLOCK);
        self.zero.iter().map(marks).fold(self.bytes(), u64::saturating_add)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            id: self.checkpoint.clone(),
            create_time: self.created.as_micros().clamp(0, LAST),
            // It will stand on terminals.
            comment: self
                .comment
                .as_ref()
                .map(|text| text.chars().filter(|sign| !sign.is_control()).collect()),
            parent: None,
            is_auto: self.is_auto,
        }
    }
}

impl Manifest {
    /// A manifest of what `deltas` tell, named `name`; what else is to be told is added by the caller, the image too.
    ///
    /// # Errors
    /// When it is more than an export can hold.
    pub fn of(name: &str, deltas: &Deltas) -> Result<Self> {
        let pairs = |runs: &[Range<u64>]| runs.iter().map(|run| (run.start, run.end - run.start)).collect();
        let since = deltas.since().map(|(state, id)| Since { state, checkpoint: id.to_owned() });
        let manifest = Self {
            format: FORMAT,
            name: name.to_owned(),
            created: Time::now(),
            disk_bytes: deltas.size(),
            labels: Vec::new(),
            cpus: None,
            memory_mb: None,
            policy: Policies::default(),
            image: None,
            since,
            steps: deltas
                .steps()
                .iter()
                .map(|step| Step {
                    state: step.state,
                    checkpoint: step.checkpoint.id.clone(),
                    created: Time::from_micros(step.checkpoint.create_time),
                    comment: step.checkpoint.comment.clone(),
                    is_auto: step.checkpoint.is_auto,
                    data: pairs(&step.data),
                    zero: pairs(&step.zero),
                })
                .collect(),
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// All of it but the steps.
    pub fn head(&self) -> Self {
        Self {
            format: self.format,
            name: self.name.clone(),
            created: self.created,
            disk_bytes: self.disk_bytes,
            labels: self.labels.clone(),
            cpus: self.cpus,
            memory_mb: self.memory_mb,
            policy: self.policy.clone(),
            image: self.image.clone(),
            since: self.since.clone(),
            steps: Vec::new(),
        }
    }

    /// Id of the checkpoint that was exported.
    pub fn checkpoint(&self) -> &str {
        self.steps.last().map_or("", |step| &step.checkpoint)
    }

    /// Bytes of all blocks in the export.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(Step::bytes).fold(0, u64::saturating_add)
    }

    /// Bytes that all of it takes on a disk at most.
    pub fn room(&self) -> u64 {
        self.steps.iter().map(Step::room).fold(0, u64::saturating_add)
    }

    /// Reads and checks one.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        // Looked at first, where all of it may be anything: small texts and lists take far more memory than room in a file.
        #[derive(Deserialize)]
        struct Outline<'t> {
            format: u32,
            #[serde(borrow)]
            steps: &'t RawValue,
        }
        // The error repeats words of the text, which may be long.
        let wrong = |error: serde_json::Error| {
            let why: String =
                error.to_string().chars().filter(|sign| !sign.is_control()).take(MAX_WHY).collect();
            Error::damaged(format!("its manifest makes no sense: {why}"))
        };
        let outline: Outline<'_> = serde_json::from_slice(text).map_err(wrong)?;
        if outline.format > FORMAT {
            return Err(Error::Newer { found: outline.format, known: FORMAT });
        }
        let head = text.len() - outline.steps.get().len();
        if head > MAX_HEAD {
            return Err(Error::TooMuch(format!(
                "its settings have {head} bytes, and at most {MAX_HEAD} are taken"
            )));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(wrong)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self.disk_bytes == 0 || !self.disk_bytes.is_multiple_of(BLOCK) {
            return Err(Error::damaged(format!("no disk has {} bytes", self.disk_bytes)));
        }
        if self.disk_bytes > MAX_DISK {
            return Err(Error::TooMuch(format!(
                "its disk has {} bytes, and at most {MAX_DISK} are taken",
                self.disk_bytes
            )));
        }
        if self.steps.is_empty() {
            return Err(Error::damaged("it has no checkpoint"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(Error::TooMuch(format!(
                "it has {} checkpoints, and at most {MAX_STEPS} are taken; export it since one of them",
                self.steps.len()
            )));
        }
        let runs: usize = self.steps.iter().map(|step| step.data.len() + step.zero.len()).sum();
        if runs > MAX_RUNS {
            return Err(Error::TooMuch(format!(
                "its blocks lie in {runs} pieces, and at most {MAX_RUNS} are taken; export it since an earlier checkpoint"
            )));
        }
        if self.image.is_some() && self.since.is_some() {
            return Err(Error::damaged("it stands both on an image and on a checkpoint"));
        }
        let mut known: HashSet<Uuid> = self.since.iter().map(|since| since.state).collect();
        let mut ids = HashSet::new();
        // What becomes zeros was something else before. Without that bound a small file would make many large layers of marks.
        let mut full = self.disk_bytes / BLOCK;
        for step in &self.steps {
            if !ids.insert(step.checkpoint.as_str()) {
                return Err(Error::damaged("two of its checkpoints have the same id"));
            }
            if !known.insert(step.state) {
                return Err(Error::damaged("two of its checkpoints are the same"));
            }
            for runs in [&step.data, &step.zero] {
                self.check_runs(runs)?;
            }
            let count = |runs: &[(u64, u64)]| runs.iter().map(|(_, count)| count).sum::<u64>();
            full = full
                .checked_sub(count(&step.zero))
                .ok_or_else(|| Error::damaged("more of its blocks become zeros than there are"))?
                .saturating_add(count(&step.data));
        }
        Ok(())
    }

    /// Runs are in order, do not touch, and lie on the disk. So a step is never more than the disk.
    fn check_runs(&self, runs: &[(u64, u64)]) -> Result<()> {
        let (blocks, mut free) = (self.disk_bytes / BLOCK, 0);
        for (first, count) in runs {
            let end = first.checked_add(*count).filter(|end| *end <= blocks);
            match end {
                Some(end) if *count > 0 && *first >= free => free = end + 1,
                _ => {
                    return Err(Error::damaged("its blocks are not in order, or beyond the end of its disk"));
                }
            }
        }
        Ok(())
    }
}
