//! What the host lets programs inside do and take. It holds for those that the agent starts; that what is inside cannot reach beyond its machine
//! is the machine's affair.

use crate::cgroup::Cgroup;
use crate::interior;
use crate::process::rights::Rights;
use sprites_api::policy::{Policies, PrivilegesPolicy};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A host that has not told its policy by then will not.
const TOLD: Duration = Duration::from_secs(10);
/// A device that everybody may use.
const OPEN: u32 = 0o666;

/// See the module.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Rights of programs that are started from now on; none before the host has said anything.
    rights: watch::Sender<Option<Rights>>,
    /// Permissions that devices had before they were opened to all.
    opened: Mutex<HashMap<PathBuf, u32>>,
    cgroup: Option<Arc<Cgroup>>,
}

impl Policy {
    pub(crate) fn new(cgroup: Option<Arc<Cgroup>>) -> Self {
        Self { rights: watch::Sender::new(None), opened: Mutex::default(), cgroup }
    }

    /// Rights of a program that is started now.
    pub(crate) fn rights(&self) -> Rights {
        self.rights.borrow().unwrap_or_default()
    }

    /// Waits until the host has told its policy.
    pub(crate) async fn told(&self) {
        let _ = timeout(TOLD, self.rights.subscribe().wait_for(Option::is_some)).await;
    }

    /// From now on these hold. Each is applied, though one before it should fail.
    pub(crate) fn apply(&self, policies: Policies, home: Option<&Path>) -> io::Result<()> {
        let privileges = policies.privileges.unwrap_or_default();
        self.rights.send_replace(Some(Rights::new(&privileges)));
        let memory = policies.resources.and_then(|resources| resources.memory?.limit_mb);
        let limited = match &self.cgroup {
            Some(cgroup) => cgroup.limit_memory(memory.map(|most| u64::from(most) << 20)),
            None => Ok(()),
        };
        let opened = self.open_devices(&privileges);
        let written = match home {
            Some(home) => interior::write_policy(home, &policies.network.unwrap_or_default()),
            None => Ok(()),
        };
        limited.and(opened).and(written)
    }

    /// Opens these devices to every program, and no others that had been opened so. What is not there, or is no device, is passed over.
    fn open_devices(&self, privileges: &PrivilegesPolicy) -> io::Result<()> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<PathBuf> = privileges.devices.iter().map(PathBuf::from).collect();
        if wanted.iter().any(|path| !path.exists()) {
            crate::boot::load_later_modules()?;
        }
        let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        opened.retain(|path, mode| wanted.contains(path) || set(path, *mode).is_err() && path.exists());
        for path in wanted.into_iter().filter(|path| path.starts_with("/dev")) {
            // A link is not followed.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let kind = found.file_type();
            if (kind.is_char_device() || kind.is_block_device()) && !opened.contains_key(&path) {
                set(&path, OPEN)?;
                opened.insert(path, found.permissions().mode());
            }
        }
        Ok(())
    }
}
