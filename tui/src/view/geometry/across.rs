//! Where things are on the screens over all sprites: dashboard, timeline.

use super::{Hit, ROOMY, inner, pane, window};
use crate::model::dashboard::Chosen;
use crate::model::{Model, Screen};
use ratatui::layout::{Constraint, Layout, Position, Rect};

/// Rows of the graphs.
const GRAPHS: u16 = 10;
/// Rows for the whole of the selected line.
const TOLD: u16 = 2;

/// What the dashboard consists of.
#[derive(Clone, Copy, Debug)]
pub struct Dashboard {
    /// The frame of the contexts.
    pub contexts: Rect,
    /// What all use together.
    pub graphs: Option<Rect>,
    /// The frame of the sprites.
    pub sprites: Rect,
    /// The whole of the selected line.
    pub told: Rect,
}

/// Cuts the dashboard for so many contexts. Below their lines stands one for all together, where there are several.
pub fn dashboard(body: Rect, contexts: usize) -> Dashboard {
    let wanted = u16::try_from(contexts + foot(contexts) + 3).unwrap_or(u16::MAX);
    let tall = wanted.clamp(4, (body.height / 2).max(4));
    let graphs = if body.height >= ROOMY { GRAPHS } else { 0 };
    let rows =
        [Constraint::Length(tall), Constraint::Length(graphs), Constraint::Min(4), Constraint::Length(TOLD)];
    let [contexts, place, sprites, told] = Layout::vertical(rows).areas(body);
    Dashboard { contexts, graphs: (graphs > 0).then_some(place), sprites, told }
}

/// Rows below the contexts.
pub fn foot(contexts: usize) -> usize {
    usize::from(contexts > 1)
}

/// The lines within a frame: without its head, and without so many rows at its foot.
pub fn lines(area: Rect, foot: usize) -> Rect {
    let inside = inner(area);
    let foot = u16::try_from(foot).unwrap_or(u16::MAX);
    Rect { y: inside.y + 1, height: inside.height.saturating_sub(1 + foot), ..inside }
}

/// What is at a cell.
pub(super) fn hit(model: &Model, body: Rect, at: Position) -> Option<Hit> {
    let row = |area: Rect, count: usize, chosen: usize| {
        let first = window(count, usize::from(area.height), chosen);
        let place = area.contains(at).then(|| first + usize::from(at.y - area.y))?;
        (place < count).then_some(place)
    };
    if model.screen == Screen::Timeline {
        let shown = model.shown_events();
        let chosen = model.timeline_place(&shown);
        let place = row(pane(body).0, shown.len(), chosen)?;
        return Some(Hit::Happened(place, place == chosen));
    }
    let all = model.dashboard_lines();
    let contexts = all.iter().filter(|line| matches!(line, Chosen::Context(_))).count();
    let areas = dashboard(body, contexts);
    let (of_contexts, of_sprites) = places(contexts, model.dashboard_place(&all));
    let context = row(lines(areas.contexts, foot(contexts)), contexts, of_contexts);
    let sprite =
        || row(lines(areas.sprites, 0), all.len() - contexts, of_sprites).map(|place| contexts + place);
    all.get(context.or_else(sprite)?).cloned().map(Hit::Across)
}

/// The lines that are to be visible among contexts and among sprites, where that line of all is selected.
pub fn places(contexts: usize, chosen: usize) -> (usize, usize) {
    (chosen.min(contexts.saturating_sub(1)), chosen.saturating_sub(contexts))
}
