//! A volume that is made from what comes from elsewhere, which may take long, break off, or be made up.
//!
//! It is filled beside its place, without the store's lock, and put there whole. Its layers have new ids: nothing that comes from elsewhere may pass
//! for a layer that is here. The names that its states have everywhere are kept as their origin.

use crate::layer::Head;
use crate::manifest::{Entry, FORMAT, Layer, Manifest, is_id};
use crate::store::{FORK_TRIES, Store, check_size, make_folders, probe};
use crate::tree::Checkpoint;
use crate::{BLOCK, Error, MAX_COMMENT, Result};
use std::fs;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The host is asked whether it has room after this many bytes.
const ROOM: u64 = 64 << 20;
/// Numbers of checkpoints from elsewhere up to which the next one is counted from them.
const MAX_NUMBER: u64 = 1 << 32;

/// What a volume from elsewhere stands on.
#[derive(Clone, Copy, Debug)]
pub enum Foundation<'a> {
    /// An empty disk.
    Nothing,
    /// An image's root file system.
    Image(&'a Path),
    /// A state of a volume that is here.
    State {
        /// The volume, which may be in use.
        volume: &'a Path,
        /// Name of the state.
        state: Uuid,
    },
}

/// From where a volume has a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was made by this store: it is what its name says.
    Here,
    /// Somebody's export says that it is the one of that name.
    Elsewhere,
}

/// See the module. Dropped before it is in its place, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    store: Store,
    dir: PathBuf,
    temp: PathBuf,
    size: u64,
    done: Vec<(Layer, Checkpoint)>,
    now: Option<(Head, Uuid, Checkpoint)>,
    /// Bytes that may be written before the host is asked again whether it has room.
    room: u64,
}

impl Store {
    /// Begins to make a volume of `size` bytes in `dir`, beside which a folder takes what comes. After a kill that one stays; whoever knows that nobody
    /// makes a volume there any more removes it.
    ///
    /// # Errors
    /// When there is a volume already, or the host's file system does not take one.
    pub fn receive(&self, dir: &Path, size: u64) -> Result<Incoming> {
        check_size(size)?;
        if fs::symlink_metadata(dir).is_ok() {
            return Err(Error::Exists(dir.to_owned()));
        }
        let temp = dir.with_extension("part");
        make_folders(&temp)?;
        let incoming = Incoming {
            store: self.clone(),
            dir: dir.to_owned(),
            temp,
            size,
            done: Vec::new(),
            now: None,
            room: 0,
        };
        probe(&incoming.temp)?;
        Ok(incoming)
    }

    /// Whether a checkpoint of a volume has the state of that name, and from where.
    ///
    /// # Errors
    /// When the volume cannot be looked at.
    pub fn find_state(&self, dir: &Path, state: Uuid) -> Result<Option<Source>> {
        let manifest = Manifest::load(dir)?;
        let from = |entry: &Entry| if entry.layer == state { Source::Here } else { Source::Elsewhere };
        Ok(entry_of(&manifest, state).map(from))
    }
}

fn entry_of(manifest: &Manifest, state: Uuid) -> Option<&Entry> {
    let is_it = |entry: &&Entry| manifest.layer(entry.layer).is_some_and(|layer| layer.state() == state);
    manifest.checkpoints.iter().find(is_it)
}

impl Incoming {
    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins the step to the next checkpoint, after the one before it was finished.
    ///
    /// # Errors
    /// When no checkpoint can be such a one, or the host does not take it.
    pub fn begin(&mut self, state: Uuid, checkpoint: Checkpoint) -> Result<()> {
        self.end()?;
        if !is_id(&checkpoint.id) {
            return Err(Error::BadId(checkpoint.id.chars().take(80).collect()));
        }
        if let Some(comment) = checkpoint.comment.as_ref().filter(|comment| comment.len() > MAX_COMMENT) {
            return Err(Error::CommentTooLong(comment.len()));
        }
        let head = Head::create(&self.temp, Uuid::new_v4(), self.size, &*self.store.host)?;
        self.now = Some((head, state, checkpoint));
        Ok(())
    }

    /// Writes whole blocks from byte `offset` on. Blocks of zeros take no room.
    ///
    /// # Errors
    /// When they are not whole or not on the disk, no step was begun, or the host has no room.
    pub fn write(&mut self, data: &[u8], offset: u64) -> Result<()> {
        let len = data.len() as u64;
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.size);
        if !fits || !offset.is_multiple_of(BLOCK) || !len.is_multiple_of(BLOCK) {
            return Err(Error::OutOfRange { offset, len, size: self.size });
        }
        let first = offset / BLOCK;
        let blocks: Vec<bool> = data.chunks(BLOCK as usize).map(is_zero).collect();
        let mut at = 0;
        for run in blocks.chunk_by(|one, two| one == two) {
            let (from, to) = (at, at + run.len());
            at = to;
            if run[0] {
                self.zero(first + from as u64..first + to as u64)?;
                continue;
            }
            let part = &data[from * BLOCK as usize..to * BLOCK as usize];
            self.take_room(part.len() as u64)?;
            let Some((head, ..)) = &self.now else { return Err(NOT_BEGUN) };
            let at = offset + from as u64 * BLOCK;
            let written = self.store.host.write(&head.data, &[IoSlice::new(part)], at);
            written.map_err(|error| Error::io("write", &head.data.path, error))?;
        }
        Ok(())
    }

    /// Says that blocks are zeros.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn zero(&mut self, blocks: Range<u64>) -> Result<()> {
        if blocks.start > blocks.end || blocks.end > self.size / BLOCK {
            let len = blocks.end.saturating_sub(blocks.start).saturating_mul(BLOCK);
            return Err(Error::OutOfRange {
                offset: blocks.start.saturating_mul(BLOCK),
                len,
                size: self.size,
            });
        }
        match &mut self.now {
            Some((head, ..)) => head.mark_zero(blocks, &*self.store.host),
            None => Err(NOT_BEGUN),
        }
    }

    /// What the host keeps free for others is not for this one either.
    fn take_room(&mut self, bytes: u64) -> Result<()> {
        if self.room < bytes {
            let Some((head, ..)) = &self.now else { return Err(NOT_BEGUN) };
            let path = &head.data.path;
            let found = self.store.host.room(&head.data);
            let found = found.map_err(|error| Error::io("look for room beside", path, error))?;
            if found < bytes {
                return Err(Error::NoSpace { doing: "write", path: path.clone() });
            }
            self.room = found.min(ROOM.max(bytes));
        }
        self.room -= bytes;
        Ok(())
    }

    /// Makes the step that was begun durable.
    fn end(&mut self) -> Result<()> {
        let Some((mut head, state, checkpoint)) = self.now.take() else { return Ok(()) };
        head.sync_zero(&*self.store.host)?;
        let synced = self.store.host.sync(&head.data);
        synced.map_err(|error| Error::io("flush", &head.data.path, error))?;
        let layer = Layer { id: head.id, below: None, base: false, origin: Some(state) };
        self.done.push((layer, checkpoint));
        Ok(())
    }

    /// Puts it in its place, on what it stands on. Its live disk is as its last checkpoint.
    ///
    /// # Errors
    /// When what it is to stand on is not there or has another size, or the host does not take it. Then nothing is left.
    pub fn finish(mut self, foundation: Foundation<'_>) -> Result<()> {
        self.end()?;
        let store = self.store.clone();
        let _lock = store.lock()?;
        if fs::symlink_metadata(&self.dir).is_ok() {
            return Err(Error::Exists(self.dir.clone()));
        }
        let mut tries = 0;
        let mut manifest = loop {
            match self.begun(&foundation) {
                // Opening a volume drops layers that hold nothing any more; the manifest then tells another chain.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < FORK_TRIES =>
                {
                    tries += 1;
                }
                outcome => break outcome?,
            }
        };
        let mut below = manifest.layers.last().map(|layer| layer.id);
        for (layer, checkpoint) in std::mem::take(&mut self.done) {
            let id = manifest.unused(&checkpoint.id);
            let checkpoint =
                Checkpoint { id: id.clone(), parent: manifest.head_parent.replace(id), ..checkpoint };
            manifest.checkpoints.push(Entry { layer: layer.id, checkpoint });
            let id = layer.id;
            manifest.layers.push(Layer { below: below.replace(id), ..layer });
        }
        let head = Head::create(&self.temp, Uuid::new_v4(), self.size, &*store.host)?;
        manifest.layers.push(Layer { id: head.id, below, base: false, origin: None });
        manifest.head = head.id;
        manifest.next_number = next_number(&manifest.checkpoints);
        manifest.check().map_err(|why| Error::damaged(&self.dir, why))?;
        store.put_in_place(&self.temp, &self.dir, &manifest)
    }

    /// The manifest of what it stands on, whose layers have names in its folder.
    fn begun(&self, foundation: &Foundation<'_>) -> Result<Manifest> {
        let mut manifest = Manifest {
            format: FORMAT,
            size: self.size,
            layers: Vec::new(),
            checkpoints: Vec::new(),
            head: Uuid::nil(),
            head_parent: None,
            next: None,
            next_number: 0,
        };
        match foundation {
            Foundation::Nothing => {}
            Foundation::Image(base) => {
                let found = fs::metadata(base).map_err(|error| Error::io("read", *base, error))?;
                if found.len() > self.size {
                    return Err(Error::BadSize { size: self.size, why: "the base image is larger" });
                }
                let id = self.store.take_base(base, &self.temp)?;
                manifest.layers.push(Layer { id, below: None, base: true, origin: None });
            }
            Foundation::State { volume, state } => {
                let there = Manifest::load(volume)?;
                let gone = || Error::NoState((*volume).to_owned());
                let entry = entry_of(&there, *state).ok_or_else(gone)?;
                if there.size != self.size {
                    return Err(Error::BadSize {
                        size: self.size,
                        why: "the one on which it stands has another size",
                    });
                }
                manifest.layers = self.store.link_chain(volume, &there, entry.layer, &self.temp)?;
                let on_the_way = |layer: Uuid| manifest.layers.iter().any(|one| one.id == layer);
                for Entry { layer, checkpoint } in &there.checkpoints {
                    if on_the_way(*layer) && (!checkpoint.is_auto || *layer == entry.layer) {
                        let parent = manifest.head_parent.replace(checkpoint.id.clone());
                        let checkpoint = Checkpoint { parent, ..checkpoint.clone() };
                        manifest.checkpoints.push(Entry { layer: *layer, checkpoint });
                    }
                }
            }
        }
        Ok(manifest)
    }
}

/// A fault of the caller's.
const NOT_BEGUN: Error = Error::Order("a step of a disk from elsewhere was not begun");

fn next_number(checkpoints: &[Entry]) -> u64 {
    let number = |entry: &Entry| entry.checkpoint.id.strip_prefix('v')?.parse::<u64>().ok();
    checkpoints
        .iter()
        .filter_map(number)
        .filter(|number| *number < MAX_NUMBER)
        .max()
        .map_or(0, |last| last + 1)
}

/// Whether a block is nothing but zeros.
fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    block == ZEROS
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // In its place it has another name.
        let _ = fs::remove_dir_all(&self.temp);
    }
}
