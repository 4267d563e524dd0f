//! From the files of a volume to its maps: what each layer holds, laid over what the layers below it hold.

use crate::layer::{self, data_path};
use crate::manifest::Manifest;
use crate::map::{LEAF, Leaf, Map, Slot};
use crate::{BLOCK, Result};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// First bytes of a cached map.
const MAGIC: &[u8; 8] = b"SPRMAP01";
/// Layers that may lie above the nearest cached map before opening writes a new one.
const CACHE_EVERY: usize = 32;

/// Which slot each layer of a volume has.
pub(crate) type Slots = HashMap<Uuid, Slot>;

/// Slots in the order of the manifest.
pub(crate) fn slots(manifest: &Manifest) -> Slots {
    manifest.layers.iter().enumerate().map(|(index, layer)| (layer.id, Slot::of(index))).collect()
}

/// The layers under and including `top`, lowest first.
pub(crate) fn chain(manifest: &Manifest, top: Uuid) -> Vec<Uuid> {
    let below: HashMap<Uuid, Option<Uuid>> =
        manifest.layers.iter().map(|layer| (layer.id, layer.below)).collect();
    let mut chain = Vec::new();
    let mut at = Some(top);
    // A checked manifest has no cycles: every layer stands after the one below it.
    while let Some(id) = at {
        chain.push(id);
        at = below.get(&id).copied().flatten();
    }
    chain.reverse();
    chain
}

/// The map of the disk whose topmost layer is `top`. Begins at the nearest cached map and, when many layers lie above that one,
/// writes a new one, so that a volume with a thousand checkpoints still opens at once. Caches are never written while a
/// checkpoint is made: its cost must not depend on the size of the disk.
pub(crate) fn build(dir: &Path, manifest: &Manifest, slots: &Slots, top: Uuid) -> Result<Map> {
    let chain = chain(manifest, top);
    let blocks = manifest.size / BLOCK;
    let cached =
        chain.iter().enumerate().rev().find_map(|(at, id)| Some((at, load_cache(dir, *id, blocks, slots)?)));
    let (mut map, from) = match cached {
        Some((at, map)) => (map, at + 1),
        None => (Map::new(blocks), 0),
    };
    for (applied, id) in chain[from..].iter().enumerate() {
        // The topmost layer may be a head that still changes, so that only a map without it may be kept.
        if *id == top && applied >= CACHE_EVERY {
            let sealed = chain[chain.len() - 2];
            if let Err(error) = save_cache(dir, sealed, &map, manifest) {
                tracing::warn!("cannot keep the map of {}: {error}", dir.display());
            }
        }
        let slot = slots.get(id).copied().unwrap_or(Slot::NONE);
        layer::apply(dir, *id, slot, &mut map)?;
    }
    Ok(map)
}

/// Like [`build`], from the layers alone.
pub(crate) fn build_plain(dir: &Path, manifest: &Manifest, slots: &Slots, top: Uuid) -> Result<Map> {
    let mut map = Map::new(manifest.size / BLOCK);
    for id in chain(manifest, top) {
        layer::apply(dir, id, slots.get(&id).copied().unwrap_or(Slot::NONE), &mut map)?;
    }
    Ok(map)
}

/// Path of the cached map of a sealed layer.
pub(crate) fn cache_path(dir: &Path, id: Uuid) -> PathBuf {
    dir.join("maps").join(format!("{id}.map"))
}

/// Layout, all numbers little-endian: [`MAGIC`]; blocks of the disk (u64); number of layers (u32) and their ids (16 bytes each);
/// number of leaves (u32), each its index (u32) and [`LEAF`] places (u32, an index into the layers, or all ones);
/// last, a checksum of everything before it (u64). Written without flushing: a torn file fails its checksum and is made anew.
fn save_cache(dir: &Path, id: Uuid, map: &Map, manifest: &Manifest) -> std::io::Result<()> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&map.blocks().to_le_bytes());
    out.extend_from_slice(&(manifest.layers.len() as u32).to_le_bytes());
    for layer in &manifest.layers {
        out.extend_from_slice(layer.id.as_bytes());
    }
    let present = map.leaves().iter().enumerate().filter_map(|(index, leaf)| Some((index, leaf.as_ref()?)));
    out.extend_from_slice(&(present.clone().count() as u32).to_le_bytes());
    for (index, leaf) in present {
        out.extend_from_slice(&(index as u32).to_le_bytes());
        for slot in leaf.iter() {
            out.extend_from_slice(&slot.0.to_le_bytes());
        }
    }
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    let path = cache_path(dir, id);
    fs::create_dir_all(dir.join("maps"))?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, out)?;
    fs::rename(fresh, path)
}

/// Reads a cached map; anything odd about it means there is none.
pub(crate) fn load_cache(dir: &Path, id: Uuid, blocks: u64, slots: &Slots) -> Option<Map> {
    let bytes = fs::read(cache_path(dir, id)).ok()?;
    let map = parse_cache(&bytes, blocks, slots);
    if map.is_none() {
        tracing::warn!("the cached map {id} is damaged and will be made anew");
    }
    map
}

fn parse_cache(bytes: &[u8], blocks: u64, slots: &Slots) -> Option<Map> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    if checksum(content) != u64::from_le_bytes(sum.try_into().ok()?) {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?;
    if u64::from_le_bytes(take(&mut rest)?) != blocks {
        return None;
    }
    let layers = u32::from_le_bytes(take(&mut rest)?);
    let mut present = Vec::new();
    for _ in 0..layers {
        // A layer that is gone since was empty, or every block of it covered from above.
        present.push(slots.get(&Uuid::from_bytes(take(&mut rest)?)).copied().unwrap_or(Slot::NONE));
    }
    let mut map = Map::new(blocks);
    let leaves = u32::from_le_bytes(take(&mut rest)?);
    for _ in 0..leaves {
        let index = u32::from_le_bytes(take(&mut rest)?) as usize;
        let mut leaf: Leaf = [Slot::NONE; LEAF];
        for slot in &mut leaf {
            let place = Slot(u32::from_le_bytes(take(&mut rest)?));
            *slot = match place.index() {
                Some(index) => *present.get(index)?,
                None => Slot::NONE,
            };
        }
        if index >= map.leaves().len() {
            return None;
        }
        map.set_leaf(index, leaf);
    }
    rest.is_empty().then_some(map)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_at_checked(N)?;
    *rest = tail;
    head.try_into().ok()
}

/// FNV-1a over 64-bit words: guards against torn and foreign files, not against malice (whoever can write here can write layers).
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut sum = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        sum = (sum ^ word).wrapping_mul(PRIME);
    }
    words.remainder().iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Whether a layer's files hold nothing at all.
pub(crate) fn is_hollow(dir: &Path, id: Uuid) -> bool {
    use std::os::unix::fs::MetadataExt;
    let empty = |path: PathBuf| match fs::metadata(path) {
        Ok(found) => found.blocks() == 0,
        Err(_) => false,
    };
    empty(data_path(dir, id)) && empty(layer::zero_path(dir, id))
}
