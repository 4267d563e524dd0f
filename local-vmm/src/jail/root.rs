//! A root file system with nothing in it but the machine's own folders and the kernel it boots; for QEMU also what programs need to start.

use super::JailError;
use crate::{Kind, MachineSpec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Within the run folder: where the new root is put together. Empty outside.
pub(crate) const PLACE: &str = "root";
/// The root itself holds folders and names only.
const SIZE: &str = "size=1m,nr_inodes=4096,mode=755";
/// Folders from which QEMU, its libraries and its firmware come.
pub(super) const SYSTEM: [&str; 9] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/nix/store",
    "/sys/devices/system",
];
/// Harmless devices that QEMU opens.
pub(super) const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];
/// Where QEMU's own process is seen.
pub(super) const PROC: &str = "/proc";

/// Makes it the root. Everything keeps its path.
pub(super) fn change(spec: &MachineSpec) -> Result<(), JailError> {
    build(spec).map_err(|error| JailError::of("leave the host's file system")(&error))
}

fn build(spec: &MachineSpec) -> io::Result<()> {
    let none = None::<&str>;
    // Nothing that is mounted from here on is seen outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let root = spec.run_dir.join(PLACE);
    DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("root"), &root, Some("tmpfs"), plain, Some(SIZE))?;
    for own in [&spec.volume, &spec.memory, &spec.inside()] {
        if own.is_dir() {
            bind(&root, own, plain)?;
        }
    }
    for others in shared(spec) {
        bind(&root, &others, plain | MsFlags::MS_RDONLY)?;
    }
    for read in [&spec.kernel, &spec.modules] {
        bind(&root, read, plain | MsFlags::MS_RDONLY)?;
    }
    if spec.kind == Kind::Emulated {
        let run = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
        for path in SYSTEM.map(Path::new).into_iter().filter(|path| path.symlink_metadata().is_ok()) {
            bind(&root, path, run)?;
        }
        for path in DEVICES.map(Path::new) {
            bind(&root, path, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
        }
        let place = inside(&root, Path::new(PROC))?;
        fs::create_dir_all(&place)?;
        // Some hosts do not allow it; then the machine's memory is not told.
        let _ = mount(Some("proc"), &place, Some("proc"), plain, none);
    }
    std::env::set_current_dir(&root)?;
    // The old root ends up on top of the new one, and is taken away from there.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")?;
    mount(none, "/", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | plain, none)?;
    Ok(())
}

/// Files in the machine's own folders that belong to others as well: layers of the image and of forks, memory of a template. A guest that took over
/// this machine must not change what another one reads.
fn shared(spec: &MachineSpec) -> Vec<PathBuf> {
    let files = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let layers = files(vmm_disk::layers(&spec.volume))
        .filter(|path| path.symlink_metadata().is_ok_and(|file| file.is_file() && file.nlink() > 1));
    let memories = files(spec.memory.clone())
        .filter(|path| path.symlink_metadata().is_ok_and(|file| file.is_dir()))
        .chain([spec.memory.clone()])
        .map(|dir| dir.join(crate::kvm::SHARED))
        .filter(|path| path.symlink_metadata().is_ok_and(|file| file.is_file()));
    layers.chain(memories).collect()
}

/// Lets a folder or file of the host be seen at its own path below `root`.
fn bind(root: &Path, path: &Path, flags: MsFlags) -> io::Result<()> {
    let none = None::<&str>;
    let place = inside(root, path)?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let what = path.symlink_metadata()?;
    if what.is_symlink() {
        return symlink(fs::read_link(path)?, place);
    }
    // What is mounted below a system folder belongs to it. Below the machine's own folders there is nothing but the new root.
    let deep = if flags.contains(MsFlags::MS_RDONLY) { MsFlags::MS_REC } else { MsFlags::empty() };
    if what.is_dir() {
        fs::create_dir_all(&place)?;
    } else if !place.exists() {
        File::create(&place)?;
    }
    mount(Some(path), &place, none, MsFlags::MS_BIND | deep, none)?;
    // A host may have locked other flags of this mount; what cannot be made stricter is kept out by Landlock and by the lack of privileges.
    let _ = mount(none, &place, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, none);
    Ok(())
}

fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    path.strip_prefix("/").map(|path| root.join(path)).map_err(io::Error::other)
}
