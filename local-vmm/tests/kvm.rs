//! What only our own monitor can do. Where KVM is not real these tests have nothing to test; `cargo xtask lab` runs them.

mod common;

use common::{Rig, sh};
use local_vmm::{ExitReason, Kind, MachineHandle, State};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Whether there is something to test.
fn real() -> bool {
    let real = Kind::of_this_host() == Kind::Kvm;
    if !real {
        println!("KVM is not real here; cargo xtask lab runs this test");
    }
    real
}

/// Counts in a file, ten times a second.
const COUNTER: &str = "nohup sh -c 'n=0; while :; do n=$((n+1)); echo $n > /run/count; sleep 0.1; done' >/dev/null 2>&1 & cat /proc/sys/kernel/random/boot_id";

async fn count(handle: &MachineHandle) -> u64 {
    sh(handle, "cat /run/count").await.0.trim().parse().unwrap()
}

/// Waits until the counter has moved on from `before`.
async fn counts_on(handle: &MachineHandle, before: u64) {
    for _ in 0..200 {
        if count(handle).await > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the counter stands still at {before}");
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cpus_a_thousand_pauses_and_a_clock_that_sleeps() {
    if !real() {
        return;
    }
    let rig = Rig::new();
    let handle = rig.start("box").await;
    assert_eq!(sh(&handle, "nproc").await.0.trim(), "2");
    sh(&handle, COUNTER).await;
    let uptime =
        async || -> f64 { sh(&handle, "cut -d' ' -f1 /proc/uptime").await.0.trim().parse().unwrap() };
    let before = uptime().await;
    handle.pause().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    handle.resume().await.unwrap();
    let slept = uptime().await - before;
    assert!(slept < 4.0, "the guest's clock went on for {slept} s while it slept");
    for _ in 0..1000 {
        handle.pause().await.unwrap();
        handle.resume().await.unwrap();
    }
    let at = count(&handle).await;
    counts_on(&handle, at).await;
    let inside: i64 = sh(&handle, "date +%s").await.0.trim().parse().unwrap();
    assert!((now() - inside).abs() <= 3, "{inside}");
    handle.stop(LONG).await.unwrap();
    assert_eq!(handle.wait_exit().await, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_sleeps_on_disk_and_goes_on() {
    if !real() {
        return;
    }
    let rig = Rig::new();
    let mut handle = rig.start("box").await;
    let boot = sh(&handle, COUNTER).await.0;
    let mut written = Vec::new();
    for _ in 0..3 {
        sh(&handle, "echo on disk > /root/file").await;
        let random = sh(&handle, "od -An -N16 -tx1 /dev/urandom").await.0;
        let at = count(&handle).await;
        let done = handle.suspend().await.unwrap();
        println!("kept: {} MiB, {} ms", done.written_bytes >> 20, done.call_us / 1000);
        written.push(done.written_bytes);
        assert_eq!(handle.wait_exit().await, ExitReason::Stopped);
        handle = rig.start("box").await;
        let status = handle.status().await.unwrap();
        println!("went on after {} ms", status.boot_ms.unwrap());
        assert_eq!(status.state, State::Running);
        // The same boot, the same programs, one step further.
        assert_eq!(sh(&handle, "cat /proc/sys/kernel/random/boot_id").await.0, boot);
        counts_on(&handle, at).await;
        let inside: i64 = sh(&handle, "date +%s").await.0.trim().parse().unwrap();
        assert!((now() - inside).abs() <= 3, "{inside}");
        assert_ne!(sh(&handle, "od -An -N16 -tx1 /dev/urandom").await.0, random);
        assert_eq!(sh(&handle, "cat /root/file").await.0, "on disk\n");
    }
    assert!(written[1] < written[0] / 2, "what did not change is written again: {written:?}");
    // Pulled the plug after going on: it boots, and does not go on from a memory that its disk has left behind.
    handle.kill();
    handle.wait_exit().await;
    let handle = rig.start("box").await;
    assert_ne!(sh(&handle, "cat /proc/sys/kernel/random/boot_id").await.0, boot);
    assert_eq!(sh(&handle, "cat /root/file").await.0, "on disk\n");
    // What is kept may be damaged: then it boots.
    handle.suspend().await.unwrap();
    let state = rig.dir.path().join("sprites/box/memory/state");
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let handle = rig.start("box").await;
    assert_eq!(sh(&handle, "cat /root/file").await.0, "on disk\n");
    handle.stop(LONG).await.unwrap();
}
