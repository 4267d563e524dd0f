//! An open volume: reading and writing the live disk.

use crate::chain::{self, is_hollow};
use crate::host::{Host, HostFile, RealHost};
use crate::layer::{self, Head, OpenLayers, data_path, zero_path};
use crate::manifest::Manifest;
use crate::map::{Map, Slot};
use crate::ranges::Ranges;
use crate::{BLOCK, Checkpoint, Error, Result};
use nix::errno::Errno;
use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The host is asked whether it has room after this many bytes of new blocks.
const ROOM: i64 = 64 << 20;

/// A sprite's disk, open in this process and in no other.
///
/// All methods may be called from any thread. What overlapping requests do to each other's bytes is left open, as with any disk.
#[derive(Debug)]
pub struct Volume {
    pub(crate) dir: PathBuf,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) manifest: Mutex<Manifest>,
    /// Shared by requests; taken alone by what changes which layer takes writes, and by what makes holes.
    gate: RwLock<Core>,
    open: OpenLayers,
    size: u64,
    /// A flush failed: the kernel may have dropped the data, so no later flush may claim success.
    poisoned: AtomicBool,
    /// New blocks that may be written before the host is asked again whether it has room, bytes.
    room: AtomicI64,
    /// Held locked as long as the volume is open.
    _lock: File,
}

/// What the gate guards.
#[derive(Debug)]
pub(crate) struct Core {
    /// The live disk.
    pub map: RwLock<Map>,
    /// The live disk without its head.
    pub below: Map,
    pub head: Writing,
    /// The layer being sealed, between flip and the end of the checkpoint.
    pub sealing: Option<Arc<Writing>>,
    /// The head of after the flip.
    pub next: Option<Writing>,
    /// Ids of layers by slot; grows only.
    pub layers: Vec<Uuid>,
}

/// A layer that takes writes, or is about to, or did a moment ago.
#[derive(Debug)]
pub(crate) struct Writing {
    pub slot: Slot,
    pub data: Arc<HostFile>,
    pub state: Mutex<Pending>,
}

/// What a flush has to do beside making data durable.
#[derive(Debug)]
pub(crate) struct Pending {
    pub head: Head,
    /// Blocks of this layer that were overwritten with zeros. Holes are made only after the marks that replace them are durable.
    pub punch: Ranges,
    /// Blocks of this layer that were discarded. Their holes have time: what is discarded may come back after a power cut.
    pub trim: Ranges,
}

impl Writing {
    pub(crate) fn new(head: Head, slot: Slot) -> Result<Self> {
        let file = head.data.file.try_clone().map_err(|error| Error::io("open", &head.data.path, error))?;
        let data = Arc::new(HostFile { file, path: head.data.path.clone() });
        Ok(Self {
            slot,
            data,
            state: Mutex::new(Pending { head, punch: Ranges::default(), trim: Ranges::default() }),
        })
    }

    /// First the marks, then the holes; the data is flushed by the caller. Of the holes that have time, at most `most` blocks' worth.
    pub(crate) fn settle(&self, host: &dyn Host, most: u64) -> Result<()> {
        let mut state = locked(&self.state);
        let Pending { head, punch, trim } = &mut *state;
        head.sync_zero(host)?;
        let mut left = most;
        let mut some = Ranges::default();
        for blocks in trim.iter() {
            let part = blocks.start..blocks.end.min(blocks.start.saturating_add(left));
            left -= part.end - part.start;
            some.insert(part);
            if left == 0 {
                break;
            }
        }
        for blocks in punch.iter().chain(some.iter()) {
            host.punch(&self.data, blocks.start * BLOCK, (blocks.end - blocks.start) * BLOCK)
                .map_err(|error| Error::io("free space in", &self.data.path, error))?;
        }
        *punch = Ranges::default();
        some.iter().for_each(|blocks| trim.remove(blocks));
        Ok(())
    }
}

/// The locks here guard values that every step leaves whole, so a panic elsewhere does not spoil them.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock of a volume; whoever has it open holds it.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoVolume(dir.to_owned()),
        _ => Error::io("open", &path, error),
    })?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if start.elapsed() < LINGER => std::thread::sleep(LINGER / 50),
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
        }
    }
}

/// A process that is being started holds copies of its parent's locks for a moment, so one look is not enough.
const LINGER: Duration = Duration::from_millis(250);

impl Volume {
    /// Opens the volume in `dir`, finishing or undoing whatever an earlier process was cut off in.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Arc::new(RealHost))
    }

    pub(crate) fn open_with(dir: &Path, host: Arc<dyn Host>) -> Result<Self> {
        let lock = lock(dir)?;
        let mut manifest = Manifest::load(dir)?;
        recover(dir, &mut manifest, &*host)?;
        let core = load(dir, &manifest, &*host)?;
        // Only now that every layer is known to be there: a file that nobody names could be the one that is missed.
        remove_strays(dir, &manifest, &*host);
        let size = manifest.size;
        Ok(Self {
            dir: dir.to_owned(),
            host,
            manifest: Mutex::new(manifest),
            gate: RwLock::new(core),
            open: OpenLayers::new(),
            size,
            poisoned: AtomicBool::new(false),
            room: AtomicI64::new(0),
            _lock: lock,
        })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        locked(&self.manifest).checkpoints.iter().map(|entry| entry.checkpoint.clone()).collect()
    }

    /// The checkpoint the live disk stands on.
    pub fn parent(&self) -> Option<String> {
        locked(&self.manifest).head_parent.clone()
    }

    /// Reads into `buffer` from byte `offset` on.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read_vectored_at(&mut [IoSliceMut::new(buffer)], offset)
    }

    /// Reads into `buffers`, one after the other, from byte `offset` on.
    pub fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<()> {
        let len: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        self.check_range(offset, len)?;
        let core = self.shared();
        let end = offset + len;
        let last = end.div_ceil(BLOCK);
        let mut runs = Vec::new();
        {
            // A reader that kept the map while it waits for the host's disk would make every write meanwhile copy it.
            let map = core.map.read().unwrap_or_else(PoisonError::into_inner);
            let mut at = offset;
            while at < end {
                let (slot, blocks) = map.run(at / BLOCK, last);
                let stop = ((at / BLOCK + blocks) * BLOCK).min(end);
                runs.push((slot, at..stop));
                at = stop;
            }
        }
        let mut rest: VecDeque<&mut [u8]> = buffers.iter_mut().map(|buffer| &mut **buffer).collect();
        for (slot, run) in runs {
            let mut parts = take(&mut rest, (run.end - run.start) as usize);
            if slot == Slot::NONE {
                parts.iter_mut().for_each(|part| part.fill(0));
            } else {
                let (file, path) = self.layer(&core, slot)?;
                read_exact(&file, &mut parts, run.start).map_err(|error| Error::io("read", path(), error))?;
            }
        }
        Ok(())
    }

    /// The file of a layer, and its path for messages.
    fn layer<'a>(&'a self, core: &Core, slot: Slot) -> Result<(LayerFile, impl Fn() -> PathBuf + 'a)> {
        let id = slot.index().and_then(|index| core.layers.get(index).copied()).unwrap_or_default();
        let path = move || data_path(&self.dir, id);
        let file = if slot == core.head.slot {
            LayerFile::Written(Arc::clone(&core.head.data))
        } else if let Some(sealing) = core.sealing.as_ref().filter(|sealing| sealing.slot == slot) {
            LayerFile::Written(Arc::clone(&sealing.data))
        } else {
            LayerFile::Sealed(self.open.get(slot, path)?)
        };
        Ok((file, path))
    }

    /// Writes `data` from byte `offset` on.
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.write_vectored_at(&[IoSlice::new(data)], offset)
    }

    /// Writes `data`, one piece after the other, from byte `offset` on.
    pub fn write_vectored_at(&self, data: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let len: u64 = data.iter().map(|slice| slice.len() as u64).sum();
        self.check_range(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        if offset.is_multiple_of(BLOCK) && len.is_multiple_of(BLOCK) {
            return self.write_blocks(&self.shared(), data, offset, len);
        }
        // Part of a block: the whole block is read, changed and written, with no other request in between.
        let core = self.exclusive();
        let start = offset / BLOCK * BLOCK;
        let end = (offset + len).div_ceil(BLOCK) * BLOCK;
        let mut whole = vec![0; (end - start) as usize];
        self.fill(&core, &mut whole, start)?;
        let mut at = (offset - start) as usize;
        for slice in data {
            whole[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        self.write_blocks(&core, &[IoSlice::new(&whole)], start, end - start)
    }

    /// Reads whole blocks while the gate is held.
    fn fill(&self, core: &Core, buffer: &mut [u8], start: u64) -> Result<()> {
        let map = core.map.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (at, part) in buffer.chunks_mut(BLOCK as usize).enumerate() {
            let offset = start + at as u64 * BLOCK;
            let slot = map.get(offset / BLOCK);
            if slot == Slot::NONE {
                part.fill(0);
            } else {
                let (file, path) = self.layer(core, slot)?;
                read_exact(&file, &mut [IoSliceMut::new(part)], offset)
                    .map_err(|error| Error::io("read", path(), error))?;
            }
        }
        Ok(())
    }

    fn write_blocks(&self, core: &Core, data: &[IoSlice<'_>], offset: u64, len: u64) -> Result<()> {
        let head = &core.head;
        let blocks = offset / BLOCK..(offset + len) / BLOCK;
        let known = {
            let map = core.map.read().unwrap_or_else(PoisonError::into_inner);
            map.run(blocks.start, blocks.end) == (head.slot, blocks.end - blocks.start)
        };
        if !known {
            self.take_room(&head.data, len)?;
        }
        self.host
            .write(&head.data, data, offset)
            .map_err(|error| Error::io("write", &head.data.path, error))?;
        // Blocks that the map gives to the head are never waiting to become holes.
        if !known {
            core.map.write().unwrap_or_else(PoisonError::into_inner).set(blocks.clone(), head.slot);
            let mut state = locked(&head.state);
            state.punch.remove(blocks.clone());
            state.trim.remove(blocks);
        }
        Ok(())
    }

    /// Takes room for new blocks: what the host keeps free for others is not for this disk.
    fn take_room(&self, file: &HostFile, len: u64) -> Result<()> {
        let needed = i64::try_from(len).unwrap_or(i64::MAX);
        if self.room.fetch_sub(needed, Ordering::Relaxed) >= needed {
            return Ok(());
        }
        let room =
            self.host.room(file).map_err(|error| Error::io("look for room beside", &file.path, error))?;
        if room < len {
            return Err(Error::NoSpace { doing: "write", path: file.path.clone() });
        }
        self.room.store(i64::try_from(room - len).unwrap_or(i64::MAX).min(ROOM), Ordering::Relaxed);
        Ok(())
    }

    /// Gives whole blocks within the range back; they read as zeros. Parts of blocks at its ends stay as they are.
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.check_range(offset, len)?;
        let blocks = offset.div_ceil(BLOCK)..(offset + len) / BLOCK;
        if blocks.start < blocks.end { self.zero_blocks(&self.exclusive(), blocks, false) } else { Ok(()) }
    }

    /// Makes the range read as zeros, giving whole blocks back.
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.check_range(offset, len)?;
        let (start, end) = (offset.next_multiple_of(BLOCK), (offset + len) / BLOCK * BLOCK);
        if start >= end {
            // At most two partial blocks.
            return self.write_at(&vec![0; len as usize], offset);
        }
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        self.write_at(&ZEROS[..(start - offset) as usize], offset)?;
        self.zero_blocks(&self.exclusive(), start / BLOCK..end / BLOCK, true)?;
        self.write_at(&ZEROS[..(offset + len - end) as usize], end)
    }

    /// `lasting` zeros are still there after a flush and a power cut.
    fn zero_blocks(&self, core: &Core, blocks: Range<u64>, lasting: bool) -> Result<()> {
        let mut map = core.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = locked(&core.head.state);
        let Pending { head, punch, trim } = &mut *state;
        let mut block = blocks.start;
        while block < blocks.end {
            let (slot, len) = map.run(block, blocks.end);
            let run = block..block + len;
            if slot != Slot::NONE {
                // Without its own data a block would show what lies below; the mark says that it must not.
                let mut at = run.start;
                while at < run.end {
                    let (below, len) = core.below.run(at, run.end);
                    if below != Slot::NONE {
                        head.mark_zero(at..at + len, &*self.host)?;
                    }
                    at += len;
                }
                if slot == core.head.slot {
                    if lasting { &mut *punch } else { &mut *trim }.insert(run.clone());
                }
            } else if lasting {
                // Discarded before, and not a hole yet.
                let waiting: Vec<_> = trim.within(run.clone()).collect();
                for part in waiting {
                    trim.remove(part.clone());
                    punch.insert(part);
                }
            }
            block = run.end;
        }
        map.set(blocks, Slot::NONE);
        Ok(())
    }

    /// Makes everything written before the call durable, and holes of all that was discarded.
    pub fn flush(&self) -> Result<()> {
        self.flush_layers(true)
    }

    /// Makes everything written before the call durable. What was discarded may come back after a power cut, until [`trim`](Self::trim).
    pub fn flush_writes(&self) -> Result<()> {
        self.flush_layers(false)
    }

    /// Gives at most about `most` bytes of what was discarded back to the host; true when more waits. Requests wait meanwhile. Does nothing
    /// while a checkpoint is on its way: the checkpoint does it.
    pub fn trim(&self, most: u64) -> Result<bool> {
        self.check_trust()?;
        let core = self.exclusive();
        if core.next.is_some() || locked(&core.head.state).trim.is_empty() {
            return Ok(false);
        }
        core.head.settle(&*self.host, most.div_ceil(BLOCK)).inspect_err(|_| self.distrust())?;
        Ok(!locked(&core.head.state).trim.is_empty())
    }

    fn flush_layers(&self, trim: bool) -> Result<()> {
        self.check_trust()?;
        self.flush_head(trim).inspect_err(|_| self.distrust())
    }

    fn flush_head(&self, trim: bool) -> Result<()> {
        let core = self.shared();
        let waiting = {
            let state = locked(&core.head.state);
            state.head.zero_is_dirty() || !state.punch.is_empty() || trim && !state.trim.is_empty()
        };
        let core = if waiting {
            drop(core);
            // No write may slip a block in between the decision to make a hole and the hole.
            let most = if trim { u64::MAX } else { 0 };
            self.exclusive().head.settle(&*self.host, most)?;
            self.shared()
        } else {
            core
        };
        let (head, sealing) = (Arc::clone(&core.head.data), core.sealing.clone());
        drop(core);
        if let Some(sealing) = sealing {
            sealing.settle(&*self.host, u64::MAX)?;
            self.sync(&sealing.data)?;
        }
        self.sync(&head)
    }

    pub(crate) fn sync(&self, file: &HostFile) -> Result<()> {
        self.host.sync(file).map_err(|error| Error::io("flush", &file.path, error))
    }

    /// An error when an earlier flush failed.
    pub(crate) fn check_trust(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) { Err(Error::Poisoned) } else { Ok(()) }
    }

    pub(crate) fn distrust(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(crate) fn shared(&self) -> RwLockReadGuard<'_, Core> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exclusive(&self) -> RwLockWriteGuard<'_, Core> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all files anew; the gate is held by the caller.
    pub(crate) fn reload(&self, core: &mut Core, manifest: &Manifest) -> Result<()> {
        *core = load(&self.dir, manifest, &*self.host)?;
        // Slots have new meanings, so that files kept under the old ones must go.
        self.open.clear();
        Ok(())
    }

    fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(Error::OutOfRange { offset, len, size: self.size }),
        }
    }
}

/// A layer's file, however it is held open.
enum LayerFile {
    Written(Arc<HostFile>),
    Sealed(Arc<File>),
}

impl std::ops::Deref for LayerFile {
    type Target = File;
    fn deref(&self) -> &File {
        match self {
            Self::Written(file) => &file.file,
            Self::Sealed(file) => file,
        }
    }
}

/// Fills all of `parts`; what lies beyond the end of a (base) layer's file is zeros.
pub(crate) fn read_exact(file: &File, mut parts: &mut [IoSliceMut<'_>], mut offset: u64) -> io::Result<()> {
    IoSliceMut::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let position = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        match nix::sys::uio::preadv(file, parts, position) {
            Ok(0) => {
                parts.iter_mut().for_each(|part| part.fill(0));
                return Ok(());
            }
            Ok(read) => {
                IoSliceMut::advance_slices(&mut parts, read);
                offset += read as u64;
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes the next `len` bytes out of a list of buffers.
fn take<'a>(buffers: &mut VecDeque<&'a mut [u8]>, mut len: usize) -> Vec<IoSliceMut<'a>> {
    let mut taken = Vec::new();
    while len > 0
        && let Some(buffer) = buffers.pop_front()
    {
        let (part, rest) = buffer.split_at_mut(len.min(buffer.len()));
        len -= part.len();
        taken.push(IoSliceMut::new(part));
        if !rest.is_empty() {
            buffers.push_front(rest);
        }
    }
    taken
}

/// Opens head and maps as the manifest tells.
fn load(dir: &Path, manifest: &Manifest, host: &dyn Host) -> Result<Core> {
    let slots = chain::slots(manifest);
    let below = match manifest.layer(manifest.head).and_then(|head| head.below) {
        Some(below) => chain::build(dir, manifest, &slots, below)?,
        None => Map::new(manifest.size / BLOCK),
    };
    let slot = slots.get(&manifest.head).copied().unwrap_or(Slot::NONE);
    let mut map = below.clone();
    layer::apply(dir, manifest.head, slot, &mut map)?;
    let head = Writing::new(Head::open(dir, manifest.head, manifest.size, host)?, slot)?;
    let layers = manifest.layers.iter().map(|layer| layer.id).collect();
    Ok(Core { map: RwLock::new(map), below, head, sealing: None, next: None, layers })
}

/// Brings a volume that was cut off in the middle of something to rest.
fn recover(dir: &Path, manifest: &mut Manifest, host: &dyn Host) -> Result<()> {
    let before = manifest.clone();
    if let Some(next) = manifest.next.take() {
        if Head::open(dir, next, manifest.size, host)?.is_empty()? {
            manifest.layers.retain(|layer| layer.id != next);
        } else {
            // The flip happened and the guest wrote on; the checkpoint never came to be.
            manifest.head = next;
        }
    }
    drop_hollow(dir, manifest);
    if *manifest != before {
        manifest.save(dir, host)?;
    }
    Ok(())
}

/// Takes layers out of the chain that hold nothing and are no checkpoint's top: what deleted checkpoints leave behind.
fn drop_hollow(dir: &Path, manifest: &mut Manifest) {
    let tops: HashSet<Uuid> =
        manifest.checkpoints.iter().map(|entry| entry.layer).chain([manifest.head]).collect();
    let hollow: Vec<(Uuid, Option<Uuid>)> = manifest
        .layers
        .iter()
        .filter(|layer| !layer.base && !tops.contains(&layer.id) && is_hollow(dir, layer.id))
        .map(|layer| (layer.id, layer.below))
        .collect();
    for (id, _) in &hollow {
        let below = manifest.layer(*id).and_then(|layer| layer.below);
        for layer in manifest.layers.iter_mut().filter(|layer| layer.below == Some(*id)) {
            layer.below = below;
        }
        manifest.layers.retain(|layer| layer.id != *id);
    }
}

/// Removes files that no layer of the manifest has. They cost space, not safety, so a failure is only told.
fn remove_strays(dir: &Path, manifest: &Manifest, host: &dyn Host) {
    let known: HashSet<PathBuf> = manifest
        .layers
        .iter()
        .flat_map(|layer| {
            [data_path(dir, layer.id), zero_path(dir, layer.id), chain::cache_path(dir, layer.id)]
        })
        .collect();
    for folder in ["layers", "maps"] {
        for entry in fs::read_dir(dir.join(folder)).into_iter().flatten().flatten() {
            if !known.contains(&entry.path())
                && let Err(error) = host.remove(&entry.path())
            {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}
