//! The sprite's disk.

use super::BootError;
use nix::mount::{MsFlags, mount as mount_call};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The disk's driver finds it in the background after the module has loaded; this is far more than it ever needs.
const DEADLINE: Duration = Duration::from_secs(10);
/// The device node appears by itself; looking for it costs microseconds.
const LOOK: Duration = Duration::from_millis(1);

/// Waits for the disk and mounts its file system. Blocks that are freed inside are given back to the host (`discard`).
pub(super) fn mount(device: &Path, target: &Path) -> Result<(), BootError> {
    let give_up = Instant::now() + DEADLINE;
    while !fs::metadata(device).is_ok_and(|meta| meta.file_type().is_block_device()) {
        if Instant::now() >= give_up {
            return Err(BootError::NoDisk { path: device.to_owned(), waited: DEADLINE });
        }
        std::thread::sleep(LOOK);
    }
    fs::create_dir_all(target).map_err(BootError::io("cannot make", target))?;
    mount_call(Some(device), target, Some("ext4"), MsFlags::MS_RELATIME, Some("discard"))
        .map_err(BootError::step("cannot mount the disk", device))
}
