//! Random work on volumes and forks against plain arrays, and exact accounting against counting block by block.

use super::*;
use crate::manifest::Manifest;
use crate::map::Slot;
use crate::{CURRENT, NewCheckpoint, Volume, chain, check, layer};
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use uuid::Uuid;

const BLOCKS: u64 = 24;
const SIZE: u64 = BLOCKS * BLOCK;

#[derive(Clone, Debug)]
enum Op {
    Write {
        offset: u64,
        len: u64,
        value: u8,
    },
    Discard {
        offset: u64,
        len: u64,
    },
    Zero {
        offset: u64,
        len: u64,
    },
    Flush,
    Checkpoint,
    /// A checkpoint in its three steps with a write in each gap.
    Live {
        offset: u64,
        value: u8,
    },
    Aborted {
        flipped: bool,
    },
    Restore(prop::sample::Index),
    Forget(prop::sample::Index),
    Reclaim,
    Fork(prop::sample::Index),
    Reopen,
    /// Goes on with another of the volumes.
    Switch(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let whole = (0..BLOCKS, 1..6u64).prop_map(|(at, len)| (at * BLOCK, len * BLOCK));
    let ragged = (0..SIZE, 1..3 * BLOCK);
    let range = prop_oneof![3 => whole, 2 => ragged].prop_map(|(at, len)| (at, len.min(SIZE - at)));
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (range.clone(), 1..255u8).prop_map(|((offset, len), value)| Op::Write { offset, len, value }),
        4 => range.clone().prop_map(|(offset, len)| Op::Discard { offset, len }),
        2 => range.prop_map(|(offset, len)| Op::Zero { offset, len }),
        2 => Just(Op::Flush),
        3 => Just(Op::Checkpoint),
        2 => (0..SIZE - 9, 1..255u8).prop_map(|(offset, value)| Op::Live { offset, value }),
        1 => any::<bool>().prop_map(|flipped| Op::Aborted { flipped }),
        2 => index().prop_map(Op::Restore),
        2 => index().prop_map(Op::Forget),
        2 => Just(Op::Reclaim),
        1 => index().prop_map(Op::Fork),
        2 => Just(Op::Reopen),
        2 => index().prop_map(Op::Switch),
    ]
}

struct Disk {
    dir: PathBuf,
    live: Vec<u8>,
    saved: Vec<(String, Vec<u8>)>,
}

fn zero(live: &mut [u8], offset: u64, len: u64) {
    live[offset as usize..(offset + len) as usize].fill(0);
}

fn run(ops: Vec<Op>) {
    let rig = Rig::new();
    let mut live = base();
    live.resize(SIZE as usize, 0);
    let mut disks = vec![Disk { dir: rig.create("a", BLOCKS), live, saved: Vec::new() }];
    let mut now = 0;
    let mut volume = Volume::open(&disks[0].dir).unwrap();
    for op in ops {
        let forks = disks.len();
        let disk = &mut disks[now];
        match op {
            Op::Write { offset, len, value } => {
                volume.write_at(&vec![value; len as usize], offset).unwrap();
                disk.live[offset as usize..(offset + len) as usize].fill(value);
            }
            Op::Discard { offset, len } => {
                volume.discard(offset, len).unwrap();
                let (start, end) = (offset.next_multiple_of(BLOCK), (offset + len) / BLOCK * BLOCK);
                if start < end {
                    zero(&mut disk.live, start, end - start);
                }
            }
            Op::Zero { offset, len } => {
                volume.write_zeroes(offset, len).unwrap();
                zero(&mut disk.live, offset, len);
            }
            Op::Flush => volume.flush().unwrap(),
            Op::Checkpoint => {
                let made = volume.checkpoint(NewCheckpoint::default()).unwrap();
                disk.saved.push((made.id, disk.live.clone()));
            }
            Op::Live { offset, value } => {
                let write = |live: &mut [u8], at: u64| {
                    volume.write_at(&[value; 3], offset + at).unwrap();
                    live[(offset + at) as usize..(offset + at + 3) as usize].fill(value);
                };
                volume.prepare_seal().unwrap();
                write(&mut disk.live, 0);
                volume.flip().unwrap();
                let saved = disk.live.clone();
                write(&mut disk.live, 3);
                volume.flush().unwrap();
                write(&mut disk.live, 6);
                let made = volume.finish_seal(NewCheckpoint::default()).unwrap();
                disk.saved.push((made.id, saved));
            }
            Op::Aborted { flipped } => {
                volume.prepare_seal().unwrap();
                if flipped {
                    volume.flip().unwrap();
                }
                volume.abort_seal().unwrap();
            }
            Op::Restore(index) if !disk.saved.is_empty() => {
                let (id, content) = index.get(&disk.saved).clone();
                let before = std::mem::replace(&mut disk.live, content);
                if let Some(undo) = volume.restore(&id).unwrap().undo {
                    disk.saved.push((undo, before));
                }
            }
            Op::Forget(index) if !disk.saved.is_empty() => {
                let (id, _) = disk.saved.remove(index.index(disk.saved.len()));
                volume.forget(&id).unwrap();
            }
            Op::Reclaim => {
                rig.store.reclaim(&disk.dir).unwrap();
                nothing_left(&disks[now].dir, &disks);
            }
            Op::Fork(index) if !disk.saved.is_empty() && forks < 4 => {
                let (id, live) = index.get(&disk.saved).clone();
                let dir = rig.volume(&format!("fork{forks}"));
                rig.store.fork(&disk.dir, &id, &dir).unwrap();
                disks.push(Disk { dir, live, saved: Vec::new() });
            }
            Op::Reopen => {
                volume.flush().unwrap();
                drop(volume);
                volume = Volume::open(&disk.dir).unwrap();
            }
            Op::Switch(index) => {
                now = index.index(forks);
                volume.flush().unwrap();
                drop(volume);
                volume = Volume::open(&disks[now].dir).unwrap();
            }
            Op::Restore(_) | Op::Forget(_) | Op::Fork(_) => {}
        }
        let mut found = vec![0; SIZE as usize];
        volume.read_at(&mut found, 0).unwrap();
        assert!(found == disks[now].live, "the live disk differs");
    }
    volume.flush().unwrap();
    drop(volume);
    for disk in &disks {
        for (id, saved) in &disk.saved {
            assert!(content(&disk.dir, id) == *saved, "checkpoint {id} differs");
        }
        exact_bytes(&rig.store, &disk.dir, &disks);
        let report = check(&disk.dir, false).unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

/// For each top of each volume, which layer's block it sees at each number; tops of `dir` come first.
fn sights(dir: &Path, disks: &[Disk]) -> Vec<(bool, Vec<Option<Uuid>>)> {
    let mut out = Vec::new();
    for own in [true, false] {
        for disk in disks.iter().filter(|disk| (disk.dir == dir) == own) {
            let manifest = Manifest::load(&disk.dir).unwrap();
            let slots = chain::slots(&manifest);
            let tops = manifest.checkpoints.iter().map(|entry| entry.layer).chain([manifest.top()]);
            for top in tops {
                let map = chain::build_plain(&disk.dir, &manifest, &slots, top).unwrap();
                let seen = |block| map.get(block).index().map(|index| manifest.layers[index].id);
                out.push((own, (0..BLOCKS).map(seen).collect()));
            }
        }
    }
    out
}

fn exact_bytes(store: &Store, dir: &Path, disks: &[Disk]) {
    let manifest = Manifest::load(dir).unwrap();
    let sights = sights(dir, disks);
    let mut count: HashMap<(Uuid, usize), usize> = HashMap::new();
    for (_, seen) in &sights {
        for (block, layer) in seen.iter().enumerate() {
            if let Some(layer) = layer {
                *count.entry((*layer, block)).or_default() += 1;
            }
        }
    }
    let tree = store.tree(dir).unwrap();
    for (node, (own, seen)) in tree.nodes.iter().zip(&sights) {
        assert!(own);
        let held =
            seen.iter().enumerate().filter_map(|(block, layer)| Some((layer.as_ref().copied()?, block)));
        let logical = held.clone().count() as u64 * BLOCK;
        let base = |id| manifest.layer(id).is_some_and(|layer| layer.base);
        let alone = held.filter(|place| !base(place.0) && count[place] == 1).count() as u64 * BLOCK;
        assert_eq!(
            (node.logical, node.exclusive, node.shared),
            (logical, alone, logical - alone),
            "{}",
            node.id
        );
    }
    assert_eq!(tree.nodes.last().unwrap().id, CURRENT);
}

/// Sealed layers hold exactly what somebody sees.
fn nothing_left(dir: &Path, disks: &[Disk]) {
    let manifest = Manifest::load(dir).unwrap();
    let sights = sights(dir, disks);
    for held in manifest.layers.iter().filter(|layer| !layer.base && layer.id != manifest.head) {
        let file = File::open(layer::data_path(dir, held.id)).unwrap();
        layer::extents(&file, |bytes| {
            for block in bytes.start / BLOCK..bytes.end / BLOCK {
                let seen = sights.iter().any(|(_, seen)| seen[block as usize] == Some(held.id));
                assert!(seen, "block {block} of layer {} is garbage", held.id);
            }
        })
        .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_arrays(ops in prop::collection::vec(op(), 1..40)) {
        run(ops);
    }
}

/// Marks of a layer that the head's data hides are needed again when the guest discards that data.
#[test]
fn reclaiming_does_not_bring_old_blocks_back() {
    let rig = Rig::new();
    let dir = rig.create("a", BLOCKS);
    let volume = Volume::open(&dir).unwrap();
    volume.discard(4 * BLOCK, 2 * BLOCK).unwrap();
    let made = volume.checkpoint(NewCheckpoint::default()).unwrap();
    volume.write_at(&[1; 4 * BLOCK as usize], 2 * BLOCK).unwrap();
    volume.forget(&made.id).unwrap();
    rig.store.reclaim(&dir).unwrap();
    volume.discard(3 * BLOCK, 2 * BLOCK).unwrap();
    volume.flush().unwrap();
    drop(volume);
    let mut found = vec![9; 2 * BLOCK as usize];
    Volume::open(&dir).unwrap().read_at(&mut found, 3 * BLOCK).unwrap();
    assert!(found.iter().all(|byte| *byte == 0), "the image came back");
}

#[test]
fn a_thousand_checkpoints() {
    let rig = Rig::new();
    let dir = rig.create("deep", BLOCKS);
    let mut volume = Volume::open(&dir).unwrap();
    for n in 0..1000u64 {
        volume.write_at(&[(n % 251) as u8; BLOCK as usize], n % BLOCKS * BLOCK).unwrap();
        let made = volume.checkpoint(NewCheckpoint::default()).unwrap();
        assert_eq!(made.id, format!("v{n}"));
        if n == 700 {
            drop(volume);
            volume = Volume::open(&dir).unwrap();
        }
    }
    drop(volume);
    for _ in 0..2 {
        // The second time begins at a cached map.
        let volume = Volume::open(&dir).unwrap();
        let mut found = [0; BLOCK as usize];
        for n in 1000 - BLOCKS..1000 {
            volume.read_at(&mut found, n % BLOCKS * BLOCK).unwrap();
            assert_eq!(found, [(n % 251) as u8; BLOCK as usize]);
        }
    }
    assert!(fs::read_dir(dir.join("maps")).unwrap().count() > 0);
    let tree = rig.store.tree(&dir).unwrap();
    assert_eq!(tree.nodes.len(), 1001);
    // Every checkpoint but the newest ones holds one block that is covered later, and sees others' blocks.
    assert_eq!(tree.get("v500").unwrap().exclusive, 0);
    let volume = Volume::open(&dir).unwrap();
    for n in 1..999 {
        volume.forget(&format!("v{n}")).unwrap();
    }
    assert!(rig.store.reclaim(&dir).unwrap() > 900 * BLOCK);
    drop(volume);
    assert!(Volume::open(&dir).is_ok());
    assert!(Manifest::load(&dir).unwrap().layers.len() < 60);
    assert_eq!(Slot::NONE.index(), None);
    assert!(check(&dir, false).unwrap().is_clean());
}
