//! Memory of machines that are asleep, all together: beyond what they may hold, those go first that have slept longest.

use crate::lock::locked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of each, in the order in which they fell asleep.
type Held = BTreeMap<u64, u64>;

/// See the module. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Warm(Arc<Mutex<Held>>);

impl Warm {
    /// One more is asleep and holds so many bytes.
    pub(super) fn add(&self, bytes: u64) -> Asleep {
        let mut held = self.lock();
        let number = held.last_key_value().map_or(0, |(last, _)| last + 1);
        held.insert(number, bytes);
        drop(held);
        Asleep { all: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        locked(&self.0)
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Asleep {
    all: Warm,
    number: u64,
}

impl Asleep {
    /// Whether it and those that fell asleep after it hold more than `most` bytes, so that it is to give its own back.
    pub(super) fn is_beyond(&self, most: u64) -> bool {
        self.all.lock().range(self.number..).map(|(_, bytes)| bytes).sum::<u64>() > most
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_slept_longest_go_first() {
        let all = Warm::default();
        let [first, second, third] = [40, 30, 20].map(|bytes| all.add(bytes));
        let beyond = |most| [&first, &second, &third].map(|one| one.is_beyond(most));
        assert_eq!(beyond(90), [false, false, false]);
        assert_eq!(beyond(89), [true, false, false]);
        assert_eq!(beyond(49), [true, true, false]);
        assert_eq!(beyond(19), [true, true, true]);
        drop(third);
        assert!(!second.is_beyond(30) && !first.is_beyond(70));
        // The place of one that woke is not taken by one that falls asleep before others.
        drop(second);
        let last = all.add(60);
        assert!(first.is_beyond(99) && !last.is_beyond(60));
    }
}
