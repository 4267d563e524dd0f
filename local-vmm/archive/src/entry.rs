//! The files in an export: heads of plain tar, one after the other. The archive's own library reads what this writes, and this reads no more than that: no
//! long names, no links, nothing that would be looked for elsewhere.

use crate::{Error, Result};
use std::io::{Read, Write};
use tar::{EntryType, Header};

/// Unit of the archive, bytes.
pub(crate) const UNIT: u64 = 512;
/// Name of the first file.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Name of the last file: sums of the others, as `sha256sum` writes and checks them.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Writes the head of a file.
pub(crate) fn begin(out: &mut impl Write, name: &str, size: u64, time: i64) -> Result<()> {
    let mut head = Header::new_gnu();
    head.set_path(name).map_err(Error::Write)?;
    head.set_size(size);
    head.set_mode(0o644);
    head.set_mtime(u64::try_from(time).unwrap_or(0));
    head.set_entry_type(EntryType::Regular);
    head.set_cksum();
    out.write_all(head.as_bytes()).map_err(Error::Write)
}

/// Fills up the last unit of a file.
pub(crate) fn end(out: &mut impl Write, size: u64) -> Result<()> {
    out.write_all(&[0; UNIT as usize][..padding(size)]).map_err(Error::Write)
}

/// Marks the archive's end.
pub(crate) fn close(out: &mut impl Write) -> Result<()> {
    out.write_all(&[0; 2 * UNIT as usize]).map_err(Error::Write)
}

/// Reads the head of a file that must have this name; gives its size.
pub(crate) fn expect(input: &mut impl Read, name: &str) -> Result<u64> {
    let mut head = Header::new_gnu();
    input.read_exact(head.as_mut_bytes()).map_err(Error::read)?;
    let odd = || Error::damaged(format!("where {name} should be stands something else"));
    let sum = head.cksum().map_err(|_| odd())?;
    let bytes = head.as_bytes();
    // Their own eight bytes count as blanks (POSIX, ustar interchange format).
    let counted: u32 =
        bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    if sum != counted || head.entry_type() != EntryType::Regular || *head.path_bytes() != *name.as_bytes() {
        return Err(odd());
    }
    head.entry_size().map_err(|_| odd())
}

/// Reads over the rest of a file's last unit.
pub(crate) fn skip(input: &mut impl Read, size: u64) -> Result<()> {
    input.read_exact(&mut [0; UNIT as usize][..padding(size)]).map_err(Error::read)
}

fn padding(size: u64) -> usize {
    (size.next_multiple_of(UNIT) - size) as usize
}
