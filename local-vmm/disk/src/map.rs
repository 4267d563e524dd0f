//! The flat map: for each block of a disk, the layer that holds it.
//!
//! Two levels with shared, copy-on-write leaves: taking a snapshot copies one pointer, and after it a write copies one leaf (and once
//! the root), whatever the size of the disk.

use std::ops::Range;
use std::sync::Arc;

/// Blocks of one leaf; 2 MiB of disk.
pub(crate) const LEAF: usize = 512;

/// Which layer holds a block: an index into the volume's layers, or [`Slot::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub u32);

impl Slot {
    /// No layer: the block reads as zeros.
    pub(crate) const NONE: Slot = Slot(u32::MAX);

    /// The slot of the layer with that index.
    pub(crate) fn of(index: usize) -> Self {
        // The manifest's limit on layers keeps indexes far below this bound.
        Slot(u32::try_from(index).unwrap_or(u32::MAX - 1))
    }

    /// Index of the layer, when there is one.
    pub(crate) fn index(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0 as usize)
    }
}

/// The blocks of 2 MiB of disk.
pub(crate) type Leaf = [Slot; LEAF];

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    leaves: Arc<Vec<Option<Arc<Leaf>>>>,
    blocks: u64,
}

impl Map {
    /// A map of `blocks` blocks that no layer holds.
    pub(crate) fn new(blocks: u64) -> Self {
        let leaves = usize::try_from(blocks.div_ceil(LEAF as u64)).unwrap_or(usize::MAX);
        Self { leaves: Arc::new(vec![None; leaves]), blocks }
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The layer that holds `block`.
    pub(crate) fn get(&self, block: u64) -> Slot {
        let (leaf, at) = place(block);
        self.leaves.get(leaf).and_then(Option::as_ref).map_or(Slot::NONE, |leaf| leaf[at])
    }

    /// Says that `slot` holds the blocks of `range`.
    pub(crate) fn set(&mut self, range: Range<u64>, slot: Slot) {
        let end = range.end.min(self.blocks);
        let mut block = range.start;
        while block < end {
            let (index, from) = place(block);
            let to = LEAF.min(from + (end - block) as usize);
            let present = self.leaves[index].as_deref();
            // Writing what already stands there must not copy a shared leaf.
            let same = match present {
                None => slot == Slot::NONE,
                Some(leaf) => leaf[from..to].iter().all(|held| *held == slot),
            };
            if !same {
                let leaf = Arc::make_mut(&mut self.leaves)[index]
                    .get_or_insert_with(|| Arc::new([Slot::NONE; LEAF]));
                Arc::make_mut(leaf)[from..to].fill(slot);
            }
            block += (to - from) as u64;
        }
    }

    /// The longest run of blocks from `block` on, up to `end`, that the same layer holds.
    pub(crate) fn run(&self, block: u64, end: u64) -> (Slot, u64) {
        let slot = self.get(block);
        let mut at = block + 1;
        while at < end {
            let (index, from) = place(at);
            let to = LEAF.min(from + (end - at) as usize);
            let same = match self.leaves.get(index).and_then(Option::as_ref) {
                None if slot == Slot::NONE => to - from,
                None => 0,
                Some(leaf) => leaf[from..to].iter().take_while(|held| **held == slot).count(),
            };
            at += same as u64;
            if same < to - from {
                break;
            }
        }
        (slot, at - block)
    }

    /// Whether both say the same of every block.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let empty = |leaf: &Option<Arc<Leaf>>| {
            leaf.as_ref().is_none_or(|leaf| leaf.iter().all(|slot| *slot == Slot::NONE))
        };
        self.blocks == other.blocks
            && self.leaves.iter().zip(other.leaves.iter()).all(|(one, two)| match (one, two) {
                (Some(one), Some(two)) => one == two,
                _ => empty(one) && empty(two),
            })
    }

    /// All leaves; leaf `n` holds the blocks from `n * LEAF` on. Those that are absent hold nothing.
    pub(crate) fn leaves(&self) -> &[Option<Arc<Leaf>>] {
        &self.leaves
    }

    /// Puts a whole leaf in place.
    pub(crate) fn set_leaf(&mut self, index: usize, leaf: Leaf) {
        if let Some(place) = Arc::make_mut(&mut self.leaves).get_mut(index) {
            *place = Some(Arc::new(leaf));
        }
    }
}

fn place(block: u64) -> (usize, usize) {
    ((block / LEAF as u64) as usize, (block % LEAF as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let mut map = Map::new(2000);
        map.set(10..1500, Slot(1));
        let snapshot = map.clone();
        map.set(500..600, Slot(2));
        assert_eq!(snapshot.run(10, 2000), (Slot(1), 1490));
        assert_eq!(map.run(10, 2000), (Slot(1), 490));
        assert_eq!(map.run(500, 2000), (Slot(2), 100));
        assert_eq!(map.run(1500, 2000), (Slot::NONE, 500));
        assert!(Arc::ptr_eq(snapshot.leaves()[2].as_ref().unwrap(), map.leaves()[2].as_ref().unwrap()));
    }

    proptest! {
        #[test]
        fn behaves_like_an_array(ops in prop::collection::vec((0u64..3000, 0u64..900, 0u32..4), 1..60)) {
            let mut map = Map::new(3000);
            let mut model = vec![Slot::NONE; 3000];
            for (from, len, slot) in ops {
                let slot = if slot == 3 { Slot::NONE } else { Slot(slot) };
                let to = (from + len).min(3000);
                map.set(from..to, slot);
                model[from as usize..to as usize].fill(slot);
            }
            let mut block = 0;
            while block < 3000 {
                let (slot, len) = map.run(block, 3000);
                prop_assert!(len >= 1);
                prop_assert!(model[block as usize..(block + len) as usize].iter().all(|held| *held == slot));
                block += len;
                prop_assert!(block == 3000 || model[block as usize] != slot);
            }
        }
    }
}
