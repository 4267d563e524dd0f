//! One moment for everything that is done in a turn, in the two forms in which it is needed.

use smoltcp::time::Instant as SmolInstant;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    pub(crate) now: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { start: now, now }
    }

    /// It is later.
    pub(crate) fn turn(&mut self) {
        self.now = Instant::now();
    }

    /// As smoltcp counts.
    pub(crate) fn smol(&self) -> SmolInstant {
        let since = self.now.saturating_duration_since(self.start);
        SmolInstant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// A moment of smoltcp's.
    pub(crate) fn std(&self, at: SmolInstant) -> Instant {
        self.start + Duration::from_micros(at.total_micros().unsigned_abs())
    }
}
