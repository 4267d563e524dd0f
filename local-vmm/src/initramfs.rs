//! A machine's initramfs: the image's kernel modules, then the agent as `/init`.
//!
//! The kernel unpacks archives that stand one after the other (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use cpio::newc::{Builder, ModeFileType, trailer};
use nix::sys::mman::{MmapAdvise, madvise};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::ptr::NonNull;

/// The agent, static, built by this crate's build script.
static AGENT: &[u8] = include_bytes!(env!("SPRITES_AGENT"));

/// Bytes of a page.
const PAGE: usize = 4096;
/// Archives begin at a multiple of four bytes.
const ALIGN: u64 = 4;

/// Writes the initramfs of a machine whose modules are in the archive `modules`.
pub fn write(modules: &Path, to: &Path) -> io::Result<()> {
    let written = write_with(modules, AGENT, to);
    let_go(AGENT);
    written
}

/// Gives the memory of a part of this program back that is not looked at again; were it, it would come from the program's file.
fn let_go(part: &'static [u8]) {
    let skip = part.as_ptr().align_offset(PAGE);
    let len = part.len().saturating_sub(skip) / PAGE * PAGE;
    let Some(pages) = part.get(skip..skip + len) else { return };
    let Some(place) = NonNull::new(pages.as_ptr().cast_mut().cast()) else { return };
    // SAFETY: whole pages inside of a constant, which nobody has written to: the file has the same bytes.
    let done = unsafe { madvise(place, len, MmapAdvise::MADV_DONTNEED) };
    if let Err(errno) = done {
        tracing::debug!("the agent stays in memory: {errno}");
    }
}

/// The same with another first program than the agent.
pub fn write_with(modules: &Path, first: &[u8], to: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(to)?);
    let copied = io::copy(&mut File::open(modules)?, &mut out)?;
    out.write_all(&[0; ALIGN as usize][..(copied.next_multiple_of(ALIGN) - copied) as usize])?;
    for folder in ["dev", "proc", "sys", "newroot"] {
        Builder::new(folder)
            .mode(0o755)
            .set_mode_file_type(ModeFileType::Directory)
            .nlink(2)
            .write(&mut out, 0)
            .finish()?;
    }
    let size = u32::try_from(first.len()).map_err(io::Error::other)?;
    let mut init = Builder::new("init")
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Regular)
        .nlink(1)
        .write(&mut out, size);
    init.write_all(first)?;
    init.finish()?;
    trailer(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
