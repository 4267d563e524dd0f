//! Files of a sprite, now and at its checkpoints; what changed between two of these; and what the disks would take, if there were any.

use crate::actor::Actor;
use crate::shell::{Files, write};
use crate::world::{Result, World};
use similar::TextDiff;
use sprites_api::checkpoint::CURRENT;
use sprites_api::files::{Entry, FileKind, Listing};
use sprites_api::state::{Aspect, Change, Changed, Contents, Diff, FileDiff, FilesAt, Seen, Side};
use sprites_api::storage::{Deletable, SpriteStorage, Storage};
use std::collections::{BTreeMap, BTreeSet};

/// Where the files are: everything else of these sprites is empty.
const HOME: &str = "/home/sprite";
/// Bytes that no disk of the demo takes.
const FREE: u64 = 212_000_000_000;

/// What a sprite begins with.
pub fn beginning(name: &str) -> Files {
    let files = [
        ("README.md", format!("# {name}\n\nA sprite of the demo. Nothing here is real.\n")),
        ("notes.txt", "Checkpoints keep files: remove this one and restore.\n".to_owned()),
        ("work/CHANGES.md", "# Changes\n".to_owned()),
        ("work/main.py", "STEPS = 0\n\n\ndef main():\n    print(\"steps:\", STEPS)\n\n\nmain()\n".to_owned()),
    ];
    files.map(|(path, text)| (path.to_owned(), text)).into()
}

/// The same after another step of work, so that two checkpoints differ in files that are new, other and gone.
pub fn worked_on(before: &Files, step: usize, what: &str) -> Files {
    let mut files = before.clone();
    if let Some(changes) = files.get_mut("work/CHANGES.md") {
        changes.push_str(&format!("- {what}\n"));
    }
    if let Some(program) = files.get_mut("work/main.py") {
        let rest = program.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        *program = format!("STEPS = {}\n{rest}", step + 1);
    }
    files.retain(|path, _| !path.starts_with("work/draft-"));
    files.insert(format!("work/draft-{step}.txt"), format!("{what}\n"));
    files
}

/// A path below the home, from an absolute one.
fn within(path: &str) -> Option<&str> {
    path.strip_prefix(HOME)?.strip_prefix('/').filter(|path| !path.is_empty())
}

/// Whether somebody asks for the same path twice or for none is all the same.
fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

impl Actor {
    /// The files of a state.
    fn at(&self, id: &str) -> Result<&Files> {
        match id {
            CURRENT => Ok(&self.files),
            id => self.kept.get(id).ok_or_else(|| format!("checkpoint {id} not found")),
        }
    }

    /// What a folder holds, or the one entry of a file.
    pub fn files_at(&self, at: &str, path: &str) -> Result<FilesAt> {
        let (files, path) = (self.at(at)?, tidy(path));
        let changed = match self.nodes.iter().find(|node| node.id == at) {
            Some(node) => node.create_time,
            None => self.nodes.last().map_or_else(sprites_api::Time::now, |node| node.create_time),
        };
        let entry = |name: &str, path: String, size: Option<u64>| Entry {
            name: name.to_owned(),
            path,
            kind: if size.is_some() { FileKind::File } else { FileKind::Directory },
            size: size.unwrap_or(4096),
            mode: if size.is_some() { "0644" } else { "0755" }.into(),
            mod_time: changed,
            is_dir: size.is_none(),
        };
        let own = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some(text) = within(&path).and_then(|path| files.get(path)) {
            let entries = vec![entry(&own(&path), path.clone(), Some(text.len() as u64))];
            return Ok(listed(at, path, entries));
        }
        // Folders are where paths have a part more.
        let below = if path == "/" { path.clone() } else { format!("{path}/") };
        let mut found = BTreeMap::new();
        let known = files.iter().map(|(path, text)| (format!("{HOME}/{path}"), Some(text.len() as u64)));
        for (file, size) in known.chain([(HOME.to_owned(), None)]) {
            let Some(rest) = file.strip_prefix(&below) else { continue };
            match rest.split_once('/') {
                Some((folder, _)) => found.insert(folder.to_owned(), None),
                None => found.insert(rest.to_owned(), size),
            };
        }
        if found.is_empty() && path != HOME {
            return Err(format!("{path} not found"));
        }
        let entries = found.iter().map(|(name, size)| entry(name, format!("{below}{name}"), *size)).collect();
        Ok(listed(at, path, entries))
    }

    /// The text of a file.
    pub fn file_at(&self, at: &str, path: &str) -> Result<String> {
        let path = tidy(path);
        let text = within(&path).and_then(|path| self.at(at).ok()?.get(path));
        text.cloned().ok_or_else(|| format!("{path} not found"))
    }

    /// Writes a file; where it is.
    pub fn write(&mut self, path: &str, text: String) -> Result<String> {
        let path = tidy(path);
        let place = within(&path).ok_or_else(|| format!("the demo has files below {HOME} only"))?;
        write(&mut self.files, place, text);
        Ok(path)
    }

    /// What is different between two states.
    pub fn diff(&self, from: &str, to: &str) -> Result<Diff> {
        let (one, two) = (self.at(from)?, self.at(to)?);
        let paths: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
        let changes = paths.into_iter().filter_map(|path| {
            let (before, after) = (one.get(path), two.get(path));
            let change = match (before, after) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                (Some(one), Some(two)) if one == two => return None,
                _ => Change::Changed,
            };
            let aspects = if change == Change::Changed { vec![Aspect::Contents] } else { Vec::new() };
            let size = |text: &String| text.len() as u64;
            let (before, after) = (before.map(size), after.map(size));
            let path = format!("{HOME}/{path}");
            Some(Changed { path, change, kind: FileKind::File, before, after, aspects })
        });
        let changes: Vec<Changed> = changes.collect();
        let count = |what| changes.iter().filter(|line| line.change == what).count() as u64;
        Ok(Diff {
            from: side(from),
            to: side(to),
            added: count(Change::Added),
            changed: count(Change::Changed),
            removed: count(Change::Removed),
            // A block of a disk for each.
            disk_bytes: changes.len() as u64 * 4096,
            changes,
            incomplete: None,
        })
    }

    /// What is different in one file.
    pub fn diff_file(&self, from: &str, to: &str, path: &str) -> Result<FileDiff> {
        let path = tidy(path);
        let text = |at: &str| -> Result<Option<&String>> {
            let files = self.at(at)?;
            Ok(within(&path).and_then(|path| files.get(path)))
        };
        let (one, two) = (text(from)?, text(to)?);
        let (old, new) = (one.map_or("", String::as_str), two.map_or("", String::as_str));
        let (contents, unified) = match old == new {
            true => (Contents::Same, String::new()),
            false => {
                (Contents::Text, TextDiff::from_lines(old, new).unified_diff().context_radius(3).to_string())
            }
        };
        let size = |text: &String| text.len() as u64;
        let (before, after) = (one.map(size), two.map(size));
        let (from, to) = (side(from), side(to));
        Ok(FileDiff { from, to, before, after, contents, unified, is_cut: false, path: path.clone() })
    }
}

fn listed(at: &str, path: String, entries: Vec<Entry>) -> FilesAt {
    let listing = Listing { path, count: entries.len(), entries };
    FilesAt { at: at.to_owned(), seen: Seen::Whole, listing }
}

fn side(at: &str) -> Side {
    Side { asked: at.to_owned(), at: at.to_owned(), seen: Seen::Whole }
}

impl World {
    /// What the disks would take, the largest first.
    pub fn storage(&self) -> Storage {
        let of = |actor: &Actor| {
            let node = |node: &sprites_api::extension::TreeNode| Deletable {
                id: node.id.clone(),
                create_time: node.create_time,
                comment: node.comment.clone(),
                is_auto: node.is_auto,
                frees_bytes: node.exclusive_bytes + node.memory_bytes.unwrap_or(0),
                memory_bytes: node.memory_bytes.unwrap_or(0),
                is_used: actor.parent.as_ref() == Some(&node.id),
            };
            let mut checkpoints: Vec<Deletable> = actor.nodes.iter().map(node).collect();
            checkpoints.sort_by_key(|one| (!one.is_auto, one.create_time));
            let first = || checkpoints.iter().filter(|one| one.is_auto && !one.is_used);
            SpriteStorage {
                name: actor.sprite.name.clone(),
                stored_bytes: actor.stored,
                shared_bytes: 0,
                first: first().map(|one| one.id.clone()).collect(),
                first_bytes: first().map(|one| one.frees_bytes).sum(),
                checkpoints,
            }
        };
        let mut sprites: Vec<SpriteStorage> = self.actors.values().map(of).collect();
        sprites.sort_by_key(|sprite| std::cmp::Reverse(sprite.stored_bytes));
        Storage {
            stored_bytes: sprites.iter().map(|sprite| sprite.stored_bytes).sum(),
            first_bytes: sprites.iter().map(|sprite| sprite.first_bytes).sum(),
            free_bytes: FREE,
            sprites,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_keep_files_and_can_be_compared() {
        let mut world = World::new(crate::Scene::Own);
        let name = "agent-checkout";
        world.actor(name).unwrap().write("/home/sprite/work/main.py", "print(1)\n".into()).unwrap();
        let actor = world.actor(name).unwrap();
        let folder = actor.files_at(CURRENT, "/home/sprite/").unwrap().listing;
        let names: Vec<(&str, bool)> =
            folder.entries.iter().map(|entry| (entry.name.as_str(), entry.is_dir)).collect();
        assert_eq!(names, [("README.md", false), ("notes.txt", false), ("work", true)]);
        assert_eq!(actor.files_at(CURRENT, "/").unwrap().listing.entries[0].path, "/home");
        assert_eq!(actor.files_at("v0", "/home/sprite/notes.txt").unwrap().listing.entries.len(), 1);
        let diff = actor.diff("v0", "v1").unwrap();
        assert_eq!((diff.added, diff.changed, diff.removed), (1, 2, 1));
        assert_eq!(actor.diff("v1", "v1").unwrap().changes, []);
        let lines = actor.diff_file("v4", CURRENT, "/home/sprite/work/main.py").unwrap().unified;
        assert!(lines.contains("+print(1)") && lines.contains("-STEPS = 5"), "{lines}");
        // A branch goes on from where it branched off.
        assert!(
            actor.file_at("v3", "/home/sprite/work/CHANGES.md").unwrap().ends_with("green\n- another way\n")
        );
        assert!(actor.file_at("v9", "/home/sprite/notes.txt").is_err());
        assert!(actor.write("/etc/passwd", String::new()).is_err());
        world.restore(name, "v0").unwrap();
        let storage = world.storage();
        assert_eq!(storage.sprites[0].name, "notebook");
        let sprite = storage.sprites.iter().find(|sprite| sprite.name == name).unwrap();
        assert!(sprite.first[0].starts_with("pre-restore-v0"), "{sprite:?}");
        assert_eq!(sprite.checkpoints.iter().filter(|one| one.is_used).count(), 1);
    }
}
