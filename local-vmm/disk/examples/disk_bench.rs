//! What checkpoints and depth cost on the disk alone. Prints one JSON object a figure; `cargo xtask bench` makes a table of them.

use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use vmm_disk::{BLOCK, NewCheckpoint, Store, Volume};

const GIB: u64 = 1 << 30;
/// Bytes of one write or read.
const PIECE: usize = 1 << 20;
/// Checkpoints under the deepest read.
const DEEP: u64 = 1000;
/// Data that is read back: a piece for each of them.
const READ: u64 = DEEP * PIECE as u64;
/// Rounds of each measurement; their median counts.
const ROUNDS: usize = 9;

fn main() {
    // As a machine process does.
    vmm_disk::raise_file_limit();
    let dir = tempfile::Builder::new().prefix("disk-bench-").tempdir_in(".").expect("a folder can be made");
    checkpoints(dir.path());
    depth(dir.path());
}

fn figure(name: &str, value: f64, unit: &str, ratio: Option<f64>, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
}

fn volume(dir: &Path, name: &str, size: u64) -> Volume {
    let base = dir.join("base");
    if !base.exists() {
        std::fs::write(&base, vec![1; BLOCK as usize]).expect("a base can be written");
    }
    let at = dir.join(name);
    let store = Store::open(dir).expect("the store opens");
    store.create(&at, &base, size).expect("a volume can be made");
    Volume::open(&at).expect("it opens")
}

fn write_all(volume: &Volume, bytes: u64) {
    let piece = vec![0xa5; PIECE];
    for offset in (0..bytes).step_by(PIECE) {
        volume.write_at(&piece, offset).expect("it takes writes");
    }
    volume.flush().expect("it can be flushed");
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The same small change on a disk of 1 GB and on one of 20 GB, both full.
fn checkpoints(dir: &Path) {
    let volumes = [("small", 1), ("large", 20)].map(|(name, size)| {
        let volume = volume(dir, name, size * GIB);
        write_all(&volume, size * GIB);
        volume.checkpoint(NewCheckpoint::default()).expect("a checkpoint can be made");
        volume
    });
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS as u64 {
        for (volume, times) in volumes.iter().zip(&mut times) {
            // Spread over the disk, so that the map is touched everywhere.
            for at in 0..64 {
                let offset = (volume.size() / 64 * at + round * BLOCK) / BLOCK * BLOCK;
                volume.write_at(&[round as u8 + 1; BLOCK as usize], offset).expect("it takes writes");
            }
            let start = Instant::now();
            volume.checkpoint(NewCheckpoint::default()).expect("a checkpoint can be made");
            times.push(millis(start.elapsed()));
        }
    }
    let [small, large] = times.map(median);
    figure("checkpoint, full disk of 1 GB", small, "ms", None, None);
    figure("checkpoint, full disk of 20 GB, against 1 GB", large, "ms", Some(large / small), Some("<= 1.5"));
    drop(volumes);
    for name in ["small", "large"] {
        let store = Store::open(dir).expect("the store opens");
        store.destroy(&dir.join(name)).expect("it can be destroyed");
    }
}

/// The same data read where nothing lies over it, and where it is spread over a thousand layers.
fn depth(dir: &Path) {
    let (flat, deep) = (volume(dir, "flat", READ), volume(dir, "deep", READ));
    write_all(&flat, READ);
    write_all(&deep, READ);
    // Each piece comes to lie in a layer of its own.
    let piece = vec![0x5a; PIECE];
    for layer in 0..DEEP {
        deep.write_at(&piece, layer * PIECE as u64).expect("it takes writes");
        deep.checkpoint(NewCheckpoint::default()).expect("a checkpoint can be made");
    }
    let mut speeds = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; PIECE];
    for round in 0..ROUNDS {
        for (volume, speeds) in [&flat, &deep].into_iter().zip(&mut speeds) {
            let start = Instant::now();
            for offset in (0..READ).step_by(PIECE) {
                volume.read_at(&mut buffer, offset).expect("it can be read");
            }
            // The first round brings everything into the host's memory.
            if round > 0 {
                speeds.push(READ as f64 / 1e6 / start.elapsed().as_secs_f64());
            }
        }
    }
    let [flat, deep] = speeds.map(median);
    figure("read, nothing over it", flat, "MB/s", None, None);
    figure("read through 1,000 checkpoints, against none", deep, "MB/s", Some(deep / flat), Some(">= 0.95"));
}
