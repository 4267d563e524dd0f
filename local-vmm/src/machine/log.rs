//! A log whose bytes come from a guest, or are caused by it, so that there is an end to how many are kept.

use super::files;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size at which a log becomes the older one, bytes. At most twice this is kept.
const LIMIT: u64 = 512 << 10;

/// A log in two files: `<name>.log` and, older, `<name>.old`.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl BoundedLog {
    /// Begins a new log in a folder; the one of the run before becomes the older one.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut log = Self { path: files::log(dir, name), file: None, size: 0 };
        log.turn();
        log
    }

    /// Goes on with a log that somebody else has begun.
    pub(crate) fn go_on(dir: &Path, name: &str) -> Self {
        let path = files::log(dir, name);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).ok();
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        Self { path, file, size }
    }

    /// Adds bytes. What cannot be written is lost; the machine goes on.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if self.size + bytes.len() as u64 > LIMIT {
            self.turn();
        }
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.size += bytes.len() as u64;
        }
    }

    fn turn(&mut self) {
        let _ = fs::rename(&self.path, self.path.with_extension("old"));
        self.file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path).ok();
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stays_within_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut console = BoundedLog::new(dir.path(), "console");
        for _ in 0..300 {
            console.add(&[b'x'; 8192]);
        }
        let mut console = BoundedLog::go_on(dir.path(), "console");
        for _ in 0..300 {
            console.add(&[b'x'; 8192]);
        }
        let size = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("console.log") <= LIMIT && size("console.old") <= LIMIT);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
