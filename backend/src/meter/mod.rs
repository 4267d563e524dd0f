//! The meter: each second it asks every running sprite's agent what was used, prices it, keeps it, and tells whoever listens.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the ticks, and who listens |
//! | `account` | what one sprite used: from readings to entries |
//! | `budget` | bills of a month, and what happens when it costs too much |
//! | `clock` | time to measure by |
//!
//! What could not be read is not lost: the next reading of the counters covers it. The last counters are written down together with what they added,
//! so that a server that was killed repeats nothing, and loses only what a machine used that ended before the next server came.

pub(crate) mod account;
pub(crate) mod budget;
pub(crate) mod clock;
#[cfg(test)]
mod simulation;

use crate::lock::locked;
use crate::sprites::{Sprite, SpriteError, Sprites, blocking};
use crate::store::usage::Tick;

use account::{Account, Reading, Size};
use clock::Moment;
use sprites_api::Time;
use sprites_api::agent::Counters;
use sprites_api::extension::{UsageHistory, UsageLine, UsageSample};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vmm_disk::Stored;

/// Between two samples.
const TICK: Duration = Duration::from_secs(1);
/// How long an agent may take to tell its counters: less than a tick, because all others wait for the slowest.
const ANSWER: Duration = Duration::from_millis(800);
/// Largest answer of an agent, bytes.
const MAX_ANSWER: usize = 16 << 10;
/// Ticks between two looks at the bytes a running sprite has on the host's disk.
const DISK_EVERY: u64 = 5;
/// Ticks between two looks at a sprite that sleeps, unless something was done to its disk.
const ASLEEP_EVERY: u64 = 60;
/// Ticks between two roll-ups of old samples.
const ROLL_UP_EVERY: u64 = 60;
/// Ticks between two looks at the budget.
const BUDGET_EVERY: u64 = 10;
/// Lines a slow listener may lag behind.
const LINES: usize = 4096;
/// Most samples of a history.
const MOST: usize = 1000;
/// Output within this time is use, milliseconds.
const RECENT: u64 = 1500;

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    sprites: Arc<Sprites>,
    known: Mutex<HashMap<String, Known>>,
    lines: broadcast::Sender<UsageLine>,
    /// What was used and could not be written down yet, by sprite.
    unwritten: Mutex<HashMap<String, Tick>>,
    /// It has been told that usage cannot be written down now.
    stuck: AtomicBool,
}

/// What the meter remembers of a sprite.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    account: Account,
    stored: Stored,
    running: bool,
    sample: Option<UsageSample>,
}

impl Meter {
    /// Starts the meter.
    pub(crate) fn start(sprites: Arc<Sprites>) -> Arc<Self> {
        let (lines, _) = broadcast::channel(LINES);
        let meter = Arc::new(Self {
            sprites,
            known: Mutex::default(),
            lines,
            unwritten: Mutex::default(),
            stuck: AtomicBool::new(false),
        });
        let running = Arc::clone(&meter);
        tokio::spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0.. {
                ticks.tick().await;
                running.tick(number).await;
            }
        });
        meter
    }

    /// What is known now, one line a sprite, and everything from now on.
    pub(crate) fn listen(&self) -> (Vec<UsageLine>, broadcast::Receiver<UsageLine>) {
        let lines = self.lines.subscribe();
        let now = self.lock().values().map(Known::line).collect();
        (now, lines)
    }

    /// Past use of a sprite.
    pub(crate) async fn history(
        &self,
        sprite: &Sprite,
        window: Duration,
    ) -> Result<UsageHistory, SpriteError> {
        let (store, id) = (Arc::clone(&self.sprites.store), sprite.id().to_owned());
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let from = Time::from_micros(Time::now().as_micros().saturating_sub(window).max(0));
        let samples = blocking(move || Ok(store.samples(&id, from, MOST)?)).await?;
        let known = self.lock().get(sprite.id()).map(|known| (known.account.totals, known.stored.bytes));
        let (totals, stored_bytes) = known.unwrap_or_default();
        Ok(UsageHistory { samples, totals, stored_bytes })
    }

    async fn tick(&self, number: u64) {
        let all = self.sprites.all();
        let ids: Vec<&str> = all.iter().map(|sprite| sprite.id()).collect();
        self.lock().retain(|id, _| ids.contains(&id.as_str()));
        let readings = futures::future::join_all(all.iter().map(|sprite| async move {
            let counters = match sprite.running_machine() {
                Some(machine) => timeout(ANSWER, sprite.agent.ask::<Counters>(&machine, "usage", MAX_ANSWER))
                    .await
                    .ok()
                    .flatten(),
                None => None,
            };
            (sprite, Reading { counters, carried: sprite.network.carried(), awake: false })
        }))
        .await;
        let (mut ticks, mut advanced) = (Vec::new(), Vec::new());
        for (place, (sprite, mut reading)) in readings.into_iter().enumerate() {
            if reading
                .counters
                .is_some_and(|counters| counters.session_idle_ms.is_some_and(|idle| idle < RECENT))
            {
                sprite.touch();
            }
            let running = sprite.running_machine().is_some();
            // Those that sleep do not all have their turn in the same tick.
            let turn = number + place as u64;
            let ran = self.lock().get(sprite.id()).map(|known| known.running);
            reading.awake = ran == Some(true) && running;
            let look = ran.is_none_or(|ran| ran && !running)
                || sprite.take_changed()
                || turn.is_multiple_of(if running { DISK_EVERY } else { ASLEEP_EVERY });
            if !running && !look {
                continue;
            }
            let before = match self.known(sprite, look).await {
                Ok(before) => before,
                Err(error) => {
                    tracing::warn!("{}: {error}", sprite.record().name);
                    continue;
                }
            };
            let record = sprite.record();
            let (cpus, memory_mb) = sprite.size();
            let size = Size { cpus, memory_bytes: u64::from(memory_mb) << 20 };
            let mut known = before;
            let entry = known.account.advance(reading, known.stored.bytes, size, Moment::now());
            known.name.clone_from(&record.name);
            known.running = running;
            known.sample = entry.sample;
            ticks.push(Tick {
                sprite: record.id,
                name: record.name,
                labels: record.labels,
                account: known.account.clone(),
                entry,
            });
            if known.sample.is_some() || look {
                // Nobody may be listening.
                let _ = self.lines.send(known.line());
            }
            advanced.push((sprite.id().to_owned(), known));
        }
        if number.is_multiple_of(BUDGET_EVERY)
            && let Err(error) = self.keep_budget().await
        {
            tracing::warn!("the budget is not looked at: {error}");
        }
        self.lock().extend(advanced);
        self.write(ticks, number % ROLL_UP_EVERY == ROLL_UP_EVERY - 1).await;
    }

    /// Writes down what was used, with what could not be written before: by now a machine may have ended whose next reading would have covered it.
    async fn write(&self, ticks: Vec<Tick>, roll_up: bool) {
        let mut all = std::mem::take(&mut *locked(&self.unwritten));
        for tick in ticks {
            let tick = match all.remove(&tick.sprite) {
                Some(earlier) => earlier.then(tick),
                None => tick,
            };
            all.insert(tick.sprite.clone(), tick);
        }
        if all.is_empty() && !roll_up {
            return;
        }
        let store = Arc::clone(&self.sprites.store);
        let written = blocking(move || {
            let ticks: Vec<Tick> = all.into_values().collect();
            if let Err(error) = store.record(&ticks) {
                return Ok(Err((error, ticks)));
            }
            if roll_up {
                store.roll_up(Time::now())?;
            }
            Ok(Ok(()))
        });
        match written.await {
            Ok(Ok(())) => {
                if self.stuck.swap(false, Ordering::Relaxed) {
                    tracing::info!("usage is kept again, also that of the time meanwhile");
                }
            }
            Ok(Err((error, ticks))) => {
                *locked(&self.unwritten) =
                    ticks.into_iter().map(|tick| (tick.sprite.clone(), tick)).collect();
                // Told once, not with every tick.
                if !self.stuck.swap(true, Ordering::Relaxed) {
                    tracing::error!("usage cannot be kept now, and is counted when it can: {error}");
                }
            }
            Err(error) => tracing::warn!("old usage is not rolled up: {error}"),
        }
    }

    /// What is remembered of a sprite, from the database the first time.
    async fn known(&self, sprite: &Sprite, look: bool) -> Result<Known, SpriteError> {
        let held = self.lock().get(sprite.id()).cloned();
        let mut known = match held {
            Some(known) => known,
            None => {
                let (store, id) = (Arc::clone(&self.sprites.store), sprite.id().to_owned());
                let account = blocking(move || Ok(store.account(&id)?)).await?;
                Known {
                    name: String::new(),
                    account: account.unwrap_or_else(|| Account::new(Moment::now())),
                    stored: Stored::default(),
                    running: false,
                    sample: None,
                }
            }
        };
        if look {
            let (disks, id) = (self.sprites.disks.clone(), sprite.id().to_owned());
            known.stored = blocking(move || disks.stored(&id)).await?;
        }
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        locked(&self.known)
    }
}

impl Known {
    fn line(&self) -> UsageLine {
        UsageLine {
            name: self.name.clone(),
            sample: self.sample,
            stored_bytes: self.stored.bytes,
            shared_bytes: self.stored.shared,
            totals: self.account.totals,
        }
    }
}
