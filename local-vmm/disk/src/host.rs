//! Everything this crate changes on the host's file system, behind one small interface.
//!
//! All changes go through [`Host`], so that the crash tests can record them in order, lose what was not flushed, and look at what
//! a fresh start makes of the rest. Reading needs no such door.

use nix::fcntl::{FallocateFlags, fallocate};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open file and where it stands.
#[derive(Debug)]
pub(crate) struct HostFile {
    pub file: File,
    pub path: PathBuf,
}

/// Changes to files and folders. A call that returns has handed the change to the kernel; only `sync` and `sync_dir` make it
/// survive a power loss.
pub(crate) trait Host: Send + Sync + fmt::Debug {
    /// Makes a sparse file of `size` bytes; fails when the name exists.
    fn create(&self, path: &Path, size: u64) -> io::Result<HostFile>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<HostFile>;
    /// Writes all of `data` at `offset`.
    fn write(&self, file: &HostFile, data: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes a hole, which reads as zeros and takes no space.
    fn punch(&self, file: &HostFile, offset: u64, len: u64) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync(&self, file: &HostFile) -> io::Result<()>;
    /// Replaces a file by a new content: after a crash either the old or the new one is there, whole.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that the file may grow by before what is kept free for others is touched.
    fn room(&self, _file: &HostFile) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// Most that is kept free on the host's file system, bytes: other disks must be able to flush, and the server's database to grow.
const RESERVE: u64 = 1 << 30;
/// And no more than this part of the file system.
const RESERVE_PART: u64 = 50;

/// The file system itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealHost;

impl Host for RealHost {
    fn create(&self, path: &Path, size: u64) -> io::Result<HostFile> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.set_len(size)?;
        Ok(HostFile { file, path: path.to_owned() })
    }

    fn open(&self, path: &Path) -> io::Result<HostFile> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        Ok(HostFile { file, path: path.to_owned() })
    }

    fn write(&self, file: &HostFile, data: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let total: usize = data.iter().map(|slice| slice.len()).sum();
        let position = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // One call does it unless a signal or a full disk cut it short; then the rest goes slice by slice.
        let mut done = match nix::sys::uio::pwritev(&file.file, data, position) {
            Ok(done) => done,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        if done == total {
            return Ok(());
        }
        let mut at = offset;
        for slice in data {
            let skip = done.min(slice.len());
            done -= skip;
            file.file.write_all_at(&slice[skip..], at + skip as u64)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    fn punch(&self, file: &HostFile, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let signed =
            |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        Ok(fallocate(&file.file, flags, signed(offset)?, signed(len)?)?)
    }

    fn sync(&self, file: &HostFile) -> io::Result<()> {
        file.file.sync_data()
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_parent(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn room(&self, file: &HostFile) -> io::Result<u64> {
        let found = nix::sys::statfs::fstatfs(&file.file)?;
        let unit = u64::try_from(found.block_size()).unwrap_or(4096);
        let (free, all) =
            (found.blocks_available().saturating_mul(unit), found.blocks().saturating_mul(unit));
        Ok(free.saturating_sub(RESERVE.min(all / RESERVE_PART)))
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
