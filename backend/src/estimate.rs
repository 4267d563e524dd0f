//! What sprites cost of which no use is told: an endpoint elsewhere tells their states only. The time that they are seen running is priced with the
//! vendor's floors, so that it is the least they can have cost. Nobody is asked anything for it.

use crate::rates::{self, Running};
use sprites_api::extension::UsageTotals;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    seen: HashMap<String, Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Running so far, without what goes on now.
    before: Duration,
    since: Option<Instant>,
}

impl Seen {
    fn running(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The least that a sprite costs in an hour in which it runs, US dollars.
pub fn least_hour_usd() -> f64 {
    let hour = Running { seconds: 3600.0, cpu_seconds: 0.0, memory_bytes: 0.0, hot_bytes: 0.0 };
    rates::run(&mut UsageTotals::default(), hour)
}

impl Estimate {
    /// These run now, as far as can be seen, and no others. Of those of which nothing more is seen, what was seen stays.
    pub fn look<'a>(&mut self, running: impl Iterator<Item = &'a str>, now: Instant) {
        let running: HashSet<&str> = running.collect();
        for (name, seen) in &mut self.seen {
            if seen.since.is_some() && !running.contains(name.as_str()) {
                *seen = Seen { before: seen.running(now), since: None };
            }
        }
        for name in running {
            match self.seen.get_mut(name) {
                Some(seen) => _ = seen.since.get_or_insert(now),
                None => _ = self.seen.insert(name.to_owned(), Seen { since: Some(now), ..Seen::default() }),
            }
        }
    }

    /// Whether anything grows now.
    pub fn grows(&self) -> bool {
        self.seen.values().any(|seen| seen.since.is_some())
    }

    /// The least that a sprite can have used since it was first seen.
    pub fn least(&self, name: &str, now: Instant) -> UsageTotals {
        let mut totals = UsageTotals::default();
        if let Some(seen) = self.seen.get(name) {
            // The floors come in by themselves where no use is known.
            let seconds = seen.running(now).as_secs_f64();
            rates::run(&mut totals, Running { seconds, cpu_seconds: 0.0, memory_bytes: 0.0, hot_bytes: 0.0 });
        }
        totals
    }

    /// The least that all together can have cost, US dollars; those too that are gone.
    pub fn least_usd(&self, now: Instant) -> f64 {
        self.seen.keys().map(|name| self.least(name, now).cost_usd).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_seen_is_priced_with_the_floors() {
        let begin = Instant::now();
        let at = |minutes: u64| begin + Duration::from_secs(minutes * 60);
        let mut estimate = Estimate::default();
        let nobody = std::iter::empty::<&str>;
        let one = || std::iter::once("box");
        estimate.look(nobody(), at(0));
        assert_eq!(estimate.least("box", at(60)).cost_usd, 0.0);
        // An hour in two parts, told more than once.
        estimate.look(one(), at(60));
        estimate.look(one(), at(70));
        estimate.look(nobody(), at(90));
        estimate.look(nobody(), at(200));
        estimate.look(one(), at(300));
        assert!(estimate.grows());
        let least = estimate.least("box", at(330));
        assert!((least.running_seconds - 3600.0).abs() < 1e-6);
        assert!((least.cost_usd - (0.0625 * 0.07 + 0.25 * 0.043_75)).abs() < 1e-9, "{least:?}");
        // The connection is lost; it may have slept ever since.
        estimate.look(nobody(), at(330));
        assert!(!estimate.grows());
        assert_eq!(estimate.least("box", at(900)), least);
        estimate.look(std::iter::once("other"), at(900));
        assert!(estimate.least_usd(at(960)) > least.cost_usd);
        assert_eq!(estimate.least("nobody", at(960)), UsageTotals::default());
    }
}
