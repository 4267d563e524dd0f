//! Instant creation: for each image a machine boots once and is kept with its memory, and new sprites go on from there with a name, an id and
//! randomness of their own. Only where machines run on KVM; and only sprites of the usual size, because a memory has one size.
//!
//! A template is a folder among the sprites' whose name begins with a dot. It holds what a sprite's folder holds, and last of all [`READY`].

use super::disk::{share_kernel, share_kernel_of, write_whole};
use super::{SpriteError, Sprites, blocking, life};
use crate::paths::Paths;
use crate::store::Record;
use local_vmm::{Kind, MachineHandle, MachineSpec, kvm};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vmm_image::Image;

/// Beginning of the folders' names.
const PREFIX: &str = ".template-";
/// The file that makes a template usable.
const READY: &str = "template.json";
/// How long its machine may take to come up.
const BOOT: Duration = Duration::from_secs(180);

/// A template that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Template {
    #[serde(skip)]
    dir: PathBuf,
    checkpoint: String,
    cpus: u32,
    memory_mb: u32,
}

impl Template {
    /// That of an image, if there is one and it suits the sprite.
    pub(super) fn find(paths: &Paths, image: &str, record: &Record) -> Option<Self> {
        Self::read(dir(paths, image))
            .filter(|template| (template.cpus, template.memory_mb) == life::size(&record.config))
    }

    /// That in a folder, if it is whole.
    fn read(dir: PathBuf) -> Option<Self> {
        let text = fs::read(dir.join(READY)).ok()?;
        let template = Self { dir, ..serde_json::from_slice(&text).ok()? };
        kvm::is_current(&template.memory()).then_some(template)
    }

    /// Fills a sprite's folder.
    pub(super) fn fill(&self, disks: &vmm_disk::Store, to: &Path, memory: &Path) -> Result<(), SpriteError> {
        share_kernel_of(&self.dir, to)?;
        disks.fork(&self.dir.join("volume"), &self.checkpoint, &to.join("volume"))?;
        kvm::share(&self.memory(), memory).map_err(SpriteError::memory(memory))
    }

    fn memory(&self) -> PathBuf {
        MachineSpec::memory_of(&self.dir.join("memory"), &self.checkpoint)
    }
}

fn dir(paths: &Paths, image: &str) -> PathBuf {
    paths.sprites().join(format!("{PREFIX}{image}"))
}

/// Sees to it in the background that the newest image has a template. That it cannot be made is no more than slow.
pub(super) fn prepare(sprites: &Arc<Sprites>) {
    let sprites = Arc::clone(sprites);
    tokio::spawn(async move {
        // The first look at the host takes a while, and nothing at the server's start should wait for it.
        if !blocking(|| Ok(Kind::of_this_host() == Kind::Kvm)).await.unwrap_or(false) {
            return;
        }
        // One at a time; who comes second finds it made.
        let _turn = sprites.templates.lock().await;
        match make(&sprites).await {
            Ok(()) | Err(SpriteError::NoImage) => {}
            Err(error) => tracing::warn!("new sprites boot, because no template can be made: {error}"),
        }
    });
}

async fn make(sprites: &Sprites) -> Result<(), SpriteError> {
    let (images, paths, disks) =
        (sprites.images.clone(), sprites.paths.clone(), sprites.disks.store().clone());
    let image = blocking(move || images.latest().map_err(SpriteError::image)).await?;
    let dir = dir(&sprites.paths, &image.info.id);
    if Template::read(dir.clone()).is_some() {
        return Ok(());
    }
    let id = format!("template-{}", image.info.id);
    let run_dir = sprites.paths.machine(&id);
    // One that a server left behind.
    let old = MachineHandle::at(&run_dir);
    old.kill();
    let _ = tokio::time::timeout(Duration::from_secs(10), old.wait_exit()).await;
    let place = dir.clone();
    blocking(move || {
        sweep(&paths, &disks)?;
        lay_out(&disks, &image, &place)
    })
    .await?;
    let (cpus, memory_mb) = life::size(&sprites_api::sprite::Config::default());
    let spec = MachineSpec {
        kind: Kind::Kvm,
        // What it is called is changed before anybody sees it.
        name: "sprite".into(),
        url: "http://sprite.localhost".into(),
        cpus,
        memory_mb,
        kernel: vmm_image::boot_kernel(&dir),
        modules: dir.join("modules.cpio"),
        volume: dir.join("volume"),
        memory: dir.join("memory"),
        run_dir,
        // Its card's cable is not plugged in; each sprite that goes on from it has its own.
        net: None,
        id,
    };
    let machine = MachineHandle::spawn(&sprites.settings.exe, &spec).await?;
    let kept = async {
        machine.wait_ready(BOOT).await?;
        machine.checkpoint(None, true, true).await
    }
    .await;
    let _ = machine.stop(Duration::ZERO).await;
    let _ = tokio::fs::remove_dir_all(&spec.run_dir).await;
    let template = Template { dir, checkpoint: kept?.checkpoint.id, cpus, memory_mb };
    blocking(move || write_whole(&template.dir.join(READY), &template)).await
}

/// Disk and kernel of a template's machine.
fn lay_out(disks: &vmm_disk::Store, image: &Image, dir: &Path) -> Result<(), SpriteError> {
    let failed = |source| SpriteError::Io { doing: "make", path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    share_kernel(image, dir)?;
    Ok(disks.create(&dir.join("volume"), &image.rootfs(), vmm_disk::DEFAULT_SIZE)?)
}

/// Removes templates of other images, and what is left of one that was not finished. Sprites that were made from them have what they need.
fn sweep(paths: &Paths, disks: &vmm_disk::Store) -> Result<(), SpriteError> {
    let root = paths.sprites();
    let failed =
        |path: &Path, source: io::Error| SpriteError::Io { doing: "remove", path: path.to_owned(), source };
    for entry in fs::read_dir(&root).map_err(|source| failed(&root, source))?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let dir = entry.path();
        // First what makes it usable.
        let _ = fs::remove_file(dir.join(READY));
        match disks.destroy(&dir.join("volume")) {
            Ok(()) | Err(vmm_disk::Error::NoVolume(_)) => {}
            Err(error) => return Err(error.into()),
        }
        fs::remove_dir_all(&dir).map_err(|source| failed(&dir, source))?;
    }
    Ok(())
}
