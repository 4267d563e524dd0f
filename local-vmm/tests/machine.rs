//! Real machines: boot, exec, checkpoint, restore, fork, pause, kill.

mod common;

use common::{Rig, exe, sh};
use local_vmm::{ExitReason, HandleError, Kind, MachineHandle, MachineStatus, NetSpec, State};
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

    walls(&status);

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
fn walls(machine: &MachineStatus) {
    let (kind, machine) = (machine.kind, machine.pid);
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let net = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    if kind == Kind::Kvm {
        assert!(status(machine).contains("NoNewPrivs:\t1"), "{}", status(machine));
        return;
    }
    let children = std::fs::read_to_string(format!("/proc/{machine}/task/{machine}/children")).unwrap();
    let qemu: u32 =
        children.split_whitespace().next().expect("QEMU is the main thread's child").parse().unwrap();
    for pid in [machine, qemu] {
        assert!(status(pid).contains("NoNewPrivs:\t1"), "{}", status(pid));
    }
    assert!(status(qemu).contains("Seccomp:\t2"), "{}", status(qemu));
    assert_ne!(net(qemu), net(machine), "QEMU has no network of its own");
    let limits = std::fs::read_to_string(format!("/proc/{qemu}/limits")).unwrap();
    assert!(
        limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")),
        "{limits}"
    );
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
    std::fs::create_dir_all(&spec.run_dir).unwrap();
    let socket = spec.run_dir.join("net.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    spec.net = Some(NetSpec { socket, mac: [2, 0, 0, 0, 0, 7] });
    let handle = MachineHandle::spawn(exe(), &spec).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    handle.wait_ready(common::BOOT).await.unwrap();
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
        tokio::time::timeout(common::BOOT, async { tokio::join!(talk, sh(&handle, echo)) })
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
