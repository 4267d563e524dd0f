//! What needs a view of all volumes: making, forking, destroying them, and giving back bytes that nothing reaches any more.
//!
//! None of it needs a volume to be closed, save destroying it. Why reclaiming is safe beside an open volume: `docs/disk.md`.

use crate::account::{self, Content, FOREIGN, Seen, Stored, View};
use crate::chain;
use crate::host::{Host, HostFile, RealHost};
use crate::layer::{self, Head, data_path, zero_path};
use crate::manifest::{Layer, Manifest, PLAIN};
use crate::ranges::Ranges;
use crate::tree::{Node, Tree};
use crate::{BLOCK, CURRENT, Error, Result, volume};
use jiff::Timestamp;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The file by which one operation at a time has the store.
const LOCK: &str = "store.lock";
/// How long one operation waits for another process's.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// How often a fork begins anew because a file went away under it.
pub(crate) const FORK_TRIES: usize = 10;

/// All volumes under one folder, each at `<root>/<sprite>/volume`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    pub(crate) host: Arc<dyn Host>,
}

impl Store {
    /// Opens the store in `root`, making the folder when there is none and sweeping up what was cut off half-way.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Arc::new(RealHost))
    }

    pub(crate) fn open_with(root: &Path, host: Arc<dyn Host>) -> Result<Self> {
        fs::create_dir_all(root).map_err(|error| Error::io("make", root, error))?;
        let store = Self { root: root.to_owned(), host };
        let _lock = store.lock()?;
        for entry in fs::read_dir(root).map_err(|error| Error::io("read", root, error))?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if (name.starts_with(".new-") || name.starts_with(".trash-"))
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
        Ok(store)
    }

    /// Makes a volume of `size` bytes whose first bytes are those of the image `base`. The image's file gets a second name where
    /// the file system allows it, and is copied otherwise; it is never written.
    pub fn create(&self, dir: &Path, base: &Path, size: u64) -> Result<()> {
        let found = fs::metadata(base).map_err(|error| Error::io("read", base, error))?;
        check_size(size)?;
        if found.len() > size {
            return Err(Error::BadSize { size, why: "the base image is larger" });
        }
        let _lock = self.lock()?;
        self.admit(dir, |temp| {
            probe(temp)?;
            let id = self.take_base(base, temp)?;
            let head = Head::create(temp, Uuid::new_v4(), size, &*self.host)?;
            Ok(Manifest {
                format: PLAIN,
                size,
                layers: vec![
                    Layer { id, below: None, base: true, origin: None },
                    Layer { id: head.id, below: Some(id), base: false, origin: None },
                ],
                checkpoints: Vec::new(),
                head: head.id,
                head_parent: None,
                next: None,
                next_number: 0,
            })
        })
    }

    /// Gives an image's file a second name as the lowest layer of a volume, or copies it.
    pub(crate) fn take_base(&self, base: &Path, temp: &Path) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let to = data_path(temp, id);
        if self.host.link(base, &to).is_err() {
            copy(base, &to)?;
        }
        Ok(id)
    }

    /// Makes a volume in `to` that begins as `checkpoint` of the volume in `from`, which may be in use. It costs no bytes: the
    /// layers are the same files. The new volume has no checkpoints.
    pub fn fork(&self, from: &Path, checkpoint: &str, to: &Path) -> Result<()> {
        let _lock = self.lock()?;
        let mut tries = 0;
        loop {
            let manifest = Manifest::load(from)?;
            let top = manifest.find(checkpoint)?.layer;
            match self.admit(to, |temp| self.fill_fork(from, &manifest, top, temp)) {
                // Opening a volume drops layers that hold nothing any more; the manifest then tells another chain.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < FORK_TRIES =>
                {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Gives the layers under and including `top` a second name in `temp`; gives their lines of a manifest, lowest first.
    pub(crate) fn link_chain(
        &self,
        from: &Path,
        manifest: &Manifest,
        top: Uuid,
        temp: &Path,
    ) -> Result<Vec<Layer>> {
        let chain = chain::chain(manifest, top);
        for id in &chain {
            let link = |from: PathBuf, to: PathBuf| match self.host.link(&from, &to) {
                // By a try before this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked.map_err(|error| Error::io("link", from, error)),
            };
            link(data_path(from, *id), data_path(temp, *id))?;
            for (from, to) in [
                (zero_path(from, *id), zero_path(temp, *id)),
                (chain::cache_path(from, *id), chain::cache_path(temp, *id)),
            ] {
                if from.exists() {
                    link(from, to)?;
                }
            }
        }
        Ok(chain.iter().filter_map(|id| manifest.layer(*id).cloned()).collect())
    }

    fn fill_fork(&self, from: &Path, manifest: &Manifest, top: Uuid, temp: &Path) -> Result<Manifest> {
        let mut layers = self.link_chain(from, manifest, top, temp)?;
        let head = Head::create(temp, Uuid::new_v4(), manifest.size, &*self.host)?;
        layers.push(Layer { id: head.id, below: Some(top), base: false, origin: None });
        Ok(Manifest {
            format: manifest.format,
            size: manifest.size,
            layers,
            checkpoints: Vec::new(),
            head: head.id,
            head_parent: None,
            next: None,
            next_number: 0,
        })
    }

    /// Builds a volume beside its place and moves it there whole.
    fn admit(&self, dir: &Path, fill: impl FnOnce(&Path) -> Result<Manifest>) -> Result<()> {
        if fs::symlink_metadata(dir).is_ok() {
            return Err(Error::Exists(dir.to_owned()));
        }
        let temp = self.root.join(format!(".new-{}", Uuid::new_v4()));
        let built = self.build(&temp, dir, fill);
        if built.is_err() {
            let _ = fs::remove_dir_all(&temp);
        }
        built
    }

    fn build(&self, temp: &Path, dir: &Path, fill: impl FnOnce(&Path) -> Result<Manifest>) -> Result<()> {
        make_folders(temp)?;
        let manifest = fill(temp)?;
        self.put_in_place(temp, dir, &manifest)
    }

    /// Moves a volume whose layers are there to its place.
    pub(crate) fn put_in_place(&self, temp: &Path, dir: &Path, manifest: &Manifest) -> Result<()> {
        let sync = |path: &Path| self.host.sync_dir(path).map_err(|error| Error::io("flush", path, error));
        sync(&temp.join("layers"))?;
        manifest.save(temp, &*self.host)?;
        let parent = dir.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))?;
        fs::rename(temp, dir).map_err(|error| Error::io("make", dir, error))?;
        sync(parent)?;
        sync(&self.root)
    }

    /// Removes a volume that nothing has open. Bytes it shared stay with those who still reach them; bytes that only it and a
    /// deleted checkpoint of a fork reached are given back too.
    pub fn destroy(&self, dir: &Path) -> Result<()> {
        let _lock = self.lock()?;
        let open = volume::lock(dir)?;
        // A damaged volume must be removable as well; then nobody can tell with whom it shared.
        let sharers = match Manifest::load(dir) {
            Ok(manifest) => self.sharers(dir, &manifest)?,
            Err(_) => Vec::new(),
        };
        let trash = self.root.join(format!(".trash-{}", Uuid::new_v4()));
        fs::rename(dir, &trash).map_err(|error| Error::io("remove", dir, error))?;
        let parent = dir.parent().unwrap_or(Path::new("."));
        self.host.sync_dir(parent).map_err(|error| Error::io("flush", parent, error))?;
        drop(open);
        fs::remove_dir_all(&trash).map_err(|error| Error::io("remove", trash, error))?;
        for (sharer, _) in sharers {
            self.reclaim_locked(&sharer)?;
        }
        Ok(())
    }

    /// Gives back all blocks of a volume's layers that no checkpoint and no live disk, here or in a fork, can see. Returns the bytes
    /// freed. May run at any time and as often as wanted.
    pub fn reclaim(&self, dir: &Path) -> Result<u64> {
        let _lock = self.lock()?;
        self.reclaim_locked(dir)
    }

    fn reclaim_locked(&self, dir: &Path) -> Result<u64> {
        // What the manifest says must be what a crash would leave, or a checkpoint could come back without its blocks.
        self.host.sync_dir(dir).map_err(|error| Error::io("flush", dir, error))?;
        let survey = self.survey(dir)?;
        // A block under a head's may go only when the head's own is sure to stay.
        for (dir, manifest) in survey
            .sharers
            .iter()
            .map(|(dir, manifest)| (dir.as_path(), manifest))
            .chain([(dir, &survey.manifest)])
        {
            for id in [Some(manifest.head), manifest.next].into_iter().flatten() {
                for path in [zero_path(dir, id), data_path(dir, id)] {
                    let synced = self.host.open(&path).and_then(|file| self.host.sync(&file));
                    synced.map_err(|error| Error::io("flush", path, error))?;
                }
            }
        }
        let live = [Some(survey.manifest.head), survey.manifest.next];
        let none = View::default();
        let mut freed = 0;
        for layer in
            survey.manifest.layers.iter().filter(|layer| !layer.base && !live.contains(&Some(layer.id)))
        {
            let Some(content) = survey.contents.get(&layer.id) else { continue };
            let view = survey.views.get(&layer.id).unwrap_or(&none);
            let mut garbage = content.data.clone();
            view.of(&content.data).for_each(|(seen, _)| garbage.remove(seen));
            if !garbage.is_empty() {
                freed += self.punch(
                    &data_path(dir, layer.id),
                    garbage.iter().map(|blocks| blocks.start * BLOCK..blocks.end * BLOCK),
                )?;
            }
            // Marks go all at once or not at all: they cost a few bytes.
            if !content.zero.is_empty()
                && view.of(&content.zero).next().is_none()
                && !survey.may_come_to_light(layer.id, &content.zero)
            {
                let path = zero_path(dir, layer.id);
                let whole = 0..layer::zero_size(survey.manifest.size);
                self.punch(&path, std::iter::once(whole))?;
            }
        }
        Ok(freed)
    }

    fn punch(&self, path: &Path, ranges: impl Iterator<Item = std::ops::Range<u64>>) -> Result<u64> {
        let file: HostFile = self.host.open(path).map_err(|error| Error::io("open", path, error))?;
        let mut freed = 0;
        for range in ranges {
            self.host
                .punch(&file, range.start, range.end - range.start)
                .map_err(|error| Error::io("free space in", path, error))?;
            freed += range.end - range.start;
        }
        Ok(freed)
    }

    /// All checkpoints of a volume and its live disk with their bytes. The volume may be in use; what a guest writes meanwhile may
    /// or may not be counted.
    pub fn tree(&self, dir: &Path) -> Result<Tree> {
        let _lock = self.lock()?;
        let Survey { manifest, contents, views, .. } = self.survey(dir)?;
        let mut exclusive = vec![0; manifest.checkpoints.len() + 1];
        for layer in manifest.layers.iter().filter(|layer| !layer.base) {
            let (Some(content), Some(view)) = (contents.get(&layer.id), views.get(&layer.id)) else {
                continue;
            };
            for (blocks, seen) in view.of(&content.data) {
                if let Seen::By(top) = seen
                    && let Some(bytes) = exclusive.get_mut(top as usize)
                {
                    *bytes += (blocks.end - blocks.start) * BLOCK;
                }
            }
        }
        let live = manifest.top();
        let mut tops: Vec<Uuid> = manifest.checkpoints.iter().map(|entry| entry.layer).collect();
        tops.push(live);
        let logical = account::logical(&manifest, &contents, &tops);
        let bytes = |index: usize| {
            let logical = logical.get(&tops[index]).copied().unwrap_or(0) * BLOCK;
            (exclusive[index], logical.saturating_sub(exclusive[index]), logical)
        };
        let mut nodes = Vec::with_capacity(tops.len());
        for (index, entry) in manifest.checkpoints.iter().enumerate() {
            let (exclusive, shared, logical) = bytes(index);
            let checkpoint = entry.checkpoint.clone();
            nodes.push(Node {
                id: checkpoint.id,
                parent: checkpoint.parent,
                create_time: checkpoint.create_time,
                comment: checkpoint.comment,
                is_auto: checkpoint.is_auto,
                exclusive,
                shared,
                logical,
            });
        }
        let (exclusive, shared, logical) = bytes(manifest.checkpoints.len());
        nodes.push(Node {
            id: CURRENT.into(),
            parent: manifest.head_parent.clone(),
            create_time: Timestamp::now().as_microsecond(),
            comment: None,
            is_auto: false,
            exclusive,
            shared,
            logical,
        });
        Ok(Tree { nodes })
    }

    /// The checkpoints of a volume, oldest first, without looking at bytes.
    pub fn checkpoints(&self, dir: &Path) -> Result<Vec<crate::Checkpoint>> {
        Ok(Manifest::load(dir)?.checkpoints.into_iter().map(|entry| entry.checkpoint).collect())
    }

    /// The checkpoint on which the live disk of a volume stands.
    pub fn parent(&self, dir: &Path) -> Result<Option<String>> {
        Ok(Manifest::load(dir)?.head_parent)
    }

    /// Whether anything was written to a volume since its last checkpoint. The volume may be in use.
    pub fn is_changed(&self, dir: &Path) -> Result<bool> {
        layer::is_touched(dir, Manifest::load(dir)?.head)
    }

    /// What a volume takes on the host's disk, image not counted.
    pub fn stored(&self, dir: &Path) -> Result<Stored> {
        account::stored(dir, &Manifest::load(dir)?)
    }

    /// Bytes that may be written before what the host keeps free for others is touched.
    pub fn room(&self) -> Result<u64> {
        let path = self.root.join(LOCK);
        let file = File::options().create(true).append(true).open(&path);
        let file = HostFile { file: file.map_err(|error| Error::io("open", &path, error))?, path };
        self.host.room(&file).map_err(|error| Error::io("look for room beside", &file.path, error))
    }

    /// Everything known about the bytes of one volume.
    fn survey(&self, dir: &Path) -> Result<Survey> {
        let manifest = Manifest::load(dir)?;
        let sharers = self.sharers(dir, &manifest)?;
        let mut contents = HashMap::new();
        let read = |dir: &Path, manifest: &Manifest, contents: &mut HashMap<Uuid, Content>| -> Result<()> {
            for layer in &manifest.layers {
                if let Entry::Vacant(place) = contents.entry(layer.id) {
                    place.insert(Content::read(dir, layer.id, manifest.size / BLOCK)?);
                }
            }
            Ok(())
        };
        read(dir, &manifest, &mut contents)?;
        let mut views = account::views(&manifest, account::tops(&manifest, |index| index as u32), &contents);
        for (sharer, other) in &sharers {
            read(sharer, other, &mut contents)?;
            for (id, view) in account::views(other, account::tops(other, |_| FOREIGN), &contents) {
                if let Some(held) = views.remove(&id) {
                    views.insert(id, held.merge(view));
                } else {
                    views.insert(id, view);
                }
            }
        }
        Ok(Survey { manifest, sharers, contents, views })
    }

    /// Other volumes that have a layer in common with this one.
    fn sharers(&self, dir: &Path, manifest: &Manifest) -> Result<Vec<(PathBuf, Manifest)>> {
        let own: HashSet<Uuid> =
            manifest.layers.iter().filter(|layer| !layer.base).map(|layer| layer.id).collect();
        let mut found = Vec::new();
        let same = |path: &Path| fs::canonicalize(path).ok();
        let here = same(dir);
        // Whoever shares a layer has a name for its file.
        let is_alone =
            own.iter().all(|id| data_path(dir, *id).metadata().is_ok_and(|file| file.nlink() == 1));
        for entry in fs::read_dir(&self.root).map_err(|error| Error::io("read", &self.root, error))?.flatten()
        {
            let path = entry.path().join("volume");
            if !path.is_dir() || same(&path) == here {
                continue;
            }
            match Manifest::load(&path) {
                Ok(other) if other.layers.iter().any(|layer| own.contains(&layer.id)) => {
                    found.push((path, other))
                }
                Ok(_) | Err(Error::NoVolume(_)) => {}
                // Nobody can tell what a damaged volume reaches. But it reaches nothing here if these files have no other name.
                Err(_) if is_alone => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.root.join(LOCK);
        let file = File::create(&path).map_err(|error| Error::io("open", &path, error))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(self.root.clone())),
                Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
            }
        }
    }
}

/// See [`Store::survey`].
struct Survey {
    manifest: Manifest,
    sharers: Vec<(PathBuf, Manifest)>,
    contents: HashMap<Uuid, Content>,
    views: HashMap<Uuid, View>,
}

impl Survey {
    /// Whether marks of a layer are hidden by nothing more lasting than the data of a live head above. A guest may discard that data, and
    /// whoever has the head open then takes the blocks for zeros: the marks said so when it was opened.
    fn may_come_to_light(&self, layer: Uuid, marks: &Ranges) -> bool {
        let manifests = self.sharers.iter().map(|(_, manifest)| manifest).chain([&self.manifest]);
        manifests.into_iter().any(|manifest| {
            [Some(manifest.head), manifest.next].into_iter().flatten().any(|head| {
                let hides = self.contents.get(&head).is_some_and(|content| {
                    content.data.iter().any(|blocks| marks.within(blocks).next().is_some())
                });
                hides && chain::chain(manifest, head).contains(&layer)
            })
        })
    }
}

/// Makes the folders of a volume.
pub(crate) fn make_folders(dir: &Path) -> Result<()> {
    ["layers", "maps"].iter().try_for_each(|folder| {
        let folder = dir.join(folder);
        fs::create_dir_all(&folder).map_err(|error| Error::io("make", folder, error))
    })
}

/// Whether a disk can have that size.
pub(crate) fn check_size(size: u64) -> Result<()> {
    if size == 0 || !size.is_multiple_of(BLOCK) || size > crate::manifest::MAX_SIZE {
        return Err(Error::BadSize { size, why: "it must be a multiple of 4096, and at most 16 TiB" });
    }
    Ok(())
}

/// Checks that the host's file system tells holes apart block by block: the layers depend on it.
pub(crate) fn probe(dir: &Path) -> Result<()> {
    let path = dir.join("probe");
    let unfit = |why| Error::Unfit { path: dir.to_owned(), why };
    let host = RealHost;
    let wrap = |error| Error::io("write", dir, error);
    let file = host.create(&path, 64 * BLOCK).map_err(wrap)?;
    let block = [1; BLOCK as usize];
    for at in [3, 5, 6] {
        host.write(&file, &[IoSlice::new(&block)], at * BLOCK).map_err(wrap)?;
    }
    host.punch(&file, 5 * BLOCK, BLOCK).map_err(|_| unfit("it cannot make holes in files"))?;
    let mut found = Ranges::default();
    layer::extents(&file.file, |bytes| found.insert(bytes))
        .map_err(|_| unfit("it cannot tell holes in files"))?;
    let expected: Vec<_> = [3, 6].map(|at| at * BLOCK..(at + 1) * BLOCK).into();
    if found.iter().collect::<Vec<_>>() != expected {
        return Err(unfit("its holes are coarser than 4096 bytes"));
    }
    host.remove(&path).map_err(wrap)
}

/// Copies what is not hole.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let source = File::open(from).map_err(|error| Error::io("read", from, error))?;
    let size = source.metadata().map_err(|error| Error::io("read", from, error))?.len();
    let target = RealHost.create(to, size).map_err(|error| Error::io("make", to, error))?;
    let mut parts = Vec::new();
    layer::extents(&source, |bytes| parts.push(bytes)).map_err(|error| Error::io("read", from, error))?;
    let mut buffer = vec![0; 1 << 20];
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let len = ((part.end - at) as usize).min(buffer.len());
            source.read_exact_at(&mut buffer[..len], at).map_err(|error| Error::io("read", from, error))?;
            target.file.write_all_at(&buffer[..len], at).map_err(|error| Error::io("write", to, error))?;
            at += len as u64;
        }
    }
    target.file.sync_all().map_err(|error| Error::io("flush", to, error))
}
