//! Tasks: holds that programs inside have taken on their sprite, until they are given back or expire.

use super::SpriteError;
use crate::lock::locked;
use sprites_api::Time;
use sprites_api::task::Task;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Most holds of a sprite.
const MOST: usize = 64;

/// Those of one sprite, by name. They expire by a clock that nobody sets; the calendar only tells when that will be.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<BTreeMap<String, Held>>);

#[derive(Debug)]
struct Held {
    started_at: Time,
    until: Instant,
    /// What was answered to whoever took it.
    expires_at: Time,
}

impl Held {
    fn task(&self, name: &str, now: Instant) -> Task {
        let expires_at = later(Time::now(), self.until.saturating_duration_since(now));
        // As long as no clock was set, the same is told each time.
        let told = expires_at.seconds_since(self.expires_at).abs() < 1.0;
        Task {
            name: name.to_owned(),
            started_at: self.started_at,
            expires_at: if told { self.expires_at } else { expires_at },
        }
    }
}

impl Holds {
    /// Those that have not expired.
    pub(super) fn list(&self) -> Vec<Task> {
        let (mut held, now) = (self.lock(), Instant::now());
        held.retain(|_, held| held.until > now);
        held.iter().map(|(name, held)| held.task(name, now)).collect()
    }

    /// Takes one for `length`, or renews it.
    pub(super) fn take(&self, name: &str, length: Duration) -> Result<Task, SpriteError> {
        let (mut held, now) = (self.lock(), Instant::now());
        // Those that have expired make room.
        held.retain(|_, held| held.until > now);
        if held.len() >= MOST && !held.contains_key(name) {
            return Err(SpriteError::Value(format!("a sprite has at most {MOST} tasks")));
        }
        let today = Time::now();
        let started_at = held.get(name).map_or(today, |held| held.started_at);
        let new = Held { started_at, until: now + length, expires_at: later(today, length) };
        let task = new.task(name, now);
        held.insert(name.to_owned(), new);
        Ok(task)
    }

    /// Gives one back; false if there is none of that name.
    pub(super) fn release(&self, name: &str) -> bool {
        self.lock().remove(name).is_some_and(|held| held.until > Instant::now())
    }

    /// What this guards is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        locked(&self.0)
    }
}

fn later(time: Time, length: Duration) -> Time {
    Time::from_micros(time.as_micros().saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_expire_and_make_room() {
        let holds = Holds::default();
        let minute = Duration::from_secs(60);
        let first = holds.take("build", minute).unwrap();
        assert_eq!(holds.list(), std::slice::from_ref(&first));
        for number in 1..MOST {
            holds.take(&number.to_string(), minute * 2).unwrap();
        }
        assert!(holds.take("one more", minute).is_err());
        assert_eq!(holds.take("build", minute).unwrap().started_at, first.started_at);
        tokio::time::advance(minute).await;
        assert!(!holds.release("build") && holds.list().len() == MOST - 1);
        holds.take("one more", minute).unwrap();
        assert!(holds.release("one more") && !holds.release("one more"));
        tokio::time::advance(minute).await;
        assert!(holds.list().is_empty());
    }

    #[test]
    fn a_clock_that_was_set_moves_the_end_along() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        // It was taken when the calendar was a day behind.
        let behind = Time::from_micros(Time::now().as_micros() - 86_400_000_000);
        let held = Held { started_at: behind, until: now + minute, expires_at: later(behind, minute) };
        let left = held.task("build", now).expires_at.seconds_since(Time::now());
        assert!((50.0..61.0).contains(&left), "{left}");
    }
}
