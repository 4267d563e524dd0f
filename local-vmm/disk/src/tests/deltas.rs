//! What one machine tells another of a disk, and what that one makes of it.

use super::{Rig, content};
use crate::{
    BLOCK, CURRENT, Deltas, Error, Foundation, Incoming, Kind, NewCheckpoint, Source, Start, Store, Volume,
    check,
};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

const BLOCKS: u64 = 600;

fn automatic() -> NewCheckpoint {
    NewCheckpoint { kind: Kind::Automatic, ..NewCheckpoint::default() }
}

/// Carries steps over; the other side gets them in pieces of whole blocks.
fn carry(deltas: &Deltas, disk: &mut Incoming) {
    for step in deltas.steps() {
        disk.begin(step.state, step.checkpoint.clone()).unwrap();
        for run in &step.zero {
            disk.zero(run.clone()).unwrap();
        }
        let mut bytes = Vec::new();
        let taken = deltas.read::<Error>(step, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        taken.unwrap();
        assert_eq!(bytes.len() as u64, step.bytes());
        let mut rest = &bytes[..];
        for run in &step.data {
            let (part, after) = rest.split_at(((run.end - run.start) * BLOCK) as usize);
            disk.write(part, run.start * BLOCK).unwrap();
            rest = after;
        }
    }
}

/// A store elsewhere, and a place in it.
fn elsewhere(rig: &Rig, name: &str) -> (Store, PathBuf) {
    let root = rig.dir.path().join("elsewhere");
    (Store::open(&root).unwrap(), root.join(name).join("volume"))
}

fn moved(rig: &Rig, dir: &Path, name: &str, to: &str, start: Start<'_>, on: Foundation<'_>) -> PathBuf {
    let (store, place) = elsewhere(rig, name);
    let deltas = Deltas::open(dir, to, start).unwrap();
    let mut disk = store.receive(&place, deltas.size()).unwrap();
    carry(&deltas, &mut disk);
    assert!(deltas.are_there().unwrap());
    disk.finish(on).unwrap();
    assert!(check(&place, false).unwrap().is_clean());
    place
}

#[test]
fn the_way_is_told_and_stands_elsewhere() {
    let rig = Rig::new();
    let dir = rig.create("box", BLOCKS);
    let base = rig.dir.path().join("base");
    let volume = Volume::open(&dir).unwrap();
    volume.write_at(&[1; 3 * BLOCK as usize], 10 * BLOCK).unwrap();
    let comment = Some("good".to_owned());
    assert!(volume.checkpoint(NewCheckpoint { comment, ..automatic() }).unwrap().is_auto);
    volume.write_at(&[2; BLOCK as usize], 11 * BLOCK).unwrap();
    // Block 1 is the image's.
    volume.write_zeroes(BLOCK, BLOCK).unwrap();
    let first = volume.checkpoint(NewCheckpoint::default()).unwrap();
    volume.discard(12 * BLOCK, BLOCK).unwrap();
    volume.write_at(&[3; 2 * BLOCK as usize], 500 * BLOCK).unwrap();
    let second = volume.checkpoint(NewCheckpoint::default()).unwrap();
    volume.write_at(&[4; BLOCK as usize], 0).unwrap();

    // The automatic one between is no step of its own, and what nobody sees of it is not told.
    let deltas = Deltas::open(&dir, &second.id, Start::Image).unwrap();
    let told: Vec<_> =
        deltas.steps().iter().map(|step| (step.checkpoint.id.as_str(), step.bytes())).collect();
    assert_eq!(told, [("v0", 3 * BLOCK), ("v1", 2 * BLOCK)]);
    let zero: Vec<_> = deltas.steps().iter().flat_map(|step| step.zero.clone()).collect();
    assert_eq!(zero, [1..2, 12..13]);
    assert!(deltas.image().is_some() && deltas.since().is_none());

    let on_image = moved(&rig, &dir, "a", &second.id, Start::Image, Foundation::Image(&base));
    let whole = moved(&rig, &dir, "b", &second.id, Start::Nothing, Foundation::Nothing);
    for place in [&on_image, &whole] {
        for id in [&first.id, &second.id] {
            assert!(content(place, id) == content(&dir, id), "{id}");
        }
        assert!(content(place, CURRENT) == content(&dir, &second.id));
        let volume = Volume::open(place).unwrap();
        assert_eq!(volume.parent().as_deref(), Some("v1"));
        assert_eq!(volume.checkpoint(NewCheckpoint::default()).unwrap().id, "v2");
    }

    // What changed since: on the state that is there, whose layers it shares, and back again.
    drop(volume);
    let volume = Volume::open(&dir).unwrap();
    let third = volume.checkpoint(NewCheckpoint::default()).unwrap();
    drop(volume);
    let since = Start::Checkpoint(&second.id);
    let deltas = Deltas::open(&dir, &third.id, since).unwrap();
    let state = deltas.since().unwrap().0;
    assert_eq!((deltas.steps().len(), deltas.steps()[0].bytes()), (1, BLOCK));
    let (store, _) = elsewhere(&rig, "c");
    assert_eq!(store.find_state(&whole, state).unwrap(), Some(Source::Elsewhere));
    assert_eq!(store.find_state(&dir, state).unwrap(), Some(Source::Here));
    let on = Foundation::State { volume: &whole, state };
    let next = moved(&rig, &dir, "c", &third.id, since, on);
    for id in ["v0", "v1", "v2"] {
        let here = if id == "v2" { &third.id } else { id };
        assert!(content(&next, id) == content(&dir, here), "{id}");
    }
    let back = Deltas::open(&next, "v2", Start::Nothing).unwrap();
    assert_eq!(
        back.steps().iter().map(|step| step.state).collect::<Vec<_>>(),
        Deltas::open(&dir, &third.id, Start::Nothing)
            .unwrap()
            .steps()
            .iter()
            .map(|step| step.state)
            .collect::<Vec<_>>()
    );
    // Bytes that both reach stay when one of them goes.
    let before = content(&next, "v1");
    store.destroy(&whole).unwrap();
    store.reclaim(&next).unwrap();
    assert!(content(&next, "v1") == before && check(&next, false).unwrap().is_clean());
}

#[test]
fn what_cannot_be_leaves_nothing() {
    let rig = Rig::new();
    let dir = rig.create("box", BLOCKS);
    let base = rig.dir.path().join("base");
    let volume = Volume::open(&dir).unwrap();
    let first = volume.checkpoint(NewCheckpoint::default()).unwrap();
    volume.write_at(&[1; BLOCK as usize], 0).unwrap();
    let second = volume.checkpoint(NewCheckpoint::default()).unwrap();
    let open = |to: &str, since: &str| Deltas::open(&dir, to, Start::Checkpoint(since));
    assert!(matches!(open(&first.id, &second.id), Err(Error::NotOnTheWay { .. })));
    assert!(matches!(open(&first.id, &first.id), Err(Error::NotOnTheWay { .. })));
    assert!(matches!(open(&first.id, "v9"), Err(Error::NoCheckpoint(_))));
    assert!(matches!(Deltas::open(&dir, CURRENT, Start::Image), Err(Error::IsCurrent)));

    let deltas = open(&second.id, &first.id).unwrap();
    volume.restore(&first.id).unwrap();
    volume.forget(&second.id).unwrap();
    assert!(!deltas.are_there().unwrap());

    let (store, place) = elsewhere(&rig, "a");
    let root = place.parent().unwrap();
    let step = &deltas.steps()[0];
    for size in [0, 7, BLOCK + 1, u64::MAX] {
        assert!(matches!(store.receive(&place, size), Err(Error::BadSize { .. })), "{size}");
    }
    let begun = || {
        let mut disk = store.receive(&place, 8 * BLOCK).unwrap();
        disk.begin(step.state, step.checkpoint.clone()).unwrap();
        disk
    };
    let left = || fs::read_dir(root).unwrap().count();
    let mut disk = begun();
    for (bytes, at) in [(1, 0), (BLOCK, 1), (BLOCK, 8 * BLOCK), (9 * BLOCK, 0), (BLOCK, u64::MAX - 4095)] {
        let wrong = disk.write(&vec![1; bytes as usize], at);
        assert!(matches!(wrong, Err(Error::OutOfRange { .. })), "{bytes} {at}");
    }
    assert!(disk.zero(0..9).is_err() && disk.zero(7..u64::MAX).is_err());
    #[allow(clippy::reversed_empty_ranges, reason = "what comes from elsewhere may be so")]
    let reversed = disk.zero(3..2);
    assert!(reversed.is_err());
    let mut odd = step.checkpoint.clone();
    for id in ["", "Current", "../x", "a b"] {
        odd.id = id.into();
        assert!(matches!(disk.begin(step.state, odd.clone()), Err(Error::BadId(_))), "{id}");
    }
    drop(disk);
    assert_eq!(left(), 0);
    // The image is larger, the other disk has another size, or not that state.
    assert!(matches!(begun().finish(Foundation::Image(&dir.join("none"))), Err(Error::Io { .. })));
    let state = deltas.since().unwrap().0;
    let on = |state| Foundation::State { volume: &dir, state };
    assert!(matches!(begun().finish(on(state)), Err(Error::BadSize { .. })));
    assert!(matches!(begun().finish(on(step.state)), Err(Error::NoState(_))));
    assert_eq!(left(), 0);
    // One that is there is not touched.
    store.create(&place, &base, 8 * BLOCK).unwrap();
    assert!(matches!(store.receive(&place, 8 * BLOCK), Err(Error::Exists(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_state_is_the_same_elsewhere(
        ops in prop::collection::vec((0u8..6, 0u64..BLOCKS, 1u64..40, any::<u8>()), 1..60)
    ) {
        let rig = Rig::new();
        let dir = rig.create("box", BLOCKS);
        let volume = Volume::open(&dir).unwrap();
        let mut made = Vec::new();
        for (what, from, len, fill) in ops {
            let len = len.min(BLOCKS - from);
            match what {
                0 | 1 => volume.write_at(&vec![fill; (len * BLOCK) as usize], from * BLOCK).unwrap(),
                2 => volume.discard(from * BLOCK, len * BLOCK).unwrap(),
                3 => volume.write_zeroes(from * BLOCK, len * BLOCK).unwrap(),
                4 => made.push(volume.checkpoint(NewCheckpoint::default()).unwrap().id),
                _ if made.is_empty() => {}
                _ => {
                    volume.restore(&made[from as usize % made.len()]).unwrap();
                }
            }
        }
        made.push(volume.checkpoint(NewCheckpoint::default()).unwrap().id);
        let last = made.last().unwrap();
        let base = rig.dir.path().join("base");
        let place = moved(&rig, &dir, "a", last, Start::Image, Foundation::Image(&base));
        let whole = moved(&rig, &dir, "b", last, Start::Nothing, Foundation::Nothing);
        for step in Deltas::open(&dir, last, Start::Image).unwrap().steps() {
            let id = &step.checkpoint.id;
            prop_assert!(content(&place, id) == content(&dir, id), "{id}");
            prop_assert!(content(&whole, id) == content(&dir, id), "{id}");
        }
    }
}
