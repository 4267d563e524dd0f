//! The folder of images.

use crate::{Cancel, Config, Error, Progress, Result, build, vmlinux};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// File that describes an image.
const INFO: &str = "image.json";
/// Name prefix of folders that are being built or removed.
pub(crate) const UNFINISHED: &str = ".tmp-";
/// Version of the format of [`ImageInfo`].
const FORMAT: u32 = 1;
/// How often a build that waits for another one looks again.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// What an image is; the content of `image.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInfo {
    /// Version of this format.
    pub format: u32,
    /// Name of its folder.
    pub id: String,
    /// When its build ended.
    pub created: Timestamp,
    /// Debian release.
    pub suite: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Everything that was asked to be installed.
    pub packages: Vec<String>,
    /// Size of the root file system in bytes; mostly holes.
    pub size_bytes: u64,
    /// What it takes on the host's disk, in bytes.
    pub stored_bytes: u64,
}

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is.
    pub info: ImageInfo,
    dir: PathBuf,
}

impl Image {
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root file system, ext4.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join(build::ROOTFS)
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join(build::KERNEL)
    }

    /// The kernel, unpacked. Images of older builds come without it, and a disk may lose it: then it is made now, which takes about a second.
    pub fn unpacked(&self) -> Result<PathBuf> {
        vmlinux::unpacked(&self.dir)
    }

    /// The archive of kernel modules.
    pub fn modules(&self) -> PathBuf {
        self.dir.join(build::MODULES)
    }

    fn open(dir: &Path, id: &str) -> Result<Self> {
        let damaged = |why: String| Error::Damaged { id: id.to_owned(), why };
        let text = fs::read_to_string(dir.join(INFO)).map_err(|error| damaged(format!("{INFO}: {error}")))?;
        let info: ImageInfo =
            serde_json::from_str(&text).map_err(|error| damaged(format!("{INFO}: {error}")))?;
        if info.format != FORMAT || info.id != id {
            return Err(damaged(format!("{INFO} tells of image {:?}, format {}", info.id, info.format)));
        }
        let image = Self { info, dir: dir.to_owned() };
        for (path, size) in
            [(image.rootfs(), Some(image.info.size_bytes)), (image.kernel(), None), (image.modules(), None)]
        {
            let found =
                fs::metadata(&path).map_err(|error| damaged(format!("{}: {error}", path.display())))?;
            if !found.is_file() || size.is_some_and(|size| size != found.len()) {
                return Err(damaged(format!("{} has the wrong kind or size", path.display())));
            }
        }
        Ok(image)
    }
}

/// The folder that holds all images of a data root.
#[derive(Clone, Debug)]
pub struct ImageStore {
    root: PathBuf,
}

impl ImageStore {
    /// Opens the store, making the folder if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(Error::io("make", &root))?;
        Ok(Self { root })
    }

    /// All usable images, oldest first. Damaged ones are told in the log and left out.
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(Error::io("read", &self.root))? {
            let entry = entry.map_err(Error::io("read", &self.root))?;
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|id| check_id(id).is_ok()) else { continue };
            if !entry.path().is_dir() {
                continue;
            }
            match Image::open(&entry.path(), id) {
                Ok(image) => images.push(image),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        images.sort_by(|a, b| (a.info.created, &a.info.id).cmp(&(b.info.created, &b.info.id)));
        Ok(images)
    }

    /// The image new sprites start from: the one built last.
    pub fn latest(&self) -> Result<Image> {
        self.list()?.pop().ok_or(Error::NoImages)
    }

    /// The image of that id.
    pub fn get(&self, id: &str) -> Result<Image> {
        check_id(id)?;
        let dir = self.root.join(id);
        if !dir.is_dir() {
            return Err(Error::NoImage(id.to_owned()));
        }
        Image::open(&dir, id)
    }

    /// Removes an image. Sprites made from it keep what they use.
    pub fn remove(&self, id: &str) -> Result<()> {
        check_id(id)?;
        let dir = self.root.join(id);
        if !dir.is_dir() {
            return Err(Error::NoImage(id.to_owned()));
        }
        let away = self.root.join(format!("{UNFINISHED}{id}-removed"));
        fs::rename(&dir, &away).map_err(Error::io("rename", &dir))?;
        fs::remove_dir_all(&away).map_err(Error::io("remove", &away))
    }

    /// Builds a new image; takes a minute or two and needs the network. Blocks; run it on a thread of its own.
    ///
    /// `progress` is told each step; its fraction never falls. When another process is building in the same store, this waits for
    /// it and then returns the image that one made.
    pub fn build(
        &self,
        config: &Config,
        mut progress: impl FnMut(Progress),
        cancel: &Cancel,
    ) -> Result<Image> {
        config.check()?;
        let before = self.list()?.pop();
        let path = self.root.join("build.lock");
        let lock = File::create(&path).map_err(Error::io("open", &path))?;
        let mut waited = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) => {
                    if cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    if !waited {
                        progress(Progress {
                            fraction: 0.0,
                            step: "Waiting for a build that is under way".into(),
                        });
                    }
                    waited = true;
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
        if let Some(made) = self.list()?.pop().filter(|latest| waited && Some(latest) != before.as_ref()) {
            return Ok(made);
        }
        self.clean(cancel)?;
        let id = format!("{}-{}", config.suite, Timestamp::now().strftime("%Y%m%d-%H%M%S"));
        let work = self.root.join(format!("{UNFINISHED}{id}"));
        fs::DirBuilder::new().mode(0o700).create(&work).map_err(Error::io("make", &work))?;
        let made = build::build(&work, &id, config, &mut progress, cancel)
            .and_then(|()| self.admit(&work, &id, config));
        if made.is_err() {
            // The failure is what the caller must hear; what cleaning cannot remove now, the next build removes.
            if let Err(error) = build::clean(&work, &Cancel::new()) {
                tracing::warn!("{error}");
            }
        }
        made
    }

    /// Writes the description, makes everything durable and lets the image into the store by one rename.
    fn admit(&self, work: &Path, id: &str, config: &Config) -> Result<Image> {
        let rootfs = work.join(build::ROOTFS);
        let size = fs::metadata(&rootfs).map_err(Error::io("read", &rootfs))?;
        let kernel_link = work.join(build::VERSION);
        let kernel = fs::read_to_string(&kernel_link).map_err(Error::io("read", &kernel_link))?;
        fs::remove_file(&kernel_link).map_err(Error::io("remove", &kernel_link))?;
        if let Err(error) = vmlinux::unpacked(work) {
            // The emulated machine takes it as it is.
            tracing::warn!("{error}");
        }
        let info = ImageInfo {
            format: FORMAT,
            id: id.to_owned(),
            created: Timestamp::now(),
            suite: config.suite.clone(),
            kernel,
            packages: config.all_packages().into_iter().map(str::to_owned).collect(),
            size_bytes: size.len(),
            stored_bytes: size.blocks() * 512,
        };
        let path = work.join(INFO);
        let text =
            serde_json::to_string_pretty(&info).map_err(|error| Error::io("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        for file in [INFO, build::ROOTFS, build::KERNEL, build::MODULES].map(|name| work.join(name)) {
            File::open(&file).and_then(|open| open.sync_all()).map_err(Error::io("flush", &file))?;
        }
        let sync =
            |dir: &Path| File::open(dir).and_then(|open| open.sync_all()).map_err(Error::io("flush", dir));
        sync(work)?;
        let dir = self.root.join(id);
        fs::rename(work, &dir).map_err(Error::io("rename", work))?;
        sync(&self.root)?;
        Image::open(&dir, id)
    }

    /// Removes what builds left that were killed; only the holder of the lock may.
    fn clean(&self, cancel: &Cancel) -> Result<()> {
        for entry in fs::read_dir(&self.root).map_err(Error::io("read", &self.root))?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
                build::clean(&entry.path(), cancel)?;
            }
        }
        Ok(())
    }
}

/// Ids come from the network too; nothing but one plain path component passes.
fn check_id(id: &str) -> Result<()> {
    let plain =
        id.len() <= 100 && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if id.is_empty() || !plain { Err(Error::NoImage(id.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &ImageStore, id: &str, created: &str) {
        let dir = store.root.join(id);
        fs::create_dir(&dir).unwrap();
        for name in [build::ROOTFS, build::KERNEL, build::MODULES] {
            fs::write(dir.join(name), "data").unwrap();
        }
        let info = ImageInfo {
            format: FORMAT,
            id: id.into(),
            created: created.parse().unwrap(),
            suite: "bookworm".into(),
            kernel: "6.1".into(),
            packages: vec![],
            size_bytes: 4,
            stored_bytes: 4,
        };
        fs::write(dir.join(INFO), serde_json::to_string(&info).unwrap()).unwrap();
    }

    #[test]
    fn lists_by_age_and_leaves_damaged_ones_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        assert!(matches!(store.latest(), Err(Error::NoImages)));
        put(&store, "b", "2026-01-01T00:00:00Z");
        put(&store, "a", "2026-01-02T00:00:00Z");
        put(&store, "c", "2026-01-03T00:00:00Z");
        fs::write(store.root.join("c").join(build::ROOTFS), "longer than told").unwrap();
        fs::create_dir(store.root.join(".tmp-x")).unwrap();
        let ids: Vec<String> = store.list().unwrap().into_iter().map(|image| image.info.id).collect();
        assert_eq!(ids, ["b", "a"]);
        assert_eq!(store.latest().unwrap().info.id, "a");
        assert!(matches!(store.get("c"), Err(Error::Damaged { .. })));
        assert!(matches!(store.get("nope"), Err(Error::NoImage(_))));
        assert!(matches!(store.get("../images/a"), Err(Error::NoImage(_))));
        store.remove("a").unwrap();
        assert_eq!(store.latest().unwrap().info.id, "b");
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_removes_older_remains() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let remains = dir.path().join(".tmp-bookworm-killed");
        fs::create_dir_all(remains.join("root/etc")).unwrap();
        // A source that cannot answer makes the real tool fail at its first step, without any network.
        let sources = dir.path().join("sources.list");
        fs::write(&sources, "deb [trusted=yes] file:/nonexistent bookworm main\n").unwrap();
        let config = Config { sources: vec![sources.clone()], ..Config::default() };
        let mut last = 0.0;
        let error = store
            .build(
                &config,
                |progress| {
                    assert!(progress.fraction >= last);
                    last = progress.fraction;
                },
                &Cancel::new(),
            )
            .unwrap_err();
        assert!(!error.to_string().is_empty());
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "build.lock" || name == "sources.list"), "{left:?}");
        assert!(matches!(store.latest(), Err(Error::NoImages)));
    }

    #[test]
    fn a_build_that_waits_can_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let lock = File::create(dir.path().join("build.lock")).unwrap();
        lock.lock().unwrap();
        let cancel = Cancel::new();
        let request = cancel.clone();
        let result = store.build(&Config::default(), |_| request.cancel(), &cancel);
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
