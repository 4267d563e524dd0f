//! Tests that need to see inside: a model, crashes, faults.

mod crash;
mod faults;
mod model;

use crate::{BLOCK, Format, Store, export};
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
    fs::read(file).unwrap()
}
