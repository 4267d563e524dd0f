//! The way to a checkpoint in steps: what each checkpoint on it changed. This is what goes to another machine.
//!
//! A step is told by blocks, not by layers: what nobody can see from one of its checkpoints is not in it, whatever layers hold.

use crate::chain;
use crate::layer::{self, OpenLayers, data_path};
use crate::manifest::{Entry, Manifest};
use crate::map::{LEAF, Map, Slot};
use crate::volume::read_exact;
use crate::{BLOCK, Checkpoint, Error, Result};
use std::io::IoSliceMut;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Most bytes that are handed over at once.
const STEP: u64 = 1 << 20;
/// Most pieces in which the blocks of all steps together lie: a guest that writes every other block is not to fill its host's memory.
pub const MAX_RUNS: usize = 1_000_000;
/// Layers that are open at once.
const LAYERS: usize = 16;

/// From where the way is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// From an empty disk on: the image's blocks belong to the first step.
    Nothing,
    /// From the image on.
    Image,
    /// From a checkpoint on, which the other has.
    Checkpoint(&'a str),
}

/// One step.
#[derive(Debug)]
pub struct Delta {
    /// Names the state it leads to, on every machine that has it.
    pub state: Uuid,
    /// The checkpoint of that state.
    pub checkpoint: Checkpoint,
    /// Blocks that hold something else than before: runs in order, of which none touch.
    pub data: Vec<Range<u64>>,
    /// Blocks that are zeros and were not before, in the same form.
    pub zero: Vec<Range<u64>>,
    /// Which layer holds them.
    parts: Vec<(Slot, Range<u64>)>,
}

impl Delta {
    /// Bytes of its blocks.
    pub fn bytes(&self) -> u64 {
        self.data.iter().map(|run| (run.end - run.start) * BLOCK).sum()
    }
}

/// See the module. What it reads is of the checkpoints as long as they [are there](Self::are_there).
#[derive(Debug)]
pub struct Deltas {
    dir: PathBuf,
    size: u64,
    layers: Vec<Uuid>,
    base: Option<Uuid>,
    since: Option<(Uuid, String)>,
    steps: Vec<Delta>,
}

impl Deltas {
    /// The way to checkpoint `to` of the volume in `dir`, which may be in use: a step for each checkpoint that somebody made on it, and one for
    /// `to` itself.
    ///
    /// # Errors
    /// When there is no such checkpoint, `to` does not come from the one that is the start, or a layer cannot be read.
    pub fn open(dir: &Path, to: &str, start: Start<'_>) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let top = manifest.find(to)?.layer;
        let way = chain::chain(&manifest, top);
        let since = match start {
            Start::Checkpoint(id) => Some(manifest.find(id)?),
            Start::Nothing | Start::Image => None,
        };
        if let Some(since) = since.filter(|since| since.layer == top || !way.contains(&since.layer)) {
            return Err(Error::NotOnTheWay { to: to.into(), since: since.checkpoint.id.clone() });
        }
        let slots = chain::slots(&manifest);
        let mut map = Map::new(manifest.size / BLOCK);
        let mut before = map.clone();
        let mut begun = since.is_none();
        let (mut steps, mut base, mut left) = (Vec::<Delta>::new(), None, MAX_RUNS);
        for id in &way {
            layer::apply(dir, *id, slots.get(id).copied().unwrap_or(Slot::NONE), &mut map)?;
            let line = manifest.layer(*id);
            if start == Start::Image && line.is_some_and(|layer| layer.base) {
                base = Some(*id);
                before = map.clone();
            }
            if since.is_some_and(|since| since.layer == *id) {
                begun = true;
                before = map.clone();
                continue;
            }
            let entry = manifest.checkpoints.iter().find(|entry| entry.layer == *id);
            let told = |entry: &&Entry| !entry.checkpoint.is_auto || *id == top;
            if let (true, Some(entry), Some(line)) = (begun, entry.filter(told), line) {
                let step = step(line.state(), &entry.checkpoint, &before, &map, left)?;
                left = left.saturating_sub(step.parts.len() + step.zero.len());
                steps.push(step);
                before = map.clone();
            }
        }
        let state = |entry: &Entry| manifest.layer(entry.layer).map(|layer| layer.state());
        Ok(Self {
            since: since.and_then(|since| Some((state(since)?, since.checkpoint.id.clone()))),
            dir: dir.to_owned(),
            size: manifest.size,
            layers: manifest.layers.iter().map(|layer| layer.id).collect(),
            base,
            steps,
        })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file of the image on which the first step stands, if it stands on one.
    pub fn image(&self) -> Option<PathBuf> {
        self.base.map(|id| data_path(&self.dir, id))
    }

    /// State and id of the checkpoint on which the first step stands, if it stands on one.
    pub fn since(&self) -> Option<(Uuid, &str)> {
        self.since.as_ref().map(|(state, id)| (*state, id.as_str()))
    }

    /// The steps, the last of which leads to the checkpoint. There is at least one.
    pub fn steps(&self) -> &[Delta] {
        &self.steps
    }

    /// Hands over a step's blocks in order, in pieces of whole blocks.
    ///
    /// # Errors
    /// When a layer cannot be read, or the other side does not take a piece.
    pub fn read<E: From<Error>>(
        &self,
        step: &Delta,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let open = OpenLayers::at_most(LAYERS);
        let mut buffer = vec![0; STEP as usize];
        for (slot, run) in &step.parts {
            let id = slot.index().and_then(|index| self.layers.get(index).copied()).unwrap_or_default();
            let path = || data_path(&self.dir, id);
            let file = open.get(*slot, path)?;
            let (mut at, end) = (run.start * BLOCK, run.end * BLOCK);
            while at < end {
                let part = &mut buffer[..(end - at).min(STEP) as usize];
                read_exact(&file, &mut [IoSliceMut::new(part)], at)
                    .map_err(|error| Error::io("read", path(), error))?;
                take(part)?;
                at += part.len() as u64;
            }
        }
        Ok(())
    }

    /// Whether all of its checkpoints are still in the volume's list, so that what was read until now is theirs. Afterwards their blocks may be
    /// given back, and read as zeros.
    ///
    /// # Errors
    /// When the volume cannot be looked at.
    pub fn are_there(&self) -> Result<bool> {
        let manifest = Manifest::load(&self.dir)?;
        Ok(self.steps.iter().all(|step| manifest.find(&step.checkpoint.id).is_ok()))
    }
}

/// What is different between two maps, of which the second came from the first.
/// Refused are more than `most` pieces.
fn step(state: Uuid, checkpoint: &Checkpoint, before: &Map, after: &Map, most: usize) -> Result<Delta> {
    let mut parts: Vec<(Slot, Range<u64>)> = Vec::new();
    let mut zero = Vec::new();
    for (index, (old, new)) in before.leaves().iter().zip(after.leaves()).enumerate() {
        if parts.len() + zero.len() > most {
            return Err(Error::Scattered(MAX_RUNS));
        }
        let (Some(new), first) = (new, (index * LEAF) as u64) else { continue };
        // Leaves that nothing wrote to are shared.
        if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, new)) {
            continue;
        }
        for (place, slot) in new.iter().enumerate() {
            let (block, held) = (first + place as u64, old.as_ref().map_or(Slot::NONE, |old| old[place]));
            if held == *slot {
                continue;
            }
            if *slot == Slot::NONE {
                lengthen(&mut zero, block);
            } else {
                match parts.last_mut() {
                    Some((last, run)) if last == slot && run.end == block => run.end += 1,
                    _ => parts.push((*slot, block..block + 1)),
                }
            }
        }
    }
    let mut data: Vec<Range<u64>> = Vec::new();
    for (_, run) in &parts {
        match data.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => data.push(run.clone()),
        }
    }
    Ok(Delta { state, checkpoint: checkpoint.clone(), data, zero, parts })
}

fn lengthen(runs: &mut Vec<Range<u64>>, block: u64) {
    match runs.last_mut() {
        Some(run) if run.end == block => run.end += 1,
        _ => runs.push(block..block + 1),
    }
}
