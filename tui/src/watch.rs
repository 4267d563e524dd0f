//! Files that a person may change while the app runs. Whoever waits costs nothing: the kernel tells (`man 7 inotify`).

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A file is written in several steps; when none came for this long it is whole.
const QUIET: Duration = Duration::from_millis(100);
/// What never rests is read all the same after this long.
const LONGEST: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    /// Folders that are to be watched, and whether they are.
    folders: Vec<(PathBuf, bool)>,
    changed: Arc<Notify>,
    /// What has changed and is not told yet.
    change: Option<Change>,
}

/// Times of a change that somebody is to be told of.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// It is at rest then, if nothing more comes.
    quiet: Instant,
    /// It is told by then in any case.
    latest: Instant,
}

impl Watch {
    /// Begins to watch a file, and the files of a folder that need not be there yet; else says why changes are not seen.
    pub fn new(file: &Path, folder: &Path) -> Result<Self, String> {
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading them is an event too.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                tell.notify_one();
            }
        });
        // Editors put a new file in the place of the old one, so it is the folder that is watched.
        let parent = file.parent().unwrap_or(file);
        // The first file may come later. Where it cannot be made, that is told below.
        let _ = std::fs::create_dir_all(parent);
        let parents = [parent.to_owned(), folder.to_owned()];
        let folders = parents.into_iter().map(|folder| (folder, false)).collect();
        let mut watch =
            Self { watcher: watcher.map_err(|error| error.to_string())?, folders, changed, change: None };
        watch.join();
        match watch.folders.iter().any(|(_, watched)| *watched) {
            true => Ok(watch),
            false => Err(format!("{} cannot be watched", file.display())),
        }
    }

    /// Watches what was not there before.
    fn join(&mut self) {
        for (folder, watched) in &mut self.folders {
            if !folder.is_dir() {
                *watched = false;
            } else if !*watched {
                *watched = self.watcher.watch(folder, RecursiveMode::NonRecursive).is_ok();
            }
        }
    }

    /// Waits until something has changed and is at rest again. Nothing is lost when this is given up and begun again, however often.
    pub async fn changed(&mut self) {
        loop {
            let Some(Change { quiet, latest }) = self.change else {
                self.changed.notified().await;
                let now = Instant::now();
                self.change = Some(Change { quiet: now + QUIET, latest: now + LONGEST });
                continue;
            };
            tokio::select! {
                biased;
                () = sleep_until(quiet.min(latest)) => break,
                () = self.changed.notified() => {
                    self.change = Some(Change { quiet: Instant::now() + QUIET, latest });
                }
            }
        }
        self.change = None;
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tokio::time::timeout;

    #[tokio::test]
    async fn nothing_is_lost_to_those_who_do_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("config.toml"), dir.path().join("themes"));
        let mut watch = Watch::new(&file, &folder).unwrap();
        fs::write(&file, "").unwrap();
        let seen = async { while timeout(QUIET / 20, watch.changed()).await.is_err() {} };
        timeout(Duration::from_secs(30), seen).await.unwrap();
        assert!(watch.change.is_none());
    }
}
