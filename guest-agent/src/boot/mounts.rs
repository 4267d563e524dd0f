//! Mounts, and the move from the initramfs to the disk.

use super::BootError;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Moved from the initramfs to the disk's root as they are.
const MOVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What modules and the disk need.
pub(super) fn early() -> Result<(), BootError> {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    one("proc", "/proc", plain, "")?;
    one("sysfs", "/sys", plain, "")?;
    one("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=755")
}

/// What programs expect.
pub(super) fn late() -> Result<(), BootError> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    one("devpts", "/dev/pts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "gid=5,mode=620,ptmxmode=666")?;
    one("tmpfs", "/dev/shm", quiet, "mode=1777")?;
    one("tmpfs", "/run", quiet, "mode=755,size=20%")?;
    one("cgroup2", "/sys/fs/cgroup", quiet | MsFlags::MS_NOEXEC, "nsdelegate,memory_recursiveprot")?;
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        // They may be there already.
        let _ = symlink(target, Path::new("/dev").join(link));
    }
    // Scratch space stays on the disk, which is far larger than memory; an image may have left it closed.
    for folder in ["/tmp", "/run/lock"] {
        let _ = fs::create_dir_all(folder);
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o1777));
    }
    Ok(())
}

/// Puts the tools for programs inside into `folder`: this very executable under their names, which needs no memory beside the one it has as
/// the first process, and no room on the disk.
pub(super) fn tools(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in crate::tool::NAMES {
        let path = folder.join(name);
        if !path.exists() {
            fs::write(&path, "")?;
        }
        let bind = MsFlags::MS_BIND;
        mount(Some("/init"), &path, None::<&str>, bind, None::<&str>)?;
        let closed = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(None::<&str>, &path, None::<&str>, closed, None::<&str>)?;
    }
    Ok(())
}

/// Makes `root` the root of everything, and gives the memory of the initramfs back.
pub(super) fn switch_root(root: &Path) -> Result<(), BootError> {
    for from in MOVED {
        let to = root.join(&from[1..]);
        fs::create_dir_all(&to).map_err(BootError::io("cannot make", &to))?;
        mount(Some(from), &to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .map_err(BootError::step("cannot move a mount to", &to))?;
    }
    chdir(root).map_err(BootError::step("cannot enter", root))?;
    if let Ok(old) = fs::symlink_metadata("/") {
        empty(Path::new("/"), old.dev());
    }
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(BootError::step("cannot move to / the mount", root))?;
    chroot(".").map_err(BootError::step("cannot make the root", root))?;
    chdir("/").map_err(BootError::step("cannot enter", "/"))
}

/// Removes all files of the file system `device` below `folder`. Never follows links, never enters another file system.
fn empty(folder: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.dev() != device => {}
            Ok(meta) if meta.is_dir() => {
                empty(&path, device);
                // A mount point in use stays.
                let _ = fs::remove_dir(&path);
            }
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn one(kind: &str, target: &str, flags: MsFlags, options: &str) -> Result<(), BootError> {
    fs::create_dir_all(target).map_err(BootError::io("cannot make", target))?;
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .map_err(BootError::step("cannot mount", target))
}
