//! The files of one layer, and what they say about its blocks.
//!
//! `<id>.data` is a sparse file in which each block stands at its own offset: the host file system's extents tell which blocks the
//! layer holds. `<id>.zero` is a bitmap of blocks that read as zeros although a layer below holds them; where both speak, data
//! wins, because the mark is set before, never after, the data that replaces it.

use crate::host::{Host, HostFile};
use crate::map::{Map, Slot};
use crate::{BLOCK, Error, Result};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Whence, lseek};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Most sealed layers that are open at once, where the process may have that many files.
const OPEN_LAYERS: u64 = 4096;
/// The least, however few files the process may have.
const FEW_LAYERS: u64 = 64;
/// Files a process is let have; enough for [`OPEN_LAYERS`] and everything else.
const FILES: u64 = 3 * OPEN_LAYERS;

/// Raises the number of files this process may have open, as far as the system lets it. Deep disks are read faster then.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < FILES
    {
        // Without it layers are opened more often.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, FILES.min(hard), hard);
    }
}

/// How many layers may be open: a third of the files that the process may have.
fn most_open() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    (files / 3).clamp(FEW_LAYERS, OPEN_LAYERS) as usize
}
/// Bytes of the bitmap that one block of it covers.
const ZERO_CHUNK: u64 = 4096;

/// Where the layers of a volume are. Files that others hold as well have more than one link, and nobody writes into them.
pub fn layers(volume: &Path) -> PathBuf {
    volume.join("layers")
}

/// Path of a layer's data.
pub(crate) fn data_path(dir: &Path, id: Uuid) -> PathBuf {
    layers(dir).join(format!("{id}.data"))
}

/// Path of a layer's marks.
pub(crate) fn zero_path(dir: &Path, id: Uuid) -> PathBuf {
    layers(dir).join(format!("{id}.zero"))
}

/// Bytes of the bitmap of a disk of `size` bytes.
pub(crate) fn zero_size(size: u64) -> u64 {
    (size / BLOCK).div_ceil(8)
}

/// Calls `each` with the byte ranges of `file` that hold data.
///
/// # Errors
/// When the host does not tell them.
pub fn extents(file: &File, mut each: impl FnMut(Range<u64>)) -> io::Result<()> {
    let mut at = 0i64;
    loop {
        let start = match lseek(file, at, Whence::SeekData) {
            Ok(start) => start,
            Err(Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = lseek(file, start, Whence::SeekHole)?;
        each(start as u64..end as u64);
        at = end;
    }
}

/// Whether anything was ever written to a layer.
pub(crate) fn is_touched(dir: &Path, id: Uuid) -> Result<bool> {
    let mut touched = false;
    for path in [data_path(dir, id), zero_path(dir, id)] {
        File::open(&path)
            .and_then(|file| extents(&file, |_| touched = true))
            .map_err(|error| Error::io("read", path, error))?;
    }
    Ok(touched)
}

/// Puts what the layer in `slot` says over what the layers below it said.
pub(crate) fn apply(dir: &Path, id: Uuid, slot: Slot, map: &mut Map) -> Result<()> {
    let path = zero_path(dir, id);
    match File::open(&path) {
        Ok(file) => each_zero(&file, |block| map.set(block..block + 1, Slot::NONE))
            .map_err(|error| Error::io("read", path, error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("open", path, error)),
    }
    let path = data_path(dir, id);
    let file = open_sealed(&path)?;
    let blocks = map.blocks();
    extents(&file, |bytes| map.set(bytes.start / BLOCK..bytes.end.div_ceil(BLOCK).min(blocks), slot))
        .map_err(|error| Error::io("read", path, error))
}

/// Calls `each` with every marked block.
pub(crate) fn each_zero(file: &File, mut each: impl FnMut(u64)) -> io::Result<()> {
    let mut ranges = Vec::new();
    extents(file, |range| ranges.push(range))?;
    let mut buffer = vec![0; ZERO_CHUNK as usize];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(ZERO_CHUNK) as usize;
            file.read_exact_at(&mut buffer[..len], at)?;
            for (index, byte) in buffer[..len].iter().enumerate().filter(|(_, byte)| **byte != 0) {
                for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                    each((at + index as u64) * 8 + bit);
                }
            }
            at += len as u64;
        }
    }
    Ok(())
}

/// Opens a layer's data for reading.
pub(crate) fn open_sealed(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::damaged(path, "this layer is missing"),
        _ => Error::io("open", path, error),
    })
}

/// The layer that takes writes.
#[derive(Debug)]
pub(crate) struct Head {
    pub id: Uuid,
    pub data: HostFile,
    zero: HostFile,
    /// Chunks of the bitmap that hold a mark, by chunk number; the rest is zeros.
    chunks: HashMap<u64, Box<[u8; ZERO_CHUNK as usize]>>,
    /// The bitmap was written since it was last flushed.
    zero_dirty: bool,
}

impl Head {
    /// Makes the empty files of a new head and makes them durable.
    pub(crate) fn create(dir: &Path, id: Uuid, size: u64, host: &dyn Host) -> Result<Self> {
        let make = |path: PathBuf, size| {
            let file = host.create(&path, size).map_err(|error| Error::io("make", &path, error))?;
            host.sync(&file).map_err(|error| Error::io("flush", &path, error))?;
            Ok(file)
        };
        let data = make(data_path(dir, id), size)?;
        let zero = match make(zero_path(dir, id), zero_size(size)) {
            Ok(zero) => zero,
            Err(error) => {
                let _ = host.remove(&data.path);
                return Err(error);
            }
        };
        let layers = dir.join("layers");
        host.sync_dir(&layers).map_err(|error| Error::io("flush", layers, error))?;
        Ok(Self { id, data, zero, chunks: HashMap::new(), zero_dirty: false })
    }

    /// Opens the files of an existing head.
    pub(crate) fn open(dir: &Path, id: Uuid, size: u64, host: &dyn Host) -> Result<Self> {
        let open = |path: PathBuf, size: u64| {
            let file = host.open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::damaged(&path, "this layer is missing"),
                _ => Error::io("open", &path, error),
            })?;
            let found = file.file.metadata().map_err(|error| Error::io("read", &path, error))?.len();
            if found != size {
                return Err(Error::damaged(path, format!("it has {found} bytes instead of {size}")));
            }
            Ok(file)
        };
        let data = open(data_path(dir, id), size)?;
        let zero = open(zero_path(dir, id), zero_size(size))?;
        let mut chunks: HashMap<u64, Box<[u8; ZERO_CHUNK as usize]>> = HashMap::new();
        each_zero(&zero.file, |block| {
            let (chunk, byte, bit) = mark(block);
            chunks.entry(chunk).or_insert_with(|| Box::new([0; ZERO_CHUNK as usize]))[byte] |= bit;
        })
        .map_err(|error| Error::io("read", &zero.path, error))?;
        Ok(Self { id, data, zero, chunks, zero_dirty: false })
    }

    /// Marks blocks that read as zeros although a layer below holds them.
    pub(crate) fn mark_zero(&mut self, blocks: Range<u64>, host: &dyn Host) -> Result<()> {
        let mut block = blocks.start;
        while block < blocks.end {
            let (chunk, from, _) = mark(block);
            let end = blocks.end.min((chunk + 1) * ZERO_CHUNK * 8);
            let bytes = self.chunks.entry(chunk).or_insert_with(|| Box::new([0; ZERO_CHUNK as usize]));
            let mut to = from;
            for marked in block..end {
                let (_, byte, bit) = mark(marked);
                bytes[byte] |= bit;
                to = byte;
            }
            host.write(&self.zero, &[IoSlice::new(&bytes[from..=to])], chunk * ZERO_CHUNK + from as u64)
                .map_err(|error| Error::io("write", &self.zero.path, error))?;
            self.zero_dirty = true;
            block = end;
        }
        Ok(())
    }

    /// Makes the marks durable.
    pub(crate) fn sync_zero(&mut self, host: &dyn Host) -> Result<()> {
        if self.zero_dirty {
            host.sync(&self.zero).map_err(|error| Error::io("flush", &self.zero.path, error))?;
            self.zero_dirty = false;
        }
        Ok(())
    }

    /// Whether marks wait to be made durable.
    pub(crate) fn zero_is_dirty(&self) -> bool {
        self.zero_dirty
    }

    /// Whether nothing was ever written to it.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let mut empty = self.chunks.is_empty();
        extents(&self.data.file, |_| empty = false)
            .map_err(|error| Error::io("read", &self.data.path, error))?;
        Ok(empty)
    }
}

/// Chunk, byte in it and bit of a block's mark.
fn mark(block: u64) -> (u64, usize, u8) {
    let byte = block / 8;
    (byte / ZERO_CHUNK, (byte % ZERO_CHUNK) as usize, 1 << (block % 8))
}

/// Open sealed layers, not too many; the one used longest ago is closed first.
#[derive(Debug)]
pub(crate) struct OpenLayers {
    most: usize,
    /// A clock of uses, and the files with the time of their last one.
    inner: Mutex<(u64, Files)>,
}

type Files = HashMap<Slot, (u64, Arc<File>)>;

impl OpenLayers {
    pub(crate) fn new() -> Self {
        Self::at_most(most_open())
    }

    /// At most so many, for those of whom there are many.
    pub(crate) fn at_most(most: usize) -> Self {
        Self { most: most.max(1), inner: Mutex::default() }
    }

    /// The file of the layer in `slot`, opened when it is not open yet.
    pub(crate) fn get(&self, slot: Slot, path: impl FnOnce() -> PathBuf) -> Result<Arc<File>> {
        // A panic elsewhere cannot leave the table half-changed: each change is one insertion or removal.
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (clock, files) = &mut *inner;
        *clock += 1;
        if let Some((used, file)) = files.get_mut(&slot) {
            *used = *clock;
            return Ok(Arc::clone(file));
        }
        if files.len() >= self.most
            && let Some(oldest) = files.iter().min_by_key(|(_, (used, _))| *used).map(|(slot, _)| *slot)
        {
            files.remove(&oldest);
        }
        let file = Arc::new(open_sealed(&path())?);
        files.insert(slot, (*clock, Arc::clone(&file)));
        Ok(file)
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clear();
    }
}
