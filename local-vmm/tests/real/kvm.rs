//! What only our own monitor can do. Where KVM is not real these tests have nothing to test; `cargo xtask lab` runs them.

use crate::rig::{Rig, sh, words};
use local_vmm::{ExitReason, Kind, MachineHandle, MachineSpec, State, kvm};
use std::time::Duration;
use vmm_disk::Volume;

const LONG: Duration = Duration::from_secs(180);

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
    loop {
        let told = sh(handle, "cat /run/count").await.0;
        // The file is empty for the moment between its opening and its writing.
        if !told.trim().is_empty() {
            return told.trim().parse().unwrap();
        }
    }
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
    for round in 0..1000 {
        for done in [handle.pause().await, handle.resume().await] {
            if let Err(error) = done {
                panic!("{error} in round {round}{}", words(&handle));
            }
        }
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
        // The plug is pulled below, and what was only in the guest's memory would be gone with it.
        sh(&handle, "echo on disk > /root/file; sync").await;
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

/// Another sprite that goes on from a checkpoint's memory.
fn twin(rig: &Rig, id: &str, name: &str) {
    rig.store.fork(&rig.volume("box"), id, &rig.volume(name)).unwrap();
    let from = MachineSpec::memory_of(&rig.spec("box").memory, id);
    kvm::share(&from, &rig.spec(name).memory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_with_memory_is_restored_and_forked() {
    if !real() {
        return;
    }
    let rig = Rig::new();
    let handle = rig.start("box").await;
    let boot = sh(&handle, COUNTER).await.0;
    sh(&handle, "echo before > /root/file; sync; echo unflushed > /root/late").await;
    let done = handle.checkpoint(None, false, true).await.unwrap();
    println!("memory: {} MiB, {} ms", done.memory_bytes.unwrap() >> 20, done.call_us / 1000);
    let id = done.checkpoint.id;
    let at = count(&handle).await;
    counts_on(&handle, at).await;
    sh(&handle, "echo after > /root/file").await;
    // Back to it, with all that ran.
    handle.stop(LONG).await.unwrap();
    let spec = rig.spec("box");
    Volume::open(&spec.volume).unwrap().restore(&id).unwrap();
    kvm::share(&MachineSpec::memory_of(&spec.memory, &id), &spec.memory).unwrap();
    let handle = rig.start("box").await;
    assert_eq!(sh(&handle, "cat /proc/sys/kernel/random/boot_id").await.0, boot);
    assert_eq!(sh(&handle, "cat /root/file /root/late").await.0, "before\nunflushed\n");
    let back = count(&handle).await;
    counts_on(&handle, back).await;
    // A fork of it beside it: the same programs, another machine.
    twin(&rig, &id, "twin");
    let other = rig.start("twin").await;
    assert_eq!(sh(&other, "cat /proc/sys/kernel/random/boot_id").await.0, boot);
    assert_eq!(sh(&other, "hostname; cat /etc/hostname; grep -c twin /etc/hosts").await.0, "twin\ntwin\n1\n");
    let both = |command: &'static str| async { (sh(&handle, command).await.0, sh(&other, command).await.0) };
    for different in ["cat /etc/machine-id", "od -An -N16 -tx1 /dev/urandom"] {
        let (one, two) = both(different).await;
        assert!(one != two && one.trim().len() >= 32, "{different}: {one} {two}");
    }
    for one in [&handle, &other] {
        let at = count(one).await;
        counts_on(one, at).await;
    }
    sh(&other, "echo other > /root/file").await;
    assert_eq!(sh(&handle, "cat /root/file").await.0, "before\n");
    // What the fork keeps is its own, and leaves the checkpoint as it is.
    let at = count(&other).await;
    other.suspend().await.unwrap();
    let other = rig.start("twin").await;
    counts_on(&other, at).await;
    assert_eq!(sh(&other, "cat /root/file; hostname").await.0, "other\ntwin\n");
    twin(&rig, &id, "third");
    let third = rig.start("third").await;
    assert_eq!(sh(&third, "cat /root/file; hostname").await.0, "before\nthird\n");
    for one in [handle, other, third] {
        one.stop(LONG).await.unwrap();
    }
    // Twenty at once, from one memory.
    let names: Vec<String> = (0..20).map(|number| format!("many-{number}")).collect();
    names.iter().for_each(|name| twin(&rig, &id, name));
    let begun = std::time::Instant::now();
    let all = futures::future::join_all(names.iter().map(|name| rig.start(name))).await;
    println!("twenty machines run after {} ms", begun.elapsed().as_millis());
    let told = futures::future::join_all(all.iter().map(|one| sh(one, "hostname"))).await;
    let told: Vec<String> = told.into_iter().map(|(text, _)| text.trim().to_owned()).collect();
    assert_eq!(told, names);
    all.iter().for_each(MachineHandle::kill);
    futures::future::join_all(all.iter().map(MachineHandle::wait_exit)).await;
}
