//! Tests that need to see inside: a model, crashes, faults.

mod crash;
mod deltas;
mod faults;
mod model;

use crate::{BLOCK, CURRENT, CheckpointReader, Format, Store, export};
use std::fs;
use std::path::{Path, PathBuf};

/// A store in a folder of its own, with an image whose last block is not whole.
struct Rig {
    dir: tempfile::TempDir,
    store: Store,
}

/// Bytes of the base image.
const BASE: usize = 5 * BLOCK as usize + 1000;

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("sprites")).unwrap();
        fs::write(dir.path().join("base"), base()).unwrap();
        Self { dir, store }
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.dir.path().join("sprites").join(name).join("volume")
    }

    fn create(&self, name: &str, blocks: u64) -> PathBuf {
        let dir = self.volume(name);
        self.store.create(&dir, &self.dir.path().join("base"), blocks * BLOCK).unwrap();
        dir
    }
}

fn base() -> Vec<u8> {
    let mut content = vec![0xba; BASE];
    // A hole in the image, so that zeros of the base count as nothing.
    content[2 * BLOCK as usize..3 * BLOCK as usize].fill(0xbb);
    content
}

/// What a checkpoint holds.
fn content(dir: &Path, id: &str) -> Vec<u8> {
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("image.raw");
    export(dir, id, &file, Format::Raw, |_, _| {}).unwrap();
    let content = fs::read(file).unwrap();
    if id != CURRENT {
        // Read in place it is the same, in whatever parts.
        let reader = CheckpointReader::open(dir, id).unwrap();
        let mut read = vec![0xee; content.len()];
        let mut at = 0;
        for (step, part) in read.chunks_mut(3 * BLOCK as usize + 7).enumerate() {
            let half = part.len() / (step % 2 + 1);
            reader.read_at(&mut part[..half], at).unwrap();
            reader.read_at(&mut part[half..], at + half as u64).unwrap();
            at += part.len() as u64;
        }
        assert!(read == content && reader.size() == content.len() as u64);
        assert!(
            reader.read_at(&mut [0], reader.size()).is_err() && reader.read_at(&mut [0], u64::MAX).is_err()
        );
    }
    content
}
