//! Full disks, failing disks, damaged files, wrong calls.

use super::*;
use crate::host::{Host, HostFile, RealHost};
use crate::{Error, NewCheckpoint, Volume, check};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const BLOCKS: u64 = 16;

/// A host whose changes begin to fail after a number of them.
#[derive(Debug)]
struct Failing {
    left: AtomicI64,
    errno: i32,
    /// Bytes that may be taken at each look.
    room: AtomicU64,
}

impl Failing {
    fn new(errno: i32) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(i64::MAX), errno, room: AtomicU64::new(u64::MAX) })
    }

    fn after(&self, changes: i64) {
        self.left.store(changes, Ordering::SeqCst);
    }

    fn pass(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(self.errno))
        }
    }
}

impl Host for Failing {
    fn create(&self, path: &Path, size: u64) -> io::Result<HostFile> {
        self.pass()?;
        RealHost.create(path, size)
    }
    fn open(&self, path: &Path) -> io::Result<HostFile> {
        RealHost.open(path)
    }
    fn write(&self, file: &HostFile, data: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.pass()?;
        RealHost.write(file, data, offset)
    }
    fn punch(&self, file: &HostFile, offset: u64, len: u64) -> io::Result<()> {
        RealHost.punch(file, offset, len)
    }
    fn sync(&self, file: &HostFile) -> io::Result<()> {
        self.pass()?;
        RealHost.sync(file)
    }
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.pass()?;
        RealHost.replace(path, content)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealHost.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealHost.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        RealHost.sync_dir(path)
    }
    fn room(&self, _file: &HostFile) -> io::Result<u64> {
        Ok(self.room.load(Ordering::SeqCst))
    }
}

fn first_bytes(volume: &Volume) -> Vec<u8> {
    (0..BLOCKS)
        .map(|block| {
            let mut byte = [0];
            volume.read_at(&mut byte, block * BLOCK).unwrap();
            byte[0]
        })
        .collect()
}

#[test]
fn a_full_disk_fails_the_write_and_nothing_else() {
    let rig = Rig::new();
    let dir = rig.create("a", BLOCKS);
    let host = Failing::new(libc::ENOSPC);
    let volume = Volume::open_with(&dir, host.clone()).unwrap();
    volume.write_at(&[1; BLOCK as usize], 0).unwrap();
    let before = first_bytes(&volume);
    host.after(0);
    let error = volume.write_at(&[2; BLOCK as usize], BLOCK).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    assert_eq!(first_bytes(&volume), before);
    host.after(i64::MAX);
    volume.write_at(&[2; BLOCK as usize], BLOCK).unwrap();
    volume.flush().unwrap();
}

#[test]
fn what_is_kept_free_for_others_is_not_taken() {
    let rig = Rig::new();
    let dir = rig.create("a", BLOCKS);
    let host = Failing::new(libc::ENOSPC);
    host.room.store(2 * BLOCK, Ordering::SeqCst);
    let volume = Volume::open_with(&dir, host.clone()).unwrap();
    volume.write_at(&[1; 2 * BLOCK as usize], 0).unwrap();
    host.room.store(0, Ordering::SeqCst);
    let error = volume.write_at(&[1; BLOCK as usize], 4 * BLOCK).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    // What it has it can change, and what it has written lasts.
    volume.write_at(&[2; BLOCK as usize], 0).unwrap();
    volume.flush().unwrap();
    host.room.store(BLOCK, Ordering::SeqCst);
    volume.write_at(&[1; BLOCK as usize], 4 * BLOCK).unwrap();
}

#[test]
fn a_damaged_neighbour_holds_up_only_those_who_share_with_it() {
    let rig = Rig::new();
    let (alone, origin) = (rig.create("alone", BLOCKS), rig.create("origin", BLOCKS));
    let volume = Volume::open(&origin).unwrap();
    volume.write_at(&[1; BLOCK as usize], 0).unwrap();
    let checkpoint = volume.checkpoint(NewCheckpoint::default()).unwrap();
    drop(volume);
    let fork = rig.volume("fork");
    rig.store.fork(&origin, &checkpoint.id, &fork).unwrap();
    std::fs::write(fork.join("manifest.json"), "{").unwrap();
    rig.store.reclaim(&alone).unwrap();
    rig.store.tree(&alone).unwrap();
    assert!(rig.store.reclaim(&origin).is_err(), "nobody knows what the fork reaches");
}

#[test]
fn a_checkpoint_that_fails_at_any_point_leaves_the_disk_whole() {
    for left in 0..20 {
        let rig = Rig::new();
        let dir = rig.create("a", BLOCKS);
        let host = Failing::new(libc::ENOSPC);
        let volume = Volume::open_with(&dir, host.clone()).unwrap();
        volume.write_at(&[7; 3 * BLOCK as usize], 0).unwrap();
        let kept = volume.checkpoint(NewCheckpoint::default()).unwrap();
        volume.write_at(&[8; BLOCK as usize], BLOCK).unwrap();
        let before = first_bytes(&volume);
        host.after(left);
        let made = volume.checkpoint(NewCheckpoint::default());
        host.after(i64::MAX);
        assert_eq!(first_bytes(&volume), before);
        let trusted = volume.flush().is_ok();
        // A volume that cannot be trusted any more says so; opened anew it is as it was at its last flush.
        if trusted && made.is_err() {
            volume.abort_seal().unwrap();
            volume.checkpoint(NewCheckpoint::default()).unwrap();
        }
        drop(volume);
        let volume = Volume::open(&dir).unwrap();
        assert_eq!(first_bytes(&volume), before);
        assert!(volume.checkpoints().iter().any(|checkpoint| checkpoint.id == kept.id));
        drop(volume);
        assert!(check(&dir, false).unwrap().is_clean());
        assert_eq!(content(&dir, &kept.id)[BLOCK as usize], 7);
    }
}

#[test]
fn after_a_failed_flush_no_flush_succeeds() {
    let rig = Rig::new();
    let host = Failing::new(libc::EIO);
    let volume = Volume::open_with(&rig.create("a", BLOCKS), host.clone()).unwrap();
    volume.write_at(&[1; BLOCK as usize], 0).unwrap();
    host.after(0);
    assert!(matches!(volume.flush(), Err(Error::Io { .. })));
    host.after(i64::MAX);
    assert!(matches!(volume.flush(), Err(Error::Poisoned)));
    assert!(matches!(volume.checkpoint(NewCheckpoint::default()), Err(Error::Poisoned)));
}

#[test]
fn wrong_calls_are_told() {
    let rig = Rig::new();
    let dir = rig.create("a", BLOCKS);
    let volume = Volume::open(&dir).unwrap();
    assert!(matches!(Volume::open(&dir), Err(Error::InUse(_))));
    assert!(matches!(check(&dir, false), Err(Error::InUse(_))));
    assert!(matches!(rig.store.destroy(&dir), Err(Error::InUse(_))));
    assert!(matches!(Volume::open(&rig.volume("none")), Err(Error::NoVolume(_))));
    assert!(matches!(volume.read_at(&mut [0; 2], BLOCKS * BLOCK - 1), Err(Error::OutOfRange { .. })));
    assert!(matches!(volume.write_at(&[0; 2], u64::MAX), Err(Error::OutOfRange { .. })));
    assert!(matches!(volume.discard(u64::MAX - 1, 5), Err(Error::OutOfRange { .. })));
    assert!(matches!(volume.restore("v9"), Err(Error::NoCheckpoint(_))));
    assert!(matches!(volume.restore("Current"), Err(Error::IsCurrent)));
    assert!(matches!(volume.forget("Current"), Err(Error::IsCurrent)));
    assert!(matches!(volume.flip(), Err(Error::Order(_))));
    assert!(matches!(volume.finish_seal(NewCheckpoint::default()), Err(Error::Order(_))));
    volume.prepare_seal().unwrap();
    assert!(matches!(volume.prepare_seal(), Err(Error::Order(_))));
    assert!(matches!(volume.restore("v0"), Err(Error::Order(_))));
    volume.abort_seal().unwrap();
    let comment = Some("x".repeat(5000));
    let long = NewCheckpoint { comment, ..NewCheckpoint::default() };
    assert!(matches!(volume.checkpoint(long), Err(Error::CommentTooLong(5000))));
    volume.checkpoint(NewCheckpoint::default()).unwrap();
    let base = rig.dir.path().join("base");
    assert!(matches!(rig.store.create(&dir, &base, BLOCKS * BLOCK), Err(Error::Exists(_))));
    assert!(matches!(rig.store.create(&rig.volume("b"), &base, BLOCK), Err(Error::BadSize { .. })));
    assert!(matches!(rig.store.create(&rig.volume("b"), &base, 100_001), Err(Error::BadSize { .. })));
    assert!(matches!(rig.store.fork(&dir, "v7", &rig.volume("b")), Err(Error::NoCheckpoint(_))));
    assert!(!rig.volume("b").exists());
    drop(volume);
    rig.store.destroy(&dir).unwrap();
    assert!(!dir.exists());
    assert_eq!(
        fs::read_dir(rig.dir.path().join("sprites")).unwrap().count(),
        2,
        "the sprite's folder and the lock"
    );
}

#[test]
fn damage_is_told_and_caches_are_made_anew() {
    let rig = Rig::new();
    let dir = rig.create("a", BLOCKS);
    let volume = Volume::open(&dir).unwrap();
    for n in 0..40u8 {
        volume.write_at(&[n; BLOCK as usize], u64::from(n) % BLOCKS * BLOCK).unwrap();
        volume.checkpoint(NewCheckpoint::default()).unwrap();
    }
    drop(volume);
    let before = first_bytes(&Volume::open(&dir).unwrap());
    let cache = fs::read_dir(dir.join("maps")).unwrap().flatten().next().unwrap().path();
    let good = fs::read(&cache).unwrap();
    for at in (0..good.len()).step_by(good.len() / 50) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&cache, &bad).unwrap();
        assert_eq!(first_bytes(&Volume::open(&dir).unwrap()), before);
    }
    fs::write(&cache, &good[..good.len() / 2]).unwrap();
    assert!(!check(&dir, false).unwrap().is_clean());
    let repaired = check(&dir, true).unwrap();
    assert!(repaired.is_clean() && repaired.repaired.len() == 1, "{repaired:?}");

    let layer = fs::read_dir(dir.join("layers"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|kind| kind == "data"))
        .unwrap();
    let away = layer.with_extension("away");
    fs::rename(&layer, &away).unwrap();
    assert!(matches!(Volume::open(&dir), Err(Error::Damaged { .. })));
    let report = check(&dir, true).unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("missing")), "{report:?}");
    fs::rename(&away, &layer).unwrap();

    let path = dir.join("manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    let spoiled = [
        String::new(),
        "{".into(),
        "[]".into(),
        good.replace("\"format\": 1", "\"format\": 9"),
        good.replace("\"head\"", "\"hat\""),
        good.replace("\"v3\"", "\"../v3\""),
        good.replace("\"v3\"", "\"v4\""),
        good.replacen("\"size\": 65536", "\"size\": 65537", 1),
        good.replacen("\"size\": 65536", "\"size\": 18446744073709551615", 1),
    ];
    for text in spoiled {
        fs::write(&path, &text).unwrap();
        let error = Volume::open(&dir).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. } | Error::Format { .. }), "{error}");
        assert!(!check(&dir, false).unwrap().is_clean());
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(first_bytes(&Volume::open(&dir).unwrap()), before);
    assert!(check(&dir, false).unwrap().is_clean());
}

#[test]
fn exports_open_elsewhere() {
    let rig = Rig::new();
    let dir = rig.create("a", 64);
    let volume = Volume::open(&dir).unwrap();
    volume.write_at(&[1; 5 * BLOCK as usize], 11 * BLOCK).unwrap();
    volume.discard(0, 2 * BLOCK).unwrap();
    volume.checkpoint(NewCheckpoint::default()).unwrap();
    volume.write_at(&[2; BLOCK as usize], 11 * BLOCK).unwrap();
    volume.flush().unwrap();
    let raw = rig.dir.path().join("v0.raw");
    let qcow2 = rig.dir.path().join("v0.qcow2");
    let mut last = (0, 0);
    crate::export(&dir, "v0", &raw, Format::Raw, |done, all| last = (done, all)).unwrap();
    assert!(last.0 == last.1 && last.1 > 0);
    crate::export(&dir, "v0", &qcow2, Format::Qcow2, |_, _| {}).unwrap();
    assert!(matches!(crate::export(&dir, "v0", &raw, Format::Raw, |_, _| {}), Err(Error::Export { .. })));
    assert!(matches!(
        crate::export(&dir, crate::CURRENT, &rig.dir.path().join("c"), Format::Raw, |_, _| {}),
        Err(Error::InUse(_))
    ));
    assert_eq!(fs::read(&raw).unwrap()[11 * BLOCK as usize], 1);
    // The reference reader, which `cargo xtask test` installs.
    let run = |arguments: &[&str]| {
        let done =
            std::process::Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (raw, qcow2) = (raw.to_str().unwrap(), qcow2.to_str().unwrap());
    run(&["check", "-f", "qcow2", qcow2]);
    run(&["compare", "-f", "raw", "-F", "qcow2", raw, qcow2]);
}
