//! The parts of a sprite's screen: what each loads when it is opened, and again and again while it is looked at. None of it wakes a sprite.

use super::{Effect, files, inside, network};
use crate::action::Part;
use crate::model::{History, Load, Model, Screen, ZOOMS};
use std::time::{Duration, Instant};

/// Between two looks at what the open part shows.
const LOOK: Duration = Duration::from_secs(2);
/// The same for what changes seldom.
const SELDOM: Duration = Duration::from_secs(10);

/// Opens the screen of the selected sprite, at the part that was looked at last.
pub(super) fn open_sprite(model: &mut Model) -> Vec<Effect> {
    let Some(name) = model.selected.clone() else { return Vec::new() };
    model.screen = Screen::Sprite;
    model.tree = Some((name.clone(), Load::Waiting));
    model.checkpoint = None;
    (model.graphs_end, model.graphs_mark) = (0, None);
    model.history = History { name: name.clone(), samples: Vec::new() };
    let mut effects = vec![Effect::LoadTree(name.clone()), Effect::LoadHistory(name, ZOOMS[model.zoom])];
    let part = model.part;
    effects.extend(open(model, part));
    effects
}

/// Turns to a part of the screen.
pub(super) fn open(model: &mut Model, part: Part) -> Vec<Effect> {
    model.part = part;
    model.other_graphs = false;
    model.asked.part = None;
    let Some(name) = model.selected.clone() else { return Vec::new() };
    match part {
        // Loaded with the screen.
        Part::Checkpoints => Vec::new(),
        Part::Network => network::open(model, name),
        Part::Inside => inside::open(model, name),
        Part::Files => files::open(model, name),
    }
}

/// What the open part is to be asked for now, if anything.
pub(super) fn ask_again(model: &mut Model, now: Instant) -> Vec<Effect> {
    // Elsewhere only a server that has told what only ours tell may be asked that often.
    let told = match model.part {
        Part::Checkpoints => model.metered,
        Part::Network => matches!(model.network.log, Load::Ready(_)),
        Part::Inside => matches!(model.inside.seen, Load::Ready(_)),
        Part::Files => matches!(model.files.folder, Load::Ready(_)),
    };
    if !model.here.local && !told {
        return Vec::new();
    }
    let pause = match model.part {
        Part::Checkpoints | Part::Files => SELDOM,
        Part::Network | Part::Inside => LOOK,
    };
    let due = model.asked.part.is_none_or(|at| now.duration_since(at) >= pause);
    if model.screen != Screen::Sprite || !due {
        return Vec::new();
    }
    model.asked.part = Some(now);
    load(model)
}

/// What the open part shows, anew.
pub(super) fn load(model: &Model) -> Vec<Effect> {
    match (model.part, &model.selected) {
        (Part::Checkpoints, Some(name)) => vec![Effect::LoadTree(name.clone())],
        (Part::Network, Some(name)) => network::load(name),
        (Part::Inside, Some(name)) => inside::load(name),
        (Part::Files, Some(name)) if model.files.name == *name => files::load(model),
        _ => Vec::new(),
    }
}

/// Moves the selection of the open part.
pub(super) fn step(model: &mut Model, by: isize) {
    match model.part {
        Part::Checkpoints => {
            if let Some(nodes) = model.nodes() {
                let place =
                    nodes.iter().position(|node| Some(&node.id) == model.checkpoint.as_ref()).unwrap_or(0);
                let to = place.saturating_add_signed(by).min(nodes.len().saturating_sub(1));
                model.checkpoint = nodes.get(to).map(|node| node.id.clone());
            }
        }
        Part::Network => network::step(model, by),
        Part::Inside => inside::step(model, by),
        Part::Files => files::step(model, by),
    }
}

/// Pages through what the open part has to read, which need not be where the selection is.
pub(super) fn turn(model: &mut Model, lines: isize) {
    match model.part {
        Part::Inside => inside::scroll(model, -lines),
        _ => step(model, lines),
    }
}
