//! How a machine process ended: told by it, kept by the process that waits for it, read by the server.

use super::files;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Longest reason that is kept, characters.
const REASON: usize = 2000;

/// What a machine process leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Why it failed; none when it was told to end.
    pub error: Option<String>,
}

impl Exit {
    /// As it is told.
    pub(super) fn told(&self) -> Vec<u8> {
        // A plain structure always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was told by a process that may be its guest's by now: a text of some length without control characters, or nothing.
    pub(crate) fn heard(bytes: &[u8]) -> Option<Self> {
        let Self { error } = serde_json::from_slice(bytes).ok()?;
        let plain = |text: String| text.chars().filter(|sign| !sign.is_control()).take(REASON).collect();
        Some(Self { error: error.map(plain) })
    }

    /// Keeps it in a run folder.
    pub(crate) fn keep(&self, run_dir: &Path) {
        if let Err(error) = fs::write(run_dir.join(files::EXIT), self.told()) {
            tracing::error!("how the machine ended is not kept: {error}");
        }
    }

    /// Reads it there.
    pub(super) fn read(run_dir: &Path) -> Option<Self> {
        Self::heard(&files::read(&run_dir.join(files::EXIT)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_plain() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Exit::read(dir.path()), None);
        let long = Exit { error: Some("\u{1b}[2Jx".repeat(5000)) };
        Exit::heard(&long.told()).unwrap().keep(dir.path());
        let reason = Exit::read(dir.path()).unwrap().error.unwrap();
        assert!(reason.len() <= REASON && reason.starts_with("[2Jx"));
        assert_eq!(Exit::heard(b"nonsense"), None);
    }
}
