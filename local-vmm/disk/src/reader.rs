//! A checkpoint, or a live disk at rest, as a disk that can only be read, beside whoever has the volume open.

use crate::chain;
use crate::frozen::Frozen;
use crate::layer::{OpenLayers, data_path, zero_path};
use crate::manifest::{self, Manifest};
use crate::map::Slot;
use crate::volume::read_exact;
use crate::{BLOCK, Error, Result};
use std::fs;
use std::io::IoSliceMut;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Layers that one has open at once: there may be many readers, and what they read lies on a few layers at a time.
const LAYERS: usize = 16;

/// See the module. What it reads stays as it is for as long as the checkpoint is in the volume's list; afterwards its bytes may be given back, and
/// read as zeros or not at all.
#[derive(Debug)]
pub struct CheckpointReader {
    dir: PathBuf,
    layers: Vec<Uuid>,
    map: Frozen,
    open: OpenLayers,
    size: u64,
    state: State,
}

/// What is read, to see whether it is still there.
#[derive(Debug)]
enum State {
    Checkpoint(String),
    /// What the files of the layer that takes writes tell of their last change.
    Head(Stamp),
}

/// Which layer takes writes, and when its files and the manifest were last changed (seconds and nanoseconds).
type Stamp = (Uuid, Vec<(i64, i64)>);

fn stamp(dir: &Path, manifest: &Manifest) -> Result<Stamp> {
    let top = manifest.top();
    let changed = [manifest::path(dir), data_path(dir, top), zero_path(dir, top)].map(|path| {
        let found = fs::metadata(&path).map_err(|error| Error::io("read", path, error))?;
        Ok((found.mtime(), found.mtime_nsec()))
    });
    Ok((top, changed.into_iter().collect::<Result<_>>()?))
}

impl CheckpointReader {
    /// Opens checkpoint `id` of the volume in `dir`.
    ///
    /// # Errors
    /// When there is no such checkpoint, or a layer cannot be read.
    pub fn open(dir: &Path, id: &str) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let top = manifest.find(id)?.layer;
        Self::of(dir, &manifest, top, State::Checkpoint(id.to_owned()))
    }

    /// Opens the live disk of the volume in `dir` as it is stored now. Nobody may write to it: whoever has read something asks whether it
    /// [still](Self::is_still) stood, and forgets it otherwise.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn open_still(dir: &Path) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let stamp = stamp(dir, &manifest)?;
        Self::of(dir, &manifest, manifest.top(), State::Head(stamp))
    }

    /// Whether all that was read so far is of the state that was opened: its checkpoint was not deleted, or nothing was written to the live disk.
    ///
    /// # Errors
    /// When the volume cannot be looked at.
    pub fn is_still(&self) -> Result<bool> {
        let manifest = Manifest::load(&self.dir)?;
        match &self.state {
            State::Checkpoint(id) => Ok(manifest.find(id).is_ok()),
            State::Head(before) => Ok(stamp(&self.dir, &manifest)? == *before),
        }
    }

    fn of(dir: &Path, manifest: &Manifest, top: Uuid, state: State) -> Result<Self> {
        let map = chain::build_plain(dir, manifest, &chain::slots(manifest), top)?;
        Ok(Self {
            dir: dir.to_owned(),
            layers: manifest.layers.iter().map(|layer| layer.id).collect(),
            map: Frozen::new(&map),
            open: OpenLayers::at_most(LAYERS),
            size: manifest.size,
            state,
        })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Which layer holds the byte at `offset`, if one does, and for how many bytes from there on, of `most`. What a layer holds stands at its own place: two states of a disk
    /// are the same wherever the same layer holds both.
    pub fn holder(&self, offset: u64, most: u64) -> (Option<Uuid>, u64) {
        let end = offset.saturating_add(most).min(self.size);
        if offset >= end {
            return (None, 0);
        }
        let (slot, blocks) = self.map.run(offset / BLOCK, end.div_ceil(BLOCK));
        let layer = slot.index().and_then(|index| self.layers.get(index).copied());
        (layer, ((offset / BLOCK + blocks) * BLOCK).min(end) - offset)
    }

    /// Reads into `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// When that is not all within the disk, or a layer cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(Error::OutOfRange { offset, len: buffer.len() as u64, size: self.size })?;
        let (mut at, mut rest) = (offset, buffer);
        while at < end {
            let (slot, blocks) = self.map.run(at / BLOCK, end.div_ceil(BLOCK));
            let stop = ((at / BLOCK + blocks) * BLOCK).min(end);
            let (part, after) = rest.split_at_mut((stop - at) as usize);
            if slot == Slot::NONE {
                part.fill(0);
            } else {
                let id = slot.index().and_then(|index| self.layers.get(index).copied()).unwrap_or_default();
                let path = || data_path(&self.dir, id);
                let file = self.open.get(slot, path)?;
                read_exact(&file, &mut [IoSliceMut::new(part)], at)
                    .map_err(|error| Error::io("read", path(), error))?;
            }
            (at, rest) = (stop, after);
        }
        Ok(())
    }
}
