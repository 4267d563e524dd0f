//! What sprites cost of which no use is told: an endpoint elsewhere tells their states only. The time that they are seen running is priced with the
//! vendor's floors, so that it is the least they can have cost. Nobody is asked anything for it.

use crate::rates::{self, Running};
use sprites_api::extension::UsageTotals;
use std::collections::HashMap;
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

impl Estimate {
    /// A sprite is seen running, or seen not running.
    pub fn see(&mut self, name: &str, runs: bool, now: Instant) {
        let seen = self.seen.entry(name.to_owned()).or_default();
        if runs {
            seen.since.get_or_insert(now);
        } else {
            *seen = Seen { before: seen.running(now), since: None };
        }
    }

    /// It cannot be seen any more: what it does meanwhile is not known. What was seen stays.
    pub fn look_away(&mut self, now: Instant) {
        self.seen.values_mut().for_each(|seen| *seen = Seen { before: seen.running(now), since: None });
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
        estimate.see("box", false, at(0));
        assert_eq!(estimate.least("box", at(60)).cost_usd, 0.0);
        // An hour in two parts, told more than once.
        estimate.see("box", true, at(60));
        estimate.see("box", true, at(70));
        estimate.see("box", false, at(90));
        estimate.see("box", false, at(200));
        estimate.see("box", true, at(300));
        let least = estimate.least("box", at(330));
        assert!((least.running_seconds - 3600.0).abs() < 1e-6);
        assert!((least.cost_usd - (0.0625 * 0.07 + 0.25 * 0.043_75)).abs() < 1e-9, "{least:?}");
        // The connection is lost; it may have slept ever since.
        estimate.look_away(at(330));
        assert_eq!(estimate.least("box", at(900)), least);
        estimate.see("other", true, at(900));
        assert!(estimate.least_usd(at(960)) > least.cost_usd);
        assert_eq!(estimate.least("nobody", at(960)), UsageTotals::default());
    }
}
