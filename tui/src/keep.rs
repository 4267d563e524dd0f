//! Which consoles there were, and how they shared the screen, for the next run of the app.
//!
//! Sessions go on without the app; here is only what they are called and where they were shown.

use crate::model::layout::{Layout, Node};
use crate::model::{Attachment, Model};
use serde::{Deserialize, Serialize};
use sprites_backend::reading;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Largest file that is read, bytes.
const MAX: u64 = 1 << 20;
/// Most panes of one layout, and most turns to one of them.
const MAX_PANES: usize = 50;

/// By name of the context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep(pub BTreeMap<String, Consoles>);

/// Of one context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consoles {
    /// The consoles, in their order.
    pub consoles: Vec<Kept>,
    /// How they shared the screen; consoles by their place.
    pub layouts: Vec<KeptLayout>,
}

/// A console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The sprite's name.
    pub sprite: String,
    /// Its session.
    pub session: String,
    /// What somebody called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A tab of several panes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLayout {
    /// Its panes.
    pub root: KeptNode,
    /// Only one is shown.
    #[serde(default)]
    pub zoomed: bool,
    /// The one with the focus.
    pub focus: usize,
}

/// A part of a tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptNode {
    /// A console, by its place.
    Pane(usize),
    /// Two parts.
    Split {
        /// One below the other.
        below: bool,
        /// What the first gets, of 1000.
        share: u16,
        /// The parts.
        parts: Box<(KeptNode, KeptNode)>,
    },
}

impl Keep {
    /// Reads the file; without one there is nothing. The error is a sentence.
    pub fn load(path: &Path) -> Result<Self, String> {
        let failed =
            |why: String| format!("The consoles of the last time are not known: {}: {why}.", path.display());
        let text = match reading::small(path, MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        // Nobody else has made it where there is no server of this machine.
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let fresh = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }

    /// The same with what the model shows now.
    #[must_use]
    pub fn with(&self, model: &Model) -> Self {
        let mut keep = self.clone();
        // Before those of the last time are back, nothing is known about now.
        if !model.mux.restored {
            return keep;
        }
        let lives =
            |attachment: &Attachment| !matches!(attachment, Attachment::Ended(_) | Attachment::Failed(_));
        let mut places = BTreeMap::new();
        let mut consoles = Vec::new();
        for tab in model.consoles.iter().filter(|tab| lives(&tab.attachment)) {
            let Some(session) = tab.session.clone() else { continue };
            places.insert(tab.id, consoles.len());
            consoles.push(Kept { sprite: tab.sprite.clone(), session, name: tab.name.clone() });
        }
        let layouts = model.mux.layouts.iter().filter_map(|layout| kept_layout(layout, &places)).collect();
        let context = model.here.context.clone();
        match consoles.is_empty() {
            true => drop(keep.0.remove(&context)),
            false => drop(keep.0.insert(context, Consoles { consoles, layouts })),
        }
        keep
    }
}

impl KeptLayout {
    /// The layout, of consoles with these numbers by their places; `None` when too few of them are there, or it makes no sense.
    pub fn layout(&self, ids: &[Option<u64>]) -> Option<Layout> {
        let root = self.root.node(ids, 0)?;
        let mut layout = Layout { root, zoomed: self.zoomed, focus: 0 };
        let all = layout.ids();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        if all.len() < 2 || all.len() > MAX_PANES || unique.len() != all.len() {
            return None;
        }
        let focus = ids.get(self.focus).copied().flatten().filter(|id| all.contains(id));
        layout.focus = focus.unwrap_or(all[0]);
        Some(layout)
    }
}

impl KeptNode {
    /// A part without consoles is none, and its neighbour gets its room.
    fn node(&self, ids: &[Option<u64>], depth: usize) -> Option<Node> {
        match self {
            _ if depth > MAX_PANES => None,
            Self::Pane(place) => ids.get(*place).copied().flatten().map(Node::Pane),
            Self::Split { below, share, parts } => {
                let (first, second) = (parts.0.node(ids, depth + 1), parts.1.node(ids, depth + 1));
                match (first, second) {
                    (Some(first), Some(second)) => Some(Node::Split {
                        below: *below,
                        share: (*share).clamp(50, 950),
                        first: Box::new(first),
                        second: Box::new(second),
                    }),
                    (first, second) => first.or(second),
                }
            }
        }
    }
}

fn kept_layout(layout: &Layout, places: &BTreeMap<u64, usize>) -> Option<KeptLayout> {
    let root = kept_node(&layout.root, places)?;
    let focus = places.get(&layout.focus).copied().unwrap_or(0);
    Some(KeptLayout { root, zoomed: layout.zoomed, focus })
}

fn kept_node(node: &Node, places: &BTreeMap<u64, usize>) -> Option<KeptNode> {
    match node {
        Node::Pane(id) => places.get(id).copied().map(KeptNode::Pane),
        Node::Split { below, share, first, second } => {
            match (kept_node(first, places), kept_node(second, places)) {
                (Some(first), Some(second)) => {
                    Some(KeptNode::Split { below: *below, share: *share, parts: Box::new((first, second)) })
                }
                (first, second) => first.or(second),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_come_back_without_those_that_are_gone() {
        let mut layout = Layout::new(7);
        let area = ratatui::layout::Rect::new(0, 0, 100, 40);
        assert!(layout.split(7, 8, false, area) && layout.split(8, 9, true, area));
        let places = BTreeMap::from([(7, 0), (8, 1), (9, 2)]);
        let kept = kept_layout(&layout, &places).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        let kept: KeptLayout = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.layout(&[Some(7), Some(8), Some(9)]), Some(layout));
        assert_eq!(kept.layout(&[Some(1), None, Some(3)]).unwrap().ids(), [1, 3]);
        assert_eq!(kept.layout(&[Some(1), None, None]), None);
        assert_eq!(kept.layout(&[Some(1), Some(1), Some(1)]), None);
    }

    #[test]
    fn a_broken_file_is_told_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consoles.json");
        assert_eq!(Keep::load(&path), Ok(Keep::default()));
        fs::write(&path, "{").unwrap();
        assert!(Keep::load(&path).unwrap_err().contains("consoles.json"));
        let keep = Keep(BTreeMap::from([("local".to_owned(), Consoles::default())]));
        keep.save(&path).unwrap();
        assert_eq!(Keep::load(&path), Ok(keep));
    }
}
