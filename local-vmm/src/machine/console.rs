//! The console's log. Its bytes come from the guest, so there is an end to how many are kept.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size at which a log becomes the older one, bytes. At most twice this is kept.
const LIMIT: u64 = 512 << 10;

/// A log in two files: `console.log` and, older, `console.old`.
#[derive(Debug)]
pub(super) struct Console {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Console {
    /// Begins a new log in `run_dir`; the one of the run before becomes the older one.
    pub(super) fn new(run_dir: &Path) -> Self {
        let mut console = Self { path: run_dir.join("console.log"), file: None, size: 0 };
        console.turn();
        console
    }

    /// Adds what the guest printed. What cannot be written is lost; the machine goes on.
    pub(super) fn add(&mut self, bytes: &[u8]) {
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
        let mut console = Console::new(dir.path());
        for _ in 0..300 {
            console.add(&[b'x'; 8192]);
        }
        let size = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("console.log") <= LIMIT && size("console.old") <= LIMIT);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
