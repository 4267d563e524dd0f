//! Kernel modules of the initramfs, loaded in the order its maker wrote down.

use super::BootError;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::fs::{self, File};
use std::path::Path;

/// Loads the files named by `<folder>/order`, one a line. Without this file there is nothing to load: all is built in.
/// A module that is missing or already there is passed over; the disk will tell if it was needed.
pub(super) fn load_all(folder: &Path) -> Result<usize, BootError> {
    let Ok(order) = fs::read_to_string(folder.join("order")) else { return Ok(0) };
    let mut loaded = 0;
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')) {
        let Ok(file) = File::open(folder.join(name)) else { continue };
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) => loaded += 1,
            // There already, or its device is not in this machine.
            Err(Errno::EEXIST | Errno::ENODEV) => {}
            Err(reason) => return Err(BootError::Module { name: name.to_owned(), reason }),
        }
    }
    Ok(loaded)
}
