//! Power cuts. A host records every change in order; for each moment the files are rebuilt as a power cut could have left them, and a
//! fresh start must find every acknowledged checkpoint and a live disk no older than its last flush.
//!
//! What a cut may leave: of each file's writes and holes since it was last flushed any subset, block by block; of the folder's new names
//! and removals since it was last flushed any prefix; a replaced manifest is the old or the new one.

use super::*;
use crate::host::{Host, HostFile, RealHost};
use crate::{NewCheckpoint, Volume, check};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

const BLOCKS: u64 = 16;

#[derive(Clone, Debug)]
enum Change {
    Create {
        path: PathBuf,
        size: u64,
    },
    /// At most one block.
    Write {
        path: PathBuf,
        offset: u64,
        data: Vec<u8>,
    },
    Punch {
        path: PathBuf,
        offset: u64,
        len: u64,
    },
    Sync(PathBuf),
    Replace {
        path: PathBuf,
        content: Vec<u8>,
    },
    Remove(PathBuf),
    SyncDir(PathBuf),
}

#[derive(Debug, Default)]
struct Recorder {
    log: Mutex<Vec<Change>>,
}

impl Recorder {
    fn add(&self, change: Change) {
        self.log.lock().unwrap().push(change);
    }

    fn now(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}

impl Host for Recorder {
    fn create(&self, path: &Path, size: u64) -> io::Result<HostFile> {
        self.add(Change::Create { path: path.into(), size });
        RealHost.create(path, size)
    }

    fn open(&self, path: &Path) -> io::Result<HostFile> {
        RealHost.open(path)
    }

    fn write(&self, file: &HostFile, data: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let all: Vec<u8> = data.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut at = offset;
        while at < offset + all.len() as u64 {
            let end = ((at / BLOCK + 1) * BLOCK).min(offset + all.len() as u64);
            let data = all[(at - offset) as usize..(end - offset) as usize].to_vec();
            self.add(Change::Write { path: file.path.clone(), offset: at, data });
            at = end;
        }
        RealHost.write(file, data, offset)
    }

    fn punch(&self, file: &HostFile, offset: u64, len: u64) -> io::Result<()> {
        self.add(Change::Punch { path: file.path.clone(), offset, len });
        RealHost.punch(file, offset, len)
    }

    fn sync(&self, file: &HostFile) -> io::Result<()> {
        self.add(Change::Sync(file.path.clone()));
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.add(Change::Replace { path: path.into(), content: content.into() });
        RealHost.replace(path, content)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealHost.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.add(Change::Remove(path.into()));
        RealHost.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.add(Change::SyncDir(path.into()));
        Ok(())
    }
}

/// Small and repeatable; tests need no better one.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A file as blocks; what is absent is a hole.
#[derive(Clone, Debug, Default)]
struct Sparse {
    size: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let block = self.blocks.entry(offset / BLOCK).or_insert_with(|| vec![0; BLOCK as usize]);
        let at = (offset % BLOCK) as usize;
        block[at..at + data.len()].copy_from_slice(data);
    }

    fn punch(&mut self, offset: u64, len: u64) {
        let end = (offset + len).div_ceil(BLOCK);
        self.blocks.retain(|block, _| *block < offset / BLOCK || *block >= end);
    }
}

/// How much of what was not flushed survives.
#[derive(Clone, Copy, Debug)]
enum Survives {
    Nothing,
    Everything,
    Some(u64),
}

/// The files after a power cut once `log` had happened.
fn after_cut(
    start: &HashMap<PathBuf, Sparse>,
    log: &[Change],
    survives: Survives,
) -> HashMap<PathBuf, Sparse> {
    let mut last_sync: HashMap<&Path, usize> = HashMap::new();
    let mut last_dir: HashMap<&Path, usize> = HashMap::new();
    for (at, change) in log.iter().enumerate() {
        match change {
            Change::Sync(path) => drop(last_sync.insert(path, at)),
            Change::SyncDir(path) => drop(last_dir.insert(path, at)),
            _ => {}
        }
    }
    let mut random = Random(match survives {
        Survives::Some(seed) => seed,
        _ => 0,
    });
    let mut keep = || match survives {
        Survives::Nothing => false,
        Survives::Everything => true,
        Survives::Some(_) => random.next(2) == 0,
    };
    let mut files = start.clone();
    // Names are journalled in order: once one is lost, the later ones are.
    let mut names_go_on = true;
    for (at, change) in log.iter().enumerate() {
        let durable = |path: &Path| last_sync.get(path).is_some_and(|sync| *sync > at);
        let mut named = |path: &Path| {
            let durable = last_dir.get(path.parent().unwrap()).is_some_and(|sync| *sync > at);
            names_go_on &= durable || keep();
            durable || names_go_on
        };
        match change {
            Change::Create { path, size } => {
                if named(path) {
                    files.insert(path.clone(), Sparse { size: *size, ..Sparse::default() });
                }
            }
            Change::Remove(path) => {
                if named(path) {
                    files.remove(path);
                }
            }
            Change::Write { path, offset, data } => {
                if (durable(path) || keep())
                    && let Some(file) = files.get_mut(path)
                {
                    file.write(*offset, data);
                }
            }
            Change::Punch { path, offset, len } => {
                if (durable(path) || keep())
                    && let Some(file) = files.get_mut(path)
                {
                    file.punch(*offset, *len);
                }
            }
            Change::Replace { path, content } => {
                let mut file = Sparse { size: content.len() as u64, ..Sparse::default() };
                for (at, part) in content.chunks(BLOCK as usize).enumerate() {
                    file.write(at as u64 * BLOCK, part);
                }
                files.insert(path.clone(), file);
            }
            Change::Sync(_) | Change::SyncDir(_) => {}
        }
    }
    files
}

fn snapshot(dir: &Path) -> HashMap<PathBuf, Sparse> {
    let mut out = HashMap::new();
    for folder in [dir.to_owned(), dir.join("layers"), dir.join("maps")] {
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let bytes = fs::read(entry.path()).unwrap();
            let mut file = Sparse { size: bytes.len() as u64, ..Sparse::default() };
            for (at, part) in bytes.chunks(BLOCK as usize).enumerate() {
                if part.iter().any(|byte| *byte != 0) {
                    file.write(at as u64 * BLOCK, part);
                }
            }
            out.insert(entry.path(), file);
        }
    }
    out
}

fn lay_out(files: &HashMap<PathBuf, Sparse>, from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("layers")).unwrap();
    fs::create_dir_all(to.join("maps")).unwrap();
    for (path, sparse) in files {
        let file = RealHost.create(&to.join(path.strip_prefix(from).unwrap()), sparse.size).unwrap();
        for (block, data) in &sparse.blocks {
            let room = (sparse.size - block * BLOCK).min(BLOCK) as usize;
            RealHost.write(&file, &[IoSlice::new(&data[..room])], block * BLOCK).unwrap();
        }
    }
}

/// What may be found: for each moment in the log from which on it holds.
#[derive(Clone, Debug)]
struct Promise {
    from: usize,
    /// For each block all values it may have.
    live: Vec<HashSet<u8>>,
    /// Acknowledged checkpoints and what each block of them is.
    saved: Vec<(String, Vec<u8>)>,
}

/// Where operations begin: so few places that they often meet.
const HOT: u64 = 8;

struct Work {
    host: Arc<Recorder>,
    volume: Volume,
    now: Vec<u8>,
    /// Blocks that were discarded and may come back, until they are written or everything is flushed.
    loose: HashSet<u64>,
    promises: Vec<Promise>,
}

impl Work {
    /// Before an operation that may leave the old or the new values.
    fn may(&mut self, values: &[(u64, u8)]) {
        let mut promise = self.promises.last().unwrap().clone();
        promise.from = self.host.now();
        for (block, value) in values {
            promise.live[*block as usize].insert(*value);
            self.now[*block as usize] = *value;
            self.loose.remove(block);
        }
        self.promises.push(promise);
    }

    /// After an operation that made everything durable.
    fn must(&mut self) {
        let mut promise = self.promises.last().unwrap().clone();
        promise.from = self.host.now();
        promise.live = self.now.iter().map(|value| HashSet::from([*value])).collect();
        self.loose.clear();
        self.promises.push(promise);
    }

    /// After a flush of what was written: only discarded blocks may still be what they were.
    fn must_but_loose(&mut self) {
        let mut promise = self.promises.last().unwrap().clone();
        promise.from = self.host.now();
        for (block, allowed) in (0..).zip(&mut promise.live) {
            if !self.loose.contains(&block) {
                *allowed = HashSet::from([self.now[block as usize]]);
            }
        }
        self.promises.push(promise);
    }

    fn saved(&mut self, change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) {
        let mut promise = self.promises.last().unwrap().clone();
        promise.from = self.host.now();
        change(&mut promise.saved);
        self.promises.push(promise);
    }

    fn write(&mut self, random: &mut Random) {
        let (at, len) = (random.next(HOT), 1 + random.next(3));
        let value = 1 + random.next(250) as u8;
        self.may(&(at..at + len).map(|block| (block, value)).collect::<Vec<_>>());
        self.volume.write_at(&vec![value; (len * BLOCK) as usize], at * BLOCK).unwrap();
    }

    fn discard(&mut self, random: &mut Random) {
        let (at, len) = (random.next(HOT), 1 + random.next(5));
        self.may(&(at..at + len).map(|block| (block, 0)).collect::<Vec<_>>());
        self.loose.extend(at..at + len);
        self.volume.discard(at * BLOCK, len * BLOCK).unwrap();
    }

    fn zero(&mut self, random: &mut Random) {
        let (at, len) = (random.next(HOT), 1 + random.next(5));
        self.may(&(at..at + len).map(|block| (block, 0)).collect::<Vec<_>>());
        self.volume.write_zeroes(at * BLOCK, len * BLOCK).unwrap();
    }

    fn flush(&mut self, random: &mut Random) {
        match random.next(3) {
            0 => {
                self.volume.flush().unwrap();
                self.must();
            }
            1 => {
                self.volume.flush_writes().unwrap();
                self.must_but_loose();
            }
            // As a device does when nobody waits.
            _ => {
                self.volume.flush_writes().unwrap();
                self.must_but_loose();
                self.volume.trim(2 * BLOCK).unwrap();
            }
        }
    }

    fn step(&mut self, random: &mut Random, store: &Store, dir: &Path) {
        let ids: Vec<String> =
            self.promises.last().unwrap().saved.iter().map(|saved| saved.0.clone()).collect();
        match random.next(20) {
            0..8 => self.write(random),
            8..10 => self.discard(random),
            10..12 => self.zero(random),
            12 | 13 => self.flush(random),
            14..17 => {
                self.volume.prepare_seal().unwrap();
                self.write(random);
                let saved = self.now.clone();
                self.volume.flip().unwrap();
                for _ in 0..random.next(4) {
                    match random.next(4) {
                        0 => self.discard(random),
                        1 => self.zero(random),
                        2 => self.write(random),
                        _ => self.flush(random),
                    }
                }
                let made = self.volume.finish_seal(NewCheckpoint::default()).unwrap();
                self.saved(|list| list.push((made.id, saved)));
            }
            17 if !ids.is_empty() => {
                let id = &ids[random.next(ids.len() as u64) as usize];
                let target = self
                    .promises
                    .last()
                    .unwrap()
                    .saved
                    .iter()
                    .find(|saved| saved.0 == *id)
                    .unwrap()
                    .1
                    .clone();
                let before = self.now.clone();
                self.may(&(0..).zip(target).collect::<Vec<_>>());
                let restored = self.volume.restore(id).unwrap();
                self.must();
                if let Some(undo) = restored.undo {
                    self.saved(|list| list.push((undo, before)));
                }
            }
            18 if !ids.is_empty() => {
                let id = &ids[random.next(ids.len() as u64) as usize];
                self.saved(|list| list.retain(|saved| saved.0 != *id));
                self.volume.forget(id).unwrap();
            }
            _ => drop(store.reclaim(dir).unwrap()),
        }
    }
}

fn run(seed: u64, steps: usize, variants: u64) {
    let rig = Rig::new();
    let host = Arc::new(Recorder::default());
    let dir = rig.create("a", BLOCKS);
    let store = Store::open_with(&rig.dir.path().join("sprites"), host.clone()).unwrap();
    let start = snapshot(&dir);
    let first: Vec<u8> = {
        let mut all = base();
        all.resize((BLOCKS * BLOCK) as usize, 0);
        // The image's last block is not whole, so that it is told apart by its first byte only.
        all.chunks(BLOCK as usize).map(|block| block[0]).collect()
    };
    let volume = Volume::open_with(&dir, host.clone()).unwrap();
    let live = first.iter().map(|value| HashSet::from([*value])).collect();
    let promises = vec![Promise { from: 0, live, saved: Vec::new() }];
    let mut work = Work { host: host.clone(), volume, now: first, loose: HashSet::new(), promises };
    let mut random = Random(seed);
    for _ in 0..steps {
        work.step(&mut random, &store, &dir);
    }
    let Work { volume, promises, .. } = work;
    drop(volume);
    let log = host.log.lock().unwrap().clone();
    let place = rig.dir.path().join("cut").join("volume");
    for cut in 0..=log.len() {
        let mut kinds = vec![Survives::Nothing, Survives::Everything];
        kinds.extend((0..variants).map(|n| Survives::Some(seed * 7919 + cut as u64 * 31 + n)));
        for survives in kinds {
            let files = after_cut(&start, &log[..cut], survives);
            lay_out(&files, &dir, &place);
            let told = format!("seed {seed}, cut after {cut} of {}, {survives:?}", log.len());
            // The last promise made before the cut; the operation after it may have begun.
            let promise = promises.iter().rfind(|promise| promise.from <= cut).unwrap();
            let volume = Volume::open(&place).unwrap_or_else(|error| panic!("{told}: {error}"));
            for (block, allowed) in promise.live.iter().enumerate() {
                let mut found = [0; 1];
                volume.read_at(&mut found, block as u64 * BLOCK).unwrap();
                assert!(allowed.contains(&found[0]), "{told}: block {block} is {} not {allowed:?}", found[0]);
            }
            drop(volume);
            for (id, saved) in &promise.saved {
                let found = content(&place, id);
                for (block, value) in saved.iter().enumerate() {
                    let byte = found[block * BLOCK as usize];
                    assert_eq!(byte, *value, "{told}: checkpoint {id}, block {block}");
                }
            }
            let report = check(&place, false).unwrap();
            assert!(report.is_clean(), "{told}: {report:?}");
        }
    }
}

#[test]
fn nothing_is_lost_at_any_cut() {
    for seed in 1..=8 {
        run(seed, 30, 2);
    }
}

/// Many more of the same, for an idle evening: `cargo test -p vmm-disk --release -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn nothing_is_lost_at_any_cut_at_length() {
    for seed in 100..160 {
        run(seed, 60, 4);
    }
}
