//! When a session last did something, and how fast its output is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds over which the output rate is averaged.
const SPAN: u64 = 5;

/// Activity of one session.
#[derive(Debug)]
pub(crate) struct Activity {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    born: Instant,
    last: Instant,
    /// Output bytes of the last seconds, by second modulo the span.
    slots: [u64; SPAN as usize],
    second: u64,
}

impl Activity {
    /// Begins now.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { inner: Mutex::new(Inner { born: now, last: now, slots: [0; SPAN as usize], second: 0 }) }
    }

    /// Input or output happened; `output` bytes of it were output.
    pub(crate) fn note(&self, output: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.advance();
        inner.last = Instant::now();
        let slot = (inner.second % SPAN) as usize;
        inner.slots[slot] += output as u64;
    }

    /// Time since the last input or output.
    pub(crate) fn idle(&self) -> Duration {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).last.elapsed()
    }

    /// Output over the last seconds, bytes per second.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.advance();
        inner.slots.iter().sum::<u64>() as f64 / SPAN as f64
    }
}

impl Inner {
    fn advance(&mut self) {
        let now = self.born.elapsed().as_secs();
        for second in (self.second + 1..=now).take(SPAN as usize) {
            self.slots[(second % SPAN) as usize] = 0;
        }
        self.second = now;
    }
}
