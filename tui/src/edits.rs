//! Files of sprites that are edited here: with the editor of this user, in a copy that is written back. What somebody has written is never
//! thrown away: it goes back whatever else happens to the app, and where it cannot, its copy stays and is told.

use crate::model::Edit;
use crate::number;
use crate::update::Event;
use futures::TryStreamExt;
use sprites_backend::client::{Client, WriteOptions, clean};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Largest file that is edited, bytes.
const MAX: usize = 8 << 20;
/// How long the end of the app waits for what is written back.
const END: Duration = Duration::from_secs(10);

/// What is on its way back, in whatever context somebody is by then.
#[derive(Debug)]
pub struct Edits {
    events: Sender<Event>,
    tasks: TaskTracker,
    /// Paths in sprites, by the copies here.
    copies: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Edits {
    /// Tells `events` what comes of each.
    pub fn new(events: Sender<Event>) -> Self {
        Self { events, tasks: TaskTracker::new(), copies: Arc::default() }
    }

    /// Writes back what was edited, unless nothing was, or the file inside is another by now.
    pub fn save(&self, client: Client, edit: Edit) {
        let (events, copies) = (self.events.clone(), Arc::clone(&self.copies));
        let held = move |change: &dyn Fn(&mut BTreeMap<PathBuf, String>)| {
            change(&mut copies.lock().unwrap_or_else(PoisonError::into_inner));
        };
        held(&|copies| drop(copies.insert(edit.copy.clone(), edit.path.clone())));
        self.tasks.spawn(async move {
            let outcome = match write_back(&client, &edit).await {
                Ok(said) => {
                    let _ = std::fs::remove_file(&edit.copy);
                    held(&|copies| drop(copies.remove(&edit.copy)));
                    Ok(said)
                }
                Err(why) => {
                    Err(format!("{}; what you wrote is kept in {}", clean(&why), edit.copy.display()))
                }
            };
            let failed = outcome.is_err();
            if events.send(Event::Done(edit.job, outcome, Some(edit.name))).await.is_ok() && failed {
                // It is told.
                held(&|copies| drop(copies.remove(&edit.copy)));
            }
        });
    }

    /// Waits for what is on its way; gives sentences about what did not arrive and nobody was told of.
    pub async fn end(self) -> Vec<String> {
        self.tasks.close();
        let _ = timeout(END, self.tasks.wait()).await;
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(copy, path): (&PathBuf, &String)| {
            format!(
                "What you wrote to {} did not get into the sprite; it is kept in {}.",
                clean(path),
                copy.display()
            )
        };
        copies.iter().map(told).collect()
    }
}

/// What a file holds, for the editor. The error is a sentence.
pub async fn present(client: &Client, name: &str, path: &str) -> Result<Vec<u8>, String> {
    let mut pieces = client.read_file(name, path).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.try_next().await.map_err(|error| error.to_string())? {
        if bytes.len() + piece.len() > MAX {
            return Err(format!("{path} is larger than {} MiB; copy it out to edit it", MAX >> 20));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn write_back(client: &Client, edit: &Edit) -> Result<String, String> {
    let Edit { name, path, copy, before, .. } = edit;
    let after =
        tokio::fs::read(copy).await.map_err(|error| format!("cannot read {}: {error}", copy.display()))?;
    if after == **before {
        return Ok(format!("{path} is as it was."));
    }
    if present(client, name, path).await? != **before {
        return Err(format!("{path} was changed in the sprite meanwhile and is not written over"));
    }
    let length = after.len() as u64;
    let bytes = futures::stream::once(async move { Ok(after.into()) });
    let written = client.write_file(name, path, WriteOptions::default(), Some(length), bytes).await;
    let written = written.map_err(|error| error.to_string())?;
    Ok(format!("{path} is written, {}.", number::bytes(written.size)))
}

/// Runs the editor of this user on a file, with the terminal in its hands.
pub fn run_editor(copy: &Path) -> Result<(), String> {
    let chosen = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = chosen.unwrap_or_else(|| "vi".into());
    // Editors are configured with arguments, as a shell would read them.
    match Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(copy).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "{editor} ended with {status}; nothing was changed in the sprite, and the copy is {}",
            copy.display()
        )),
        Err(error) => Err(format!("{editor} cannot be run: {error}; set EDITOR to one that is here")),
    }
}
