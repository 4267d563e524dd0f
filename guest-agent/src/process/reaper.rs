//! The one place that waits for children.
//!
//! PID 1 inherits every orphan, so children are collected on the child signal, whoever they are. Sessions are told their
//! own exit code. Starting a child and collecting children exclude each other by one lock, so that a child cannot end
//! unnoticed between its birth and its entry in the table.

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

/// Exit code told when another part of the process took the true one.
const LOST_STATUS: u8 = 255;

/// Collects ended children.
#[derive(Debug)]
pub(crate) struct Reaper {
    table: Mutex<HashMap<i32, oneshot::Sender<u8>>>,
    adopt: bool,
    collected: Notify,
    task: Mutex<Option<AbortHandle>>,
}

impl Reaper {
    /// Begins to listen for ended children. With `adopt`, all children of the process are collected.
    pub(crate) fn start(adopt: bool) -> io::Result<Arc<Self>> {
        let mut ended = signal(SignalKind::child())?;
        let reaper = Arc::new(Self {
            table: Mutex::new(HashMap::new()),
            adopt,
            collected: Notify::new(),
            task: Mutex::new(None),
        });
        let weak: Weak<Self> = Arc::downgrade(&reaper);
        let task = tokio::spawn(async move {
            while ended.recv().await.is_some() {
                let Some(reaper) = weak.upgrade() else { return };
                reaper.sweep();
            }
        });
        *reaper.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        Ok(reaper)
    }

    /// Starts a child by `birth`, which returns its PID, and enters it in the table before it can be collected.
    pub(crate) fn launch<E>(
        &self,
        birth: impl FnOnce() -> Result<i32, E>,
    ) -> Result<(i32, oneshot::Receiver<u8>), E> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = birth()?;
        let (tell, told) = oneshot::channel();
        table.insert(pid, tell);
        Ok((pid, told))
    }

    /// Resolves when a child has been collected after this call began.
    pub(crate) async fn collected(&self) {
        self.collected.notified().await;
    }

    fn sweep(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if self.adopt {
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(status) => {
                        if !tell(&mut table, status) {
                            break;
                        }
                    }
                    Err(Errno::EINTR) => continue,
                    Err(_) => break,
                }
            }
        } else {
            let pids: Vec<i32> = table.keys().copied().collect();
            for pid in pids {
                match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                    Ok(status) => {
                        tell(&mut table, status);
                    }
                    Err(Errno::EINTR) => {}
                    Err(_) => {
                        if let Some(tell) = table.remove(&pid) {
                            let _ = tell.send(LOST_STATUS);
                        }
                    }
                }
            }
        }
        drop(table);
        self.collected.notify_waiters();
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Tells the session of an ended child its exit code. False when no child has ended.
fn tell(table: &mut HashMap<i32, oneshot::Sender<u8>>, status: WaitStatus) -> bool {
    let (pid, code) = match status {
        WaitStatus::Exited(pid, code) => (pid, (code & 0xff) as u8),
        WaitStatus::Signaled(pid, signal, _) => (pid, 128 + signal as u8),
        WaitStatus::StillAlive => return false,
        _ => return true,
    };
    if let Some(tell) = table.remove(&pid.as_raw()) {
        // Nobody listens when the start itself failed.
        let _ = tell.send(code);
    }
    true
}
