//! How many may do something at once, and how often.

use crate::lock::locked;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// So many at once, and one more after each pause.
#[derive(Debug, Default)]
pub(crate) struct Allowance(Mutex<Option<(Instant, f64)>>);

impl Allowance {
    /// Most at once.
    const MOST: f64 = 30.0;
    /// Seconds until there is one more.
    const PAUSE: f64 = 10.0;

    /// Takes one, if there is one.
    pub(crate) fn take(&self) -> bool {
        let mut held = locked(&self.0);
        let now = Instant::now();
        let left = match *held {
            Some((then, left)) => (left + (now - then).as_secs_f64() / Self::PAUSE).min(Self::MOST),
            None => Self::MOST,
        };
        let may = left >= 1.0;
        *held = Some((now, if may { left - 1.0 } else { left }));
        may
    }
}

/// Places of which there are only so many.
#[derive(Debug, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

impl Places {
    /// A place, if fewer than `most` are taken.
    pub(crate) fn take(&self, most: usize) -> Option<Place> {
        let taken = self.0.fetch_add(1, Ordering::SeqCst);
        let place = Place(Arc::clone(&self.0));
        (taken < most).then_some(place)
    }
}

/// One of them; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
