//! A checkpoint, or a live disk at rest, as a disk that can only be read, beside whoever has the volume open.

use crate::chain;
use crate::frozen::Frozen;
use crate::layer::{OpenLayers, data_path};
use crate::manifest::Manifest;
use crate::map::Slot;
use crate::volume::read_exact;
use crate::{BLOCK, Error, Result};
use std::io::IoSliceMut;
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
}

impl CheckpointReader {
    /// Opens checkpoint `id` of the volume in `dir`.
    ///
    /// # Errors
    /// When there is no such checkpoint, or a layer cannot be read.
    pub fn open(dir: &Path, id: &str) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let top = manifest.find(id)?.layer;
        Self::of(dir, &manifest, top)
    }

    /// Opens the live disk of the volume in `dir` as it is stored now. That somebody writes to it meanwhile is the caller's to keep out or to notice: then
    /// what is read is of no one moment.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn open_still(dir: &Path) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        Self::of(dir, &manifest, manifest.top())
    }

    fn of(dir: &Path, manifest: &Manifest, top: Uuid) -> Result<Self> {
        let map = chain::build_plain(dir, manifest, &chain::slots(manifest), top)?;
        Ok(Self {
            dir: dir.to_owned(),
            layers: manifest.layers.iter().map(|layer| layer.id).collect(),
            map: Frozen::new(&map),
            open: OpenLayers::at_most(LAYERS),
            size: manifest.size,
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
