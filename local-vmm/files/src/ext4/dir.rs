//! Directories. Those with an index are read like the others: its nodes look like empty entries.

use super::{Ext4, Inode, Kind, u16_at, u32_at};
use crate::device::Device;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Most bytes of one directory; a million names of usual length.
const LARGEST: u64 = 64 << 20;

/// What a directory has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub inode: u32,
    /// Whether the directory says that it is one; the inode decides.
    pub is_dir: bool,
}

impl<D: Device> Ext4<D> {
    /// What a directory holds, by name, without itself and its parent.
    pub(crate) fn names(&self, dir: &Inode) -> Result<BTreeMap<Vec<u8>, Named>> {
        let odd = || Error::damaged(format!("the directory with inode {} makes no sense", dir.number));
        if dir.kind != Kind::Directory {
            return Err(odd());
        }
        if dir.size > LARGEST {
            return Err(Error::TooMuch("a directory of more than 64 MiB".into()));
        }
        let content = self.content(dir)?;
        let mut names = BTreeMap::new();
        let mut block = vec![0; self.block_size() as usize];
        let mut offset = 0;
        while offset < content.size {
            let length = self.read_content(&content, offset, &mut block)?;
            offset += block.len() as u64;
            let mut rest = &block[..length];
            while rest.len() >= 8 {
                let inode = u32_at(rest, 0).ok_or_else(odd)?;
                // The largest block's length does not fit.
                let record = match u16_at(rest, 4).ok_or_else(odd)? {
                    0 | u16::MAX if rest.len() == 65536 => rest.len(),
                    record => usize::from(record),
                };
                let (count, kind) = (usize::from(rest[6]), rest[7]);
                if record < 8 || record > rest.len() || inode != 0 && 8 + count > record {
                    return Err(odd());
                }
                let name = &rest[8..8 + if inode == 0 { 0 } else { count }];
                let proper = !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
                if proper && name != b"." && name != b".." {
                    // The first one counts, as it does when a kernel looks.
                    names.entry(name.to_vec()).or_insert(Named { inode, is_dir: kind == 2 });
                }
                rest = &rest[record..];
            }
        }
        Ok(names)
    }
}
