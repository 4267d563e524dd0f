//! Bringing the sprite's file system to rest for the moment of a checkpoint. One of the modules with `unsafe`: three ioctls.
//!
//! While it is frozen every process that writes to it waits, so the moment is kept short: nothing happens in it but one request to the disk,
//! the bell, at which the host switches the disk's layers. Freeze, bell and thaw follow each other in one thread and wait for nobody outside,
//! so a host that vanishes in the middle cannot leave the sprite frozen.

use crate::config::Disk;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// `FIFREEZE` and `FITHAW` of `linux/fs.h`: `_IOWR('X', 119, int)` and `_IOWR('X', 120, int)`.
const FIFREEZE: libc::Ioctl = 0xC004_5877_u32 as libc::Ioctl;
const FITHAW: libc::Ioctl = 0xC004_5878_u32 as libc::Ioctl;
/// `EXT4_IOC_CHECKPOINT` of `linux/ext4.h`: `_IOW('f', 43, __u32)`.
const CHECKPOINT: libc::Ioctl = 0x4004_662B_u32 as libc::Ioctl;
/// Longest name of a disk, bytes (VIRTIO 1.2, section 5.2.6).
pub(crate) const MAX_WORD: usize = 20;

/// Why the file system was not brought to rest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuiesceError {
    /// There is nothing to freeze here.
    #[error("this agent runs as an ordinary process and freezes no file system")]
    Refused,
    /// Somebody inside froze it, or another call is under way.
    #[error("the file system is frozen already; thaw it first")]
    Already,
    /// The system refused.
    #[error("the file system could not be {0}: {1}")]
    System(&'static str, &'static str),
}

impl QuiesceError {
    /// Machine code for clients.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Refused => "not_a_machine",
            Self::Already => "already_frozen",
            Self::System(..) => "quiesce_failed",
        }
    }
}

/// A rest that is over.
#[derive(Debug)]
pub(crate) struct Rest {
    /// How long changes of metadata were held before, while the journal was emptied.
    pub(crate) journal: Duration,
    /// How long all writers were held.
    pub(crate) held: Duration,
    /// Whether the bell gave the word.
    pub(crate) rung: bool,
}

/// The one file system that can be brought to rest.
#[derive(Debug)]
pub(crate) struct Quiescer {
    disk: Option<Disk>,
    turn: Mutex<()>,
}

impl Quiescer {
    /// For the file system on that disk.
    pub(crate) fn new(disk: Option<Disk>) -> Self {
        Self { disk, turn: Mutex::default() }
    }

    /// Flushes while writers still run, then freezes, rings and thaws. Blocks.
    pub(crate) fn quiesce(&self, word: &str) -> Result<Rest, QuiesceError> {
        let disk = self.disk.as_ref().ok_or(QuiesceError::Refused)?;
        let Ok(_turn) = self.turn.try_lock() else { return Err(QuiesceError::Already) };
        let mount = open(&disk.mount)?;
        let bell = open(&disk.bell)?;
        // The first takes as long as there is data; the second writes to its place what the first put into the journal. Each leaves less
        // for the freeze to do while writers wait.
        for _ in 0..2 {
            nix::unistd::syncfs(&mount).map_err(|error| QuiesceError::System("flushed", error.desc()))?;
        }
        let journal = empty_journal(&mount);
        let hurry = Hurry::begin();
        let since = Instant::now();
        let frozen = Frozen::begin(&mount)?;
        let mut answer = [0; MAX_WORD];
        let rung = bell.read_at(&mut answer, 0);
        frozen.end()?;
        let held = since.elapsed();
        drop(hurry);
        Ok(Rest { journal, held, rung: rung.is_ok_and(|len| answer[..len] == *word.as_bytes()) })
    }
}

/// A frozen file system; thawed when dropped, whatever happens.
struct Frozen<'a> {
    mount: &'a File,
}

impl<'a> Frozen<'a> {
    fn begin(mount: &'a File) -> Result<Self, QuiesceError> {
        ioctl(mount, FIFREEZE, "frozen")?;
        Ok(Self { mount })
    }

    fn end(self) -> Result<(), QuiesceError> {
        let done = ioctl(self.mount, FITHAW, "thawed");
        std::mem::forget(self);
        done
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Only a panic leads here, and there is nobody to tell.
        let _ = ioctl(self.mount, FITHAW, "thawed");
    }
}

/// Empties the journal, so that the freeze finds it empty; gives the time that took. Changes of metadata wait meanwhile, nothing else does.
fn empty_journal(mount: &File) -> Duration {
    let since = Instant::now();
    let flags = 0u32;
    // SAFETY: the request reads a number from the pointer, which is valid for the time of the call.
    let _ = unsafe { libc::ioctl(mount.as_raw_fd(), CHECKPOINT, &raw const flags) };
    // Other file systems and older kernels lack it, and freeze all the same.
    since.elapsed()
}

fn ioctl(mount: &File, request: libc::Ioctl, done: &'static str) -> Result<(), QuiesceError> {
    // SAFETY: both requests ignore their argument and act on the file system of an open descriptor.
    let result = unsafe { libc::ioctl(mount.as_raw_fd(), request, 0) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::EBUSY) => Err(QuiesceError::Already),
        // Somebody inside thawed it, so it is thawed.
        Err(Errno::EINVAL) if request == FITHAW => Ok(()),
        Err(error) => Err(QuiesceError::System(done, error.desc())),
    }
}

fn open(path: &std::path::Path) -> Result<File, QuiesceError> {
    File::open(path).map_err(|error| {
        QuiesceError::System("opened", Errno::from_raw(error.raw_os_error().unwrap_or_default()).desc())
    })
}

/// Makes the kernel's grace periods short while it lives. A freeze waits for several of them, which after a quiet time cost
/// it 50 ms and more of the writers' time; in a hurry they cost next to nothing.
struct Hurry {
    before: Option<String>,
}

impl Hurry {
    const SWITCH: &str = "/sys/kernel/rcu_expedited";

    fn begin() -> Self {
        // A kernel without this switch is slower, not wrong.
        let before = std::fs::read_to_string(Self::SWITCH).ok();
        let _ = std::fs::write(Self::SWITCH, "1");
        Self { before }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = std::fs::write(Self::SWITCH, before.trim());
        }
    }
}
