//! The sprite's cgroup (v2): one group for all sessions, and one below it for each.
//!
//! Counters of the upper group cover everything the sprite's user runs, also what outlived its session; the agent itself
//! stays outside.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why the sprite's group could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A step failed.
    #[error("{step} {}: {source}", path.display())]
    Step {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The group of all sessions.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    next: AtomicU64,
    /// Groups of ended sessions that still hold processes.
    leftover: Mutex<Vec<PathBuf>>,
}

/// Figures of the whole group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cpu_usec: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u64,
}

impl Cgroup {
    /// Makes the group and turns on the controllers that count.
    pub(crate) fn create(path: PathBuf) -> Result<Arc<Self>, CgroupError> {
        let failed = |step, path: &Path| {
            let path = path.to_path_buf();
            move |source| CgroupError::Step { step, path, source }
        };
        let parent = path.parent().unwrap_or(Path::new("/")).join("cgroup.subtree_control");
        fs::write(&parent, "+cpu +memory +pids").map_err(failed("cannot turn on controllers in", &parent))?;
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("cannot make", &path)(error));
            }
            _ => {}
        }
        let own = path.join("cgroup.subtree_control");
        fs::write(&own, "+cpu +memory +pids").map_err(failed("cannot turn on controllers in", &own))?;
        Ok(Arc::new(Self { path, next: AtomicU64::new(1), leftover: Mutex::default() }))
    }

    /// Makes the group of one session.
    pub(crate) fn session(self: &Arc<Self>) -> io::Result<SessionGroup> {
        self.clean();
        let path = self.path.join(format!("session-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path)?;
        Ok(SessionGroup { path, parent: self.clone() })
    }

    /// Removes groups of ended sessions that have become empty.
    pub(crate) fn clean(&self) {
        let mut leftover = self.leftover.lock().unwrap_or_else(PoisonError::into_inner);
        leftover.retain(
            |path| matches!(fs::remove_dir(path), Err(error) if error.kind() != io::ErrorKind::NotFound),
        );
    }

    /// Ends every process of every session at once.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Most memory of all sessions together, bytes; none: as much as there is.
    pub(crate) fn limit_memory(&self, most: Option<u64>) -> io::Result<()> {
        let most = most.map_or_else(|| "max".to_owned(), |most| most.to_string());
        fs::write(self.path.join("memory.max"), most)
    }

    /// Counters now; what cannot be read counts as zero.
    pub(crate) fn figures(&self) -> Figures {
        let number = |file: &str| {
            fs::read_to_string(self.path.join(file))
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0)
        };
        let cpu = fs::read_to_string(self.path.join("cpu.stat")).unwrap_or_default();
        Figures {
            cpu_usec: field(&cpu, "usage_usec"),
            memory_bytes: number("memory.current"),
            processes: number("pids.current"),
        }
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// The group of one session. Removed with its last owner, or later, once the last process has left it.
#[derive(Debug)]
pub(crate) struct SessionGroup {
    path: PathBuf,
    parent: Arc<Cgroup>,
}

impl SessionGroup {
    /// The file a process writes `0` to in order to join.
    pub(crate) fn entrance(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Ends every process of the session at once.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }
}

impl Drop for SessionGroup {
    fn drop(&mut self) {
        if fs::remove_dir(&self.path).is_err() {
            let path = std::mem::take(&mut self.path);
            self.parent.leftover.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_field() {
        let text = "usage_usec 123\nuser_usec 100\nnr_periods 0\n";
        assert_eq!(field(text, "usage_usec"), 123);
        assert_eq!(field(text, "system_usec"), 0);
        assert_eq!(field("usage_usec x", "usage_usec"), 0);
    }
}
