//! A sprite's folder: its disk, its kernel files, and the copy of its record.
//!
//! Order makes it safe against a cut at any point: the record's copy is written last when a sprite is made, and removed first when it is
//! destroyed. So a folder with a copy is whole, and one without is rubbish.

use super::SpriteError;
use super::template::Template;
use crate::lock::locked;
use crate::paths::Paths;
use crate::store::{Record, Store};
use local_vmm::{MachineSpec, kvm};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use vmm_disk::{Checkpoint, CheckpointReader, NewCheckpoint, Restored, Stored, Tree, Volume};
use vmm_image::Image;

/// Name of the copy of a sprite's record, in its folder.
const COPY: &str = "sprite.json";
/// Largest record that is read, bytes.
const MAX_RECORD: u64 = 1 << 20;

/// All sprites' folders.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    pub(super) paths: Paths,
    store: vmm_disk::Store,
    /// Checkpoints that somebody reads, by sprite and id; each is open once, however many read it.
    readers: Arc<Mutex<Readers>>,
}

type Readers = HashMap<(String, String), Weak<CheckpointReader>>;

impl Disks {
    pub(crate) fn open(paths: &Paths) -> Result<Self, SpriteError> {
        Ok(Self {
            store: vmm_disk::Store::open(&paths.sprites())?,
            paths: paths.clone(),
            readers: Arc::default(),
        })
    }

    /// Brings folders and database together after whatever happened; gives all sprites.
    pub(super) fn settle(&self, database: &Store) -> Result<Vec<Record>, SpriteError> {
        let mut known: HashMap<String, Record> =
            database.sprites()?.into_iter().map(|record| (record.id.clone(), record)).collect();
        let mut names: HashSet<String> = known.values().map(|record| record.name.clone()).collect();
        let root = self.paths.sprites();
        let mut records = Vec::new();
        for entry in fs::read_dir(&root).map_err(io("read", &root))?.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !entry.path().is_dir() || id.starts_with('.') {
                continue;
            }
            match (known.remove(&id), Copy::read(&self.copy(&id))) {
                (Some(record), Copy::Record(_)) => records.push(record),
                (Some(record), Copy::Damaged) => {
                    tracing::warn!(
                        "the record of {} in its folder was damaged and is written anew",
                        record.name
                    );
                    self.write(&record)?;
                    records.push(record);
                }
                (None, Copy::Damaged) => {
                    tracing::error!(
                        "the folder {} holds a disk whose {COPY} is damaged; mend or remove it",
                        entry.path().display()
                    );
                }
                (None, Copy::Record(mut record)) if record.id == id => {
                    tracing::warn!("the sprite {} is not in the database and is taken up again", record.name);
                    let name: String = record.name.chars().take(40).collect();
                    let mut number = 2;
                    while !names.insert(record.name.clone()) {
                        record.name = format!("{name}-{number}");
                        number += 1;
                    }
                    database.put(&record)?;
                    records.push(*record);
                }
                (None, Copy::Record(_)) => {
                    tracing::error!(
                        "the folder {} holds another sprite's record and is passed over",
                        entry.path().display()
                    );
                }
                (known, Copy::Missing) => {
                    if let Some(record) = known {
                        tracing::warn!(
                            "the sprite {} was being destroyed, which is now finished",
                            record.name
                        );
                        database.remove(&record.id)?;
                    }
                    self.sweep(&id)?;
                }
            }
        }
        // Their folders are gone altogether.
        for record in known.into_values() {
            tracing::warn!("the disk of the sprite {} is gone, and so the sprite is", record.name);
            database.remove(&record.id)?;
        }
        Ok(records)
    }

    /// The disks themselves.
    pub(super) fn store(&self) -> &vmm_disk::Store {
        &self.store
    }

    /// Fills the folder of a new sprite from an image, or from its template.
    pub(super) fn create(&self, record: &Record, image: &Image) -> Result<(), SpriteError> {
        let template = Template::find(&self.paths, &image.info.id, record);
        self.fill(record, |dir| {
            if let Some(template) = &template {
                return template.fill(&self.store, dir, &self.paths.memory(&record.id));
            }
            share_kernel(image, dir)?;
            Ok(self.store.create(&dir.join("volume"), &image.rootfs(), vmm_disk::DEFAULT_SIZE)?)
        })
    }

    /// Fills the folder of a new sprite from a checkpoint of another, with `memory` so that it goes on from all that ran there.
    pub(super) fn fork(
        &self,
        from: &str,
        checkpoint: &str,
        memory: bool,
        record: &Record,
    ) -> Result<(), SpriteError> {
        let origin = self.paths.sprite(from);
        self.fill(record, |dir| {
            if memory {
                self.take_memory(from, checkpoint, &record.id)?;
            }
            share_kernel_of(&origin, dir)?;
            Ok(self.store.fork(&origin.join("volume"), checkpoint, &dir.join("volume"))?)
        })
    }

    /// Fills the folder of a new sprite; nothing is left of it when that fails.
    pub(super) fn fill(
        &self,
        record: &Record,
        make: impl FnOnce(&Path) -> Result<(), SpriteError>,
    ) -> Result<(), SpriteError> {
        let dir = self.paths.sprite(&record.id);
        fs::create_dir_all(&dir).map_err(io("make", &dir))?;
        let made = make(&dir).and_then(|()| self.write(record));
        if made.is_err() {
            self.sweep(&record.id)?;
        }
        made
    }

    /// Removes a sprite for good.
    pub(super) fn destroy(&self, database: &Store, id: &str) -> Result<(), SpriteError> {
        self.remove_copy(id)?;
        database.remove(id)?;
        self.sweep(id)
    }

    /// Removes what was made of a sprite that has never been one.
    pub(super) fn discard(&self, id: &str) -> Result<(), SpriteError> {
        self.remove_copy(id)?;
        self.sweep(id)
    }

    fn remove_copy(&self, id: &str) -> Result<(), SpriteError> {
        let copy = self.copy(id);
        match fs::remove_file(&copy) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io("remove", &copy)(source)),
            _ => Ok(()),
        }
    }

    /// Removes the folder of a sprite that is none, or none any more.
    fn sweep(&self, id: &str) -> Result<(), SpriteError> {
        match self.store.destroy(&self.paths.volume(id)) {
            Ok(()) | Err(vmm_disk::Error::NoVolume(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let dir = self.paths.sprite(id);
        match fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io("remove", &dir)(source)),
            _ => Ok(()),
        }
    }

    /// Writes the copy of a record.
    pub(super) fn write(&self, record: &Record) -> Result<(), SpriteError> {
        write_whole(&self.copy(&record.id), record)
    }

    fn copy(&self, id: &str) -> PathBuf {
        self.paths.sprite(id).join(COPY)
    }

    /// A checkpoint of a disk that no machine runs on.
    pub(super) fn checkpoint(&self, id: &str, new: NewCheckpoint) -> Result<Checkpoint, SpriteError> {
        Ok(Volume::open(&self.paths.volume(id))?.checkpoint(new)?)
    }

    /// Puts a disk that no machine runs on back to a checkpoint, with `memory` so that the machine goes on from all that ran then.
    pub(super) fn restore(&self, id: &str, checkpoint: &str, memory: bool) -> Result<Restored, SpriteError> {
        let restored = Volume::open(&self.paths.volume(id))?.restore(checkpoint)?;
        if memory {
            self.take_memory(id, checkpoint, id)?;
        }
        Ok(restored)
    }

    /// Gives a sprite the memory of a checkpoint, of its own or another's.
    fn take_memory(&self, from: &str, checkpoint: &str, to: &str) -> Result<(), SpriteError> {
        let source = MachineSpec::memory_of(&self.paths.memory(from), checkpoint);
        // That of an older version cannot be gone on from.
        if !kvm::is_current(&source) {
            return Err(SpriteError::WithoutMemory(checkpoint.to_owned()));
        }
        let target = self.paths.memory(to);
        kvm::share(&source, &target).map_err(SpriteError::memory(&target))
    }

    /// Bytes of the memory that a checkpoint has; 0 when it has none.
    pub(crate) fn memory_bytes(&self, id: &str, checkpoint: &str) -> u64 {
        let memory = MachineSpec::memory_of(&self.paths.memory(id), checkpoint);
        if kvm::is_current(&memory) { kvm::kept_bytes(&memory) } else { 0 }
    }

    /// Takes a checkpoint of a disk that no machine runs on out of its list.
    pub(super) fn forget(&self, id: &str, checkpoint: &str) -> Result<(), SpriteError> {
        Ok(Volume::open(&self.paths.volume(id))?.forget(checkpoint)?)
    }

    /// Gives back the bytes that nothing reaches, on disks and in memories.
    pub(super) fn reclaim(&self, id: &str) -> Result<u64, SpriteError> {
        self.sweep_memories(id)?;
        Ok(self.store.reclaim(&self.paths.volume(id))?)
    }

    /// Removes memories whose checkpoint is gone or never came to be.
    fn sweep_memories(&self, id: &str) -> Result<(), SpriteError> {
        let memory = self.paths.memory(id);
        let Ok(entries) = fs::read_dir(&memory) else { return Ok(()) };
        let known: HashSet<String> =
            self.checkpoints(id)?.into_iter().map(|checkpoint| checkpoint.id).collect();
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            if !known.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_dir_all(entry.path()).map_err(io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// The checkpoints of a disk, oldest first.
    pub(crate) fn checkpoints(&self, id: &str) -> Result<Vec<Checkpoint>, SpriteError> {
        Ok(self.store.checkpoints(&self.paths.volume(id))?)
    }

    /// The disk of a checkpoint, to read.
    pub(crate) fn read(&self, id: &str, checkpoint: &str) -> Result<Arc<CheckpointReader>, SpriteError> {
        // Held meanwhile: opening one takes memory for a moment, which many at once would take many times.
        let mut readers = locked(&self.readers);
        readers.retain(|_, reader| reader.strong_count() > 0);
        let key = (id.to_owned(), checkpoint.to_owned());
        if let Some(reader) = readers.get(&key).and_then(Weak::upgrade) {
            return Ok(reader);
        }
        let reader = Arc::new(CheckpointReader::open(&self.paths.volume(id), checkpoint)?);
        readers.insert(key, Arc::downgrade(&reader));
        Ok(reader)
    }

    /// The checkpoint a live disk stands on.
    pub(crate) fn parent(&self, id: &str) -> Result<Option<String>, SpriteError> {
        Ok(self.store.parent(&self.paths.volume(id))?)
    }

    /// Whether anything was written to a disk since its last checkpoint.
    pub(super) fn is_changed(&self, id: &str) -> Result<bool, SpriteError> {
        Ok(self.store.is_changed(&self.paths.volume(id))?)
    }

    /// The checkpoints of a disk with their bytes.
    pub(crate) fn tree(&self, id: &str) -> Result<Tree, SpriteError> {
        Ok(self.store.tree(&self.paths.volume(id))?)
    }

    /// What a disk takes on the host.
    pub(crate) fn stored(&self, id: &str) -> Result<Stored, SpriteError> {
        Ok(self.store.stored(&self.paths.volume(id))?)
    }
}

/// A sprite's disk, found without server and database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDisk {
    /// The sprite's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The folder of its disk.
    pub volume: PathBuf,
}

/// The disks of all sprites below these paths, by name.
pub fn stored_disks(paths: &Paths) -> Vec<StoredDisk> {
    let entries = fs::read_dir(paths.sprites()).into_iter().flatten().flatten();
    let mut found: Vec<StoredDisk> = entries
        .filter_map(|entry| {
            let id = entry.file_name().to_string_lossy().into_owned();
            let Copy::Record(record) = Copy::read(&paths.sprite(&id).join(COPY)) else { return None };
            Some(StoredDisk { volume: paths.volume(&id), id, name: record.name })
        })
        .collect();
    found.sort_by(|one, two| one.name.cmp(&two.name));
    found
}

/// The copy of a record in a sprite's folder.
enum Copy {
    /// There is none: the folder is half-made or half-destroyed.
    Missing,
    /// It is there and makes no sense. Whatever happened to it, the disk beside it is somebody's.
    Damaged,
    Record(Box<Record>),
}

impl Copy {
    fn read(path: &Path) -> Self {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Missing,
            Ok(found) if found.len() <= MAX_RECORD => fs::read(path).unwrap_or_default(),
            _ => return Self::Damaged,
        };
        match serde_json::from_slice::<Record>(&text) {
            // A person may have edited it; the name ends up in paths, URLs and on screens.
            Ok(record) if sprites_api::name::check(&record.name).is_ok() => Self::Record(Box::new(record)),
            _ => Self::Damaged,
        }
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpriteError {
    let path = path.to_owned();
    move |source| SpriteError::Io { doing, path, source }
}

/// Writes a value as JSON into a file, which is whole or as it was.
pub(super) fn write_whole(path: &Path, value: &impl serde::Serialize) -> Result<(), SpriteError> {
    let fresh = path.with_extension("new");
    let text = serde_json::to_vec_pretty(value).map_err(|error| SpriteError::Inner(error.to_string()))?;
    let write = || {
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(io("write", path))
}

/// Gives a folder the kernel files of an image.
pub(super) fn share_kernel(image: &Image, to: &Path) -> Result<(), SpriteError> {
    if let Err(error) = image.unpacked() {
        // It is unpacked with each start then, or cannot be started, which the start tells better.
        tracing::warn!("{error}");
    }
    share_kernel_of(image.dir(), to)
}

/// Gives a folder the kernel files of another.
pub(super) fn share_kernel_of(from: &Path, to: &Path) -> Result<(), SpriteError> {
    for name in ["vmlinuz", "modules.cpio"] {
        share(&from.join(name), &to.join(name))?;
    }
    // Sprites of older versions have none.
    let unpacked = from.join("vmlinux");
    if unpacked.is_file() { share(&unpacked, &to.join("vmlinux")) } else { Ok(()) }
}

/// A second name for a file, or a copy where the file system does not give one.
fn share(from: &Path, to: &Path) -> Result<(), SpriteError> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).map_err(io("copy", from))
}
