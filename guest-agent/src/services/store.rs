//! Definitions on the sprite's disk: one file for each service.

use serde::{Deserialize, Serialize};
use sprites_api::services::{Definition, check_name};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Larger files are none that were written here, bytes.
const FILE_LIMIT: u64 = 256 << 10;

/// What is kept of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) definition: Definition,
    /// Somebody stopped it, and it stays so.
    #[serde(default)]
    pub(super) stopped: bool,
}

/// The folder of definitions.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// All that can be read. What cannot is passed over: the sprite's user may write here too.
    pub(super) fn load(&self) -> BTreeMap<String, Kept> {
        let Ok(entries) = fs::read_dir(&self.0) else { return BTreeMap::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_str()?.strip_suffix(".json")?.to_owned();
                check_name(&name).ok()?;
                Some((name, read(&entry.path()).ok()?))
            })
            .take(super::SERVICES)
            .collect()
    }

    /// Writes one, whole or not at all.
    pub(super) fn save(&self, name: &str, kept: &Kept) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.0)?;
        serde_json::to_writer_pretty(&mut file, kept)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes one; that it is not there is as good.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut text = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut text)?;
    let kept: Kept = serde_json::from_slice(&text)?;
    super::check(&kept.definition).map_err(io::Error::other)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path().join("services"));
        assert!(store.load().is_empty());
        let definition = Definition { cmd: "sleep".into(), args: vec!["1".into()], ..Definition::default() };
        let kept = Kept { definition, stopped: true };
        store.save("one", &kept).unwrap();
        store.save("two", &Kept { stopped: false, ..kept.clone() }).unwrap();
        store.remove("two").unwrap();
        store.remove("two").unwrap();
        let dir = folder.path().join("services");
        fs::write(dir.join("broken.json"), "{").unwrap();
        fs::write(dir.join("..json"), "{\"cmd\":\"x\"}").unwrap();
        fs::write(dir.join("empty.json"), "{\"cmd\":\"\"}").unwrap();
        assert_eq!(store.load(), BTreeMap::from([("one".to_owned(), kept)]));
    }
}
