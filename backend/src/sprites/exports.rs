//! Sprites as files for other machines: what is exported, and new sprites from what somebody else has exported.
//!
//! The file itself is read and written by `vmm_archive`. Here is what it stands on: an image or a checkpoint that both machines have.

use super::disk::{share_kernel, share_kernel_of};
use super::{Disks, NewCheckpoint, Sprite, SpriteError, Sprites, blocking, check_labels, distinct, life};
use crate::lock::locked;
use crate::store::Record;
use sprites_api::Time;
use sprites_api::checkpoint::CURRENT;
use sprites_api::policy::Policies;
use sprites_api::sprite::{Config, Status, UrlSettings};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use vmm_archive::{Manifest, Reader, image_digest};
use vmm_disk::{Deltas, Foundation, Source, Start};
use vmm_image::Image;

/// What of a sprite is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// Which checkpoint; else the present.
    pub checkpoint: Option<String>,
    /// Only what changed since this one.
    pub since: Option<String>,
    /// With the blocks of the image.
    pub whole: bool,
}

/// An export that can be written.
#[derive(Debug)]
pub(crate) struct Export {
    manifest: Manifest,
    deltas: Deltas,
}

impl Export {
    /// Id of the checkpoint that it is of.
    pub(crate) fn checkpoint(&self) -> &str {
        self.manifest.checkpoint()
    }

    /// Writes it; takes as long as the other side.
    pub(crate) fn write(&self, out: impl Write) -> Result<(), vmm_archive::Error> {
        vmm_archive::write(out, &self.manifest, &self.deltas)
    }
}

/// Sums of images, each taken once, by what tells files apart: an image is never changed, but another may come in its place.
#[derive(Debug, Default)]
pub(super) struct Digests(Mutex<HashMap<(u64, u64, i64), String>>);

impl Digests {
    fn of(&self, path: &Path) -> Result<String, SpriteError> {
        let failed = |source| SpriteError::Io { doing: "read", path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(failed)?;
        let key = (found.dev(), found.ino(), found.mtime());
        if let Some(known) = locked(&self.0).get(&key) {
            return Ok(known.clone());
        }
        let digest = image_digest(path)?;
        locked(&self.0).insert(key, digest.clone());
        Ok(digest)
    }
}

/// What a sprite from elsewhere stands on here.
enum Ground {
    /// Nothing; it takes the newest image's kernel.
    Nothing(Image),
    Image(Image),
    /// A state of the sprite of that record.
    State(Box<Record>, Uuid),
}

impl Sprites {
    /// An export of a sprite. Of a checkpoint it wakes nobody; of the present an automatic checkpoint is made first, unless the disk is as its last one.
    pub(crate) async fn export(self: &Arc<Self>, name: &str, wish: Wish) -> Result<Export, SpriteError> {
        let sprite = self.get(name)?;
        if wish.whole && wish.since.is_some() {
            return Err(SpriteError::Value("an export is whole, or since a checkpoint, not both".into()));
        }
        let checkpoint = match wish.checkpoint.filter(|id| id != CURRENT) {
            Some(id) => id,
            None => self.present(&sprite).await?,
        };
        let (sprites, record) = (Arc::clone(self), sprite.record());
        blocking(move || {
            let start = match (&wish.since, wish.whole) {
                (Some(id), _) => Start::Checkpoint(id),
                (None, true) => Start::Nothing,
                (None, false) => Start::Image,
            };
            let deltas = Deltas::open(&sprites.paths.volume(&record.id), &checkpoint, start)?;
            let image = deltas.image().map(|path| sprites.digests.of(&path)).transpose()?;
            let id = record.image.unwrap_or_else(|| "unknown".into());
            let manifest = Manifest {
                labels: record.labels,
                cpus: record.config.cpus,
                memory_mb: record.config.ram_mb,
                policy: record.policy,
                image: image.map(|sha256| vmm_archive::Image { id, sha256 }),
                ..Manifest::of(&record.name, &deltas)?
            };
            Ok(Export { manifest, deltas })
        })
        .await
    }

    /// The checkpoint that holds a sprite's present state.
    async fn present(&self, sprite: &Sprite) -> Result<String, SpriteError> {
        // One that is awake, or sleeps with its memory, has more than its disk tells.
        if sprite.state().status == Status::Cold {
            let (disks, id) = (self.disks.clone(), sprite.id().to_owned());
            let same =
                blocking(move || if disks.is_changed(&id)? { Ok(None) } else { disks.parent(&id) }).await?;
            if let Some(same) = same {
                return Ok(same);
            }
        }
        let new = NewCheckpoint { comment: None, auto: true, memory: false };
        Ok(sprite.checkpoint(new).await?.checkpoint.id)
    }

    /// Makes a sprite from an export, named as it says or `name`. It is private whatever its origin was, and does nothing until it is used. Nothing is made of it
    /// when `wanted` turns false meanwhile.
    pub(crate) async fn import(
        self: &Arc<Self>,
        name: Option<String>,
        input: impl Read + Send + 'static,
        wanted: Arc<AtomicBool>,
    ) -> Result<Arc<Sprite>, SpriteError> {
        let reader = blocking(move || Ok(Reader::open(input)?)).await?;
        let (manifest, needed) = (reader.manifest().head(), reader.manifest().room());
        let place = self.reserve(name.as_ref().unwrap_or(&manifest.name))?;
        check_labels(&manifest.labels)?;
        check_policy(&manifest.policy)?;
        let (sprites, image, since) = (Arc::clone(self), manifest.image, manifest.since);
        let ground = blocking(move || {
            let room = sprites.disks.store().room()?;
            if room < needed {
                return Err(SpriteError::NoRoom { needed, room });
            }
            sprites.ground(image, since)
        })
        .await?;
        let config = Config { cpus: manifest.cpus, ram_mb: manifest.memory_mb, ..Config::default() };
        let record = Record {
            id: format!("sprite-{}", Uuid::new_v4()),
            name: name.unwrap_or(manifest.name),
            labels: distinct(manifest.labels),
            url_settings: UrlSettings::default(),
            config: life::possible(config),
            environment: BTreeMap::new(),
            created_at: Time::now(),
            updated_at: Time::now(),
            last_running_at: None,
            last_warming_at: None,
            image: match &ground {
                Ground::Nothing(_) => None,
                Ground::Image(image) => Some(image.info.id.clone()),
                Ground::State(origin, _) => origin.image.clone(),
            },
            policy: manifest.policy,
        };
        let disks = self.disks.clone();
        self.admit(place, record, move |record| unpack(&disks, record, reader, &ground, &wanted)).await
    }

    /// Finds here what an export stands on.
    fn ground(
        &self,
        image: Option<vmm_archive::Image>,
        since: Option<vmm_archive::Since>,
    ) -> Result<Ground, SpriteError> {
        let shown = |id: &str| id.chars().filter(|sign| !sign.is_control()).take(80).collect::<String>();
        if let Some(since) = since {
            let mut ground = None;
            for sprite in self.all() {
                let volume = self.paths.volume(sprite.id());
                // One that cannot be looked at now is as good as one that has it not.
                let source = self.disks.store().find_state(&volume, since.state).ok().flatten();
                if source.is_some() && (ground.is_none() || source == Some(Source::Here)) {
                    ground = Some(Ground::State(Box::new(sprite.record()), since.state));
                }
                // What comes from elsewhere may only say that it is this state.
                if source == Some(Source::Here) {
                    break;
                }
            }
            return ground.ok_or_else(|| SpriteError::NoState(shown(&since.checkpoint)));
        }
        let Some(wanted) = image else {
            return Ok(Ground::Nothing(self.images.latest().map_err(SpriteError::image)?));
        };
        let mut all = self.images.list().map_err(SpriteError::image)?;
        // The one of the same name is the likeliest.
        all.sort_by_key(|image| image.info.id != wanted.id);
        for image in all {
            if self.digests.of(&image.rootfs())? == wanted.sha256 {
                return Ok(Ground::Image(image));
            }
        }
        Err(SpriteError::OtherImage(shown(&wanted.id)))
    }
}

/// Fills the folder of a new sprite from an export.
fn unpack(
    disks: &Disks,
    record: &Record,
    reader: Reader<impl Read>,
    ground: &Ground,
    wanted: &AtomicBool,
) -> Result<(), SpriteError> {
    disks.fill(record, |dir| {
        let mut disk = disks.store().receive(&dir.join("volume"), reader.manifest().disk_bytes)?;
        reader.unpack(&mut disk, || wanted.load(Ordering::Relaxed))?;
        match ground {
            Ground::Nothing(image) => {
                share_kernel(image, dir)?;
                disk.finish(Foundation::Nothing)?;
            }
            Ground::Image(image) => {
                share_kernel(image, dir)?;
                disk.finish(Foundation::Image(&image.rootfs()))?;
            }
            Ground::State(origin, state) => {
                share_kernel_of(&disks.paths.sprite(&origin.id), dir)?;
                let volume = disks.paths.volume(&origin.id);
                disk.finish(Foundation::State { volume: &volume, state: *state })?;
            }
        }
        Ok(())
    })
}

fn check_policy(policy: &Policies) -> Result<(), SpriteError> {
    let Policies { network, privileges, resources } = policy;
    let checked = network.as_ref().map_or(Ok(()), |policy| policy.check());
    let checked = checked.and_then(|()| privileges.as_ref().map_or(Ok(()), |policy| policy.check()));
    let checked = checked.and_then(|()| resources.as_ref().map_or(Ok(()), |policy| policy.check()));
    checked.map_err(|why| SpriteError::Value(format!("the export's policy cannot be taken: {why}")))
}
