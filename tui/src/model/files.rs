//! Files of a sprite, now or at a checkpoint, and what changed between two of its states: a part of its screen. And texts that are read on a screen of their own.

use super::{Load, Model};
use crate::action::Action;
use sprites_api::checkpoint::CURRENT;
use sprites_api::files::{Entry, FileKind};
use sprites_api::state::{Change, Changed, Contents, Diff, FileDiff, FilesAt};
use sprites_backend::client::{HOME, plain};
use std::path::PathBuf;
use std::sync::Arc;

/// Most bytes of a file that are shown.
pub const MAX_SHOWN: u64 = 1 << 20;
/// Bytes in which a file that is no text shows itself by a zero.
const BEGINNING: usize = 8000;

/// See the module.
#[derive(Debug)]
pub struct Files {
    /// Whose.
    pub name: String,
    /// Which state is browsed: a checkpoint, or `Current`.
    pub at: String,
    /// The open folder.
    pub path: String,
    /// What it holds.
    pub folder: Load<FilesAt>,
    /// What changed, where that is looked at instead: from this state to that one.
    pub changes: Option<(String, String, Load<Diff>)>,
    /// Place of the selected line.
    pub place: usize,
    /// Name to select when its folder comes: the one that was left.
    pub wanted: Option<String>,
    /// Checkpoint that was marked to compare with.
    pub marked: Option<String>,
}

impl Default for Files {
    fn default() -> Self {
        Self::of(String::new())
    }
}

impl Files {
    /// Of a sprite that was not looked at yet.
    pub fn of(name: String) -> Self {
        Self {
            name,
            at: CURRENT.into(),
            path: HOME.into(),
            folder: Load::Waiting,
            changes: None,
            place: 0,
            wanted: None,
            marked: None,
        }
    }

    /// The lines of the open folder: folders first.
    pub fn entries(&self) -> &[Entry] {
        match &self.folder {
            Load::Ready(folder) => &folder.listing.entries,
            _ => &[],
        }
    }

    /// The lines of the open comparison.
    pub fn changed(&self) -> &[Changed] {
        match &self.changes {
            Some((_, _, Load::Ready(diff))) => &diff.changes,
            _ => &[],
        }
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        if self.changes.is_some() { self.changed().len() } else { self.entries().len() }
    }

    /// The selected file or folder.
    pub fn entry(&self) -> Option<&Entry> {
        if self.changes.is_some() { None } else { self.entries().get(self.place) }
    }

    /// The selected change.
    pub fn change(&self) -> Option<&Changed> {
        self.changed().get(self.place)
    }

    /// Takes what a folder holds.
    pub fn came(&mut self, outcome: Result<FilesAt, String>) {
        let before = self.entry().map(|entry| entry.name.clone());
        let outcome = outcome.map(|mut folder| {
            folder.listing.entries.sort_by_key(|entry| (!entry.is_dir, entry.name.clone()));
            folder
        });
        self.folder.renew(outcome);
        if let Load::Ready(folder) = &self.folder {
            // A link to a folder leads to where it stands.
            self.path.clone_from(&folder.listing.path);
        }
        if self.changes.is_none() {
            let wanted = self.wanted.take().or(before);
            let place = self.entries().iter().position(|entry| Some(&entry.name) == wanted.as_ref());
            self.place = place.unwrap_or(self.place).min(self.entries().len().saturating_sub(1));
        }
    }

    /// Whether something else is shown than what is there now.
    pub fn is_aside(&self) -> bool {
        self.changes.is_some() || self.at != CURRENT
    }

    /// Shows what is there now, once it is asked for.
    pub fn go_home(&mut self) {
        CURRENT.clone_into(&mut self.at);
        (self.changes, self.folder, self.place) = (None, Load::Waiting, 0);
    }

    /// The folder above, and the name of this one in it.
    pub fn parent(&self) -> Option<(String, String)> {
        let (parent, name) = self.path.trim_end_matches('/').rsplit_once('/')?;
        let parent = if parent.is_empty() { "/" } else { parent };
        (!name.is_empty()).then(|| (parent.to_owned(), name.to_owned()))
    }

    /// State and path of the file that can be read or copied: the selected one, or where something changed as it is now, or was.
    pub fn file(&self) -> Option<(String, String)> {
        if let Some((_, _, Load::Ready(diff))) = &self.changes {
            let line = self.change().filter(|line| line.kind == FileKind::File)?;
            let side = if line.change == Change::Removed { &diff.from } else { &diff.to };
            return Some((side.at.clone(), line.path.clone()));
        }
        let entry = self.entry().filter(|entry| !entry.is_dir)?;
        Some((self.at.clone(), entry.path.clone()))
    }
}

impl Model {
    /// Why an action on files cannot be done now, if it cannot.
    pub(super) fn possible_with_files(&self, action: Action) -> Result<(), String> {
        let files = &self.files;
        let bad = |words: &str| Err(words.to_owned());
        match action {
            Action::Compare if self.compared().is_none() => {
                bad("There is nothing to compare it with; mark another checkpoint first.")
            }
            Action::CompareNow if self.checkpoint.as_deref().is_none_or(|id| id == CURRENT) => {
                bad("This is the present; select a checkpoint to compare with it.")
            }
            Action::OpenFile if files.count() == 0 => bad("There is nothing here to open."),
            Action::ParentFolder if files.changes.is_none() && files.parent().is_none() => {
                bad("There is no folder above this one.")
            }
            Action::CopyOut if files.file().is_none() => bad("Select a file first."),
            Action::EditFile if files.at != CURRENT || files.changes.is_some() => {
                bad("Only the sprite's present files can be edited.")
            }
            Action::EditFile if files.file().is_none() => bad("Select a file first."),
            _ => Ok(()),
        }
    }

    /// The two states that the selected checkpoint stands for: from the marked one, else from its parent, to it.
    pub fn compared(&self) -> Option<(String, String)> {
        let to = self.checkpoint.clone()?;
        let node = self.nodes()?.iter().find(|node| node.id == to)?;
        let marked = self.files.marked.clone().filter(|id| *id != to);
        Some((marked.or_else(|| node.parent.clone())?, to))
    }
}

/// A text on a screen of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Tells what comes for this one from what comes late for another.
    pub id: u64,
    /// What it is.
    pub title: String,
    /// Its lines, each a mark and a text.
    pub lines: Load<Vec<(Mark, String)>>,
}

/// What a line of a sheet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Mark {
    Plain,
    Added,
    Removed,
    Aside,
}

/// The bytes of a file as lines; a sentence where they are none.
pub fn shown(bytes: &[u8], is_cut: bool) -> Vec<(Mark, String)> {
    if bytes.iter().take(BEGINNING).any(|byte| *byte == 0) {
        return vec![(
            Mark::Aside,
            format!("No text, {} bytes{}.", bytes.len(), if is_cut { " and more" } else { "" }),
        )];
    }
    let text = plain(&String::from_utf8_lossy(bytes));
    let mut lines: Vec<_> = text.lines().map(|line| (Mark::Plain, untabbed(line))).collect();
    if is_cut {
        lines.push((Mark::Aside, "It goes on; copy it out to see the rest.".to_owned()));
    }
    if lines.is_empty() {
        lines.push((Mark::Aside, "It is empty.".to_owned()));
    }
    lines
}

/// What is different in a file, as lines.
pub fn differing(diff: &FileDiff) -> Vec<(Mark, String)> {
    let aside = |words: &str| vec![(Mark::Aside, words.to_owned())];
    match diff.contents {
        Contents::Same => aside("Its contents are the same."),
        Contents::Binary => aside("It is different, and no text."),
        Contents::Large => aside("It is different, and too large to be compared by lines."),
        Contents::Text => {
            let text = plain(&diff.unified);
            let mark = |line: &str| match line.chars().next() {
                Some('+') => Mark::Added,
                Some('-') => Mark::Removed,
                Some('@' | '\\') => Mark::Aside,
                _ => Mark::Plain,
            };
            let mut lines: Vec<_> = text.lines().map(|line| (mark(line), untabbed(line))).collect();
            if diff.is_cut {
                lines.push((
                    Mark::Aside,
                    "The comparison is longer; `sprite diff --path` tells as much.".into(),
                ));
            }
            lines
        }
    }
}

/// A tab has no width of its own in a cell.
fn untabbed(line: &str) -> String {
    line.replace('\t', "    ")
}

/// A file of a sprite that is being edited here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The job that it is told as.
    pub job: u64,
    /// Whose.
    pub name: String,
    /// Which.
    pub path: String,
    /// Its copy here.
    pub copy: PathBuf,
    /// What it held.
    pub before: Arc<Vec<u8>>,
}
