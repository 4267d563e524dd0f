//! A machine that boots slowly, told from one that stands still.
//!
//! QEMU's software CPU loses an interrupt now and then when several CPUs run at once on a busy host, and a kernel that boots then waits for ever, or
//! one of its CPUs for the other. Seen with QEMU 7.2, about once in some hundred boots with both host cores overcommitted.

use std::time::{Duration, Instant};

/// Who computes no more than this...
const LITTLE: Duration = Duration::from_millis(300);
/// ...in this time does nothing; even one of fifty machines on one core does more.
const LONG: Duration = Duration::from_secs(30);
/// What a boot never needs: some twenty times as much as on an old laptop.
const MUCH: Duration = Duration::from_secs(90);

/// What was seen so far.
pub(super) struct Still {
    since: Instant,
    used: Duration,
    told: bool,
}

impl Still {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), used: Duration::ZERO, told: false }
    }

    /// Whether a machine that has computed for so long and did not come up never will. True once at most.
    pub(super) fn is_stuck(&mut self, used: Option<Duration>) -> bool {
        let Some(used) = used.filter(|_| !self.told) else { return false };
        if used.saturating_sub(self.used) > LITTLE {
            (self.since, self.used) = (Instant::now(), used);
        }
        self.told = used > MUCH || self.since.elapsed() >= LONG;
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_not_still() {
        let mut still = Still::new();
        for second in 1..90 {
            assert!(!still.is_stuck(Some(Duration::from_secs(second))));
        }
        assert!(!still.is_stuck(None));
        still.since = Instant::now().checked_sub(LONG).unwrap();
        assert!(!still.is_stuck(Some(Duration::from_millis(89_400))));
        assert!(!still.is_stuck(Some(Duration::from_millis(89_500))));
        still.since = Instant::now().checked_sub(LONG).unwrap();
        assert!(still.is_stuck(Some(Duration::from_millis(89_600))));
        assert!(!still.is_stuck(Some(Duration::from_millis(89_600))), "it is told once");
        assert!(Still::new().is_stuck(Some(MUCH + LITTLE)));
    }
}
