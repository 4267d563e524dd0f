//! What the threads of a machine ask of the kernel, counted by the kernel, against what they may ask. Needs the kernel's own tracing, and so root;
//! `cargo xtask lab` has both.

use crate::rig::{Rig, sh};
use local_vmm::jail::{self, Role};
use local_vmm::{Kind, MachineHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TRACING: &str = "/sys/kernel/tracing";
const TRIGGER: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/trigger";
const COUNT: &str = "hist:keys=common_pid.execname,id:size=8192";

/// Calls that a machine makes only now and then, and why a thread may make them all the same.
const RARE: &[(i64, &str)] = &[
    (libc::SYS_restart_syscall, "a wait with a deadline that a stopped process goes on with"),
    (libc::SYS_mremap, "the allocator, when a large piece grows"),
    (libc::SYS_mprotect, "the allocator, when a thread's arena grows"),
    (libc::SYS_mmap, "the allocator, for a large piece"),
    (libc::SYS_munmap, "the allocator, for a large piece"),
    (libc::SYS_madvise, "the allocator, when an arena shrinks, and the end of a thread"),
    (libc::SYS_brk, "the allocator, for the main thread"),
    (libc::SYS_futex, "a lock that another thread holds"),
    (libc::SYS_sched_yield, "a lock that is about to be let go"),
    (libc::SYS_clock_gettime, "time, where the kernel does not show it without a call"),
    (libc::SYS_clock_nanosleep, "a pause between two looks"),
    (libc::SYS_write, "the log"),
    (libc::SYS_getrandom, "the seed of a thread's first table"),
    (libc::SYS_sigaltstack, "the end of a thread"),
    (libc::SYS_rt_sigprocmask, "the end of a thread"),
    (libc::SYS_rt_sigreturn, "the end of a signal"),
    (libc::SYS_gettid, "a message about a panic"),
    (libc::SYS_getpid, "a signal to a thread"),
    (libc::SYS_tgkill, "a signal to a thread, and an abort"),
    (libc::SYS_exit, "the end of a thread"),
];

/// The same for some kinds of threads only.
const RARE_FOR: &[(Role, i64, &str)] = &[
    (Role::Disk, libc::SYS_close, "more layers than are kept open"),
    (Role::Disk, libc::SYS_lseek, "a layer that is opened again"),
    (Role::Disk, libc::SYS_statx, "a layer that is opened again"),
    (Role::Disk, libc::SYS_pread64, "the marks of a layer"),
    (Role::Disk, libc::SYS_pwrite64, "a write that was cut short, and marks"),
    (Role::Disk, libc::SYS_fcntl, "a check of debug builds before a file is closed"),
    (Role::Sockets, libc::SYS_fcntl, "a check of debug builds before a file is closed"),
    (Role::Sockets, libc::SYS_writev, "frames of a network card"),
    (Role::Control, libc::SYS_fallocate, "blocks let go since the last time the disk was settled"),
    (Role::Control, libc::SYS_unlinkat, "a checkpoint that failed half-way"),
    (
        Role::Control,
        libc::SYS_shutdown,
        "the end of a conversation with the agent, where it comes before the call's answer is through",
    ),
    (Role::Console, libc::SYS_fcntl, "a check of debug builds before a file is closed"),
    (Role::Console, libc::SYS_openat, "a log that is full"),
    (Role::Console, libc::SYS_rename, "a log that is full"),
    (Role::Console, libc::SYS_close, "a log that is full"),
];

/// What a thread is for, by its name.
fn role(name: &str) -> Role {
    match name {
        _ if name.starts_with("vcpu-") => Role::Cpu,
        _ if name.starts_with("disk") => Role::Disk,
        "socket-device" | "vsock-host" | "network-card" => Role::Sockets,
        "console" => Role::Console,
        _ if name.ends_with("-device") || name == "balloon" => Role::Device,
        _ => Role::Control,
    }
}

/// Names of a process's threads.
fn threads(pid: u32, names: &mut BTreeMap<u32, String>) {
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let (Ok(name), Ok(tid)) =
            (fs::read_to_string(task.path().join("comm")), task.file_name().to_string_lossy().parse())
        else {
            continue;
        };
        names.insert(tid, name.trim().into());
    }
}

/// The first number after a word of a line.
fn number(line: &str, word: &str) -> Option<i64> {
    let rest = line.split_once(word)?.1.trim_start();
    rest.split(|next: char| !next.is_ascii_digit()).next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_call_is_used() {
    if Kind::of_this_host() != Kind::Kvm {
        println!("KVM is not real here; cargo xtask lab runs this test");
        return;
    }
    let traces = Path::new(TRIGGER).exists()
        || Command::new("mount")
            .args(["-t", "tracefs", "tracefs", TRACING])
            .status()
            .is_ok_and(|done| done.success());
    if !traces || fs::write(TRIGGER, COUNT).is_err() {
        println!("this kernel's tracing is not at hand");
        return;
    }
    let rig = Rig::new();
    let mut names = BTreeMap::new();
    let mut pids = Vec::new();
    let handle = life(&rig, &mut names, &mut pids).await;
    handle.stop(Duration::from_secs(60)).await.unwrap();
    let told = fs::read_to_string(TRIGGER.replace("trigger", "hist")).unwrap();
    fs::write(TRIGGER, format!("!{COUNT}")).unwrap();
    let mut used: BTreeMap<Role, BTreeSet<i64>> = BTreeMap::new();
    for line in told.lines().filter(|line| line.starts_with("{ common_pid:")) {
        let (Some(pid), Some(call)) = (number(line, "["), number(line, ", id:")) else { continue };
        // A thread that came and went between two looks is known by its maker's name.
        let maker = line.trim_start_matches("{ common_pid:").split('[').next().unwrap_or_default().trim();
        let name = names.get(&(pid as u32)).map(String::as_str);
        let name = name.or(["control", "call"].into_iter().find(|known| *known == maker));
        if let Some(name) = name {
            used.entry(role(name)).or_default().insert(call);
        }
    }
    let mut idle = Vec::new();
    for role in [Role::Cpu, Role::Disk, Role::Sockets, Role::Device, Role::Console, Role::Control] {
        let used = used.remove(&role).unwrap_or_default();
        let rare = |call: &i64| {
            RARE.iter().any(|(rare, _)| rare == call)
                || RARE_FOR.iter().any(|(whose, rare, _)| *whose == role && rare == call)
        };
        let never: Vec<i64> = jail::allowed(role, Kind::Kvm)
            .into_iter()
            .filter(|call| !used.contains(call) && !rare(call))
            .collect();
        println!("{role:?}: {} used, {never:?} never", used.len());
        if !never.is_empty() {
            idle.push((role, never));
        }
    }
    assert!(idle.is_empty(), "calls that no machine makes: {idle:?}");
}

/// All that a machine does.
async fn life(rig: &Rig, names: &mut BTreeMap<u32, String>, pids: &mut Vec<u32>) -> MachineHandle {
    let mut look = async |handle: &MachineHandle| {
        let pid = handle.status().await.unwrap().pid;
        threads(pid, names);
        pids.push(pid);
    };
    let work = "dd if=/dev/urandom of=/root/big bs=1M count=30 2>/dev/null; sync; rm /root/big; fstrim / ; echo word > /dev/ttyS0; cat /dev/hwrng | head -c 64 | wc -c";
    let handle = rig.start("box").await;
    sh(&handle, work).await;
    look(&handle).await;
    for memory in [false, true] {
        handle.checkpoint(Some("one".into()), false, memory).await.unwrap();
    }
    sh(&handle, work).await;
    handle.pause().await.unwrap();
    handle.resume().await.unwrap();
    let first = handle.checkpoint(None, true, false).await.unwrap();
    handle.forget(&first.checkpoint.id).await.unwrap();
    look(&handle).await;
    handle.suspend().await.unwrap();
    let handle = rig.start("box").await;
    sh(&handle, work).await;
    look(&handle).await;
    // A second time, so that what changed is written into what is there.
    handle.suspend().await.unwrap();
    let handle = rig.start("box").await;
    sh(&handle, work).await;
    look(&handle).await;
    handle
}
