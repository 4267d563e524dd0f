//! When a frame may be drawn: at once where little was drawn before, and in a flood at most every [`FRAME`].

use std::time::{Duration, Instant};

/// Least time between two frames, on average.
pub const FRAME: Duration = Duration::from_millis(16);
/// Frames that may follow each other without a pause: one for a key, and one for what a program makes of it.
const AT_ONCE: u32 = 2;

/// See the module. Each frame costs its time, and a few may be owed (GCRA, as networks shape traffic).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When all frames so far are paid for.
    paid: Instant,
}

impl Pace {
    /// Nothing is owed.
    pub fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// How long the next frame has to wait; nothing when it may be drawn now.
    pub fn wait(&self, now: Instant) -> Duration {
        self.paid.saturating_duration_since(now + FRAME * (AT_ONCE - 1))
    }

    /// A frame was drawn.
    pub fn drawn(&mut self, now: Instant) {
        self.paid = self.paid.max(now) + FRAME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_follows_its_key_and_a_flood_is_paced() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        assert_eq!(pace.wait(begin), Duration::ZERO);
        pace.drawn(begin);
        let echo = begin + Duration::from_millis(1);
        assert_eq!(pace.wait(echo), Duration::ZERO);
        pace.drawn(echo);
        assert_eq!(pace.wait(echo), FRAME - Duration::from_millis(1));
        // As many frames as fit into a second, and the one that was owed.
        let (mut now, mut frames) = (echo, 2);
        while now < begin + Duration::from_secs(1) {
            match pace.wait(now) {
                Duration::ZERO => {
                    pace.drawn(now);
                    frames += 1;
                }
                wait => now += wait,
            }
        }
        assert!((62..=64).contains(&frames), "{frames}");
        // What was not used does not add up.
        let later = now + Duration::from_secs(9);
        pace.drawn(later);
        pace.drawn(later);
        assert_eq!(pace.wait(later), FRAME);
    }
}
