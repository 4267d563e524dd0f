//! The journal (jbd2): blocks that were written there and may not have reached their places. What a kernel would copy when it mounts the disk is looked up
//! there instead. Layout: the kernel's `include/linux/jbd2.h`; all numbers are big-endian.

use super::Ext4;
use super::extents::Content;
use crate::device::Device;
use crate::{Error, Result};
use std::collections::HashMap;

pub(crate) const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_CSUM_V2: u32 = 8;
const INCOMPAT_CSUM_V3: u32 = 16;
/// Revocation, 64 bit, both kinds of checksums.
const KNOWN: u32 = 1 | INCOMPAT_64BIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;
/// Largest journal that is read, blocks; 1 GiB of them. Images have 64 MiB.
const LARGEST: u32 = 256 << 10;

/// Where the newest contents of a block stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub block: u64,
    /// Its first four bytes were the journal's magic number, and are zeros here.
    pub escaped: bool,
}

/// Newest contents, by block.
pub(crate) type Replaced = HashMap<u64, Copy>;

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Reads the whole journal of a file system that was not unmounted.
pub(super) fn load<D: Device>(ext4: &Ext4<D>) -> Result<Replaced> {
    let content = ext4.content(&ext4.inode(ext4.superblock.journal)?)?;
    let mut log = Log { ext4, content: &content, block: vec![0; ext4.block_size() as usize] };
    log.read(0)?;
    let word = |at: usize| field(&log.block, at).unwrap_or_default();
    if word(0) != MAGIC || word(0xc) != ext4.block_size() {
        return Err(Error::damaged("its journal makes no sense"));
    }
    let (last, first, sequence, start) = (word(0x10), word(0x14), word(0x18), word(0x1c));
    let features = if word(4) == 4 { word(0x28) } else { 0 };
    if features & !KNOWN != 0 {
        return Err(Error::Unsupported(format!("an unusual journal ({features:#x})")));
    }
    if start == 0 {
        return Ok(Replaced::new());
    }
    if first == 0 || first >= last || !(first..last).contains(&start) || last > LARGEST {
        return Err(Error::damaged("its journal makes no sense"));
    }
    Scan { log, first, last, at: start, left: last - first, features }.run(sequence)
}

/// The journal's file.
struct Log<'a, D> {
    ext4: &'a Ext4<D>,
    content: &'a Content,
    block: Vec<u8>,
}

impl<D: Device> Log<'_, D> {
    fn read(&mut self, block: u32) -> Result<()> {
        let offset = u64::from(block) * self.block.len() as u64;
        let count = self.ext4.read_content(self.content, offset, &mut self.block)?;
        if count == self.block.len() { Ok(()) } else { Err(Error::damaged("its journal is cut off")) }
    }
}

/// A way through the journal, which goes round.
struct Scan<'a, D> {
    log: Log<'a, D>,
    first: u32,
    last: u32,
    at: u32,
    /// Blocks that were not looked at yet.
    left: u32,
    features: u32,
}

impl<D: Device> Scan<'_, D> {
    /// Takes the next block's number; none when that was all.
    fn step(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at = if at + 1 == self.last { self.first } else { at + 1 };
        Some(at)
    }

    /// All transactions that were ended, from `sequence` on. One that was not is as if it had never begun.
    fn run(mut self, mut sequence: u32) -> Result<Replaced> {
        let mut written: Vec<(u64, Copy, u32)> = Vec::new();
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        let (mut begun, mut taken_back) = (Vec::new(), Vec::new());
        while let Some(at) = self.step() {
            self.log.read(at)?;
            let word = |at| field(&self.log.block, at);
            if word(0) != Some(MAGIC) || word(8) != Some(sequence) {
                break;
            }
            match word(4) {
                Some(DESCRIPTOR) => {
                    for (block, escaped) in self.tags() {
                        let Some(at) = self.step() else { return Ok(settle(written, &revoked)) };
                        let copy =
                            self.log.ext4.run_of(self.log.content, at).map(|block| Copy { block, escaped });
                        begun.extend(copy.map(|copy| (block, copy, sequence)));
                    }
                }
                Some(REVOKE) => taken_back.extend(self.revocations()),
                Some(COMMIT) => {
                    written.append(&mut begun);
                    revoked.extend(taken_back.drain(..).map(|block| (block, sequence)));
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(settle(written, &revoked))
    }

    /// The blocks whose contents follow a descriptor.
    fn tags(&self) -> Vec<(u64, bool)> {
        let block = &self.log.block;
        let has = |feature| self.features & feature != 0;
        let end = block.len() - if has(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) { 4 } else { 0 };
        let length = match () {
            () if has(INCOMPAT_CSUM_V3) => 16,
            () => 8 + if has(INCOMPAT_CSUM_V2) { 2 } else { 0 } + if has(INCOMPAT_64BIT) { 4 } else { 0 },
        };
        let (mut at, mut tags) = (12, Vec::new());
        while at + length <= end {
            let low = field(block, at).unwrap_or_default();
            // Two bytes of checksum stand before the flags in the older form.
            let flags = field(block, at + 4).unwrap_or_default()
                & if has(INCOMPAT_CSUM_V3) { u32::MAX } else { 0xffff };
            let high = if has(INCOMPAT_64BIT) { field(block, at + 8).unwrap_or_default() } else { 0 };
            tags.push((u64::from(high) << 32 | u64::from(low), flags & ESCAPED != 0));
            if flags & LAST != 0 {
                break;
            }
            at += length + if flags & SAME_UUID == 0 { 16 } else { 0 };
        }
        tags
    }

    /// Blocks whose older contents in the journal do not count any more.
    fn revocations(&self) -> Vec<u64> {
        let block = &self.log.block;
        let end = (field(block, 12).unwrap_or_default() as usize).min(block.len());
        let wide = self.features & INCOMPAT_64BIT != 0;
        let entries = block.get(16..end).unwrap_or_default().chunks_exact(if wide { 8 } else { 4 });
        entries.map(|entry| entry.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect()
    }
}

/// The last contents of each block that were not taken back later.
fn settle(written: Vec<(u64, Copy, u32)>, revoked: &HashMap<u64, u32>) -> Replaced {
    let counts = |block: &u64, sequence: u32| {
        // Numbers go round.
        revoked.get(block).is_none_or(|revoked| (sequence.wrapping_sub(*revoked) as i32) > 0)
    };
    written
        .into_iter()
        .filter(|(block, _, sequence)| counts(block, *sequence))
        .map(|(block, copy, _)| (block, copy))
        .collect()
}

impl<D: Device> Ext4<D> {
    /// The block on the disk of a block of a file; none in a hole.
    fn run_of(&self, content: &Content, block: u32) -> Option<u64> {
        self.run(content, u64::from(block) * u64::from(self.block_size())).0.map(|(block, _)| block)
    }
}
