//! Which blocks of which layer can be seen from where.
//!
//! A *top* is a layer from which somebody looks down: the sealed layer of a checkpoint, or the head. From a top one sees, for each
//! block number, the first layer downwards that holds data; a mark of zero hides what lies below it. Everything about bytes follows:
//! a block that exactly one top sees is exclusive to it, a block that no top sees is garbage.
//!
//! The walk goes from the tops downwards, one pass over the layers, and keeps for each layer who still looks through to it.

use crate::layer::{self, data_path, zero_path};
use crate::manifest::Manifest;
use crate::ranges::Ranges;
use crate::{BLOCK, Error, Result};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use uuid::Uuid;

/// What a volume takes on the host's disk, the base image not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of all its layers.
    pub bytes: u64,
    /// Of these, bytes in layers that forks hold as well.
    pub shared: u64,
}

/// Looks at the files of the volume's own layers.
pub(crate) fn stored(dir: &Path, manifest: &Manifest) -> Result<Stored> {
    let mut stored = Stored::default();
    for layer in manifest.layers.iter().filter(|layer| !layer.base) {
        for path in [data_path(dir, layer.id), zero_path(dir, layer.id)] {
            match fs::metadata(&path) {
                Ok(found) => {
                    let bytes = found.blocks() * 512;
                    stored.bytes += bytes;
                    // Forks share layers by hard links.
                    stored.shared += if found.nlink() > 1 { bytes } else { 0 };
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", path, error)),
            }
        }
    }
    Ok(stored)
}

/// What a layer's files say.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Blocks it holds.
    pub data: Ranges,
    /// Blocks it hides; where both speak, data wins.
    pub zero: Ranges,
}

impl Content {
    /// Reads the files of layer `id`.
    pub(crate) fn read(dir: &Path, id: Uuid, blocks: u64) -> Result<Self> {
        let mut content = Self::default();
        let path = zero_path(dir, id);
        match File::open(&path) {
            Ok(file) => layer::each_zero(&file, |block| content.zero.insert(block..block + 1))
                .map_err(|error| Error::io("read", path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", path, error)),
        }
        let path = data_path(dir, id);
        let file = layer::open_sealed(&path)?;
        layer::extents(&file, |bytes| {
            content.data.insert(bytes.start / BLOCK..bytes.end.div_ceil(BLOCK).min(blocks));
        })
        .map_err(|error| Error::io("read", path, error))?;
        Ok(content)
    }
}

/// Number of a top; all tops of other volumes are [`FOREIGN`].
type Top = u32;

/// A top in another volume.
pub(crate) const FOREIGN: Top = u32::MAX;

/// Who sees a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// One top only.
    By(Top),
    /// Several.
    ByMany,
}

/// Who looks at each block of a layer: sorted runs, absent where nobody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Vec<(Range<u64>, Seen)>);

impl View {
    fn whole(blocks: u64, top: Top) -> Self {
        Self(vec![(0..blocks, Seen::By(top))])
    }

    fn push(&mut self, range: Range<u64>, seen: Seen) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some((last, held)) if last.end == range.start && *held == seen => last.end = range.end,
            _ => self.0.push((range, seen)),
        }
    }

    /// Both views at once.
    pub(crate) fn merge(self, other: Self) -> Self {
        if self.0.is_empty() {
            return other;
        }
        if other.0.is_empty() {
            return self;
        }
        let mut out = Self::default();
        let (mut left, mut right) = (self.0.into_iter().peekable(), other.0.into_iter().peekable());
        let mut at = 0;
        loop {
            let (from, to) = (left.peek().cloned(), right.peek().cloned());
            // The next point where one of the two changes.
            let edge = |run: &Option<(Range<u64>, Seen)>| match run {
                Some((range, _)) if at < range.start => range.start,
                Some((range, _)) => range.end,
                None => u64::MAX,
            };
            let next = edge(&from).min(edge(&to));
            if next == u64::MAX {
                return out;
            }
            let inside = |run: &Option<(Range<u64>, Seen)>| {
                run.as_ref().filter(|(range, _)| range.start <= at).map(|(_, seen)| *seen)
            };
            match (inside(&from), inside(&to)) {
                (Some(one), Some(two)) if one == two => out.push(at..next, one),
                (Some(_), Some(_)) => out.push(at..next, Seen::ByMany),
                (Some(seen), None) | (None, Some(seen)) => out.push(at..next, seen),
                (None, None) => {}
            }
            at = next;
            left.next_if(|(range, _)| range.end <= at);
            right.next_if(|(range, _)| range.end <= at);
        }
    }

    /// What is left after `cover` has been put before it.
    fn without(mut self, cover: &Ranges) -> Self {
        if cover.is_empty() {
            return self;
        }
        let mut out = Self::default();
        for (range, seen) in self.0.drain(..) {
            let mut at = range.start;
            for hidden in cover.within(range.clone()) {
                out.push(at..hidden.start, seen);
                at = hidden.end;
            }
            out.push(at..range.end, seen);
        }
        out
    }

    /// The parts of `data` that somebody sees.
    pub(crate) fn of<'a>(&'a self, data: &'a Ranges) -> impl Iterator<Item = (Range<u64>, Seen)> + 'a {
        self.0.iter().flat_map(|(range, seen)| data.within(range.clone()).map(|part| (part, *seen)))
    }
}

/// The tops of a volume with their numbers: its checkpoints in order, then the live disk.
pub(crate) fn tops(manifest: &Manifest, number: impl Fn(usize) -> Top) -> HashMap<Uuid, View> {
    let blocks = manifest.size / BLOCK;
    let mut tops: HashMap<Uuid, View> = HashMap::new();
    let live = manifest.checkpoints.len();
    // Between the steps of a checkpoint both the old and the next head are looked at by the live disk.
    let heads = [Some(manifest.head), manifest.next].into_iter().flatten().map(|id| (id, live));
    let sealed = manifest.checkpoints.iter().enumerate().map(|(index, entry)| (entry.layer, index));
    for (id, index) in sealed.chain(heads) {
        let view = View::whole(blocks, number(index));
        let merged = tops.remove(&id).unwrap_or_default().merge(view);
        tops.insert(id, merged);
    }
    tops
}

/// For each layer of a volume, who looks at its blocks.
pub(crate) fn views(
    manifest: &Manifest,
    tops: HashMap<Uuid, View>,
    contents: &HashMap<Uuid, Content>,
) -> HashMap<Uuid, View> {
    let mut views = tops;
    // Every layer stands after the one below it, so that backwards each is complete before it hands on.
    for layer in manifest.layers.iter().rev() {
        let (Some(below), Some(content)) = (layer.below, contents.get(&layer.id)) else { continue };
        let Some(view) = views.get(&layer.id) else { continue };
        let through = view.clone().without(&content.data).without(&content.zero);
        let merged = views.remove(&below).unwrap_or_default().merge(through);
        views.insert(below, merged);
    }
    views
}

/// Number of blocks that hold data, seen from each of the `wanted` layers.
pub(crate) fn logical(
    manifest: &Manifest,
    contents: &HashMap<Uuid, Content>,
    wanted: &[Uuid],
) -> HashMap<Uuid, u64> {
    let mut children: HashMap<Uuid, usize> = HashMap::new();
    for below in manifest.layers.iter().filter_map(|layer| layer.below) {
        *children.entry(below).or_default() += 1;
    }
    let mut held: HashMap<Uuid, Ranges> = HashMap::new();
    let mut out = HashMap::new();
    for layer in &manifest.layers {
        let mut ranges = match layer.below {
            // The last child may take what the others had to copy.
            Some(below) => match children.get_mut(&below) {
                Some(1) => held.remove(&below).unwrap_or_default(),
                Some(count) => {
                    *count -= 1;
                    held.get(&below).cloned().unwrap_or_default()
                }
                None => Ranges::default(),
            },
            None => Ranges::default(),
        };
        if let Some(content) = contents.get(&layer.id) {
            content.zero.iter().for_each(|range| ranges.remove(range));
            content.data.iter().for_each(|range| ranges.insert(range));
        }
        if wanted.contains(&layer.id) {
            out.insert(layer.id, ranges.len());
        }
        held.insert(layer.id, ranges);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flat(view: &View) -> Vec<Option<Seen>> {
        let mut out = vec![None; 120];
        for (range, seen) in &view.0 {
            for block in range.clone() {
                assert!(out[block as usize].is_none());
                out[block as usize] = Some(*seen);
            }
        }
        out
    }

    fn view(runs: &[(u64, u64, u32)]) -> View {
        runs.iter().fold(View::default(), |view, (from, len, top)| {
            let range = *from..(from + len).min(120);
            let one = if range.is_empty() { View::default() } else { View(vec![(range, Seen::By(*top))]) };
            view.merge(one)
        })
    }

    proptest! {
        #[test]
        fn views_behave_like_arrays(
            left in prop::collection::vec((0u64..100, 0u64..30, 0u32..3), 0..6),
            right in prop::collection::vec((0u64..100, 0u64..30, 0u32..3), 0..6),
            cover in prop::collection::vec((0u64..100, 0u64..30), 0..6),
        ) {
            let (left, right) = (view(&left), view(&right));
            let merged = left.clone().merge(right.clone());
            for ((left, right), merged) in flat(&left).into_iter().zip(flat(&right)).zip(flat(&merged)) {
                let expected = match (left, right) {
                    (Some(one), Some(two)) if one == two => Some(one),
                    (Some(_), Some(_)) => Some(Seen::ByMany),
                    (one, two) => one.or(two),
                };
                prop_assert_eq!(merged, expected);
            }
            let mut ranges = Ranges::default();
            cover.iter().for_each(|(from, len)| ranges.insert(*from..from + len));
            let rest = flat(&merged.clone().without(&ranges));
            for (block, (rest, merged)) in rest.into_iter().zip(flat(&merged)).enumerate() {
                let hidden = ranges.iter().any(|range| range.contains(&(block as u64)));
                prop_assert_eq!(rest, merged.filter(|_| !hidden));
            }
        }
    }
}
