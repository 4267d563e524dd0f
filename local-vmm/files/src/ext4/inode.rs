//! Inodes.

use super::{u16_at, u32_at};
use crate::{Error, Result};

/// Its area holds extents.
const EXTENTS: u32 = 0x8_0000;
/// Its contents are encrypted with a key that only a running kernel has.
const ENCRYPTED: u32 = 0x800;
/// Its contents are in the inode and its attributes.
const INLINE: u32 = 0x1000_0000;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    /// Socket, pipe or device.
    Other,
}

#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub number: u32,
    pub kind: Kind,
    /// Type and permissions, as the kernel has them.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of the contents, nanoseconds since 1970.
    pub modified: i128,
    pub(super) flags: u32,
    pub(super) area: [u8; 60],
}

impl Inode {
    pub(super) fn parse(number: u32, raw: &[u8]) -> Result<Self> {
        let odd = || Error::damaged(format!("inode {number} makes no sense"));
        let half = |at| u16_at(raw, at).ok_or_else(odd);
        let field = |at| u32_at(raw, at).ok_or_else(odd);
        let mode = half(0x0)?;
        let kind = match mode & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Directory,
            0xa000 => Kind::Link,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => Kind::Other,
            _ => return Err(odd()),
        };
        let wide = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
        // Larger inodes tell how much of what is beyond the old 128 bytes they use.
        let extra = if raw.len() > 128 { half(0x80)? } else { 0 };
        let more = if extra >= 0x8c - 0x80 { field(0x88)? } else { 0 };
        let seconds = i128::from(field(0x10)? as i32) + (i128::from(more & 3) << 32);
        Ok(Self {
            number,
            kind,
            mode,
            uid: wide(half(0x2)?, half(0x78)?),
            gid: wide(half(0x18)?, half(0x7a)?),
            size: u64::from(field(0x6c)?) << 32 | u64::from(field(0x4)?),
            modified: seconds * 1_000_000_000 + i128::from((more >> 2).min(999_999_999)),
            flags: field(0x20)?,
            area: raw.get(0x28..0x28 + 60).and_then(|area| area.try_into().ok()).ok_or_else(odd)?,
        })
    }

    /// Permissions.
    pub(crate) fn permissions(&self) -> u32 {
        u32::from(self.mode & 0o7777)
    }

    /// A link's target that stands in the inode itself.
    pub(crate) fn short_target(&self) -> Option<&[u8]> {
        let short = self.kind == Kind::Link && self.size < 60 && self.flags & (EXTENTS | INLINE) == 0;
        short.then(|| &self.area[..self.size as usize])
    }

    /// An error when its contents cannot be read from outside.
    pub(super) fn check_readable(&self) -> Result<()> {
        let what = match self.flags {
            flags if flags & ENCRYPTED != 0 => "an encrypted file",
            flags if flags & INLINE != 0 => "files within inodes",
            flags if flags & EXTENTS == 0 => "a file in the form of ext3",
            _ => return Ok(()),
        };
        Err(Error::Unsupported(what.into()))
    }
}
