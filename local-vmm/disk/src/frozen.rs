//! A map that changes no more, as small as what it says: a guest decides how its disk is laid out, and how many such maps somebody else holds.

use crate::map::{LEAF, Leaf, Map, Slot};

/// See the module.
#[derive(Debug)]
pub(crate) struct Frozen {
    leaves: Vec<Part>,
}

/// What one leaf says.
#[derive(Debug)]
enum Part {
    /// The same of all blocks.
    One(Slot),
    /// Which slot from which block on; the first begins at 0.
    Runs(Box<[(u16, Slot)]>),
    /// Each for itself, where that is not larger.
    Each(Box<Leaf>),
}

impl Part {
    fn new(leaf: &Leaf) -> Self {
        let mut runs: Vec<(u16, Slot)> = Vec::new();
        for (at, slot) in leaf.iter().enumerate() {
            if runs.last().is_none_or(|(_, last)| last != slot) {
                // A leaf has far fewer blocks than this can count.
                runs.push((at as u16, *slot));
            }
        }
        match runs.as_slice() {
            [(_, slot)] => Self::One(*slot),
            runs if size_of_val(runs) < size_of::<Leaf>() => Self::Runs(runs.into()),
            _ => Self::Each(Box::new(*leaf)),
        }
    }

    /// What it says of a block, and of how many from there on.
    fn run(&self, at: usize) -> (Slot, usize) {
        match self {
            Self::One(slot) => (*slot, LEAF - at),
            Self::Runs(runs) => {
                let next = runs.partition_point(|(from, _)| usize::from(*from) <= at);
                let end = runs.get(next).map_or(LEAF, |(from, _)| usize::from(*from));
                (runs[next - 1].1, end - at)
            }
            Self::Each(leaf) => (leaf[at], leaf[at..].iter().take_while(|slot| **slot == leaf[at]).count()),
        }
    }
}

impl Frozen {
    pub(crate) fn new(map: &Map) -> Self {
        let part = |leaf: &Option<std::sync::Arc<Leaf>>| match leaf {
            Some(leaf) => Part::new(leaf),
            None => Part::One(Slot::NONE),
        };
        Self { leaves: map.leaves().iter().map(part).collect() }
    }

    /// The longest run of blocks from `block` on, up to `end`, that the same layer holds.
    pub(crate) fn run(&self, block: u64, end: u64) -> (Slot, u64) {
        let (mut slot, mut at) = (None, block);
        while at < end {
            let (leaf, place) = ((at / LEAF as u64) as usize, (at % LEAF as u64) as usize);
            let (here, length) =
                self.leaves.get(leaf).map_or((Slot::NONE, LEAF - place), |part| part.run(place));
            if slot.is_some_and(|slot| slot != here) {
                break;
            }
            slot = Some(here);
            at = (at + length as u64).min(end);
        }
        (slot.unwrap_or(Slot::NONE), at - block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn says_what_the_map_says(ops in prop::collection::vec((0u64..3000, 1u64..700, 0u32..4), 0..80)) {
            let mut map = Map::new(3000);
            for (from, length, slot) in ops {
                map.set(from..from + length, if slot == 3 { Slot::NONE } else { Slot(slot) });
            }
            // One leaf without any order.
            for block in 1024..1536 {
                map.set(block..block + 1, Slot((block % 3) as u32));
            }
            let frozen = Frozen::new(&map);
            let mut block = 0;
            while block < 3000 {
                let said = frozen.run(block, 3000);
                prop_assert_eq!(said, map.run(block, 3000));
                block += said.1;
            }
            prop_assert_eq!(frozen.run(10, 12).1, map.run(10, 12).1);
        }
    }

    #[test]
    fn little_to_say_takes_little_room() {
        let mut map = Map::new(1 << 20);
        for leaf in 0..2048 {
            map.set(leaf * 512..leaf * 512 + 1, Slot(1));
        }
        let runs = |part: &Part| matches!(part, Part::Runs(runs) if runs.len() == 2);
        assert!(Frozen::new(&map).leaves.iter().all(runs));
    }
}
