//! What is where. Drawing and the mouse both ask here, so that a click always meets what is shown.

pub mod across;

use super::tour;
use crate::action::Part;
use crate::model::dashboard::Chosen;
use crate::model::network::Pane;
use crate::model::{Entry, Item, Model, Palette, Screen};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use std::rc::Rc;
use strum::IntoEnumIterator;

/// Least size that can be used, columns and rows.
pub const LEAST: (u16, u16) = (60, 16);
/// Rows of the preview below the list.
const PREVIEW: u16 = 9;
/// From this many rows on there is room for graphs beside what goes on in a sprite.
const ROOMY: u16 = 36;
/// From this many rows on there is room for graphs beside what a sprite reaches.
const PLAIN: u16 = 20;
/// From this many columns on a log stands beside what it is of, else below.
const WIDE: u16 = 130;
/// From this many rows on there is a preview.
const PREVIEW_FROM: u16 = 24;

/// The parts of every screen.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Where, how many, how much.
    pub header: Rect,
    /// The screen itself.
    pub body: Rect,
    /// The first steps, while they are told; without rows at other times.
    pub tour: Rect,
    /// Work under way, and keys.
    pub footer: Rect,
}

/// Cuts the whole.
pub fn parts(model: &Model, area: Rect) -> Parts {
    let [one, steps] = [Constraint::Length(1), Constraint::Length(tour::rows(model, area.width))];
    let [header, body, tour, footer] = Layout::vertical([one, Constraint::Min(1), steps, one]).areas(area);
    Parts { header, body, tour, footer }
}

/// The screen itself.
pub fn body(model: &Model) -> Rect {
    let (columns, rows) = model.size;
    parts(model, Rect::new(0, 0, columns, rows)).body
}

/// The terminal of a console that is alone on the screen: the body without its frame.
pub fn console(model: &Model) -> Rect {
    inner(body(model))
}

/// The inside of a frame.
pub fn inner(area: Rect) -> Rect {
    Rect::new(
        area.x + 1,
        area.y + 1,
        area.width.saturating_sub(2).max(2),
        area.height.saturating_sub(2).max(1),
    )
}

/// What the palette consists of.
#[derive(Clone, Copy, Debug)]
pub struct PaletteParts {
    /// All of it.
    pub whole: Rect,
    /// Where is typed.
    pub line: Rect,
    /// What was found.
    pub entries: Rect,
    /// Which keys there are.
    pub told: Rect,
}

/// Most entries of the palette that are shown at once.
const ENTRIES: u16 = 14;

/// Cuts the palette out of a screen of that size.
pub fn palette((columns, rows): (u16, u16)) -> PaletteParts {
    let width = columns.saturating_sub(4).clamp(20, 100);
    let height = (ENTRIES + 4).min(rows.saturating_sub(2)).max(5);
    let whole = Rect::new(columns.saturating_sub(width) / 2, 1, width, height);
    let inside = inner(whole);
    let [line, entries, told] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(inside);
    PaletteParts { whole, line, entries, told }
}

/// Which entry of the palette is at a cell; none within it is the one that is selected.
pub fn palette_entry(open: &Palette, size: (u16, u16), column: u16, row: u16) -> Option<usize> {
    let areas = palette(size);
    let at = Position::new(column, row);
    if !areas.whole.contains(at) {
        return None;
    }
    let first = window(open.entries.len(), usize::from(areas.entries.height), open.chosen);
    let place = areas.entries.contains(at).then(|| first + usize::from(row - areas.entries.y));
    place.filter(|place| *place < open.entries.len()).or(Some(open.chosen))
}

/// The list and, where there is room, its preview.
pub fn list(body: Rect) -> (Rect, Option<Rect>) {
    if body.height + 2 < PREVIEW_FROM {
        return (body, None);
    }
    let [list, preview] = Layout::vertical([Constraint::Min(5), Constraint::Length(PREVIEW)]).areas(body);
    (list, Some(preview))
}

/// What the screen of a sprite consists of.
#[derive(Clone, Copy, Debug)]
pub struct Sprite {
    /// Name, state, figures.
    pub facts: Rect,
    /// Titles of the parts.
    pub titles: Rect,
    /// What it uses.
    pub graphs: Rect,
    /// The part that is looked at.
    pub part: Rect,
}

/// Cuts the screen of a sprite.
pub fn sprite(body: Rect, part: Part) -> Sprite {
    let tall = match part {
        // There is much to read, and its figures are on every other part.
        Part::Inside | Part::Files if body.height < ROOMY => 0,
        Part::Network if body.height < PLAIN => 0,
        // So few are left where the first steps take some.
        _ if body.height + 2 < LEAST.1 => 0,
        Part::Network => (body.height / 4).clamp(6, 14),
        _ => (body.height / 3).clamp(6, 14),
    };
    let rows = [Constraint::Length(3), Constraint::Length(1), Constraint::Length(tall), Constraint::Min(3)];
    let [facts, titles, graphs, part] = Layout::vertical(rows).areas(body);
    Sprite { facts, titles, graphs, part }
}

/// What the network part consists of.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Figures.
    pub summary: Rect,
    /// What was tried.
    pub log: Option<Rect>,
    /// What may be reached.
    pub rules: Option<Rect>,
}

/// From this many columns on log and rules stand side by side.
const BOTH: u16 = 120;
/// Up to so many columns lines of two panes never stand side by side.
pub const APART: u16 = BOTH - 1;
/// Rows below the lines of a pane for the whole of the selected one.
const TOLD: u16 = 2;

/// Cuts the network part. Where there is no room for both panes there is the one that is worked in.
pub fn network(area: Rect, pane: Pane) -> Network {
    let [summary, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(3)]).areas(area);
    if rest.width >= BOTH {
        let [log, rules] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(rest);
        return Network { summary, log: Some(log), rules: Some(rules) };
    }
    let shown = |of| (pane == of).then_some(rest);
    Network { summary, log: shown(Pane::Log), rules: shown(Pane::Rules) }
}

/// The lines of a pane, and where the selected one is told whole.
pub fn pane(area: Rect) -> (Rect, Rect) {
    let inside = inner(area);
    let told = if inside.height > TOLD + 1 { TOLD } else { 0 };
    let [lines, told] = Layout::vertical([Constraint::Min(1), Constraint::Length(told)]).areas(inside);
    (lines, told)
}

/// Where the title of each part is.
pub fn titles(area: Rect) -> impl Iterator<Item = (Part, Rect)> {
    let mut left = area.x + 1;
    Part::iter().map(move |part| {
        // A cell on both sides, and one between two.
        let width = part.title().len() as u16 + 2;
        let place = Rect::new(left, area.y, width, 1).intersection(area);
        left += width + 1;
        (part, place)
    })
}

/// Whether there is room for all graphs, as wide as that.
pub fn all_graphs(area: Rect) -> bool {
    area.width >= 150
}

/// So many columns side by side.
pub fn columns(area: Rect, count: usize) -> Rc<[Rect]> {
    Layout::horizontal(vec![Constraint::Ratio(1, count as u32); count]).split(area)
}

/// What goes on in a sprite, in so many lines, and the log of a service, if it has any.
pub fn inside(area: Rect, lines: usize, has_log: bool) -> (Rect, Option<Rect>) {
    if !has_log {
        return (area, None);
    }
    if area.width >= WIDE {
        let [list, log] = Layout::horizontal([Constraint::Percentage(50), Constraint::Min(40)]).areas(area);
        return (list, Some(log));
    }
    let most = (area.height * 3 / 5).max(5);
    let wanted = u16::try_from(lines + 2).unwrap_or(most).clamp(4, most);
    let [list, log] = Layout::vertical([Constraint::Length(wanted), Constraint::Min(3)]).areas(area);
    (list, Some(log))
}

/// The same for what is known now.
pub fn inside_of(model: &Model, area: Rect, entries: &[Entry]) -> (Rect, Option<Rect>) {
    let has_log = model.inside.known().is_some_and(|seen| !seen.interior.services.is_empty());
    inside(area, entries.len(), has_log)
}

/// The line of the selection.
pub fn chosen_entry(model: &Model, entries: &[Entry]) -> usize {
    let is_chosen =
        |entry: &Entry| matches!(entry, Entry::Item(item) if Some(item) == model.inside.chosen.as_ref());
    entries.iter().position(is_chosen).unwrap_or(0)
}

/// The first of `count` lines that is shown in `height` rows, so that line `chosen` is visible.
pub fn window(count: usize, height: usize, chosen: usize) -> usize {
    let last = count.saturating_sub(height);
    chosen.saturating_sub(height / 2).min(last)
}

/// Something that can be clicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A sprite's line.
    Sprite(String),
    /// The title of a part of a sprite's screen.
    Part(Part),
    /// A checkpoint's line.
    Checkpoint(String),
    /// A line of the network's log, by its place among those that are shown.
    LogLine(usize),
    /// A rule, by its place.
    Rule(usize),
    /// The line of something that goes on in a sprite.
    Inside(Item),
    /// A service's log.
    Log,
    /// A file, folder or change, by its place.
    File(usize),
    /// A line of the dashboard.
    Across(Chosen),
    /// A line of the timeline by its place, and whether it is the selected one.
    Happened(usize, bool),
}

/// What is at a cell.
pub fn hit(model: &Model, column: u16, row: u16) -> Option<Hit> {
    let body = body(model);
    let line = |area: Rect, count: usize, chosen: usize| {
        let inside = inner(area);
        // The first line names the columns.
        let top = inside.y + 1;
        if column < inside.x || column >= inside.right() || row < top || row >= inside.bottom() {
            return None;
        }
        let height = usize::from(inside.height.saturating_sub(1));
        Some(window(count, height, chosen) + usize::from(row - top)).filter(|index| *index < count)
    };
    match model.screen {
        Screen::List => {
            let chosen = model
                .selected
                .as_ref()
                .and_then(|name| model.order.iter().position(|other| other == name))
                .unwrap_or(0);
            let index = line(list(body).0, model.order.len(), chosen)?;
            model.order.get(index).cloned().map(Hit::Sprite)
        }
        Screen::Sprite => {
            let areas = sprite(body, model.part);
            let at = Position::new(column, row);
            if let Some((part, _)) = titles(areas.titles).find(|(_, place)| place.contains(at)) {
                return Some(Hit::Part(part));
            }
            match model.part {
                Part::Checkpoints => {
                    let nodes = model.nodes()?;
                    let chosen = nodes
                        .iter()
                        .position(|node| Some(&node.id) == model.checkpoint.as_ref())
                        .unwrap_or(0);
                    let index = line(areas.part, nodes.len(), chosen)?;
                    nodes.get(index).map(|node| Hit::Checkpoint(node.id.clone()))
                }
                Part::Network => {
                    let held = &model.network;
                    let areas = network(areas.part, held.pane);
                    let place = |area: Rect, count: usize, chosen: usize| {
                        let (lines, _) = pane(area);
                        let first = window(count, usize::from(lines.height), chosen);
                        let place = lines.contains(at).then(|| first + usize::from(row - lines.y))?;
                        (place < count).then_some(place)
                    };
                    if let Some(area) = areas.log.filter(|area| area.contains(at)) {
                        let lines = held.lines();
                        return place(area, lines.len(), held.place(&lines)).map(Hit::LogLine);
                    }
                    let area = areas.rules.filter(|area| area.contains(at))?;
                    place(area, held.rules.len(), held.rule).map(Hit::Rule)
                }
                Part::Files => {
                    let lines = inner(areas.part);
                    let count = model.files.count();
                    let first = window(count, usize::from(lines.height), model.files.place);
                    let place = lines.contains(at).then(|| first + usize::from(row - lines.y))?;
                    (place < count).then_some(Hit::File(place))
                }
                Part::Inside => {
                    let entries = model.inside.entries(&model.forwards);
                    let (list, log) = inside_of(model, areas.part, &entries);
                    if log.is_some_and(|log| log.contains(at)) {
                        return Some(Hit::Log);
                    }
                    let lines = inner(list);
                    let first =
                        window(entries.len(), usize::from(lines.height), chosen_entry(model, &entries));
                    let line = usize::from(row.checked_sub(lines.y)?);
                    match entries.into_iter().nth(first + line).filter(|_| lines.contains(at)) {
                        Some(Entry::Item(item)) => Some(Hit::Inside(item)),
                        _ => None,
                    }
                }
            }
        }
        Screen::Dashboard | Screen::Timeline => across::hit(model, body, Position::new(column, row)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_line_is_always_visible() {
        for count in 0..40 {
            for height in 1..12 {
                for chosen in 0..count {
                    let first = window(count, height, chosen);
                    assert!((first..first + height).contains(&chosen), "{count} {height} {chosen}");
                    assert!(first + height <= count.max(height));
                }
            }
        }
    }
}
