//! When something is due, for thousands of things whose time moves with every packet.
//!
//! Moving an entry within a heap is dear, and most times only move away. So an entry stays where it is, and whoever takes it out too early is told
//! by the thing itself when it is really due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The heap. Each thing has a [`Due`] beside it.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

/// When a thing is in the heap for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due(Option<Instant>);

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// The thing wants to be looked at by then.
    pub(crate) fn set(&mut self, key: K, due: &mut Due, at: Instant) {
        if due.0.is_none_or(|queued| at < queued) {
            self.heap.push(Reverse((at, key)));
            due.0 = Some(at);
        }
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A thing whose time has come, or would have. It may be gone; if it is there, its [`Due`] is [taken](Due::taken) and set anew.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, K)> {
        self.heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops what is left over, when most is: `live` things are there, of which each is in the heap for one moment, and `due` tells which.
    pub(crate) fn tidy<'a>(&mut self, live: usize, due: impl Fn(&K) -> Option<&'a Due>) {
        if self.heap.len() > 2 * live + 1024 {
            self.heap.retain(|Reverse((at, key))| due(key).is_some_and(|due| due.0 == Some(*at)));
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl Due {
    /// Its entry for that moment was taken out. False when it had moved to an earlier one since, and this is a leftover.
    pub(crate) fn taken(&mut self, at: Instant) -> bool {
        let ours = self.0 == Some(at);
        if ours {
            self.0 = None;
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_the_earliest_counts() {
        let (mut timers, mut due, start) = (Timers::new(), Due::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        timers.set('a', &mut due, at(5));
        timers.set('a', &mut due, at(9));
        timers.set('a', &mut due, at(2));
        assert_eq!((timers.len(), timers.next()), (2, Some(at(2))));
        assert_eq!(timers.pop(at(1)), None);
        let (when, key) = timers.pop(at(2)).unwrap();
        assert_eq!((key, due.taken(when)), ('a', true));
        let (when, _) = timers.pop(at(7)).unwrap();
        assert!(!due.taken(when), "a leftover");
        assert_eq!(timers.pop(at(100)), None);
    }

    #[test]
    fn leftovers_do_not_pile_up() {
        let (mut timers, mut due, start) = (Timers::new(), Due::default(), Instant::now());
        for number in 0..10_000u32 {
            due = Due::default();
            timers.set(number % 2, &mut due, start + Duration::from_millis(number.into()));
            timers.tidy(1, |key| (*key == 1).then_some(&due));
        }
        assert!(timers.len() <= 1027, "{}", timers.len());
        assert!(due.taken(start + Duration::from_millis(9999)));
    }
}
