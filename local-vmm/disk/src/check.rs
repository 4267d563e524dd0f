//! Looking a volume over while nothing uses it.

use crate::layer::{self, data_path, zero_path};
use crate::manifest::Manifest;
use crate::{BLOCK, Error, Result, Volume, chain, volume};
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each one sentence. Any of them means that data is missing or wrong.
    pub problems: Vec<String>,
    /// What the next start of the sprite will tidy up; no data is concerned.
    pub notes: Vec<String>,
    /// What was mended in this run.
    pub repaired: Vec<String>,
    /// Layers looked at.
    pub layers: usize,
    /// Checkpoints looked at.
    pub checkpoints: usize,
}

impl Report {
    /// Whether all data is there.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Looks at every file of the volume in `dir`. With `repair`, does what an opening would do to bring it to rest, and removes cached maps
/// that do not fit.
///
/// # Errors
/// When the volume is in use or cannot be read at all; damage is told in the report.
pub fn check(dir: &Path, repair: bool) -> Result<Report> {
    let lock = volume::lock(dir)?;
    let mut report = Report::default();
    let manifest = match Manifest::load(dir) {
        Ok(manifest) => manifest,
        Err(error @ (Error::Damaged { .. } | Error::Format { .. })) => {
            report.problems.push(error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.layers = manifest.layers.len();
    report.checkpoints = manifest.checkpoints.len();
    for layer in &manifest.layers {
        if let Err(why) = check_layer(dir, layer.id, layer.base, manifest.size) {
            report.problems.push(why);
        }
    }
    if report.is_clean() {
        check_maps(dir, &manifest, repair, &mut report)?;
    }
    if manifest.next.is_some() {
        report.notes.push("a checkpoint was cut off while it was made".into());
    }
    let known: HashSet<PathBuf> = manifest
        .layers
        .iter()
        .flat_map(|layer| [data_path(dir, layer.id), zero_path(dir, layer.id)])
        .collect();
    for entry in fs::read_dir(dir.join("layers")).into_iter().flatten().flatten() {
        if !known.contains(&entry.path()) {
            report.notes.push(format!("{} belongs to no layer", entry.path().display()));
        }
    }
    drop(lock);
    if repair && report.is_clean() && !report.notes.is_empty() {
        drop(Volume::open(dir)?);
        report.repaired.append(&mut report.notes);
    }
    Ok(report)
}

fn check_layer(dir: &Path, id: uuid::Uuid, base: bool, size: u64) -> std::result::Result<(), String> {
    let path = data_path(dir, id);
    let told = |path: &Path, why: String| format!("{}: {why}", path.display());
    let found = fs::symlink_metadata(&path).map_err(|_| told(&path, "this layer is missing".into()))?;
    if !found.is_file() {
        return Err(told(&path, "it is not a plain file".into()));
    }
    let fits = if base { found.len() <= size } else { found.len() == size };
    if !fits {
        return Err(told(&path, format!("it has {} bytes on a disk of {size}", found.len())));
    }
    let file = File::open(&path).map_err(|error| told(&path, format!("it cannot be opened: {error}")))?;
    let mut odd = None;
    layer::extents(&file, |bytes| {
        if !bytes.start.is_multiple_of(BLOCK) {
            odd = Some(bytes.start);
        }
    })
    .map_err(|error| told(&path, format!("it cannot be read: {error}")))?;
    if let Some(at) = odd {
        return Err(told(&path, format!("a block begins in the middle, at byte {at}")));
    }
    if base {
        return Ok(());
    }
    let path = zero_path(dir, id);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() && found.len() == layer::zero_size(size) => Ok(()),
        Ok(_) => Err(told(&path, "it has the wrong size".into())),
        Err(_) => Err(told(&path, "the marks of this layer are missing".into())),
    }
}

/// A cached map must say what the layers say.
fn check_maps(dir: &Path, manifest: &Manifest, repair: bool, report: &mut Report) -> Result<()> {
    let slots = chain::slots(manifest);
    for layer in &manifest.layers {
        let path = chain::cache_path(dir, layer.id);
        if !path.exists() {
            continue;
        }
        let fits = match chain::load_cache(dir, layer.id, manifest.size / BLOCK, &slots) {
            Some(cached) => cached.same(&chain::build_plain(dir, manifest, &slots, layer.id)?),
            None => false,
        };
        if fits {
            continue;
        }
        if repair {
            fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
            report.repaired.push(format!("removed {}, a cached map that did not fit", path.display()));
        } else {
            report
                .problems
                .push(format!("{}: this cached map does not fit; `--repair` removes it", path.display()));
        }
    }
    Ok(())
}
