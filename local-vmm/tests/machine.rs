//! Real machines: boot, exec, checkpoint, restore, fork, pause, kill.

mod common;

use common::{Rig, exe, sh};
use local_vmm::{ExitReason, HandleError, Kind, MachineHandle, MachineStatus, State};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vmm_disk::{Volume, check};

/// Names of processes that still hold something of a machine.
fn processes(rig: &Rig) -> Vec<String> {
    let place = rig.dir.path().to_string_lossy().into_owned();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&place))
        .collect()
}

async fn gone(rig: &Rig) {
    let give_up = tokio::time::Instant::now() + Duration::from_secs(20);
    while !processes(rig).is_empty() {
        assert!(tokio::time::Instant::now() < give_up, "still there: {:?}", processes(rig));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life() {
    let rig = Rig::new();
    let handle = rig.start("box").await;
    let status = handle.status().await.unwrap();
    assert_eq!(status.state, State::Running);
    println!("boot {} ms, {} MiB", status.boot_ms.unwrap(), status.memory_bytes >> 20);
    let (text, code) = sh(&handle, "hostname; id -un; echo $SPRITE_URL; exit 7").await;
    assert_eq!((text.lines().next(), code), (Some("box"), 7), "{text}");

    // A file, a checkpoint, the file's end.
    assert_eq!(
        sh(&handle, "echo precious > /root/file; dd if=/dev/urandom of=/root/big bs=1M count=20 2>/dev/null")
            .await
            .1,
        0
    );
    let done = handle.checkpoint(Some("with the file".into()), false, false).await.unwrap();
    println!("checkpoint: pause {} us, call {} us", done.pause_us, done.call_us);
    assert!(done.froze, "the layers were not switched while the file system was at rest");
    assert_eq!(
        (done.checkpoint.id.as_str(), done.checkpoint.comment.as_deref()),
        ("v0", Some("with the file"))
    );
    assert_eq!(sh(&handle, "rm /root/file; sync; test ! -e /root/file").await.1, 0);

    // Memory is for machines on KVM; asked elsewhere, nothing is stopped and no layer is left behind.
    if Kind::of_this_host() == Kind::Emulated {
        let refused = handle.checkpoint(None, false, true).await.unwrap_err();
        assert!(refused.to_string().contains("cannot be kept"), "{refused}");
    }

    // Somebody inside rings the disk's bell all the time: the checkpoint is made, and tells that it was not at rest.
    let thief = "(while :; do read name < /sys/block/vda/serial; done) 2>/dev/null >/dev/null & echo $!";
    let (pid, _) = sh(&handle, thief).await;
    assert!(!handle.checkpoint(None, true, false).await.unwrap().froze);
    let pid = pid.trim();
    assert_eq!(sh(&handle, &format!("kill {pid}; while [ -e /proc/{pid} ]; do sleep 0.01; done")).await.1, 0);

    walls(&rig, &status);

    // A second process must not run on the same disk, and finds so.
    let second = MachineHandle::spawn(exe(), &rig.spec("box")).await;
    assert!(matches!(second, Err(HandleError::Start(_))));

    // Paused it does not answer; resumed it knows the time.
    handle.pause().await.unwrap();
    assert_eq!(handle.status().await.unwrap().state, State::Paused);
    let paused = handle.checkpoint(None, true, false).await.unwrap();
    assert!(paused.froze && paused.checkpoint.is_auto);
    assert_eq!(handle.status().await.unwrap().state, State::Paused);
    handle.resume().await.unwrap();
    let (text, _) = sh(&handle, "date +%s").await;
    let inside: i64 = text.trim().parse().unwrap();
    assert!((jiff_seconds() - inside).abs() <= 3, "{inside}");

    // Adopted by another server.
    let adopted = MachineHandle::adopt(handle.run_dir()).await.unwrap().unwrap();
    assert_eq!(adopted.status().await.unwrap().pid, status.pid);

    handle.stop(Duration::from_secs(30)).await.unwrap();
    assert_eq!(handle.wait_exit().await, ExitReason::Stopped);
    gone(&rig).await;
    assert!(MachineHandle::adopt(handle.run_dir()).await.unwrap().is_none());
    assert!(matches!(handle.status().await, Err(HandleError::Gone)));
    assert!(check(&rig.volume("box"), false).unwrap().is_clean());

    // Back to the checkpoint, and a fork of it beside.
    rig.store.fork(&rig.volume("box"), "v0", &rig.volume("fork")).unwrap();
    let restored = Volume::open(&rig.volume("box")).unwrap().restore("v0").unwrap();
    assert!(restored.undo.is_some());
    let (one, two) = tokio::join!(rig.start("box"), rig.start("fork"));
    assert_eq!(sh(&one, "cat /root/file").await, ("precious\n".into(), 0));
    assert_eq!(sh(&two, "cat /root/file; hostname").await, ("precious\nfork\n".into(), 0));
    tokio::join!(async { one.stop(Duration::from_secs(30)).await.unwrap() }, async {
        two.stop(Duration::from_secs(30)).await.unwrap();
    });
    gone(&rig).await;
}

/// What a hostile guest would find after breaking out of a device.
fn walls(rig: &Rig, machine: &MachineStatus) {
    let children = |pid: u32| {
        let told = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        told.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    };
    let qemu = children(machine.pid);
    assert_eq!(qemu.len(), usize::from(machine.kind == Kind::Emulated));
    for pid in qemu.iter().chain([&machine.pid]) {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap();
            for line in
                ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"]
            {
                assert!(status.contains(line), "{line} is not in {status}");
            }
        }
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts"] {
            let its = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_ne!(its(&pid.to_string()), its("self"), "it has the host's {kind} namespace");
        }
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(cores.contains(" 0 "), "{limits}");
    }
    // On KVM its root has nothing but the way to its own folders and the kernel.
    if machine.kind == Kind::Kvm {
        let root = PathBuf::from(format!("/proc/{}/root", machine.pid));
        let names = |path: &Path| -> BTreeSet<String> {
            path.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let own = [rig.dir.path().to_owned(), rig.image.kernel(), rig.image.modules()];
        let first = |path: &PathBuf| path.iter().nth(1).unwrap().to_str().unwrap().to_owned();
        assert_eq!(names(&root), own.iter().map(first).collect());
        let inside = root.join(rig.dir.path().strip_prefix("/").unwrap());
        assert_eq!(names(&inside), ["run", "sprites"].map(str::to_owned).into());
    }
}

fn jiff_seconds() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_machine_leaves_nothing_but_its_flushed_disk() {
    let rig = Rig::new();
    let handle = rig.start("box").await;
    assert_eq!(sh(&handle, "echo kept > /root/kept; sync").await.1, 0);
    let done = handle.checkpoint(None, false, false).await.unwrap();
    handle.kill();
    assert_eq!(handle.wait_exit().await, ExitReason::Killed);
    gone(&rig).await;
    assert!(check(&rig.volume("box"), false).unwrap().is_clean());
    assert_eq!(rig.store.checkpoints(&rig.volume("box")).unwrap(), [done.checkpoint]);

    let handle = rig.start("box").await;
    assert_eq!(sh(&handle, "cat /root/kept").await, ("kept\n".into(), 0));
    // A guest that kills its agent takes its machine down, and the reason is told.
    let _ = tokio::time::timeout(Duration::from_secs(20), sh(&handle, "echo c > /proc/sysrq-trigger")).await;
    assert!(matches!(handle.wait_exit().await, ExitReason::Failed(why) if why.contains("by itself")));
    gone(&rig).await;
}
