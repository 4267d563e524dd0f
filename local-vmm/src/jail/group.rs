//! A control group for the machine, where the host has handed a part of its tree over (cgroup v2; a systemd unit with `Delegate=yes`).

use crate::MachineSpec;
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the tree of groups is mounted.
const TREE: &str = "/sys/fs/cgroup";
/// Beyond the guest's memory: the monitor's own, and the host's cache for its disk, which gives way by itself.
const BESIDE: u64 = 1 << 30;
/// Most threads and processes.
const TASKS: u32 = 256;

/// A machine's group; removed when this is dropped, which must be after the machine's end.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        // It may still be on its way down; an empty group costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Puts a process into a group of its own with limits. None where the host has handed nothing over.
pub(super) fn enter(spec: &MachineSpec, process: Pid) -> Option<Group> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    // The line of cgroup v2 begins with zero.
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let ours = Path::new(TREE).join(path);
    // Without these files it is not ours to divide.
    if !ours.join("cgroup.controllers").is_file() {
        return None;
    }
    match make(&ours, spec, process) {
        Ok(group) => Some(group),
        Err(error) => {
            tracing::info!("the machine has no control group of its own: {error}");
            None
        }
    }
}

fn make(ours: &Path, spec: &MachineSpec, process: Pid) -> io::Result<Group> {
    // Refused as long as processes are in our own group; then a machine's group counts but does not limit.
    let _ = fs::write(ours.join("cgroup.subtree_control"), "+memory +pids +cpu");
    let path = ours.join(format!("sprite-{}", spec.name));
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let group = Group(path);
    let most = (u64::from(spec.memory_mb) << 20) + BESIDE;
    for (file, value) in
        [("memory.max", most.to_string()), ("memory.oom.group", "1".into()), ("pids.max", TASKS.to_string())]
    {
        let file = group.0.join(file);
        // There only when the controller is.
        if file.exists() {
            fs::write(file, value)?;
        }
    }
    fs::write(group.0.join("cgroup.procs"), process.as_raw().to_string())?;
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_limits_and_goes() {
        // A plain folder takes the same writes; the kernel's own files are there before.
        let tree = tempfile::tempdir().unwrap();
        let spec = MachineSpec { name: "box".into(), memory_mb: 512, ..crate::spec::example() };
        let place = tree.path().join("sprite-box");
        fs::create_dir(&place).unwrap();
        for file in ["memory.max", "pids.max"] {
            fs::write(place.join(file), "max").unwrap();
        }
        let group = make(tree.path(), &spec, Pid::from_raw(7)).unwrap();
        let read = |file: &str| fs::read_to_string(place.join(file)).unwrap();
        assert_eq!(read("memory.max"), ((512 << 20) + BESIDE).to_string());
        assert_eq!((read("pids.max"), read("cgroup.procs")), (TASKS.to_string(), "7".into()));
        assert!(!place.join("memory.oom.group").exists());
        for entry in fs::read_dir(&place).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        drop(group);
        assert!(!place.exists());
    }
}
