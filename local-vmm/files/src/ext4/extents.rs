//! Where a file's bytes are.

use super::{Ext4, Inode, u16_at, u32_at};
use crate::device::Device;
use crate::{Error, Result};

const MAGIC: u16 = 0xf30a;
const DEPTH: u16 = 5;
const ENTRY: usize = 12;
/// Lengths above this are of blocks that were allocated and never written, which read as zeros.
const WRITTEN: u16 = 32768;
/// Most runs of one file; 16 GiB of single blocks.
const RUNS: usize = 4 << 20;
/// Most nodes of one file's tree.
const NODES: usize = 64 << 10;

/// Blocks that follow each other in the file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// First block within the file.
    from: u64,
    blocks: u64,
    /// First block on the disk; none where nothing was written.
    place: Option<u64>,
}

/// The contents of a file.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub size: u64,
    runs: Vec<Run>,
}

/// One node of the tree and the entry that is next.
struct Node {
    bytes: std::rc::Rc<[u8]>,
    depth: u16,
    entries: usize,
    next: usize,
}

impl Node {
    fn parse(bytes: std::rc::Rc<[u8]>, depth: Option<u16>) -> Option<Self> {
        let (entries, found) = (usize::from(u16_at(&bytes, 2)?), u16_at(&bytes, 6)?);
        let fits = u16_at(&bytes, 0)? == MAGIC
            && (entries + 1) * ENTRY <= bytes.len()
            && depth.is_none_or(|depth| depth == found)
            && found <= DEPTH;
        fits.then_some(Self { bytes, depth: found, entries, next: 0 })
    }
}

impl<D: Device> Ext4<D> {
    pub(crate) fn content(&self, inode: &Inode) -> Result<Content> {
        inode.check_readable()?;
        let odd = || Error::damaged(format!("the tree of inode {} makes no sense", inode.number));
        let mut runs: Vec<Run> = Vec::new();
        let mut seen = 0;
        let mut path = vec![Node::parse(inode.area.to_vec().into(), None).ok_or_else(odd)?];
        while let Some(node) = path.last_mut() {
            if node.next == node.entries {
                path.pop();
                continue;
            }
            node.next += 1;
            let at = node.next * ENTRY;
            let field = |from: usize| u32_at(&node.bytes, at + from).ok_or_else(odd);
            let half = |from: usize| u16_at(&node.bytes, at + from).map(u64::from).ok_or_else(odd);
            if node.depth > 0 {
                seen += 1;
                let child = half(8)? << 32 | u64::from(field(4)?);
                let depth = node.depth - 1;
                if seen > NODES {
                    return Err(odd());
                }
                path.push(Node::parse(self.block(child)?, Some(depth)).ok_or_else(odd)?);
                continue;
            }
            let (from, length) = (u64::from(field(0)?), u16_at(&node.bytes, at + 4).ok_or_else(odd)?);
            let (blocks, written) = if length > WRITTEN { (length - WRITTEN, false) } else { (length, true) };
            let place = half(6)? << 32 | u64::from(field(8)?);
            // In order and without overlaps, so that no walk over them goes anywhere twice.
            let end = runs.last().map_or(0, |last| last.from + last.blocks);
            if blocks == 0 || from < end || runs.len() >= RUNS {
                return Err(odd());
            }
            runs.push(Run { from, blocks: blocks.into(), place: written.then_some(place) });
        }
        Ok(Content { size: inode.size, runs })
    }

    /// Fills as much of `buffer` as there is of the file from `offset` on; gives the number of bytes.
    pub(crate) fn read_content(&self, content: &Content, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.check_time()?;
        let length = content.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let (place, run) = self.run(content, at);
            let count = run.min((length - done) as u64) as usize;
            let part = &mut buffer[done..done + count];
            match place {
                None => part.fill(0),
                Some((block, from)) => self.read(block, from, part)?,
            }
            done += count;
        }
        Ok(length)
    }

    /// Where the byte at `at` is, block and byte within it, and for how many bytes it goes on there: to the end of its block, or of a hole.
    pub(super) fn run(&self, content: &Content, at: u64) -> (Option<(u64, u32)>, u64) {
        let size = u64::from(self.block_size());
        let block = at / size;
        let next = content.runs.partition_point(|run| run.from <= block);
        match next.checked_sub(1).map(|index| content.runs[index]).filter(|run| block < run.from + run.blocks)
        {
            Some(Run { from, place: Some(place), .. }) => {
                // Block by block: each may have its newest contents in the journal.
                (Some((place.saturating_add(block - from), (at % size) as u32)), size - at % size)
            }
            Some(hole) => (None, (hole.from + hole.blocks) * size - at),
            None => (None, content.runs.get(next).map_or(u64::MAX, |run| run.from * size) - at),
        }
    }

    /// Whether both files hold the same by where their bytes are, without reading any. When not, they may still.
    pub(crate) fn is_same_content<E: Device>(
        &self,
        content: &Content,
        other: &Ext4<E>,
        there: &Content,
    ) -> bool {
        if content.size != there.size {
            return false;
        }
        let mut at = 0;
        while at < content.size {
            if self.check_time().is_err() {
                return false;
            }
            let ((one, run), (two, run_there)) = (self.run(content, at), other.run(there, at));
            let step = run.min(run_there).min(content.size - at);
            let same = match (one, two) {
                (None, None) => true,
                (Some((block, from)), Some((block_there, from_there))) => {
                    let places = (self.place(block), other.place(block_there));
                    let (Ok(place), Ok(place_there)) = places else { return false };
                    let (place, place_there) = (place + u64::from(from), place_there + u64::from(from_there));
                    crate::device::is_same(&self.device, place, &other.device, place_there, step)
                }
                _ => false,
            };
            if !same {
                return false;
            }
            at += step;
        }
        true
    }
}
