//! The files part of a sprite's screen, texts, and what disks take.

use super::{Effect, jump, part};
use crate::action::{Action, Part};
use crate::model::{Edit, Files, Load, Model, Screen, Sheet, Weight, differing, shown};
use sprites_api::checkpoint::CURRENT;
use sprites_api::files::FileKind;
use sprites_api::state::{Diff, FileDiff, FilesAt};

/// Takes the part to a sprite. One that was looked at before is where it was left.
pub(super) fn open(model: &mut Model, name: String) -> Vec<Effect> {
    if model.files.name != name {
        model.files = Files::of(name);
    }
    load(model)
}

/// What the open part shows, anew. A comparison stays as it is: it costs a look at the whole disk.
pub(super) fn load(model: &Model) -> Vec<Effect> {
    let Files { name, at, path, changes, .. } = &model.files;
    if changes.is_some() {
        return Vec::new();
    }
    vec![Effect::LoadFiles { name: name.clone(), at: at.clone(), path: path.clone() }]
}

pub(super) fn step(model: &mut Model, by: isize) {
    let last = model.files.count().saturating_sub(1);
    model.files.place = model.files.place.saturating_add_signed(by).min(last);
}

pub(super) fn act(model: &mut Model, action: Action, name: String) -> Vec<Effect> {
    match action {
        Action::OpenFile => open_line(model),
        Action::ParentFolder => parent(model),
        Action::CopyOut => copy_out(model, name),
        Action::EditFile => edit(model, name),
        Action::BrowseFiles => {
            let at = model.checkpoint.clone().unwrap_or_else(|| CURRENT.to_owned());
            own(model, &name);
            model.files.at = at;
            go(model, model.files.path.clone(), None);
            part::open(model, Part::Files)
        }
        Action::MarkCheckpoint => {
            own(model, &name);
            let chosen = model.checkpoint.clone();
            model.files.marked = if model.files.marked == chosen { None } else { chosen };
            Vec::new()
        }
        Action::Compare => model.compared().map_or_else(Vec::new, |states| compare(model, &name, states)),
        Action::CompareNow => match model.checkpoint.clone() {
            Some(from) => compare(model, &name, (from, CURRENT.to_owned())),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn own(model: &mut Model, name: &str) {
    if model.files.name != name {
        model.files = Files::of(name.to_owned());
    }
}

fn compare(model: &mut Model, name: &str, (from, to): (String, String)) -> Vec<Effect> {
    own(model, name);
    model.files.changes = Some((from.clone(), to.clone(), Load::Waiting));
    model.files.place = 0;
    let mut effects = part::open(model, Part::Files);
    effects.push(Effect::LoadDiff { name: name.to_owned(), from, to });
    effects
}

/// Turns to a folder; what it holds is asked for by whoever turns.
fn go(model: &mut Model, path: String, wanted: Option<String>) {
    let files = &mut model.files;
    (files.changes, files.folder, files.path, files.place, files.wanted) =
        (None, Load::Waiting, path, 0, wanted);
}

fn open_line(model: &mut Model) -> Vec<Effect> {
    let name = model.files.name.clone();
    if let Some((_, _, Load::Ready(diff))) = &model.files.changes {
        let Some(line) = model.files.change().filter(|line| line.kind != FileKind::Directory) else {
            return Vec::new();
        };
        // The same two states as before: the present may be another by now.
        let (from, to, path) = (diff.from.at.clone(), diff.to.at.clone(), line.path.clone());
        let title = format!("{path}, {from} → {to}", from = shorter(&from), to = shorter(&to));
        let id = sheet(model, title);
        return vec![Effect::LoadFileDiff { id, name, from, to, path }];
    } else if model.files.changes.is_some() {
        return Vec::new();
    }
    let Some(entry) = model.files.entry().cloned() else { return Vec::new() };
    if entry.is_dir {
        go(model, entry.path, None);
        return load(model);
    }
    let at = model.files.at.clone();
    let id = sheet(model, format!("{}, {}", entry.path, shorter(&at)));
    vec![Effect::ReadFile { id, name, at, path: entry.path, link: entry.kind == FileKind::Symlink }]
}

/// A state as it is told.
pub(crate) fn shorter(at: &str) -> &str {
    if at == CURRENT { "now" } else { at }
}

/// Opens a screen for a text that is to come; gives its number.
fn sheet(model: &mut Model, title: String) -> u64 {
    let id = model.number();
    jump::open_text(model, Screen::Sheet);
    model.sheet = Some(Sheet { id, title, lines: Load::Waiting });
    id
}

fn parent(model: &mut Model) -> Vec<Effect> {
    if model.files.changes.take().is_some() {
        model.files.place = 0;
        return load(model);
    }
    match model.files.parent() {
        Some((parent, name)) => {
            go(model, parent, Some(name));
            load(model)
        }
        None => Vec::new(),
    }
}

fn copy_out(model: &mut Model, name: String) -> Vec<Effect> {
    let Some((at, path)) = model.files.file() else { return Vec::new() };
    let job = model.begin(format!("copying {path}"));
    vec![Effect::CopyOut { job, name, at, path }]
}

fn edit(model: &mut Model, name: String) -> Vec<Effect> {
    let Some((_, path)) = model.files.file() else { return Vec::new() };
    let job = model.begin(format!("editing {path}"));
    vec![Effect::FetchEdit { job, name, path }]
}

/// What a folder holds.
pub(super) fn came(model: &mut Model, name: &str, at: &str, path: &str, outcome: Result<FilesAt, String>) {
    let files = &mut model.files;
    if (files.name.as_str(), files.at.as_str(), files.path.as_str()) == (name, at, path) {
        files.came(outcome);
    }
}

/// What changed.
pub(super) fn compared(
    model: &mut Model,
    name: &str,
    (from, to): (&str, &str),
    outcome: Result<Diff, String>,
) {
    if let Some((held_from, held_to, load)) = &mut model.files.changes
        && model.files.name == name
        && (held_from.as_str(), held_to.as_str()) == (from, to)
    {
        *load = outcome.into();
    }
}

/// The bytes of a file, and whether there are more.
pub(super) fn read(model: &mut Model, id: u64, outcome: Result<(Vec<u8>, bool), String>) {
    if let Some(sheet) = model.sheet.as_mut().filter(|sheet| sheet.id == id) {
        sheet.lines = outcome.map(|(bytes, is_cut)| shown(&bytes, is_cut)).into();
    }
}

/// A link leads to a folder, which is opened in place of a text.
pub(super) fn is_folder(model: &mut Model, id: u64, path: String) -> Vec<Effect> {
    if model.screen != Screen::Sheet || model.sheet.as_ref().is_none_or(|sheet| sheet.id != id) {
        return Vec::new();
    }
    model.screen = Screen::Sprite;
    go(model, path, None);
    load(model)
}

/// What is different in a file.
pub(super) fn file_compared(model: &mut Model, id: u64, outcome: Result<FileDiff, String>) {
    if let Some(sheet) = model.sheet.as_mut().filter(|sheet| sheet.id == id) {
        sheet.lines = outcome.map(|diff| differing(&diff)).into();
    }
}

/// A file is here to be edited.
pub(super) fn fetched(model: &mut Model, job: u64, outcome: Result<Edit, String>) -> Vec<Effect> {
    match outcome {
        Ok(edit) if !model.read_only => vec![Effect::RunEditor(edit)],
        Ok(_) => {
            model.jobs.retain(|held| held.id != job);
            Vec::new()
        }
        Err(why) => {
            model.jobs.retain(|held| held.id != job);
            model.say(Weight::Bad, why);
            Vec::new()
        }
    }
}

/// The editor has ended.
pub(super) fn edited(model: &mut Model, edit: Edit, outcome: Result<(), String>) -> Vec<Effect> {
    match outcome {
        Ok(()) => vec![Effect::SaveEdit(edit)],
        Err(why) => {
            model.jobs.retain(|held| held.id != edit.job);
            model.say(Weight::Bad, why);
            Vec::new()
        }
    }
}
