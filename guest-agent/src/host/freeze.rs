//! Freezing the sprite's file system for the moment of a checkpoint. One of the modules with `unsafe`: two ioctls.
//!
//! While it is frozen, every process that writes to it waits, so the agent itself never writes to it, and a watchdog thread
//! thaws it at the deadline: a host that vanishes in the middle cannot wedge the sprite.

use crate::config::Freezing;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// `FIFREEZE` and `FITHAW` of `linux/fs.h`: `_IOWR('X', 119, int)` and `_IOWR('X', 120, int)`.
const FIFREEZE: libc::Ioctl = 0xC004_5877_u32 as libc::Ioctl;
const FITHAW: libc::Ioctl = 0xC004_5878_u32 as libc::Ioctl;

/// Why a freeze or thaw was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FreezeError {
    /// There is nothing to freeze here.
    #[error("this agent runs as an ordinary process and freezes no file system")]
    Refused,
    /// Frozen already, by an earlier call or by somebody inside.
    #[error("the file system is frozen already; thaw it first")]
    Already,
    /// Nothing to thaw.
    #[error("the file system is not frozen; if it was, the deadline has thawed it")]
    NotFrozen,
    /// The system refused.
    #[error("the file system could not be {0}: {1}")]
    System(&'static str, &'static str),
}

impl FreezeError {
    /// Machine code for clients.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Refused => "not_a_machine",
            Self::Already => "already_frozen",
            Self::NotFrozen => "not_frozen",
            Self::System(..) => "freeze_failed",
        }
    }
}

/// Makes the kernel's grace periods short while it lives. A freeze waits for several of them, which after a quiet time cost
/// it 60 ms and more of the writers' time; in a hurry they cost one or two.
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

/// A freeze that is over.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// How long writers were held.
    pub(crate) held: Duration,
}

/// The one file system that can be frozen.
#[derive(Debug)]
pub(crate) struct Freezer {
    what: Freezing,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Since when, and until when at most.
    frozen: Option<(Instant, Instant)>,
    /// The number of the present freeze: a watchdog that wakes late must not end a later one.
    count: u64,
}

impl Freezer {
    /// A freezer of what the configuration says.
    pub(crate) fn new(what: Freezing) -> Self {
        Self { what, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes, then freezes for at most `deadline`. Blocks while data is flushed; writers are held only after that.
    pub(crate) fn freeze(self: &Arc<Self>, deadline: Duration) -> Result<(), FreezeError> {
        if self.what == Freezing::Refused {
            return Err(FreezeError::Refused);
        }
        if self.lock().frozen.is_some() {
            return Err(FreezeError::Already);
        }
        // Dirty data goes out while writers still run. The freeze flushes again, but then little is left.
        self.flush()?;
        let mut state = self.lock();
        if state.frozen.is_some() {
            return Err(FreezeError::Already);
        }
        state.count += 1;
        let count = state.count;
        // The watchdog first: a freeze without one must not be. It waits for the lock we hold.
        let freezer = self.clone();
        std::thread::Builder::new()
            .name("thaw".into())
            .spawn(move || freezer.watch(count))
            .map_err(|_| FreezeError::System("frozen", "no thread for its deadline could be started"))?;
        let hurry = matches!(self.what, Freezing::Mount(_)).then(Hurry::begin);
        let since = Instant::now();
        self.ioctl(FIFREEZE, "frozen")?;
        drop(hurry);
        state.frozen = Some((since, Instant::now() + deadline));
        Ok(())
    }

    /// Thaws.
    pub(crate) fn thaw(&self) -> Result<Frozen, FreezeError> {
        let mut state = self.lock();
        let (since, _) = state.frozen.take().ok_or(FreezeError::NotFrozen)?;
        self.changed.notify_all();
        self.ioctl(FITHAW, "thawed")?;
        Ok(Frozen { held: since.elapsed() })
    }

    /// Thaws if need be. What has been thawed otherwise needs nothing.
    pub(crate) fn thaw_if_frozen(&self) {
        let _ = self.thaw();
    }

    fn watch(&self, count: u64) {
        let mut state = self.lock();
        while state.count == count
            && let Some((_, until)) = state.frozen
        {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.frozen = None;
                // There is nobody to tell about a failure; the next freeze or thaw will hear of it.
                let _ = self.ioctl(FITHAW, "thawed");
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn flush(&self) -> Result<(), FreezeError> {
        let Freezing::Mount(path) = &self.what else { return Ok(()) };
        let failed = |error: Errno| FreezeError::System("flushed", error.desc());
        nix::unistd::syncfs(open(path)?).map_err(failed)
    }

    fn ioctl(&self, request: libc::Ioctl, done: &'static str) -> Result<(), FreezeError> {
        let Freezing::Mount(path) = &self.what else { return Ok(()) };
        let root = open(path)?;
        // SAFETY: both requests ignore their argument and act on the file system of an open descriptor.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), request, 0) };
        match Errno::result(result) {
            Ok(_) => Ok(()),
            Err(Errno::EBUSY) => Err(FreezeError::Already),
            Err(Errno::EINVAL) if request == FITHAW => Err(FreezeError::NotFrozen),
            Err(error) => Err(FreezeError::System(done, error.desc())),
        }
    }
}

fn open(path: &Path) -> Result<File, FreezeError> {
    File::open(path).map_err(|error| {
        FreezeError::System("opened", Errno::from_raw(error.raw_os_error().unwrap_or_default()).desc())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_of_a_freeze() {
        let freezer = Arc::new(Freezer::new(Freezing::Pretended));
        assert!(matches!(freezer.thaw(), Err(FreezeError::NotFrozen)));
        freezer.freeze(Duration::from_secs(10)).unwrap();
        assert!(matches!(freezer.freeze(Duration::from_secs(10)), Err(FreezeError::Already)));
        freezer.thaw().unwrap();
        assert!(matches!(freezer.thaw(), Err(FreezeError::NotFrozen)));
    }

    #[test]
    fn the_deadline_thaws() {
        let freezer = Arc::new(Freezer::new(Freezing::Pretended));
        freezer.freeze(Duration::from_millis(5)).unwrap();
        let give_up = Instant::now() + Duration::from_secs(10);
        while freezer.lock().frozen.is_some() {
            assert!(Instant::now() < give_up);
            std::thread::yield_now();
        }
        assert!(matches!(freezer.thaw(), Err(FreezeError::NotFrozen)));
    }

    #[test]
    fn refused() {
        let freezer = Arc::new(Freezer::new(Freezing::Refused));
        assert!(matches!(freezer.freeze(Duration::from_secs(1)), Err(FreezeError::Refused)));
    }
}
