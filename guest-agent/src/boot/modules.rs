//! Kernel modules of the initramfs, loaded in the order its maker wrote down.

use super::BootError;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Mutex;

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

/// Modules whose files are open for later: the file system they lie on goes away with the beginning.
static LATER: Mutex<Vec<(File, CString)>> = Mutex::new(Vec::new());

/// Opens the files named by `<folder>/later`, one a line, each followed by its parameters.
pub(super) fn keep(folder: &Path) {
    let text = fs::read_to_string(folder.join("later")).unwrap_or_default();
    let kept = text.lines().filter_map(|line| {
        let (name, parameters) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Some((File::open(folder.join(name)).ok()?, CString::new(parameters).ok()?))
    });
    *LATER.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = kept.collect();
}

/// Loads them.
pub(super) fn load_later() -> io::Result<()> {
    let later = std::mem::take(&mut *LATER.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    for (file, parameters) in later {
        match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
