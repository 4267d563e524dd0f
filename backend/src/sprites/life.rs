//! The life of one sprite: a task that owns its machine and takes commands from a queue, so that no two changes happen at once.

use super::{ORGANIZATION, SpriteError, Sprites, blocking};
use crate::store::Record;
use local_vmm::{ExitReason, MachineHandle, MachineSpec};
use sprites_api::Time;
use sprites_api::sprite::{Sprite as ApiSprite, Status, WatchLine};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use vmm_disk::{Checkpoint, Kind, NewCheckpoint, Restored};

/// Commands that may wait.
const QUEUE: usize = 256;
/// How long a cold machine may take to come up.
const BOOT: Duration = Duration::from_secs(180);
/// How long an orderly stop may take before it becomes one by force.
const STOP: Duration = Duration::from_secs(20);
/// How long any command may take, waiting in the queue included.
const COMMAND: Duration = Duration::from_secs(240);
/// Between two looks at whether the sprite is still used.
const LOOK: Duration = Duration::from_secs(1);
/// Memory of a sprite that does not ask for any amount, MiB.
const MEMORY: u32 = 1024;
/// Most memory, MiB.
const MAX_MEMORY: u32 = 16 << 10;
/// Most virtual CPUs.
const MAX_CPUS: u32 = 8;

/// How a sprite is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub status: Status,
    /// Why the last start or the machine failed.
    pub failure: Option<String>,
}

/// What the task is asked to do.
enum Command {
    Connect(oneshot::Sender<Result<(UnixStream, Guard), SpriteError>>),
    Checkpoint(Option<String>, bool, oneshot::Sender<Result<Checkpoint, SpriteError>>),
    Restore(String, oneshot::Sender<Result<Restored, SpriteError>>),
    Forget(String, oneshot::Sender<Result<(), SpriteError>>),
    Stop(oneshot::Sender<Result<(), SpriteError>>),
    End(oneshot::Sender<Result<(), SpriteError>>),
    /// The machine of that number ended.
    Exited(u64, ExitReason),
}

/// A sprite, as everybody but its task sees it.
#[derive(Debug)]
pub(crate) struct Sprite {
    id: String,
    record: Mutex<Record>,
    state: watch::Sender<State>,
    commands: mpsc::Sender<Command>,
    usage: Arc<Usage>,
    /// The machine, for those who only look at it.
    machine: Mutex<Option<MachineHandle>>,
    url: String,
}

/// Who uses a sprite.
#[derive(Debug)]
struct Usage {
    users: AtomicUsize,
    last: Mutex<Instant>,
    /// Something was done to its disk since the meter last looked.
    changed: AtomicBool,
}

impl Usage {
    fn touch(&self) {
        *locked(&self.last) = Instant::now();
    }
}

/// Keeps a sprite awake.
#[derive(Debug)]
pub(crate) struct Guard(Arc<Usage>);

impl Guard {
    fn new(usage: &Arc<Usage>) -> Self {
        usage.users.fetch_add(1, Ordering::SeqCst);
        usage.touch();
        Self(Arc::clone(usage))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.touch();
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sprite {
    /// Starts the task of a sprite. `machine` is one that already runs.
    pub(super) async fn spawn(
        sprites: &Arc<Sprites>,
        record: Record,
        machine: Option<MachineHandle>,
    ) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let status = match &machine {
            Some(machine) => match machine.status().await.map(|status| status.state) {
                Ok(local_vmm::State::Paused) => Status::Warm,
                Ok(_) => Status::Running,
                Err(_) => Status::Cold,
            },
            None => Status::Cold,
        };
        let sprite = Arc::new(Self {
            id: record.id.clone(),
            url: format!("http://{}.localhost:{}", record.name, sprites.settings.port),
            record: Mutex::new(record),
            state: watch::Sender::new(State { status, failure: None }),
            commands: sender,
            usage: Arc::new(Usage {
                users: AtomicUsize::new(0),
                last: Mutex::new(Instant::now()),
                changed: AtomicBool::new(false),
            }),
            machine: Mutex::new(machine.clone()),
        });
        let mut life = Life {
            sprite: Arc::clone(&sprite),
            sprites: Arc::downgrade(sprites),
            machine: None,
            number: 0,
            since: Instant::now(),
        };
        if let Some(machine) = machine {
            life.hold(machine);
        }
        tokio::spawn(life.run(receiver));
        sprite
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// How it is.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What is known about it.
    pub(crate) fn record(&self) -> Record {
        locked(&self.record).clone()
    }

    /// Its machine, while it runs and is awake.
    pub(crate) fn running_machine(&self) -> Option<MachineHandle> {
        let running = self.state.borrow().status == Status::Running;
        locked(&self.machine).clone().filter(|_| running)
    }

    /// Something happened inside that keeps it awake for a while.
    pub(crate) fn touch(&self) {
        self.usage.touch();
    }

    /// Whether something was done to its disk since the last call.
    pub(crate) fn take_changed(&self) -> bool {
        self.usage.changed.swap(false, Ordering::Relaxed)
    }

    /// As the API shows it.
    pub(crate) fn view(&self) -> ApiSprite {
        let (record, state) = (self.record(), self.state());
        ApiSprite {
            id: record.id,
            name: record.name,
            organization: Some(ORGANIZATION.into()),
            org_slug: Some(ORGANIZATION.into()),
            status: state.status,
            url: Some(self.url.clone()),
            url_settings: Some(record.url_settings),
            labels: record.labels,
            version: Some(env!("CARGO_PKG_VERSION").into()),
            environment_version: record.image,
            created_at: Some(record.created_at),
            updated_at: Some(record.updated_at),
            last_running_at: record.last_running_at,
            last_warming_at: record.last_warming_at,
            config: Some(record.config).filter(|config| *config != sprites_api::sprite::Config::default()),
            environment: Some(record.environment).filter(|environment| !environment.is_empty()),
            failure: state.failure,
        }
    }

    /// As a watcher is told of it.
    pub(crate) fn watch_line(&self) -> WatchLine {
        let record = self.record();
        WatchLine {
            kind: "sprite".into(),
            name: Some(record.name),
            status: Some(self.state().status),
            running_version: Some(env!("CARGO_PKG_VERSION").into()),
            last_running_at: record.last_running_at,
            last_warming_at: record.last_warming_at,
            timestamp: Some(Time::now()),
            org: None,
        }
    }

    /// Changes the record, in memory, database and folder.
    pub(super) async fn change(
        &self,
        sprites: &Sprites,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), SpriteError> {
        let record = {
            let mut record = locked(&self.record);
            change(&mut record);
            record.clone()
        };
        let (store, disks) = (Arc::clone(&sprites.store), sprites.disks.clone());
        blocking(move || {
            store.put(&record)?;
            disks.write(&record)
        })
        .await
    }

    /// A connection to the agent inside, waking the sprite if needed. It stays awake at least as long as the guard lives.
    pub(crate) async fn connect(&self) -> Result<(UnixStream, Guard), SpriteError> {
        self.ask(Command::Connect).await
    }

    /// Makes a checkpoint; a running sprite hardly notices, a cold one stays cold.
    pub(crate) async fn checkpoint(
        &self,
        comment: Option<String>,
        auto: bool,
    ) -> Result<Checkpoint, SpriteError> {
        self.ask(|reply| Command::Checkpoint(comment, auto, reply)).await
    }

    /// Goes back to a checkpoint. A sprite that ran starts again from it.
    pub(crate) async fn restore(&self, id: &str) -> Result<Restored, SpriteError> {
        self.ask(|reply| Command::Restore(id.to_owned(), reply)).await
    }

    /// Deletes a checkpoint and gives its bytes back.
    pub(crate) async fn forget(&self, id: &str) -> Result<(), SpriteError> {
        self.ask(|reply| Command::Forget(id.to_owned(), reply)).await
    }

    /// Takes the machine down in order; programs end, the disk is at rest afterwards. The next use starts it again.
    pub(crate) async fn stop(&self) -> Result<(), SpriteError> {
        self.ask(Command::Stop).await
    }

    /// Takes the machine down at once and ends the task.
    pub(super) async fn end(&self) -> Result<(), SpriteError> {
        self.ask(Command::End).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SpriteError>>) -> Command,
    ) -> Result<T, SpriteError> {
        let (sender, receiver) = oneshot::channel();
        let work = async {
            self.commands.send(command(sender)).await.map_err(|_| SpriteError::Ending)?;
            receiver.await.map_err(|_| SpriteError::Ending)?
        };
        timeout(COMMAND, work).await.unwrap_or(Err(SpriteError::Late(COMMAND.as_secs())))
    }
}

/// The task.
struct Life {
    sprite: Arc<Sprite>,
    sprites: Weak<Sprites>,
    machine: Option<MachineHandle>,
    /// Tells the machines of one sprite apart.
    number: u64,
    /// Since when it is as it is.
    since: Instant,
}

impl Life {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    let Some(sprites) = self.sprites.upgrade() else { return };
                    if self.perform(command, &sprites).await {
                        return;
                    }
                }
                _ = look.tick() => {
                    let Some(sprites) = self.sprites.upgrade() else { return };
                    self.rest(&sprites).await;
                }
            }
        }
    }

    /// Does one command; true when it was the last.
    async fn perform(&mut self, command: Command, sprites: &Arc<Sprites>) -> bool {
        self.sprite.usage.changed.store(true, Ordering::Relaxed);
        // Whoever asked may have gone away meanwhile.
        match command {
            Command::Connect(reply) => drop(reply.send(self.connect(sprites).await)),
            Command::Checkpoint(comment, auto, reply) => {
                drop(reply.send(self.checkpoint(sprites, comment, auto).await))
            }
            Command::Restore(id, reply) => drop(reply.send(self.restore(sprites, &id).await)),
            Command::Forget(id, reply) => drop(reply.send(self.forget(sprites, &id).await)),
            Command::Stop(reply) => {
                self.stop(sprites, STOP).await;
                drop(reply.send(Ok(())));
            }
            Command::Exited(number, reason) => self.exited(sprites, number, reason).await,
            Command::End(reply) => {
                if let Some(machine) = self.machine.take() {
                    // Its disk goes with it, so there is nothing to end in order.
                    let _ = machine.stop(Duration::ZERO).await;
                }
                self.publish(None);
                drop(reply.send(Ok(())));
                return true;
            }
        }
        false
    }

    async fn connect(&mut self, sprites: &Arc<Sprites>) -> Result<(UnixStream, Guard), SpriteError> {
        let guard = Guard::new(&self.sprite.usage);
        let machine = self.wake(sprites).await?;
        Ok((machine.connect().await?, guard))
    }

    /// The machine, awake.
    async fn wake(&mut self, sprites: &Arc<Sprites>) -> Result<MachineHandle, SpriteError> {
        if let Some(machine) = self.machine.clone() {
            if self.sprite.state().status != Status::Warm {
                return Ok(machine);
            }
            match machine.resume().await {
                Ok(()) => {
                    self.enter(sprites, Status::Running, None).await;
                    return Ok(machine);
                }
                // What cannot be woken is started anew.
                Err(error) => {
                    tracing::warn!(
                        "{} cannot be woken and is started again: {error}",
                        self.sprite.record().name
                    );
                    self.stop(sprites, Duration::ZERO).await;
                }
            }
        }
        match self.boot(sprites).await {
            Ok(machine) => Ok(machine),
            Err(error) => {
                self.stop(sprites, Duration::ZERO).await;
                self.enter(sprites, Status::Cold, Some(error.to_string())).await;
                Err(error)
            }
        }
    }

    async fn boot(&mut self, sprites: &Arc<Sprites>) -> Result<MachineHandle, SpriteError> {
        let record = self.sprite.record();
        let dir = sprites.paths.sprite(&record.id);
        let host = u32::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
        let spec = MachineSpec {
            kind: local_vmm::Kind::of_this_host(),
            url: self.sprite.url.clone(),
            cpus: record.config.cpus.unwrap_or(host).clamp(1, host.clamp(1, MAX_CPUS)),
            memory_mb: record.config.ram_mb.unwrap_or(MEMORY).clamp(256, MAX_MEMORY),
            kernel: dir.join("vmlinuz"),
            modules: dir.join("modules.cpio"),
            volume: dir.join("volume"),
            memory: dir.join("memory"),
            run_dir: sprites.paths.machine(&record.id),
            id: record.id,
            name: record.name,
        };
        let machine = MachineHandle::spawn(&sprites.settings.exe, &spec).await?;
        self.hold(machine.clone());
        machine.wait_ready(BOOT).await?;
        self.enter(sprites, Status::Running, None).await;
        Ok(machine)
    }

    /// Takes a machine over and watches for its end.
    fn hold(&mut self, machine: MachineHandle) {
        self.number += 1;
        let (number, commands, watched) = (self.number, self.sprite.commands.downgrade(), machine.clone());
        tokio::spawn(async move {
            let reason = watched.wait_exit().await;
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Exited(number, reason)).await;
            }
        });
        self.publish(Some(machine.clone()));
        self.machine = Some(machine);
    }

    fn publish(&self, machine: Option<MachineHandle>) {
        *locked(&self.sprite.machine) = machine;
    }

    /// Takes the machine down.
    async fn stop(&mut self, sprites: &Arc<Sprites>, deadline: Duration) {
        if let Some(machine) = self.machine.take() {
            self.publish(None);
            if let Err(error) = machine.stop(deadline).await {
                tracing::warn!("{}: {error}", self.sprite.record().name);
            }
        }
        self.enter(sprites, Status::Cold, self.sprite.state().failure).await;
    }

    async fn exited(&mut self, sprites: &Arc<Sprites>, number: u64, reason: ExitReason) {
        if number != self.number || self.machine.is_none() {
            return;
        }
        self.machine = None;
        self.publish(None);
        let failure = match reason {
            ExitReason::Stopped => None,
            ExitReason::Failed(why) => Some(why),
            ExitReason::Killed => Some("its machine process was killed from outside".to_owned()),
        };
        self.enter(sprites, Status::Cold, failure).await;
    }

    /// Takes on a new status, stamps it and tells it.
    async fn enter(&mut self, sprites: &Arc<Sprites>, status: Status, failure: Option<String>) {
        let new = State { status, failure };
        let old = self.sprite.state.send_replace(new.clone());
        if old == new {
            return;
        }
        if old.status != status {
            self.since = Instant::now();
            self.sprite.usage.touch();
            let stamp = |record: &mut Record| match status {
                Status::Running => record.last_running_at = Some(Time::now()),
                Status::Warm => record.last_warming_at = Some(Time::now()),
                Status::Cold | Status::Unknown => {}
            };
            if let Err(error) = self.sprite.change(sprites, stamp).await {
                tracing::warn!("{error}");
            }
        }
        sprites.tell(&self.sprite);
    }

    /// Lets an unused sprite go to sleep, and one that sleeps for long go cold.
    async fn rest(&mut self, sprites: &Arc<Sprites>) {
        let Some(machine) = self.machine.clone() else { return };
        let idle = locked(&self.sprite.usage.last).elapsed();
        let used = self.sprite.usage.users.load(Ordering::SeqCst) > 0;
        match self.sprite.state().status {
            Status::Running if !used && idle >= sprites.settings.idle => match machine.pause().await {
                Ok(()) => self.enter(sprites, Status::Warm, None).await,
                Err(error) => {
                    tracing::warn!("{} cannot be put to sleep: {error}", self.sprite.record().name);
                    self.sprite.usage.touch();
                }
            },
            Status::Warm if self.since.elapsed() >= sprites.settings.warm => self.stop(sprites, STOP).await,
            _ => {}
        }
    }

    async fn checkpoint(
        &mut self,
        sprites: &Arc<Sprites>,
        comment: Option<String>,
        auto: bool,
    ) -> Result<Checkpoint, SpriteError> {
        if let Some(comment) = comment.as_ref().filter(|comment| comment.len() > vmm_disk::MAX_COMMENT) {
            return Err(vmm_disk::Error::CommentTooLong(comment.len()).into());
        }
        match &self.machine {
            Some(machine) => {
                let done = machine.checkpoint(comment, auto, false).await?;
                if !done.froze {
                    tracing::warn!(
                        "checkpoint {} was made while the agent inside did not answer",
                        done.checkpoint.id
                    );
                }
                Ok(done.checkpoint)
            }
            None => {
                let (disks, id) = (sprites.disks.clone(), self.sprite.id.clone());
                let kind = if auto { Kind::Automatic } else { Kind::Manual };
                blocking(move || disks.checkpoint(&id, NewCheckpoint { comment, kind })).await
            }
        }
    }

    async fn restore(&mut self, sprites: &Arc<Sprites>, checkpoint: &str) -> Result<Restored, SpriteError> {
        let (disks, id, wanted) = (sprites.disks.clone(), self.sprite.id.clone(), checkpoint.to_owned());
        if wanted == vmm_disk::CURRENT {
            return Err(vmm_disk::Error::IsCurrent.into());
        }
        // Nothing is stopped for a checkpoint that does not exist.
        let looked = wanted.clone();
        blocking(move || {
            let known = disks.checkpoints(&id)?.iter().any(|checkpoint| checkpoint.id == looked);
            if known { Ok(()) } else { Err(vmm_disk::Error::NoCheckpoint(looked).into()) }
        })
        .await?;
        let ran = self.sprite.state().status == Status::Running;
        self.stop(sprites, STOP).await;
        let (disks, id) = (sprites.disks.clone(), self.sprite.id.clone());
        let restored = blocking(move || disks.restore(&id, &wanted)).await?;
        if ran && let Err(error) = self.wake(sprites).await {
            // The disk is restored; that the machine does not start is told with the sprite.
            tracing::warn!("{error}");
        }
        Ok(restored)
    }

    async fn forget(&mut self, sprites: &Arc<Sprites>, checkpoint: &str) -> Result<(), SpriteError> {
        let (disks, id, looked) = (sprites.disks.clone(), self.sprite.id.clone(), checkpoint.to_owned());
        blocking(move || {
            if disks.parent(&id)?.as_deref() == Some(&looked) {
                return Err(SpriteError::InUse(looked));
            }
            let known = disks.checkpoints(&id)?.iter().any(|checkpoint| checkpoint.id == looked);
            if known { Ok(()) } else { Err(vmm_disk::Error::NoCheckpoint(looked).into()) }
        })
        .await?;
        let (disks, id, wanted) = (sprites.disks.clone(), self.sprite.id.clone(), checkpoint.to_owned());
        match &self.machine {
            Some(machine) => machine.forget(checkpoint).await?,
            None => blocking(move || disks.forget(&id, &wanted)).await?,
        }
        let (disks, id) = (sprites.disks.clone(), self.sprite.id.clone());
        blocking(move || disks.reclaim(&id)).await.map(drop)
    }
}

/// What these locks guard is whole at every moment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
