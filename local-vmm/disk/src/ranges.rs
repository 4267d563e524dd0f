//! A set of block numbers kept as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// See the module. Ranges neither touch nor overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..range.end).next_back() {
            if to <= range.start {
                break;
            }
            self.0.remove(&from);
            if from < range.start {
                self.0.insert(from, range.start);
            }
            if to > range.end {
                self.0.insert(range.end, to);
            }
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }

    /// The parts of the set that lie within `range`, in order.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        // The first one may begin before the range.
        let first = self.0.range(..=range.start).next_back().map_or(range.start, |(&from, _)| from);
        self.0
            .range(first..range.end.max(first))
            .map(move |(&from, &to)| from.max(range.start)..to.min(range.end))
            .filter(|part| part.start < part.end)
    }

    /// The ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(&from, &to)| from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in prop::collection::vec((any::<bool>(), 0u64..200, 0u64..40), 1..80)) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (insert, from, len) in ops {
                if insert {
                    ranges.insert(from..from + len);
                    model.extend(from..from + len);
                } else {
                    ranges.remove(from..from + len);
                    model.retain(|block| !(from..from + len).contains(block));
                }
                let flat: Vec<u64> = ranges.iter().flatten().collect();
                prop_assert_eq!(flat, model.iter().copied().collect::<Vec<_>>());
                let list: Vec<_> = ranges.iter().collect();
                prop_assert_eq!(ranges.len(), model.len() as u64);
                let within: Vec<u64> = ranges.within(from..from + len).flatten().collect();
                prop_assert_eq!(within, model.range(from..from + len).copied().collect::<Vec<_>>());
                prop_assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
