//! Writing an export.

use crate::digest::Sum;
use crate::entry::{self, MANIFEST, SUMS};
use crate::{Error, Manifest, Result};
use std::io::Write;
use vmm_disk::Deltas;
use zstd::stream::write::Encoder;

/// Quick, and close to what slower ones win on file systems. Its window is 2 MiB.
const LEVEL: i32 = 3;

/// Writes the export that `manifest` tells of, with the blocks of `deltas`, of which it was made. Whoever reads `out` must not take it for whole when this
/// fails.
///
/// # Errors
/// When the disk cannot be read, a checkpoint is deleted meanwhile, or `out` does not take it.
pub fn write(out: impl Write, manifest: &Manifest, deltas: &Deltas) -> Result<()> {
    let mut out = Encoder::new(out, LEVEL).map_err(Error::Write)?;
    out.include_checksum(true).map_err(Error::Write)?;
    let mut sums = String::new();
    let mut note = |sum: Sum, name: &str| sums.push_str(&format!("{}  {name}\n", sum.hex()));
    let made = manifest.created.as_micros() / 1_000_000;

    let text = serde_json::to_vec(manifest).map_err(|error| Error::Write(error.into()))?;
    if text.len() > crate::MAX_BYTES {
        return Err(Error::TooMuch("its manifest is too long; export it since an earlier checkpoint".into()));
    }
    entry::begin(&mut out, MANIFEST, text.len() as u64, made)?;
    out.write_all(&text).map_err(Error::Write)?;
    entry::end(&mut out, text.len() as u64)?;
    let mut sum = Sum::new();
    sum.add(&text);
    note(sum, MANIFEST);

    for (place, (step, delta)) in manifest.steps.iter().zip(deltas.steps()).enumerate() {
        let (name, size, mut sum) = (step.file(place), delta.bytes(), Sum::new());
        entry::begin(&mut out, &name, size, step.created.as_micros() / 1_000_000)?;
        deltas.read(delta, |piece| {
            sum.add(piece);
            out.write_all(piece).map_err(Error::Write)
        })?;
        entry::end(&mut out, size)?;
        note(sum, &name);
    }
    // What was read of a checkpoint that is gone may be zeros instead.
    if !deltas.are_there()? {
        return Err(Error::Moved);
    }
    entry::begin(&mut out, SUMS, sums.len() as u64, made)?;
    out.write_all(sums.as_bytes()).map_err(Error::Write)?;
    entry::end(&mut out, sums.len() as u64)?;
    entry::close(&mut out)?;
    out.finish().and_then(|mut out| out.flush()).map_err(Error::Write)
}
