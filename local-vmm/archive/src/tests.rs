//! From a disk to a file and back; and files that somebody broke or made up.

use crate::{Error, Image, Manifest, Reader, Result, image_digest, write};
use proptest::prelude::*;
use sprites_api::Time;
use sprites_api::policy::Policies;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use vmm_disk::{BLOCK, CheckpointReader, Deltas, Foundation, NewCheckpoint, Start, Store, Volume, check};

const BLOCKS: u64 = 300;

/// A disk with three checkpoints on an image.
struct Rig {
    dir: tempfile::TempDir,
    store: Store,
    base: PathBuf,
    volume: PathBuf,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        fs::write(&base, [7; 5000]).unwrap();
        let store = Store::open(&dir.path().join("sprites")).unwrap();
        let volume = dir.path().join("sprites/box/volume");
        store.create(&volume, &base, BLOCKS * BLOCK).unwrap();
        let disk = Volume::open(&volume).unwrap();
        for number in 0..3u8 {
            let bytes: Vec<u8> = (0..4 * BLOCK).map(|at| (at % 251) as u8 ^ number).collect();
            disk.write_at(&bytes, u64::from(number) * 50 * BLOCK).unwrap();
            let comment = Some(format!("step {number}"));
            disk.checkpoint(NewCheckpoint { comment, ..NewCheckpoint::default() }).unwrap();
        }
        Self { dir, store, base, volume }
    }

    fn export(&self, to: &str, start: Start<'_>) -> Vec<u8> {
        let deltas = Deltas::open(&self.volume, to, start).unwrap();
        let image = deltas.image().map(|path| Image { id: "i".into(), sha256: image_digest(&path).unwrap() });
        let manifest = Manifest { image, labels: vec!["a".into()], ..Manifest::of("box", &deltas).unwrap() };
        let mut out = Vec::new();
        write(&mut out, &manifest, &deltas).unwrap();
        out
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("sprites/new/volume")
    }

    fn import(&self, bytes: &[u8]) -> Result<Manifest> {
        let reader = Reader::open(bytes)?;
        let manifest = reader.manifest().clone();
        let mut disk = self.store.receive(&self.place(), manifest.disk_bytes)?;
        reader.unpack(&mut disk, || true)?;
        let on = match (&manifest.since, &manifest.image) {
            (Some(since), _) => Foundation::State { volume: &self.volume, state: since.state },
            (None, Some(_)) => Foundation::Image(&self.base),
            (None, None) => Foundation::Nothing,
        };
        disk.finish(on)?;
        Ok(manifest)
    }

    /// Whatever is there is whole, or nothing is; gives whether something is, and removes it.
    fn settled(&self) -> bool {
        let place = self.place();
        let left: Vec<_> = fs::read_dir(place.parent().unwrap())
            .into_iter()
            .flatten()
            .flatten()
            .map(|one| one.path())
            .collect();
        if !place.exists() {
            assert!(left.is_empty(), "{left:?}");
            return false;
        }
        assert!(check(&place, false).unwrap().is_clean() && left.len() == 1, "{left:?}");
        self.store.destroy(&place).unwrap();
        true
    }
}

fn content(volume: &Path, id: &str) -> Vec<u8> {
    let reader = CheckpointReader::open(volume, id).unwrap();
    let mut bytes = vec![0; reader.size() as usize];
    reader.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The archive in an export.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

fn packed(archive: &[u8]) -> Vec<u8> {
    zstd::encode_all(archive, 1).unwrap()
}

#[test]
fn there_and_back() {
    let rig = Rig::new();
    for (to, start, steps) in [
        ("v2", Start::Image, 3),
        ("v2", Start::Nothing, 3),
        ("v1", Start::Image, 2),
        ("v2", Start::Checkpoint("v0"), 2),
    ] {
        let bytes = rig.export(to, start);
        let manifest = rig.import(&bytes).unwrap();
        assert_eq!((manifest.checkpoint(), manifest.steps.len()), (to, steps));
        assert_eq!((manifest.name.as_str(), &manifest.labels[..]), ("box", &["a".to_owned()][..]));
        assert_eq!(
            manifest.steps[0].comment.as_deref(),
            Some(if steps == 2 && to == "v2" { "step 1" } else { "step 0" })
        );
        for step in &manifest.steps {
            assert!(content(&rig.place(), &step.checkpoint) == content(&rig.volume, &step.checkpoint));
        }
        assert!(rig.settled());
        // No path of this machine is in it.
        let archive = unpacked(&bytes);
        let place = rig.dir.path().to_str().unwrap().as_bytes();
        assert!(!archive.windows(place.len()).any(|window| window == place));
    }
}

#[test]
fn other_tools_can_read_it() {
    let rig = Rig::new();
    let archive = unpacked(&rig.export("v2", Start::Image));
    let mut names = Vec::new();
    let mut files = std::collections::HashMap::new();
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        names.push(name.clone());
        files.insert(name, bytes);
    }
    assert_eq!(
        names,
        [
            "manifest.json",
            "steps/0000-v0.blocks",
            "steps/0001-v1.blocks",
            "steps/0002-v2.blocks",
            "SHA256SUMS"
        ]
    );
    let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let found = ring::digest::digest(&ring::digest::SHA256, &files[name]);
        assert_eq!(sum, found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    // And what they have packed anew, in larger pieces and with another level, can be read.
    let mut anew = archive;
    anew.resize(anew.len().next_multiple_of(10240), 0);
    rig.import(&zstd::encode_all(&anew[..], 19).unwrap()).unwrap();
    assert!(rig.settled());
}

#[test]
fn images_are_known_by_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut bytes = vec![0; 20 * BLOCK as usize];
    bytes[9 * BLOCK as usize + 5] = 1;
    fs::write(&one, &bytes).unwrap();
    // The same with holes, and longer by zeros.
    let file = fs::File::create(&two).unwrap();
    file.set_len(40 * BLOCK).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1], 9 * BLOCK + 5).unwrap();
    assert_eq!(image_digest(&one).unwrap(), image_digest(&two).unwrap());
    bytes.swap(9 * BLOCK as usize + 5, 10 * BLOCK as usize + 5);
    fs::write(&one, &bytes).unwrap();
    assert_ne!(image_digest(&one).unwrap(), image_digest(&two).unwrap());
}

#[test]
fn what_ends_early_is_not_taken() {
    let rig = Rig::new();
    let bytes = rig.export("v2", Start::Image);
    let archive = unpacked(&bytes);
    for cut in (0..bytes.len()).step_by(97) {
        assert!(rig.import(&bytes[..cut]).is_err() && !rig.settled(), "{cut}");
    }
    for cut in (0..archive.len()).step_by(512) {
        assert!(rig.import(&packed(&archive[..cut])).is_err() && !rig.settled(), "{cut}");
    }
    let more = [&archive[..], &[1]].concat();
    assert!(matches!(rig.import(&packed(&more)), Err(Error::Damaged(_))) && !rig.settled());
    let zeros = [&archive[..], &vec![0; 1 << 20]].concat();
    assert!(rig.import(&packed(&zeros)).is_err() && !rig.settled());
    assert!(matches!(Reader::open(&b"hello"[..]), Err(Error::Damaged(_) | Error::Cut | Error::Foreign(_))));
    assert!(matches!(Reader::open(&packed(&[0; 4096])[..]), Err(Error::Foreign(_))));
}

#[test]
fn a_checkpoint_that_goes_meanwhile_is_told() {
    let rig = Rig::new();
    let deltas = Deltas::open(&rig.volume, "v2", Start::Image).unwrap();
    let manifest = Manifest::of("box", &deltas).unwrap();
    Volume::open(&rig.volume).unwrap().forget("v1").unwrap();
    let mut out = Vec::new();
    assert!(matches!(write(&mut out, &manifest, &deltas), Err(Error::Moved)));
    assert!(rig.import(&out).is_err() && !rig.settled());
}

/// An archive with this manifest and no blocks.
fn promised(manifest: &serde_json::Value) -> Vec<u8> {
    let text = manifest.to_string();
    let mut out = Vec::new();
    crate::entry::begin(&mut out, "manifest.json", text.len() as u64, 0).unwrap();
    out.extend_from_slice(text.as_bytes());
    crate::entry::end(&mut out, text.len() as u64).unwrap();
    packed(&out)
}

fn plain() -> serde_json::Value {
    serde_json::to_value(Manifest {
        format: 1,
        name: "box".into(),
        created: Time::now(),
        disk_bytes: 10 * BLOCK,
        labels: Vec::new(),
        cpus: None,
        memory_mb: None,
        policy: Policies::default(),
        image: None,
        since: None,
        steps: vec![crate::Step {
            state: Uuid::new_v4(),
            checkpoint: "v0".into(),
            created: Time::now(),
            comment: None,
            is_auto: false,
            data: vec![(0, 2)],
            zero: Vec::new(),
        }],
    })
    .unwrap()
}

#[test]
fn numbers_are_held_against_each_other() {
    assert!(Reader::open(&promised(&plain())[..]).is_ok());
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = plain();
        change(&mut manifest);
        Reader::open(&promised(&manifest)[..]).map(drop)
    };
    assert!(matches!(changed(&|one| one["format"] = 2.into()), Err(Error::Newer { found: 2, .. })));
    assert!(matches!(
        changed(&|one| one["disk_bytes"] = (crate::MAX_DISK + BLOCK).into()),
        Err(Error::TooMuch(_))
    ));
    for size in [0u64, 4097] {
        assert!(matches!(changed(&|one| one["disk_bytes"] = size.into()), Err(Error::Damaged(_))), "{size}");
    }
    for runs in [
        serde_json::json!([[0, 11]]),
        serde_json::json!([[10, 1]]),
        serde_json::json!([[0, 0]]),
        serde_json::json!([[3, 2], [0, 1]]),
        serde_json::json!([[0, 2], [1, 2]]),
        serde_json::json!([[0, 2], [2, 2]]),
        serde_json::json!([[u64::MAX, 1]]),
        serde_json::json!([[1, u64::MAX]]),
        serde_json::json!([[-1, 1]]),
    ] {
        for word in ["data", "zero"] {
            assert!(changed(&|one| one["steps"][0][word] = runs.clone()).is_err(), "{word} {runs}");
        }
    }
    assert!(changed(&|one| one["steps"] = serde_json::json!([])).is_err());
    assert!(changed(&|one| one["more"] = 1.into()).is_err());
    let twice =
        |one: &mut serde_json::Value| one["steps"] = serde_json::json!([one["steps"][0], one["steps"][0]]);
    assert!(changed(&twice).is_err());
    // Steps that are different in all but one thing.
    let steps = |steps: [(&str, serde_json::Value); 2]| {
        changed(&|one: &mut serde_json::Value| {
            let step = one["steps"][0].clone();
            one["steps"] = steps.iter().fold(serde_json::json!([]), |mut all, (id, zero)| {
                let mut step = step.clone();
                step["state"] = Uuid::new_v4().to_string().into();
                step["checkpoint"] = (*id).into();
                step["zero"] = zero.clone();
                all.as_array_mut().unwrap().push(step);
                all
            });
        })
    };
    let none = || serde_json::json!([]);
    assert!(steps([("v0", none()), ("v1", none())]).is_ok());
    assert!(matches!(steps([("v0", none()), ("v0", none())]), Err(Error::Damaged(_))), "one id twice");
    // A block becomes zeros when it was something else: the ten that there are, and the two that were written since.
    let zeros = |count| serde_json::json!([[0, count]]);
    assert!(steps([("v0", zeros(10)), ("v1", zeros(2))]).is_ok());
    assert!(matches!(steps([("v0", zeros(10)), ("v1", zeros(3))]), Err(Error::Damaged(_))));
    // Small texts take much memory.
    let many = vec![""; 100_000];
    assert!(matches!(changed(&|one| one["labels"] = many.clone().into()), Err(Error::TooMuch(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is changed, what is taken is what was exported, and what is not taken leaves nothing.
    #[test]
    fn broken_ones_are_found_out(
        stream in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let rig = Rig::new();
        let good = rig.export("v2", Start::Image);
        let mut bytes = if stream { good.clone() } else { unpacked(&good) };
        for (at, value, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => drop(bytes.drain(at..(at + usize::from(value)).min(bytes.len()))),
                _ => bytes.splice(at..at, std::iter::repeat_n(value, usize::from(value))).for_each(drop),
            }
        }
        let bytes = if stream { bytes } else { packed(&bytes) };
        if rig.import(&bytes).is_ok() {
            for id in ["v0", "v1", "v2"] {
                prop_assert!(content(&rig.place(), id) == content(&rig.volume, id));
            }
            prop_assert!(rig.settled());
        } else {
            prop_assert!(!rig.settled());
        }
    }

    /// Manifests that somebody made up.
    #[test]
    fn any_numbers(
        disk in any::<u64>(),
        small in any::<bool>(),
        data in prop::collection::vec((0u64..40, 0u64..6), 0..6),
        zero in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        id in "[a-z0-9./-]{0,12}",
    ) {
        let rig = Rig::new();
        let mut manifest = plain();
        manifest["disk_bytes"] = if small { 40 * BLOCK } else { disk }.into();
        manifest["steps"][0]["data"] = serde_json::to_value(data).unwrap();
        manifest["steps"][0]["zero"] = serde_json::to_value(zero).unwrap();
        manifest["steps"][0]["checkpoint"] = id.into();
        prop_assert!(rig.import(&promised(&manifest)).is_err());
        prop_assert!(!rig.settled());
    }
}
