//! Removing a directory with all that is in it, however deep it is: neither the stack nor the number of open files grows with the depth.
//!
//! Directories that are deeper than the second level are moved up beside the others, and taken apart there. Links are never followed, nor are ones
//! that are put in the way meanwhile: every step begins at an open directory and takes one name.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes the directory at `path` and everything below it.
pub(super) fn all(path: &Path) -> std::io::Result<()> {
    let top = open(path, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if !remove_plain(&top, &name)? {
                take_apart(&top, &name, &mut moved)?;
            }
        }
    }
    unlinkat(nix::fcntl::AT_FDCWD, path, UnlinkatFlags::RemoveDir)?;
    Ok(())
}

/// Empties the directory `name`: what is in it goes, or moves up to `top`.
fn take_apart(top: &OwnedFd, name: &CStr, moved: &mut u64) -> std::io::Result<()> {
    let inner = match openat(top, name, DIRECTORY, Mode::empty()) {
        Ok(inner) => inner,
        // Somebody was faster, or put something else there, which the next round sees.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for below in names(&inner)? {
        if remove_plain(&inner, &below)? {
            continue;
        }
        // Whatever has this name already is to go as well, and is passed over.
        loop {
            let place = format!(".removed-{moved}");
            *moved += 1;
            match renameat(&inner, below.as_c_str(), top, place.as_str()) {
                Ok(()) | Err(Errno::ENOENT) => break,
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EISDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    match unlinkat(top, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what is no directory, or an empty one; false for one that is not empty.
fn remove_plain(parent: &OwnedFd, name: &CStr) -> std::io::Result<bool> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        // Linux says the first, POSIX the second.
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        // It is a file after all, which may not be removed.
        Err(Errno::ENOTDIR) => Err(Errno::EPERM.into()),
        Err(error) => Err(error.into()),
    }
}

fn names(directory: &OwnedFd) -> std::io::Result<Vec<CString>> {
    // A copy of its own, with a place of its own in the list.
    let mut listed = Dir::openat(directory.as_fd(), ".", DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_goes_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let kept = place.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        let gone = place.path().join("gone");
        fs::create_dir_all(gone.join("a/b/c/d")).unwrap();
        fs::create_dir_all(gone.join("a/b2/c")).unwrap();
        fs::create_dir(gone.join(".removed-0")).unwrap();
        fs::write(gone.join("a/b/file"), "x").unwrap();
        fs::write(gone.join(".removed-0/file"), "x").unwrap();
        symlink(&kept, gone.join("a/b/link")).unwrap();
        symlink("nowhere", gone.join("dangling")).unwrap();
        all(&gone).unwrap();
        assert!(!gone.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "x");
        symlink(&kept, &gone).unwrap();
        assert!(all(&gone).is_err() && kept.join("file").exists());
    }

    #[test]
    fn the_deepest_goes_too() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("deep");
        fs::create_dir(&top).unwrap();
        let mut at = open(&top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        all(&top).unwrap();
        assert!(!top.exists());
    }
}
