//! Time, as the meter needs it: a calendar to write bills by, and a clock that nobody sets to measure by.

use nix::time::{ClockId, clock_gettime};
use sprites_api::Time;
use std::sync::LazyLock;
use std::time::Duration;

/// Longest time that is believed when only the calendar tells it, seconds: a clock that was set may say anything.
const MOST: f64 = 31.0 * 24.0 * 3600.0;

/// Names the host's present start; empty where it cannot be known.
pub(crate) fn boot() -> &'static str {
    static BOOT: LazyLock<String> = LazyLock::new(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    });
    &BOOT
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// By the calendar.
    pub wall: Time,
    /// Since the host's start, time in which it slept included; unknown for a moment that was read from the database.
    pub steady: Option<Duration>,
}

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        let steady = clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from);
        Self { wall: Time::now(), steady }
    }

    /// One of which only the calendar is known.
    #[cfg(test)]
    pub(crate) fn written(wall: Time) -> Self {
        Self { wall, steady: None }
    }

    /// Seconds from `earlier` to this; never negative.
    pub(crate) fn since(self, earlier: Moment) -> f64 {
        match (self.steady, earlier.steady) {
            (Some(now), Some(then)) => now.saturating_sub(then).as_secs_f64(),
            _ => self.wall.seconds_since(earlier.wall).clamp(0.0, MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let at = |wall: i64, steady: Option<u64>| Moment {
            wall: Time::from_micros(wall * 1_000_000),
            steady: steady.map(Duration::from_secs),
        };
        assert_eq!(at(9_000_000, Some(12)).since(at(100, Some(10))), 2.0);
        assert_eq!(at(50, Some(12)).since(at(100, Some(10))), 2.0);
        // Where nothing else is known it is believed within reason.
        assert_eq!(at(110, Some(12)).since(at(100, None)), 10.0);
        assert_eq!(at(50, Some(12)).since(at(100, None)), 0.0);
        assert_eq!(at(4_000_000_000, Some(12)).since(at(100, None)), MOST);
        let now = Moment::now();
        assert!(now.steady.is_some() && Moment::now().since(now) < 60.0);
    }
}
