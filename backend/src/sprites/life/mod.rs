//! The life of one sprite: a task that owns its machine and takes commands from a queue, so that no two changes happen at once.
//!
//! A warm sprite has its machine, which stands still, or has its memory in a file and no machine at all; waking is the same for both.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | commands, starting, ending |
//! | `rest` | falling asleep, and giving memory back |
//! | `policies` | what those inside may do |
//! | `checkpoints` | making, restoring and dropping checkpoints |
//! | `events` | writing down what happened |

mod checkpoints;
mod events;
mod policies;
mod rest;

use super::limits::Place;
use super::sprite::{Made, NewCheckpoint, Sprite, State};
use super::usage::Guard;
use super::warm::Asleep;
use super::{SpriteError, Sprites, blocking, upkeep};
use crate::store::Record;
use local_vmm::{ExitReason, Kind as Runs, MachineHandle, MachineSpec, kvm};
use sprites_api::Time;
use sprites_api::policy::Policies;
use sprites_api::sprite::{Config, Status};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use vmm_disk::Restored;

/// How long a cold machine may take to come up.
const BOOT: Duration = Duration::from_secs(180);
/// How long one that starts may keep others from it.
const TURN: Duration = Duration::from_secs(15);
/// How long an orderly stop may take before it becomes one by force.
const STOP: Duration = Duration::from_secs(20);
/// Between two looks at whether the sprite is still used.
const LOOK: Duration = Duration::from_secs(1);
/// Memory of a sprite that does not ask for any amount, MiB.
const MEMORY: u32 = 1024;
/// Most that use a sprite at once; its agent takes a few more connections.
const CROWD: usize = 480;
/// Most memory, MiB.
const MAX_MEMORY: u32 = 16 << 10;
/// Most virtual CPUs.
const MAX_CPUS: u32 = 8;

/// CPUs of this host. To find out takes several files, and is done once.
pub(super) fn host_cpus() -> u32 {
    static CPUS: LazyLock<u32> = LazyLock::new(|| {
        u32::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1)
    });
    *CPUS
}

/// Answers go here.
type Reply<T> = oneshot::Sender<Result<T, SpriteError>>;

/// What somebody wants it awake for.
pub(super) struct Wish {
    /// Such as `the command make`.
    pub what: String,
    /// Since when.
    pub since: Instant,
}

/// What the task is asked to do.
pub(super) enum Command {
    Awake(Wish, Reply<Guard>),
    Connect(Wish, Reply<(UnixStream, Guard)>),
    ApplyPolicies(Reply<()>),
    Checkpoint(NewCheckpoint, Reply<Made>),
    Restore(String, bool, Reply<Restored>),
    Forget(String, Reply<()>),
    Stop(Reply<()>),
    End(Reply<()>),
    /// The machine of that number ended.
    Exited(u64, ExitReason),
}

/// Starts the task of a sprite. `machine` is one that already runs.
pub(super) fn begin(
    sprite: &Arc<Sprite>,
    sprites: &Arc<Sprites>,
    machine: Option<MachineHandle>,
    commands: mpsc::Receiver<Command>,
) {
    let mut life = Life {
        sprite: Arc::clone(sprite),
        sprites: Arc::downgrade(sprites),
        machine: None,
        number: 0,
        ready: false,
        place: None,
        failed: None,
        asleep: None,
        told: None,
        since: Instant::now(),
        looked: Instant::now(),
        tried: None,
    };
    if let Some(machine) = machine {
        life.hold(machine);
        // One that runs already does so whatever the limit is by now.
        life.place =
            (sprite.state().status == Status::Running).then(|| sprites.running.take(usize::MAX)).flatten();
    }
    tokio::spawn(life.run(commands));
}

/// The task.
struct Life {
    sprite: Arc<Sprite>,
    sprites: Weak<Sprites>,
    machine: Option<MachineHandle>,
    /// Tells the machines of one sprite apart.
    number: u64,
    /// Whether the machine has been seen to have come up.
    ready: bool,
    /// Its place among those that run.
    place: Option<Place>,
    /// When it could last not be woken, and why.
    failed: Option<(Instant, Arc<SpriteError>)>,
    /// What it holds among those that sleep, once that is known.
    asleep: Option<Asleep>,
    /// What its machine was told last of what it may do.
    told: Option<Policies>,
    /// Since when it is as it is.
    since: Instant,
    /// When it was last looked whether a checkpoint is due.
    looked: Instant,
    /// When a machine that this server did not start was last tried to be reached.
    tried: Option<Instant>,
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
            Command::Awake(wish, reply) => {
                let awake = self.awake(sprites, &wish).await;
                drop(reply.send(awake.map(|(_, guard)| guard)));
            }
            Command::Connect(wish, reply) => drop(reply.send(self.connect(sprites, &wish).await)),
            Command::ApplyPolicies(reply) => drop(reply.send(self.policies_changed().await)),
            Command::Checkpoint(new, reply) => drop(reply.send(self.checkpoint(sprites, new).await)),
            Command::Restore(id, memory, reply) => drop(reply.send(self.restore(sprites, &id, memory).await)),
            Command::Forget(id, reply) => drop(reply.send(self.forget(sprites, &id).await)),
            Command::Stop(reply) => {
                // Programs that sleep on disk may have things to write before they end.
                if self.sleeps_on_disk()
                    && let Err(error) = self.wake_anyway(sprites, "its stop").await
                {
                    tracing::warn!("{error}");
                }
                self.keep(sprites, upkeep::FRESH).await;
                // What it was doing is to be known while it sleeps.
                self.sprite.look().await;
                self.stop(sprites, STOP, "it was stopped").await;
                drop(reply.send(Ok(())));
            }
            Command::Exited(number, reason) => self.exited(sprites, number, reason).await,
            Command::End(reply) => {
                // Its disk goes with it, so there is nothing to end in order.
                self.take_down(sprites, Duration::ZERO).await;
                drop(reply.send(Ok(())));
                return true;
            }
        }
        false
    }

    async fn connect(
        &mut self,
        sprites: &Arc<Sprites>,
        wish: &Wish,
    ) -> Result<(UnixStream, Guard), SpriteError> {
        let (machine, guard) = self.awake(sprites, wish).await?;
        let stream = machine.connect().await?;
        guard.goes_through(&stream);
        Ok((stream, guard))
    }

    /// The machine, awake at least as long as the guard lives. Those who came while a start was tried hear what came of it, and do not try again.
    async fn awake(
        &mut self,
        sprites: &Arc<Sprites>,
        wish: &Wish,
    ) -> Result<(MachineHandle, Guard), SpriteError> {
        if self.sprite.usage.count() >= CROWD {
            return Err(SpriteError::Crowded(CROWD));
        }
        if let Some((at, why)) = &self.failed
            && wish.since < *at
        {
            return Err(SpriteError::Shared(Arc::clone(why)));
        }
        let guard = Guard::new(&self.sprite.usage, &wish.what);
        match self.wake(sprites, &wish.what).await {
            Ok(machine) => {
                self.failed = None;
                Ok((machine, guard))
            }
            Err(error) => {
                let error = Arc::new(error);
                self.failed = Some((Instant::now(), Arc::clone(&error)));
                Err(SpriteError::Shared(error))
            }
        }
    }

    /// The machine, awake; `by` tells what for.
    async fn wake(&mut self, sprites: &Arc<Sprites>, by: &str) -> Result<MachineHandle, SpriteError> {
        if sprites.is_over_budget() && self.sprite.state().status != Status::Running {
            return Err(SpriteError::OverBudget);
        }
        if self.place.is_none() {
            let most = sprites.settings.most_running.unwrap_or(usize::MAX);
            self.place = Some(sprites.running.take(most).ok_or(SpriteError::TooManyRun(most))?);
        }
        self.wake_anyway(sprites, by).await
    }

    /// The same, whatever limits say: what sleeps may have things to write before it ends.
    async fn wake_anyway(&mut self, sprites: &Arc<Sprites>, by: &str) -> Result<MachineHandle, SpriteError> {
        if self.place.is_none() {
            self.place = sprites.running.take(usize::MAX);
        }
        if let Some(machine) = self.machine.clone() {
            if self.sprite.state().status != Status::Warm {
                if !self.ready {
                    // The server before this one did not see it come up.
                    machine.wait_ready(BOOT).await?;
                    self.ready = true;
                }
                self.arrived(&machine).await?;
                // How it was could not be seen when it was taken over.
                if self.sprite.state().status != Status::Running {
                    self.enter(sprites, Status::Running, None, format!("found running by {by}")).await;
                }
                return Ok(machine);
            }
            match machine.resume().await {
                Ok(()) => {
                    self.ready = true;
                    if let Err(error) = self.arrived(&machine).await {
                        // It sleeps on: nothing is to run that was not told what it may do.
                        if machine.pause().await.is_err() {
                            self.stop(sprites, Duration::ZERO, "it could not be told its policies").await;
                        }
                        self.place = None;
                        return Err(error);
                    }
                    self.enter(sprites, Status::Running, None, format!("woken by {by}")).await;
                    return Ok(machine);
                }
                // What cannot be woken is started anew.
                Err(error) => {
                    tracing::warn!(
                        "{} cannot be woken and is started again: {error}",
                        self.sprite.record().name
                    );
                    self.stop(sprites, Duration::ZERO, "it could not be woken and was started anew").await;
                    // With its end its place went.
                    self.place = sprites.running.take(usize::MAX);
                }
            }
        }
        match self.boot(sprites, by).await {
            Ok(machine) => Ok(machine),
            Err(error) => {
                self.take_down(sprites, Duration::ZERO).await;
                // A memory that nothing has gone on from can be tried again; to be rid of it, the sprite is stopped.
                let kept = kvm::is_kept(&sprites.paths.memory(self.sprite.id()));
                let status = if kept { Status::Warm } else { Status::Cold };
                self.enter(sprites, status, Some(error.to_string()), "its start failed".to_owned()).await;
                Err(error)
            }
        }
    }

    /// Starts the machine: it goes on where it was kept on disk, or boots.
    async fn boot(&mut self, sprites: &Arc<Sprites>, by: &str) -> Result<MachineHandle, SpriteError> {
        self.sprite.state.send_modify(|state| {
            (state.reason, state.failure) = (format!("starting for {by}"), None);
        });
        sprites.tell(&self.sprite);
        // Somebody who never comes up must not keep all others from it: a turn ends, and whoever waited for long goes without.
        let turn = timeout(TURN * 4, Arc::clone(&sprites.starting).acquire_owned()).await;
        let _turn = AbortOnDropHandle::new(tokio::spawn(async move {
            sleep(TURN).await;
            drop(turn);
        }));
        tracing::info!("{} starts for {by}", self.sprite.record().name);
        let mut spec = spec(sprites, self.sprite.record(), self.sprite.url.clone());
        // One that runs already, and of which this server does not know, is the sprite's all the same.
        let machine = match MachineHandle::adopt(&spec.run_dir).await {
            Ok(Some(machine)) => machine,
            Ok(None) => {
                self.plug_in(sprites, &mut spec).await;
                MachineHandle::spawn(&sprites.settings.exe, &spec).await?
            }
            Err(error) => {
                tracing::warn!("{}: {error}", spec.name);
                self.take_down(sprites, Duration::ZERO).await;
                self.plug_in(sprites, &mut spec).await;
                MachineHandle::spawn(&sprites.settings.exe, &spec).await?
            }
        };
        self.hold(machine.clone());
        machine.wait_ready(BOOT).await?;
        self.ready = true;
        self.arrived(&machine).await?;
        self.sprite.list_changed();
        let lost = machine.status().await.ok().and_then(|status| status.memory_lost);
        let reason = match lost {
            Some(why) => format!("started anew by {by}; what ran before is lost with its memory: {why}"),
            None => format!("started by {by}"),
        };
        self.enter(sprites, Status::Running, None, reason).await;
        Ok(machine)
    }

    /// Takes a machine over and watches for its end.
    fn hold(&mut self, machine: MachineHandle) {
        self.sprite.network.follow(&machine);
        self.number += 1;
        (self.ready, self.told) = (false, None);
        let (number, commands, watched) = (self.number, self.sprite.commands.downgrade(), machine.clone());
        tokio::spawn(async move {
            let reason = watched.wait_exit().await;
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Exited(number, reason)).await;
            }
        });
        self.sprite.publish(Some(machine.clone()));
        self.machine = Some(machine);
    }

    /// Whether it is warm without a machine.
    fn sleeps_on_disk(&self) -> bool {
        self.machine.is_none() && self.sprite.state().status == Status::Warm
    }

    /// Takes the machine down, and its memory with it wherever that is.
    async fn stop(&mut self, sprites: &Arc<Sprites>, deadline: Duration, why: &str) {
        self.take_down(sprites, deadline).await;
        let memory = sprites.paths.memory(self.sprite.id());
        let forgotten = blocking(move || kvm::forget(&memory).map_err(SpriteError::memory(&memory))).await;
        if let Err(error) = forgotten {
            tracing::warn!("{error}");
        }
        self.enter(sprites, Status::Cold, self.sprite.state().failure, why.to_owned()).await;
    }

    /// Ends the machine, if there is one; also one that nobody knows of, which would keep the sprite from ever starting again.
    async fn take_down(&mut self, sprites: &Arc<Sprites>, deadline: Duration) {
        let machine = match self.machine.take() {
            Some(machine) => machine,
            None => {
                let machine = MachineHandle::at(&sprites.paths.machine(self.sprite.id()));
                if !machine.is_held() {
                    return;
                }
                machine
            }
        };
        self.sprite.publish(None);
        if let Err(error) = machine.stop(deadline).await {
            tracing::warn!("{}: {error}", self.sprite.record().name);
        }
    }

    async fn exited(&mut self, sprites: &Arc<Sprites>, number: u64, reason: ExitReason) {
        if number != self.number || self.machine.is_none() {
            return;
        }
        self.machine = None;
        self.sprite.publish(None);
        let (why, failure) = match reason {
            ExitReason::Stopped => ("it was switched off from inside", None),
            ExitReason::Failed(why) => ("its machine failed", Some(why)),
            ExitReason::Killed => {
                ("its machine is gone", Some("its machine process was killed from outside".to_owned()))
            }
        };
        self.enter(sprites, Status::Cold, failure, why.to_owned()).await;
    }

    /// Takes on a new status, stamps it and tells it.
    async fn enter(
        &mut self,
        sprites: &Arc<Sprites>,
        status: Status,
        failure: Option<String>,
        reason: String,
    ) {
        if status != Status::Running {
            self.place = None;
        }
        if status != Status::Warm {
            self.asleep = None;
        }
        let new = State { status, reason, failure };
        let old = self.sprite.state.send_replace(new.clone());
        if old == new {
            return;
        }
        let turned = old.status != status;
        if turned {
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
        // One that does not start is as cold as before.
        if turned || new.failure.is_some() && new.failure != old.failure {
            self.note_state(sprites, &new).await;
        }
        sprites.tell(&self.sprite);
    }
}

/// What of a wish can be had here; it is kept and told, so that whoever wished sees what came of it.
pub(super) fn possible(wish: Config) -> Config {
    let (cpus, memory) = size(&wish);
    Config { cpus: wish.cpus.map(|_| cpus), ram_mb: wish.ram_mb.map(|_| memory), ..wish }
}

/// CPUs and MiB of memory of a sprite's machine.
pub(super) fn size(config: &Config) -> (u32, u32) {
    let host = host_cpus();
    (
        config.cpus.unwrap_or(host).clamp(1, host.clamp(1, MAX_CPUS)),
        config.ram_mb.unwrap_or(MEMORY).clamp(256, MAX_MEMORY),
    )
}

/// The machine of a sprite.
fn spec(sprites: &Sprites, record: Record, url: String) -> MachineSpec {
    let dir = sprites.paths.sprite(&record.id);
    let (cpus, memory_mb) = size(&record.config);
    let kind = Runs::of_this_host();
    MachineSpec {
        kind,
        url,
        cpus,
        memory_mb,
        kernel: match kind {
            Runs::Kvm => vmm_image::boot_kernel(&dir),
            // Its firmware takes the packed one only.
            Runs::Emulated => dir.join("vmlinuz"),
        },
        modules: dir.join("modules.cpio"),
        volume: dir.join("volume"),
        memory: sprites.paths.memory(&record.id),
        run_dir: sprites.paths.machine(&record.id),
        net: None,
        id: record.id,
        name: record.name,
    }
}
