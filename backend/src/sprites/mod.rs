//! All sprites of this machine.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the table of sprites: making, forking, finding, destroying |
//! | `sprite` | one sprite, as everybody sees it |
//! | `life` | the task of one sprite, which owns its machine |
//! | `template` | machines that have booted once, for new sprites to go on from |
//! | `holds` | tasks: what keeps a sprite awake for a time |
//! | `limits` | how many may do something at once, and how often |
//! | `upkeep` | checkpoints that nobody asked for |
//! | `sight` | what goes on in a sprite, for those who only look |
//! | `usage` | who uses a sprite, for what |
//! | `network` | what a sprite may reach and tried to reach |
//! | `warm` | what those that sleep hold of memory |
//! | `pressure` | whether the host is short of memory |
//! | `disk` | a sprite's folder and disk |
//! | `exports` | sprites as files for other machines |
//! | `error` | what can go wrong |

mod disk;
mod error;
mod exports;
mod holds;
mod life;
mod limits;
mod network;
mod pressure;
mod sight;
mod sprite;
mod template;
mod upkeep;
mod usage;
mod warm;

pub use disk::{StoredDisk, stored_disks};
pub(crate) use error::SpriteError;
pub(crate) use exports::Wish as ExportWish;
use limits::Places;
pub use network::NetworkSettings;
pub(crate) use sprite::{NewCheckpoint, Sprite, State};
pub(crate) use usage::Guard;

use crate::lock::locked;
use crate::paths::Paths;
use crate::store::{Record, Store};
use disk::Disks;
use local_vmm::MachineHandle;
use sprites_api::Time;
use sprites_api::extension::Fork;
use sprites_api::policy::Policies;
use sprites_api::sprite::{CreateSprite, OrgCounts, Status, UpdateSprite, WatchLine};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use uuid::Uuid;
use vmm_image::ImageStore;
use warm::Warm;

/// Name of the organisation that the local server speaks for.
pub(crate) const ORGANIZATION: &str = "local";
/// Sprites that start at the same time, for each CPU of the host.
const STARTS_PER_CPU: usize = 2;
/// Most labels of a sprite.
const MAX_LABELS: usize = 50;
/// Longest label, bytes.
const MAX_LABEL: usize = 128;
/// Most environment variables, and bytes of all of them.
const MAX_ENVIRONMENT: (usize, usize) = (256, 32 << 10);
/// Changes that a slow watcher may lag behind.
const CHANGES: usize = 1024;

/// How the server runs machines.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The executable whose `machine` subcommand runs one.
    pub exe: PathBuf,
    /// After this long without use a running sprite turns warm.
    pub idle: Duration,
    /// After this long a warm one turns cold.
    pub warm: Duration,
    /// What sprites may reach.
    pub network: NetworkSettings,
    /// Most that run at once; none: as many as there are.
    pub most_running: Option<usize>,
    /// Most memory that sprites hold while they sleep, bytes; none: as much as they have.
    pub warm_memory: Option<u64>,
    /// Whether checkpoints are made unasked.
    pub checkpoints: bool,
    /// Where sprites' URLs lead.
    pub web: WebAddress,
}

/// Where sprites' URLs lead.
#[derive(Clone, Debug)]
pub(crate) struct WebAddress {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Each sprite is a subdomain of it.
    pub domain: String,
    /// The port.
    pub port: u16,
}

impl WebAddress {
    /// The URL of a sprite, of which this is the first label.
    pub(crate) fn url(&self, label: &str) -> String {
        let Self { scheme, domain, port } = self;
        match (*scheme, port) {
            ("https", 443) | ("http", 80) => format!("{scheme}://{label}.{domain}"),
            _ => format!("{scheme}://{label}.{domain}:{port}"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sprites {
    pub(crate) paths: Paths,
    pub(crate) store: Arc<Store>,
    pub(crate) disks: Disks,
    pub(crate) settings: Settings,
    images: ImageStore,
    digests: exports::Digests,
    /// Held while a template is made.
    templates: tokio::sync::Mutex<()>,
    all: Mutex<BTreeMap<String, Entry>>,
    changes: broadcast::Sender<WatchLine>,
    /// The budget is used up, and all are to sleep.
    over_budget: AtomicBool,
    /// Those that run.
    running: Places,
    /// Turns to start. All at once would be ready as late as the last one.
    starting: Arc<Semaphore>,
    /// What those that sleep hold.
    asleep: Warm,
}

/// A place in the table.
#[derive(Debug)]
enum Entry {
    /// Being made: the name is taken.
    Coming,
    Here(Arc<Sprite>),
}

impl Sprites {
    /// Opens everything below the data root, takes over machines that run, and clears away what was half-made.
    pub(crate) async fn open(
        paths: Paths,
        store: Arc<Store>,
        settings: Settings,
    ) -> Result<Arc<Self>, SpriteError> {
        let disks = Disks::open(&paths)?;
        let images = ImageStore::open(paths.images()).map_err(SpriteError::image)?;
        let records = {
            let (disks, store) = (disks.clone(), Arc::clone(&store));
            blocking(move || disks.settle(&store)).await?
        };
        let (changes, _) = broadcast::channel(CHANGES);
        let sprites = Arc::new(Self {
            paths,
            store,
            disks,
            settings,
            images,
            digests: exports::Digests::default(),
            templates: tokio::sync::Mutex::default(),
            all: Mutex::default(),
            changes,
            over_budget: AtomicBool::new(false),
            running: Places::default(),
            starting: Arc::new(Semaphore::new(life::host_cpus() as usize * STARTS_PER_CPU)),
            asleep: Warm::default(),
        });
        // All at once: one that is silent must not hold up the others.
        let found = records.into_iter().map(async |record| {
            let machine = adopted(&sprites.paths.machine(&record.id), &record.name).await;
            let name = record.name.clone();
            let sprite = Sprite::spawn(&sprites, record, machine).await;
            sprites.table().insert(name, Entry::Here(sprite));
        });
        futures::future::join_all(found).await;
        template::prepare(&sprites);
        Ok(sprites)
    }

    /// The sprite of that name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Sprite>, SpriteError> {
        match self.table().get(name) {
            Some(Entry::Here(sprite)) => Ok(Arc::clone(sprite)),
            _ => Err(SpriteError::Unknown(name.chars().take(80).collect())),
        }
    }

    /// All sprites, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Sprite>> {
        self.table()
            .values()
            .filter_map(|entry| match entry {
                Entry::Here(sprite) => Some(Arc::clone(sprite)),
                Entry::Coming => None,
            })
            .collect()
    }

    /// How many sprites are in which state.
    pub(crate) fn counts(&self) -> OrgCounts {
        let running_limit = self.settings.most_running.map(|most| most as u64);
        let mut counts = OrgCounts { name: ORGANIZATION.into(), running_limit, ..OrgCounts::default() };
        for sprite in self.all() {
            match sprite.state().status {
                Status::Running => counts.running += 1,
                Status::Warm => counts.warm += 1,
                Status::Cold | Status::Unknown => counts.cold += 1,
            }
        }
        counts
    }

    /// Tells of every change from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<WatchLine> {
        self.changes.subscribe()
    }

    /// Tells watchers how a sprite is now.
    pub(crate) fn tell(&self, sprite: &Sprite) {
        // Nobody may be watching.
        let _ = self.changes.send(WatchLine { org: Some(self.counts()), ..sprite.watch_line() });
    }

    /// Whether the budget is used up and all are to sleep.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.over_budget.load(Ordering::Relaxed)
    }

    /// Says so; true when it is news that it is.
    pub(crate) fn set_over_budget(&self, over: bool) -> bool {
        !self.over_budget.swap(over, Ordering::Relaxed) && over
    }

    /// Makes a sprite from the newest image, or from its template. It does nothing until it is used.
    pub(crate) async fn create(self: &Arc<Self>, wish: CreateSprite) -> Result<Arc<Sprite>, SpriteError> {
        let place = self.reserve(&wish.name)?;
        let labels = wish.labels.unwrap_or_default();
        check_labels(&labels)?;
        let environment = wish.environment.unwrap_or_default();
        check_environment(&environment)?;
        let images = self.images.clone();
        let image = blocking(move || images.latest().map_err(SpriteError::image)).await?;
        let record = Record {
            id: format!("sprite-{}", Uuid::new_v4()),
            name: wish.name,
            labels: distinct(labels),
            url_settings: check_auth(wish.url_settings.unwrap_or_default())?,
            config: life::possible(wish.config.unwrap_or_default()),
            environment,
            created_at: Time::now(),
            updated_at: Time::now(),
            last_running_at: None,
            last_warming_at: None,
            image: Some(image.info.id.clone()),
            policy: Policies::default(),
        };
        let disks = self.disks.clone();
        let made = self.admit(place, record, move |record| disks.create(record, &image)).await;
        // The image may be newer than the template.
        template::prepare(self);
        made
    }

    /// Makes a sprite that begins as a checkpoint of another; without one, as that one's present state, of which an automatic checkpoint is
    /// made first. With `memory` all that ran there runs on in it.
    pub(crate) async fn fork(self: &Arc<Self>, from: &str, wish: Fork) -> Result<Arc<Sprite>, SpriteError> {
        let Fork { name, checkpoint, memory } = wish;
        let origin = self.get(from)?;
        let place = self.reserve(&name)?;
        let checkpoint = match checkpoint {
            Some(id) => id,
            None => {
                let comment = Some(format!("Before forking {name}"));
                origin.checkpoint(NewCheckpoint { comment, auto: true, memory }).await?.checkpoint.id
            }
        };
        let parent = origin.record();
        let record = Record {
            id: format!("sprite-{}", Uuid::new_v4()),
            name,
            created_at: Time::now(),
            updated_at: Time::now(),
            last_running_at: None,
            last_warming_at: None,
            // That one may be reached by everybody says nothing about the other.
            url_settings: sprites_api::sprite::UrlSettings::default(),
            ..parent.clone()
        };
        let disks = self.disks.clone();
        self.admit(place, record, move |record| disks.fork(&parent.id, &checkpoint, memory, record)).await
    }

    /// Takes a name; it is free again when the answer is dropped.
    fn reserve(self: &Arc<Self>, name: &str) -> Result<Place, SpriteError> {
        sprites_api::name::check(name).map_err(SpriteError::Name)?;
        let mut table = self.table();
        if table.contains_key(name) {
            return Err(SpriteError::Exists(name.to_owned()));
        }
        table.insert(name.to_owned(), Entry::Coming);
        Ok(Place { sprites: Arc::clone(self), name: Some(name.to_owned()) })
    }

    async fn admit(
        self: &Arc<Self>,
        mut place: Place,
        record: Record,
        make: impl FnOnce(&Record) -> Result<(), SpriteError> + Send + 'static,
    ) -> Result<Arc<Sprite>, SpriteError> {
        let (store, disks) = (Arc::clone(&self.store), self.disks.clone());
        let made = record.clone();
        let sprites = Arc::clone(self);
        // Not to be cut off half-way by a client that goes away.
        let work = tokio::spawn(async move {
            blocking(move || {
                make(&made)?;
                store.put(&made).map_err(|error| {
                    // Nobody is to find later what was refused now.
                    if let Err(left) = disks.discard(&made.id) {
                        tracing::warn!("what was made of {} is left: {left}", made.name);
                    }
                    error.into()
                })
            })
            .await?;
            let sprite = Sprite::spawn(&sprites, record, None).await;
            if let Some(name) = place.name.take() {
                sprites.table().insert(name, Entry::Here(Arc::clone(&sprite)));
            }
            sprites.tell(&sprite);
            Ok(sprite)
        });
        work.await.map_err(|error| SpriteError::Inner(error.to_string()))?
    }

    /// Changes a sprite's settings.
    pub(crate) async fn update(&self, name: &str, wish: UpdateSprite) -> Result<Arc<Sprite>, SpriteError> {
        let sprite = self.get(name)?;
        if let Some(labels) = &wish.labels {
            check_labels(labels)?;
        }
        let mut settings = sprite.record().url_settings;
        if let Some(change) = wish.url_settings {
            settings.auth = change.auth.unwrap_or(settings.auth);
            settings.private_access = change.private_access.or(settings.private_access);
        }
        let settings = check_auth(settings)?;
        let labels = if wish.clear_labels == Some(true) { Some(Vec::new()) } else { wish.labels };
        sprite
            .change(self, |record| {
                record.url_settings = settings;
                if let Some(labels) = labels {
                    record.labels = distinct(labels);
                }
                record.updated_at = Time::now();
            })
            .await?;
        self.tell(&sprite);
        Ok(sprite)
    }

    /// Changes what is known of a sprite beside its settings.
    pub(crate) async fn change(
        &self,
        sprite: &Arc<Sprite>,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), SpriteError> {
        sprite
            .change(self, |record| {
                change(record);
                record.updated_at = Time::now();
            })
            .await
    }

    /// Destroys a sprite: machine, disk, checkpoints, usage. There is no way back.
    pub(crate) async fn delete(self: &Arc<Self>, name: &str) -> Result<(), SpriteError> {
        let sprite = self.get(name)?;
        let sprites = Arc::clone(self);
        let work = tokio::spawn(async move {
            sprite.end().await?;
            let (disks, store, id) =
                (sprites.disks.clone(), Arc::clone(&sprites.store), sprite.id().to_owned());
            if let Err(error) = blocking(move || disks.destroy(&store, &id)).await {
                // It is still there, and can be used or destroyed again.
                let record = sprite.record();
                let name = record.name.clone();
                let again = Sprite::spawn(&sprites, record, None).await;
                sprites.table().insert(name, Entry::Here(again));
                return Err(error);
            }
            let _ = tokio::fs::remove_dir_all(sprites.paths.machine(sprite.id())).await;
            sprites.table().remove(&sprite.record().name);
            let line = WatchLine { kind: "deleted".into(), status: None, ..sprite.watch_line() };
            let _ = sprites.changes.send(WatchLine { org: Some(sprites.counts()), ..line });
            Ok(())
        });
        work.await.map_err(|error| SpriteError::Inner(error.to_string()))?
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Each use is one look or one change.
        locked(&self.all)
    }
}

/// The machine that runs in a run folder. One that holds its lock and does not answer is ended: nothing but force is left.
async fn adopted(run_dir: &std::path::Path, name: &str) -> Option<MachineHandle> {
    match MachineHandle::adopt(run_dir).await {
        Ok(machine) => machine,
        Err(error) => {
            tracing::error!("the machine of {name} is not to be had and is ended: {error}");
            let handle = MachineHandle::at(run_dir);
            handle.kill();
            let _ = tokio::time::timeout(Duration::from_secs(10), handle.wait_exit()).await;
            None
        }
    }
}

/// A name that is taken while its sprite is made.
struct Place {
    sprites: Arc<Sprites>,
    name: Option<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.sprites.table().remove(name);
        }
    }
}

/// Runs file work where it holds up nothing else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpriteError> + Send + 'static,
) -> Result<T, SpriteError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SpriteError::Inner(error.to_string()))?
}

fn check_labels(labels: &[String]) -> Result<(), SpriteError> {
    let fits = |label: &String| {
        !label.is_empty() && label.len() <= MAX_LABEL && !label.chars().any(char::is_control)
    };
    if labels.len() > MAX_LABELS || !labels.iter().all(fits) {
        return Err(SpriteError::Value(format!(
            "at most {MAX_LABELS} labels of 1 to {MAX_LABEL} bytes without control characters can be kept"
        )));
    }
    Ok(())
}

/// Each label once.
fn distinct(labels: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    labels.into_iter().filter(|label| seen.insert(label.clone())).collect()
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), SpriteError> {
    let size: usize = environment.iter().map(|(key, value)| key.len() + value.len()).sum();
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty() && !key.contains(['=', '\0']) && !value.contains('\0')
    };
    if environment.len() > MAX_ENVIRONMENT.0 || size > MAX_ENVIRONMENT.1 || !environment.iter().all(fits) {
        return Err(SpriteError::Value(
            "the environment is too large, or a name in it is empty or holds '='".into(),
        ));
    }
    Ok(())
}

fn check_auth(
    settings: sprites_api::sprite::UrlSettings,
) -> Result<sprites_api::sprite::UrlSettings, SpriteError> {
    let access = settings.private_access.as_deref();
    if !matches!(settings.auth.as_str(), "sprite" | "public")
        || !matches!(access, None | Some("admins" | "org_users"))
    {
        return Err(SpriteError::Value(
            "url_settings take auth sprite or public, and private_access admins or org_users".into(),
        ));
    }
    Ok(settings)
}
