//! Reading ext4, without writing, from a disk that a guest wrote. Layout: the kernel's `Documentation/filesystems/ext4`.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | superblock, blocks, where inodes are |
//! | `journal` | what the journal holds and the rest of the disk does not yet (jbd2) |
//! | `inode` | inodes |
//! | `extents` | where a file's bytes are |
//! | `dir` | directories |
//!
//! Nothing on the disk is believed: each number is held against the disk's size, each list and each walk has an end, and all of it a deadline.

mod dir;
mod extents;
mod inode;
mod journal;

pub(crate) use dir::Named;
pub(crate) use extents::Content;
pub(crate) use inode::{Inode, Kind};

use crate::device::Device;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

/// Number of the root directory's inode.
pub(crate) const ROOT: u32 = 2;
/// Where the superblock stands, and how long it is.
const SUPERBLOCK: (u64, usize) = (1024, 1024);
/// Blocks of metadata that are kept in memory.
const CACHED: usize = 2048;

const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_64BIT: u32 = 0x80;
/// Features that change how things are found, and that this reads: file types in directories, recovery, extents, 64 bit, multiple mount protection,
/// flexible groups, large attributes, checksum seeds, large directories, and those that only change single inodes.
const KNOWN: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | 0x40
    | INCOMPAT_64BIT
    | 0x100
    | 0x200
    | 0x400
    | 0x2000
    | 0x4000
    | 0x8000
    | 0x10000
    | 0x20000;

/// What the superblock says.
#[derive(Clone, Debug)]
struct Superblock {
    block_size: u32,
    blocks: u64,
    first_block: u32,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u16,
    descriptor_size: u16,
    is_wide: bool,
    recovers: bool,
    journal: u32,
}

impl Superblock {
    fn parse(raw: &[u8], size: u64) -> Result<Self> {
        let field = |at: usize| u32_at(raw, at).unwrap_or_default();
        let half = |at: usize| u16_at(raw, at).unwrap_or_default();
        let odd = |what: &str| Error::damaged(format!("its superblock has {what}"));
        if half(0x38) != 0xef53 {
            return Err(Error::Unsupported("no ext4 on it".into()));
        }
        let incompat = field(0x60);
        if incompat & !KNOWN != 0 || incompat & INCOMPAT_FILETYPE == 0 {
            return Err(Error::Unsupported(format!("unusual features ({incompat:#x})")));
        }
        let block_size = match field(0x18) {
            shift @ 0..=6 => 1024u32 << shift,
            shift => return Err(odd(&format!("block size 2^{}", u64::from(shift) + 10))),
        };
        let is_wide = incompat & INCOMPAT_64BIT != 0;
        let high = if is_wide { field(0x150) } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(field(0x4));
        if blocks.checked_mul(block_size.into()).is_none_or(|bytes| bytes > size) {
            return Err(odd("more blocks than the disk"));
        }
        let descriptor_size = if is_wide { half(0xfe) } else { 32 };
        let inode_size = if field(0x4c) == 0 { 128 } else { half(0x58) };
        if !(32..=1024).contains(&descriptor_size)
            || !descriptor_size.is_power_of_two()
            || !(128..=4096).contains(&inode_size)
            || !inode_size.is_power_of_two()
            || u32::from(inode_size) > block_size
        {
            return Err(odd("impossible sizes"));
        }
        let inodes_per_group = field(0x28);
        if inodes_per_group == 0 {
            return Err(odd("no inodes"));
        }
        Ok(Self {
            block_size,
            blocks,
            first_block: field(0x14),
            inodes: field(0x0),
            inodes_per_group,
            inode_size,
            descriptor_size,
            is_wide,
            recovers: incompat & INCOMPAT_RECOVER != 0,
            journal: if field(0x5c) & 0x4 != 0 { field(0xe0) } else { 0 },
        })
    }
}

/// A file system on a disk.
pub(crate) struct Ext4<D> {
    pub(crate) device: D,
    superblock: Superblock,
    /// Blocks whose newest contents stand in the journal.
    journal: journal::Replaced,
    cache: RefCell<HashMap<u64, Rc<[u8]>>>,
    deadline: Instant,
}

impl<D: Device> Ext4<D> {
    /// Opens the file system on a disk as it would be mounted: with what its journal holds. Whatever is asked of it later is done by `deadline`, or not.
    pub(crate) fn open(device: D, deadline: Instant) -> Result<Self> {
        let mut raw = vec![0; SUPERBLOCK.1];
        device.read_at(&mut raw, SUPERBLOCK.0).map_err(|error| Error::Disk(error.to_string()))?;
        let superblock = Superblock::parse(&raw, device.size())?;
        let mut ext4 =
            Self { device, superblock, journal: HashMap::new(), cache: RefCell::default(), deadline };
        if ext4.superblock.recovers && ext4.superblock.journal != 0 {
            ext4.journal = journal::load(&ext4)?;
            ext4.cache.borrow_mut().clear();
            let block_size = u64::from(ext4.superblock.block_size);
            let block = ext4.block(SUPERBLOCK.0 / block_size)?;
            let raw = block.get((SUPERBLOCK.0 % block_size) as usize..).unwrap_or_default();
            ext4.superblock = Superblock::parse(raw, ext4.device.size())?;
        }
        Ok(ext4)
    }

    pub(crate) fn block_size(&self) -> u32 {
        self.superblock.block_size
    }

    /// An error when there is no time left.
    pub(crate) fn check_time(&self) -> Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Error::TooMuch("the time is up".into())) }
    }

    /// Where the newest contents of a block are on the disk, in bytes.
    pub(crate) fn place(&self, block: u64) -> Result<u64> {
        let block = self.journal.get(&block).map_or(block, |copy| copy.block);
        if block >= self.superblock.blocks {
            return Err(Error::damaged(format!("block {block} lies beyond its end")));
        }
        Ok(block * u64::from(self.superblock.block_size))
    }

    /// A block of metadata.
    pub(crate) fn block(&self, block: u64) -> Result<Rc<[u8]>> {
        if let Some(known) = self.cache.borrow().get(&block) {
            return Ok(Rc::clone(known));
        }
        self.check_time()?;
        let mut bytes = vec![0; self.superblock.block_size as usize];
        self.read(block, 0, &mut bytes)?;
        let bytes: Rc<[u8]> = bytes.into();
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(block, Rc::clone(&bytes));
        Ok(bytes)
    }

    /// Fills `buffer` from byte `from` of a block on; that must lie within the block.
    pub(crate) fn read(&self, block: u64, from: u32, buffer: &mut [u8]) -> Result<()> {
        let place = self.place(block)?;
        self.device
            .read_at(buffer, place + u64::from(from))
            .map_err(|error| Error::Disk(error.to_string()))?;
        // A block that begins like the journal's own is kept there without its beginning.
        if self.journal.get(&block).is_some_and(|copy| copy.escaped) {
            let magic = journal::MAGIC.to_be_bytes();
            let magic = magic.iter().skip(from as usize);
            buffer.iter_mut().zip(magic).for_each(|(byte, lost)| *byte = *lost);
        }
        Ok(())
    }

    /// Block of an inode, and byte within it.
    pub(crate) fn inode_place(&self, number: u32) -> Result<(u64, u32)> {
        let known = &self.superblock;
        if number == 0 || number > known.inodes {
            return Err(Error::damaged(format!("there is no inode {number}")));
        }
        let (group, index) = ((number - 1) / known.inodes_per_group, (number - 1) % known.inodes_per_group);
        let per_block = known.block_size / u32::from(known.descriptor_size);
        let block = self.block(u64::from(known.first_block) + 1 + u64::from(group / per_block))?;
        let at = (group % per_block) as usize * usize::from(known.descriptor_size);
        let high = if known.is_wide { u32_at(&block, at + 0x28).unwrap_or_default() } else { 0 };
        let table = u64::from(high) << 32 | u64::from(u32_at(&block, at + 0x8).unwrap_or_default());
        let bytes = u64::from(index) * u64::from(known.inode_size);
        let block_size = u64::from(known.block_size);
        Ok((table.saturating_add(bytes / block_size), (bytes % block_size) as u32))
    }

    pub(crate) fn inode(&self, number: u32) -> Result<Inode> {
        let (block, from) = self.inode_place(number)?;
        let block = self.block(block)?;
        let from = from as usize;
        let raw = block.get(from..from + usize::from(self.superblock.inode_size));
        Inode::parse(number, raw.unwrap_or_default())
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
