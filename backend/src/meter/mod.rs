//! The meter: each second it asks every running sprite's agent what was used, prices it, keeps it, and tells whoever listens.
//!
//! A second that could not be read is not lost: the next reading of the counters covers it. A machine that started anew begins its counters at
//! zero, which shows in its uptime.

mod rates;

use crate::agent;
use crate::sprites::{Sprite, SpriteError, Sprites, blocking};
use crate::store::usage::Tick;
use rates::Running;
use sprites_api::Time;
use sprites_api::agent::Counters;
use sprites_api::extension::{UsageHistory, UsageLine, UsageSample, UsageTotals};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vmm_disk::Stored;

/// Between two samples.
const TICK: Duration = Duration::from_secs(1);
/// How long an agent may take to tell its counters: less than a tick, because all others wait for the slowest.
const ANSWER: Duration = Duration::from_millis(800);
/// Ticks between two looks at the bytes a running sprite has on the host's disk.
const DISK_EVERY: u64 = 5;
/// Ticks between two looks at a sprite that sleeps, unless something was done to its disk.
const ASLEEP_EVERY: u64 = 60;
/// Ticks between two roll-ups of old samples.
const ROLL_UP_EVERY: u64 = 60;
/// Lines a slow listener may lag behind.
const LINES: usize = 4096;
/// Most samples of a history.
const MOST: usize = 1000;
/// Seconds by which a guest's clock and the host's may differ between two readings.
const SLACK: f64 = 1.0;
/// Counters of CPU time may be this much ahead of the clock.
const ROUNDING: f64 = 1.1;
/// Most processes of a machine (`man 5 proc`, `pid_max`).
const MOST_PROCESSES: u64 = 1 << 22;
/// Output within this time is use, milliseconds.
const RECENT: u64 = 1500;

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    sprites: Arc<Sprites>,
    known: Mutex<HashMap<String, Known>>,
    lines: broadcast::Sender<UsageLine>,
}

/// What the meter remembers of a sprite.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    totals: UsageTotals,
    kept_until: Time,
    stored: Stored,
    counters: Option<Counters>,
    /// When these were read.
    read_at: Option<Instant>,
    sample: Option<UsageSample>,
}

impl Meter {
    /// Starts the meter.
    pub(crate) fn start(sprites: Arc<Sprites>) -> Arc<Self> {
        let (lines, _) = broadcast::channel(LINES);
        let meter = Arc::new(Self { sprites, known: Mutex::default(), lines });
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
        let known = self.lock().get(sprite.id()).map(|known| (known.totals, known.stored.bytes));
        let (totals, stored_bytes) = known.unwrap_or_default();
        Ok(UsageHistory { samples, totals, stored_bytes })
    }

    async fn tick(&self, number: u64) {
        let all = self.sprites.all();
        let ids: Vec<&str> = all.iter().map(|sprite| sprite.id()).collect();
        self.lock().retain(|id, _| ids.contains(&id.as_str()));
        let readings = futures::future::join_all(all.iter().map(|sprite| async move {
            let counters = match sprite.running_machine() {
                Some(machine) => {
                    timeout(ANSWER, agent::ask::<Counters>(&machine, "usage")).await.ok().flatten()
                }
                None => None,
            };
            (sprite, counters)
        }))
        .await;
        let mut ticks = Vec::new();
        for (place, (sprite, counters)) in readings.into_iter().enumerate() {
            if counters.is_some_and(|counters| counters.session_idle_ms.is_some_and(|idle| idle < RECENT)) {
                sprite.touch();
            }
            let running = sprite.running_machine().is_some();
            // Those that sleep do not all have their turn in the same tick.
            let turn = number + place as u64;
            let new = self.lock().get(sprite.id()).is_none_or(|known| known.counters.is_some() && !running);
            let look = new
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
            let known = advance(before, counters, running, Size::of(sprite));
            ticks.push(Tick {
                sprite: sprite.id().to_owned(),
                sample: known.sample,
                totals: known.totals,
                kept_until: known.kept_until,
            });
            if known.sample.is_some() || look {
                // Nobody may be listening.
                let _ = self.lines.send(known.line());
            }
            self.lock().insert(sprite.id().to_owned(), known);
        }
        let roll_up = number % ROLL_UP_EVERY == ROLL_UP_EVERY - 1;
        if ticks.is_empty() && !roll_up {
            return;
        }
        let store = Arc::clone(&self.sprites.store);
        let written = blocking(move || {
            store.record(&ticks)?;
            if roll_up {
                store.roll_up(Time::now())?;
            }
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::error!("usage is not kept: {error}");
        }
    }

    /// What is remembered of a sprite, from the database the first time.
    async fn known(&self, sprite: &Sprite, look: bool) -> Result<Known, SpriteError> {
        let held = self.lock().get(sprite.id()).cloned();
        let mut known = match held {
            Some(known) => known,
            None => {
                let (store, id) = (Arc::clone(&self.sprites.store), sprite.id().to_owned());
                let (totals, kept_until) = blocking(move || Ok(store.totals(&id)?))
                    .await?
                    .unwrap_or((UsageTotals::default(), Time::now()));
                Known {
                    name: String::new(),
                    totals,
                    kept_until,
                    stored: Stored::default(),
                    counters: None,
                    read_at: None,
                    sample: None,
                }
            }
        };
        known.name = sprite.record().name;
        if look {
            let (disks, id) = (self.sprites.disks.clone(), sprite.id().to_owned());
            known.stored = blocking(move || disks.stored(&id)).await?;
        }
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn line(&self) -> UsageLine {
        UsageLine {
            name: self.name.clone(),
            sample: self.sample,
            stored_bytes: self.stored.bytes,
            shared_bytes: self.stored.shared,
            totals: self.totals,
        }
    }
}

/// What is known after a reading.
///
/// Counters come from within, from somebody who may lie: they are held against the host's clock and the machine's size.
fn advance(mut known: Known, counters: Option<Counters>, running: bool, size: Size) -> Known {
    let now = Time::now();
    let counters = counters.map(|counters| size.bound(counters));
    let kept = now.seconds_since(known.kept_until).max(0.0);
    let keeping = rates::keep(&mut known.totals, kept, known.stored.bytes as f64);
    known.kept_until = now;
    known.sample = None;
    let Some(counters) = counters else {
        if !running {
            known.counters = None;
        }
        return known;
    };
    if let Some(before) = known.counters.filter(|before| before.uptime_ms < counters.uptime_ms) {
        // The guest's own clock stands still while it sleeps, so a pause is never counted.
        let passed = known.read_at.map_or(f64::MAX, |at| at.elapsed().as_secs_f64() + SLACK);
        let seconds = ((counters.uptime_ms - before.uptime_ms) as f64 / 1e3).min(passed);
        let cpu_seconds = counters.cpu_usec.saturating_sub(before.cpu_usec) as f64 / 1e6;
        let cpu_seconds = cpu_seconds.min(seconds * f64::from(size.cpus) * ROUNDING);
        let use_ = Running {
            seconds,
            cpu_seconds,
            memory_bytes: counters.memory_bytes as f64,
            hot_bytes: known.stored.bytes as f64,
        };
        let cost = rates::run(&mut known.totals, use_);
        known.sample = Some(UsageSample {
            time: now,
            seconds,
            cpus: cpu_seconds / seconds,
            memory_bytes: counters.memory_bytes,
            processes: counters.processes,
            cost_usd: cost + keeping,
        });
    }
    known.counters = Some(counters);
    known.read_at = Some(Instant::now());
    known
}

/// How large a machine is, and so what it can use.
#[derive(Clone, Copy, Debug)]
struct Size {
    cpus: u32,
    memory_bytes: u64,
}

impl Size {
    fn of(sprite: &Sprite) -> Self {
        let (cpus, memory_mb) = sprite.size();
        Self { cpus, memory_bytes: u64::from(memory_mb) << 20 }
    }

    fn bound(self, counters: Counters) -> Counters {
        Counters {
            memory_bytes: counters.memory_bytes.min(self.memory_bytes),
            processes: counters.processes.min(MOST_PROCESSES),
            ..counters
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(uptime_ms: u64, cpu_usec: u64) -> Counters {
        Counters {
            cpu_usec,
            memory_bytes: 500_000_000,
            processes: 4,
            uptime_ms,
            attached_sessions: 0,
            session_idle_ms: None,
        }
    }

    #[test]
    fn counters_become_samples_and_a_new_machine_begins_anew() {
        let known = Known {
            name: "box".into(),
            totals: UsageTotals::default(),
            kept_until: Time::now(),
            stored: Stored::default(),
            counters: None,
            read_at: None,
            sample: None,
        };
        let size = Size { cpus: 1, memory_bytes: 1 << 30 };
        let advance = |mut known: Known, counters, running| {
            // As if the host's clock had gone on as the guest's says.
            known.read_at = None;
            super::advance(known, counters, running, size)
        };
        let known = advance(known, Some(counters(1000, 0)), true);
        assert!(known.sample.is_none());
        let known = advance(known, Some(counters(2000, 500_000)), true);
        assert!((known.sample.unwrap().cpus - 0.5).abs() < 1e-9);
        // A second that was not read is covered by the next reading.
        let known = advance(known, None, true);
        let known = advance(known, Some(counters(4000, 2_500_000)), true);
        assert!((known.sample.unwrap().seconds - 2.0).abs() < 1e-9);
        assert!((known.totals.running_seconds - 3.0).abs() < 1e-9);
        // Another boot.
        let known = advance(known, Some(counters(300, 10)), true);
        assert!(known.sample.is_none());
        let known = advance(known, Some(counters(1300, 10)), true);
        assert!((known.totals.running_seconds - 4.0).abs() < 1e-9);
    }

    #[test]
    fn counters_that_cannot_be_true_are_held_to_what_can() {
        let known = Known {
            name: "box".into(),
            totals: UsageTotals::default(),
            kept_until: Time::now(),
            stored: Stored::default(),
            counters: Some(counters(1000, 0)),
            read_at: Some(Instant::now()),
            sample: None,
        };
        let size = Size { cpus: 2, memory_bytes: 1 << 30 };
        let lie = Counters { memory_bytes: u64::MAX, processes: u64::MAX, ..counters(u64::MAX, u64::MAX) };
        let known = super::advance(known, Some(lie), true, size);
        let sample = known.sample.unwrap();
        assert!(sample.seconds <= SLACK + 1.0 && sample.cpus <= 2.0 * ROUNDING, "{sample:?}");
        assert_eq!(sample.memory_bytes, 1 << 30);
        assert!(known.totals.cost_usd < 0.01);
    }
}
