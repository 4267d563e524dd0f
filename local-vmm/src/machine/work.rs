//! What the calls do.

use super::agent::{Agent, AgentError};
use super::control::{CheckpointDone, MachineStatus, State, Suspended};
use super::still::Still;
use crate::devices::block::Bell;
use crate::{Kind, MachineSpec, Monitor, MonitorError};
use std::fs;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vmm_disk::{NewCheckpoint, Volume};

/// How long the agent may take to bring its file system to rest: it first writes back what is dirty.
const REST: Duration = Duration::from_secs(60);
/// How often that is tried; an agent that is silent for that long is not asked again.
const TRIES: usize = 3;
/// How long any other call to the agent may take.
const ANSWER: Duration = Duration::from_secs(5);
/// The first answer of a machine that boots.
const BOOT: Duration = Duration::from_secs(180);
/// Where a checkpoint's memory is written before the checkpoint has a name, and the word that nobody's bell answers.
const UNFINISHED: &str = ".new";
const FLUSH: &str = "flush";
/// Between two looks at a machine that boots.
const LOOK: Duration = Duration::from_millis(20);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// The machine's monitor.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] vmm_disk::Error),
    /// It takes longer than the caller would wait.
    #[error("the machine has not come up within {} s; its console.log tells how far it got", .0.as_secs())]
    NotReady(Duration),
    /// It is on its way down.
    #[error("the machine is stopping; start the sprite again when it is down")]
    Stopping,
}

/// The machine, as the calls see it.
pub(super) struct Work {
    volume: Arc<Volume>,
    bell: Arc<Bell>,
    agent: Agent,
    pub(super) monitor: Monitor,
    state: Mutex<State>,
    changed: Condvar,
    /// One change of the machine at a time: a pause must not fall into a checkpoint.
    turn: Mutex<()>,
    spec: MachineSpec,
    /// Process id, as the host sees it.
    pid: u32,
    began: Began,
    started: Instant,
    started_at: i64,
    boot_ms: Mutex<Option<u64>>,
}

/// How the machine began.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Began {
    Booted,
    /// It goes on from its folder.
    GoneOn,
    /// It should have gone on, and booted because of this.
    WithoutMemory(String),
}

impl Work {
    #[expect(clippy::too_many_arguments, reason = "its one caller has just made all of them")]
    pub(super) fn new(
        volume: Arc<Volume>,
        bell: Arc<Bell>,
        agent: Agent,
        monitor: Monitor,
        spec: MachineSpec,
        pid: u32,
        began: Began,
        started: Instant,
    ) -> Self {
        let started_at = jiff::Timestamp::now().as_microsecond();
        Self {
            volume,
            bell,
            agent,
            monitor,
            state: Mutex::new(State::Booting),
            changed: Condvar::new(),
            turn: Mutex::new(()),
            spec,
            pid,
            began,
            started,
            started_at,
            boot_ms: Mutex::new(None),
        }
    }

    /// Waits for the agent's first answer; to be called in a thread of its own.
    pub(super) fn watch_boot(&self) {
        let mut still = Still::new();
        while self.state() == State::Booting && self.started.elapsed() < BOOT {
            match self.agent.health(ANSWER.min(BOOT.saturating_sub(self.started.elapsed()))) {
                Ok(_) => {
                    if self.began == Began::GoneOn {
                        self.tell(Some(&self.spec));
                    }
                    *locked(&self.boot_ms) = u64::try_from(self.started.elapsed().as_millis()).ok();
                    let mut state = locked(&self.state);
                    if *state == State::Booting {
                        *state = State::Running;
                    }
                    self.changed.notify_all();
                    return;
                }
                // Until the agent listens, the guest refuses.
                Err(_) if still.is_stuck(self.monitor.cpu_time()) => {
                    tracing::warn!("the kernel stands still while it comes up; it is begun again, once");
                    if let Err(error) = self.monitor.reset() {
                        tracing::warn!("{error}");
                    }
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    pub(super) fn wait_ready(&self, deadline: Duration) -> Result<(), WorkError> {
        let state = locked(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, deadline, |state| *state == State::Booting)
            .unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Booting => Err(WorkError::NotReady(deadline)),
            State::Stopping => Err(WorkError::Stopping),
            State::Running | State::Paused => Ok(()),
        }
    }

    pub(super) fn state(&self) -> State {
        *locked(&self.state)
    }

    fn enter(&self, next: State) {
        *locked(&self.state) = next;
        self.changed.notify_all();
    }

    pub(super) fn status(&self) -> MachineStatus {
        MachineStatus {
            state: self.state(),
            kind: self.monitor.kind(),
            pid: self.pid,
            started_at: self.started_at,
            boot_ms: *locked(&self.boot_ms),
            memory_bytes: self.monitor.memory_bytes(),
            memory_lost: match &self.began {
                Began::WithoutMemory(why) => Some(why.clone()),
                Began::GoneOn | Began::Booted => None,
            },
        }
    }

    pub(super) fn pause(&self) -> Result<(), WorkError> {
        let _turn = locked(&self.turn);
        match self.state() {
            State::Paused => Ok(()),
            State::Stopping => Err(WorkError::Stopping),
            State::Booting => Err(WorkError::NotReady(self.started.elapsed())),
            State::Running => {
                self.monitor.pause()?;
                self.enter(State::Paused);
                // A machine that is thrown away while it sleeps should lose as little as can be.
                self.volume.flush().map_err(WorkError::from)
            }
        }
    }

    pub(super) fn resume(&self) -> Result<(), WorkError> {
        let _turn = locked(&self.turn);
        match self.state() {
            State::Running | State::Booting => Ok(()),
            State::Stopping => Err(WorkError::Stopping),
            State::Paused => {
                self.monitor.resume()?;
                self.enter(State::Running);
                self.tell(None);
                Ok(())
            }
        }
    }

    /// Tells the guest that it stood still, and what it is now when it may have been another. That it cannot be told is no reason not to wake.
    fn tell(&self, now_is: Option<&MachineSpec>) {
        if let Err(error) = self.agent.wake(now_is, ANSWER) {
            tracing::warn!("the guest does not know that it stood still: {error}");
        }
    }

    /// Keeps the machine in its folder. It stands still afterwards and is only good for its end; when it cannot be kept it is as before.
    pub(super) fn suspend(&self) -> Result<Suspended, WorkError> {
        let _turn = locked(&self.turn);
        let start = Instant::now();
        let before = self.state();
        match before {
            State::Stopping => return Err(WorkError::Stopping),
            State::Booting => return Err(WorkError::NotReady(self.started.elapsed())),
            State::Running => self.monitor.pause()?,
            State::Paused => {}
        }
        let kept = self
            .volume
            .flush()
            .map_err(WorkError::from)
            .and_then(|()| self.monitor.keep(&self.spec, &self.spec.memory).map_err(WorkError::from));
        match kept {
            Ok(written_bytes) => {
                self.enter(State::Stopping);
                Ok(Suspended { written_bytes, call_us: micros(start.elapsed()) })
            }
            Err(error) => {
                if before == State::Running {
                    self.monitor.resume()?;
                    self.tell(None);
                }
                Err(error)
            }
        }
    }

    /// A checkpoint of the live machine, with or without its memory. Without, a paused one runs for the moment that its file system needs to
    /// come to rest.
    pub(super) fn checkpoint(&self, new: NewCheckpoint, memory: bool) -> Result<CheckpointDone, WorkError> {
        let _turn = locked(&self.turn);
        let start = Instant::now();
        let state = self.state();
        if state == State::Stopping {
            return Err(WorkError::Stopping);
        }
        if let Some(comment) = new.comment.as_ref().filter(|comment| comment.len() > vmm_disk::MAX_COMMENT) {
            return Err(vmm_disk::Error::CommentTooLong(comment.len()).into());
        }
        if memory && self.monitor.kind() != Kind::Kvm {
            return Err(MonitorError::Unable.into());
        }
        self.volume.prepare_seal()?;
        if memory {
            return self.checkpoint_all(new, state, start);
        }
        if state == State::Paused
            && let Err(error) = self.monitor.resume()
        {
            self.volume.abort_seal()?;
            return Err(error.into());
        }
        let switched = self.switch(state);
        if state == State::Paused {
            self.monitor.pause()?;
        }
        if let Err(error) = switched.outcome {
            self.volume.abort_seal()?;
            return Err(error.into());
        }
        let checkpoint = self.volume.finish_seal(new)?;
        Ok(CheckpointDone {
            checkpoint,
            journal_us: switched.journal_us,
            pause_us: switched.pause_us,
            call_us: micros(start.elapsed()),
            froze: switched.at_rest,
            memory_bytes: None,
        })
    }

    /// A checkpoint of disk and memory, which belong to the same instant. The file system need not be at rest, because what it holds in memory
    /// is kept too; it is flushed all the same, for the day when the disk is used alone.
    fn checkpoint_all(
        &self,
        new: NewCheckpoint,
        state: State,
        start: Instant,
    ) -> Result<CheckpointDone, WorkError> {
        let fresh = MachineSpec::memory_of(&self.spec.memory, UNFINISHED);
        let flushed = state == State::Running && self.agent.quiesce(FLUSH.into(), REST).is_ok();
        let held = Instant::now();
        let kept = self.still(state, || {
            self.volume.flip()?;
            Ok(self.monitor.keep(&self.spec, &fresh)?)
        });
        let pause_us = micros(held.elapsed());
        let bytes = match kept {
            Ok(bytes) => bytes,
            Err(error) => {
                self.volume.abort_seal()?;
                let _ = fs::remove_dir_all(&fresh);
                return Err(error);
            }
        };
        let checkpoint = self.volume.finish_seal(new)?;
        let place = MachineSpec::memory_of(&self.spec.memory, &checkpoint.id);
        // The checkpoint stands; without its memory it is one of the disk alone.
        let placed = fs::rename(&fresh, &place);
        if let Err(error) = &placed {
            tracing::error!(
                "the memory of {} cannot be put into {}: {error}",
                checkpoint.id,
                place.display()
            );
        }
        Ok(CheckpointDone {
            checkpoint,
            journal_us: 0,
            pause_us,
            call_us: micros(start.elapsed()),
            froze: flushed,
            memory_bytes: placed.is_ok().then_some(bytes),
        })
    }

    /// Does something while the machine stands still, and has it as it was afterwards.
    fn still<T>(&self, before: State, work: impl FnOnce() -> Result<T, WorkError>) -> Result<T, WorkError> {
        if before == State::Paused {
            return work();
        }
        self.monitor.pause()?;
        let done = work();
        self.monitor.resume()?;
        self.tell(None);
        done
    }

    /// Switches the disk's layers: when the agent inside rings, or without it when it does not answer.
    fn switch(&self, state: State) -> Switched {
        // A machine that has not come up has nobody to ask.
        let mut rest = None;
        let tries = if state == State::Booting { 0 } else { TRIES };
        for _ in 0..tries {
            match self.agent.quiesce(self.bell.arm(), REST) {
                Ok(found) => rest = Some(found),
                // Without it the checkpoint is what a power cut would leave, so that is not taken lightly.
                Err(error) => {
                    tracing::warn!("{error}");
                    if !error.is_silence() && self.bell.is_armed() {
                        continue;
                    }
                }
            }
            break;
        }
        match self.bell.disarm() {
            Some(outcome) => Switched {
                outcome,
                journal_us: rest.map_or(0, |rest| rest.journal_us),
                pause_us: rest.map_or(0, |rest| rest.held_us),
                at_rest: rest.is_some_and(|rest| rest.rung),
            },
            None => {
                let held = Instant::now();
                let outcome = self.volume.flip();
                Switched { outcome, journal_us: 0, pause_us: micros(held.elapsed()), at_rest: false }
            }
        }
    }

    pub(super) fn forget(&self, id: &str) -> Result<(), WorkError> {
        Ok(self.volume.forget(id)?)
    }

    /// Takes the machine down: orderly within the deadline, by force after it.
    pub(super) fn stop(&self, deadline: Duration) {
        let give_up = Instant::now() + deadline;
        let _turn = locked(&self.turn);
        let before = self.state();
        self.enter(State::Stopping);
        let awake = before != State::Paused || self.monitor.resume().is_ok();
        let asked = before != State::Booting && awake && !deadline.is_zero() && {
            let told = self.agent.shutdown(deadline.min(ANSWER));
            told.inspect_err(|error| tracing::warn!("{error}")).is_ok()
        };
        if asked && self.monitor.wait(Some(give_up.saturating_duration_since(Instant::now()))).is_some() {
            return;
        }
        self.monitor.kill();
    }
}

/// What came of switching the disk's layers.
struct Switched {
    outcome: vmm_disk::Result<()>,
    /// See [`CheckpointDone::journal_us`].
    journal_us: u64,
    /// See [`CheckpointDone::pause_us`].
    pause_us: u64,
    /// Whether the file system was at rest at that moment.
    at_rest: bool,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Every step leaves what these locks guard whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
