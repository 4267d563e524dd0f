//! A checkpoint as one file that other tools open.

use crate::chain;
use crate::layer::{data_path, open_sealed};
use crate::manifest::Manifest;
use crate::map::Slot;
use crate::{BLOCK, CURRENT, Error, Result, volume};
use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Form of an exported image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Each byte of the disk at its own place; holes where there are zeros.
    Raw,
    /// QEMU's format, version 3, without a backing file.
    Qcow2,
}

/// Most bytes that are moved at once.
const STEP: u64 = 4 << 20;

/// Writes the disk as it was at `checkpoint` to the new file `to`, which appears when it is complete. [`CURRENT`] means the live disk, which
/// must not be in use. `progress` is called with bytes done and bytes in all.
///
/// # Errors
/// When the target exists, cannot be written, or a layer cannot be read.
pub fn export(
    dir: &Path,
    checkpoint: &str,
    to: &Path,
    format: Format,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    let failed = |source| Error::Export { path: to.to_owned(), source };
    if fs::symlink_metadata(to).is_ok() {
        return Err(failed(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file of that name exists; choose another name",
        )));
    }
    let live = if checkpoint == CURRENT { Some(volume::lock(dir)?) } else { None };
    let manifest = Manifest::load(dir)?;
    let top = if live.is_some() { manifest.top() } else { manifest.find(checkpoint)?.layer };
    let slots = chain::slots(&manifest);
    let map = chain::build_plain(dir, &manifest, &slots, top)?;
    let blocks = manifest.size / BLOCK;
    let mut runs = Vec::new();
    let mut at = 0;
    while at < blocks {
        let (slot, len) = map.run(at, blocks);
        if slot != Slot::NONE {
            runs.push((slot, at..at + len));
        }
        at += len;
    }
    let total: u64 = runs.iter().map(|(_, run)| (run.end - run.start) * BLOCK).sum();
    let part = Part(to.with_added_extension("part"));
    let target = Target::create(&part.0, format, manifest.size).map_err(failed)?;
    let mut buffer = vec![0; STEP as usize];
    let mut done = 0;
    for (slot, run) in runs {
        let id = slot
            .index()
            .and_then(|index| manifest.layers.get(index))
            .map(|layer| layer.id)
            .unwrap_or_default();
        let path = data_path(dir, id);
        let file = open_sealed(&path)?;
        let mut offset = run.start * BLOCK;
        while offset < run.end * BLOCK {
            let len = (run.end * BLOCK - offset).min(STEP) as usize;
            let data = &mut buffer[..len];
            volume::read_exact(&file, &mut [IoSliceMut::new(data)], offset)
                .map_err(|error| Error::io("read", &path, error))?;
            target.write(data, offset).map_err(failed)?;
            offset += len as u64;
            done += len as u64;
            progress(done, total);
        }
    }
    target.finish().map_err(failed)?;
    File::open(&part.0).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&part.0, to).map_err(failed)
}

/// The unfinished file; removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

enum Target {
    Raw(File),
    Qcow2(Box<FormatAccess<ImageFile>>),
}

impl Target {
    fn create(path: &Path, format: Format, size: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        match format {
            Format::Raw => {
                file.set_len(size)?;
                Ok(Self::Raw(file))
            }
            Format::Qcow2 => {
                let image = ImageFile::try_from(file)?;
                Qcow2::<ImageFile>::create_builder(image).size(size).create()?;
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                let image = Qcow2::<ImageFile>::builder(ImageFile::try_from(file)?)
                    .write(true)
                    .open(DenyImplicitOpenGate::default())?;
                Ok(Self::Qcow2(Box::new(FormatAccess::new(image))))
            }
        }
    }

    fn write(&self, data: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.write_all_at(data, offset),
            Self::Qcow2(image) => image.write(data, offset),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Raw(_) => Ok(()),
            Self::Qcow2(image) => image.flush(),
        }
    }
}
