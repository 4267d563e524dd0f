//! Real machines: boot, exec, checkpoint, restore, fork, pause, kill.

use crate::rig::{Rig, exe, sh};
use local_vmm::{ExitReason, HandleError, Kind, MachineHandle, MachineStatus, NetSpec, State};
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

/// What programs free inside comes back to the host, without anybody asking.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_freed_inside_comes_back() {
    const MIB: u64 = 1 << 20;
    let rig = Rig::new();
    let handle = rig.start("box").await;
    let held = async || handle.status().await.unwrap().memory_bytes;
    let before = held().await;
    assert_eq!(sh(&handle, "head -c 200M /dev/zero > /dev/shm/x").await.1, 0);
    let most = held().await;
    assert!(most >= before + 150 * MIB, "{} MiB, then {} MiB", before / MIB, most / MIB);
    assert_eq!(sh(&handle, "rm /dev/shm/x").await.1, 0);
    let give_up = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let now = held().await;
        if now + 100 * MIB <= most {
            println!("{} MiB at rest, {} MiB in use, {} MiB freed", before / MIB, most / MIB, now / MIB);
            break;
        }
        assert!(tokio::time::Instant::now() < give_up, "{} MiB, then {} MiB", most / MIB, now / MIB);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It can be used again, and holds what is put there.
    let again = "head -c 200M /dev/urandom > /dev/shm/x && cp /dev/shm/x /root/x && cmp /root/x /dev/shm/x";
    assert_eq!(sh(&handle, again).await.1, 0);
    handle.stop(Duration::from_secs(30)).await.unwrap();
}

/// A card on a cable that this test holds.
#[tokio::test(flavor = "multi_thread")]
async fn frames_pass_in_both_directions() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::new();
    let mut spec = rig.spec("box");
    std::fs::create_dir_all(spec.inside()).unwrap();
    let socket = spec.inside().join("net.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    spec.net = Some(NetSpec { socket, mac: [2, 0, 0, 0, 0, 7], ipv6: false });
    let handle = MachineHandle::spawn(exe(), &spec).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    handle.wait_ready(crate::rig::BOOT).await.unwrap();
    assert_eq!(sh(&handle, "cat /sys/class/net/eth0/address").await.0, "02:00:00:00:00:07\n");
    // Answers one frame of a kind that nothing else uses (IEEE 802, for experiments) with its payload turned round.
    let echo = "echo 0x1003 > /sys/class/net/eth0/flags; python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind((\"eth0\", 0x88b5))
s.send(b\"\\xff\" * 6 + b\"\\2\\0\\0\\0\\0\\7\\x88\\xb5\" + b\"ready\" * 10)
f = s.recv(2000)
s.send(f[6:12] + f[:6] + f[12:14] + f[:13:-1])
'";
    let talk = async {
        let mut send_done = false;
        loop {
            let len = peer.read_u32().await.unwrap() as usize;
            assert!((14..=1514).contains(&len), "{len}");
            let mut frame = vec![0; len];
            peer.read_exact(&mut frame).await.unwrap();
            // The kernel inside has words of its own.
            if frame[12..14] != [0x88, 0xb5] {
                continue;
            }
            if send_done {
                return frame;
            }
            let head = [2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 8, 0x88, 0xb5];
            let payload: Vec<u8> = (0..1500u32).map(|at| at as u8).collect();
            peer.write_u32(1514).await.unwrap();
            peer.write_all(&[&head[..], &payload].concat()).await.unwrap();
            send_done = true;
        }
    };
    let (frame, (_, code)) =
        tokio::time::timeout(crate::rig::BOOT, async { tokio::join!(talk, sh(&handle, echo)) })
            .await
            .expect("no frame comes back");
    assert_eq!(code, 0);
    let turned: Vec<u8> = (0..1500u32).rev().map(|at| at as u8).collect();
    assert_eq!((&frame[..6], frame.len()), (&[2, 0, 0, 0, 0, 8][..], 1514));
    assert!(frame[14..] == turned);
    // Without its network the machine lives on.
    drop(peer);
    assert_eq!(sh(&handle, "true").await.1, 0);
    handle.stop(Duration::from_secs(30)).await.unwrap();
}
