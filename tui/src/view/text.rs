//! Screens of text: help and log.

use super::geometry;
use crate::action::{Action, Part, Place};
use crate::model::{Model, Screen, Weight};
use crate::prefix::Command;
use crate::search::holds;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use strum::IntoEnumIterator;

/// Every action with its keys; those of the screen one came from first.
pub(super) fn help(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let mut lines = Vec::new();
    let list = || ("In the list of sprites".to_owned(), Place::List);
    let sprite = || ("On the screen of a sprite".to_owned(), Place::Sprite);
    let across = || ("On the dashboard and the timeline".to_owned(), Place::Across);
    let part = |part: Part| (format!("On the screen of a sprite, {}", part.title()), Place::Part(part));
    let other = |part: &Part| model.before != Screen::Sprite || *part != model.part;
    let is_across = matches!(model.before, Screen::Dashboard | Screen::Timeline);
    let mut sections = match model.before {
        Screen::Sprite => vec![part(model.part), sprite()],
        _ if is_across => vec![across(), list()],
        _ => vec![list()],
    };
    // What is possible on both screens is told once, where one is.
    let either = sections.len() - 1;
    sections.push(("Everywhere".to_owned(), Place::Everywhere));
    sections.push(if model.before == Screen::Sprite { list() } else { sprite() });
    sections.extend((!is_across).then(across));
    sections.extend(Part::iter().filter(other).map(part));
    let entry = |keys: &str, about: &'static str| {
        Line::from(vec![Span::styled(format!("  {keys:<14} "), colors.good()), Span::raw(about)])
    };
    for (index, (title, place)) in sections.into_iter().enumerate() {
        lines.push(Line::styled(title, colors.accent()));
        let here =
            |action: &Action| action.place() == place || index == either && action.place() == Place::Either;
        for action in Action::iter().filter(here) {
            let keys = model.keys.names(action);
            if !keys.is_empty() {
                lines.push(entry(&keys, action.about()));
            }
        }
        lines.push(Line::default());
    }
    lines.push(Line::styled("Consoles", colors.accent()));
    lines.extend([
        entry(&model.mux.prefix.name(), "the one key that is not for the program; twice, it is"),
        entry("1 … 9", "outside of consoles: look at that console"),
        entry("shift-pageup", "scroll back; so does the wheel, unless a program wants it"),
        entry("ctrl-click", "open a link in the browser; dragging selects and copies"),
        entry("(name)", "above: detached; looking at it attaches it again"),
    ]);
    lines.push(Line::default());
    lines.push(Line::styled(format!("In a console, after {}", model.mux.prefix.name()), colors.accent()));
    for command in Command::iter() {
        let keys = model.mux.prefix.keys_of(command);
        if !keys.is_empty() {
            lines.push(entry(&keys, command.about()));
        }
    }
    lines.push(Line::default());
    lines.push(Line::styled("Figures", colors.accent()));
    lines.extend([
        entry("memory", "what programs in the sprite use, without its own kernel"),
        entry("stored", "its disk and checkpoints, as they lie on this machine"),
        entry("only its own", "what deleting the checkpoint would free"),
        entry("warm, cold", "asleep in memory; not running. Neither uses CPU"),
    ]);
    page(model, frame, body, " help ", sections_with(lines, model), model.scroll);
}

fn has(line: &Line<'_>, text: &str) -> bool {
    holds(&line.to_string(), text)
}

/// Of a searched text the lines that hold it, each behind the title of its section.
fn sections_with<'l>(lines: Vec<Line<'l>>, model: &Model) -> Vec<Line<'l>> {
    if model.search.is_empty() {
        return lines;
    }
    let mut section = String::new();
    let mut found = Vec::new();
    for line in lines {
        if line.spans.len() == 1 {
            section = line.to_string();
        } else if has(&line, &model.search) {
            let mut spans = line.spans;
            spans.push(Span::styled(format!("  ({section})"), model.colors().dim()));
            found.push(Line::from(spans));
        }
    }
    found
}

/// What happened, newest first.
pub(super) fn log(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let zone = jiff::tz::TimeZone::system();
    let mut lines: Vec<Line<'_>> = model
        .log
        .iter()
        .rev()
        .map(|(at, weight, text)| {
            let style = match weight {
                Weight::Good => colors.good(),
                Weight::Bad => colors.bad(),
            };
            let time = at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
            Line::from(vec![
                Span::styled(format!("{time}  "), colors.dim()),
                Span::styled(text.clone(), style),
            ])
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("Nothing has happened yet.", colors.dim()));
    }
    page(model, frame, body, " log ", lines, model.scroll);
}

pub(super) fn page(
    model: &Model,
    frame: &mut Frame<'_>,
    body: Rect,
    title: &str,
    lines: Vec<Line<'_>>,
    scroll: usize,
) {
    let colors = model.colors();
    let lines: Vec<Line<'_>> = lines.into_iter().filter(|line| has(line, &model.search)).collect();
    let height = usize::from(geometry::inner(body).height);
    let first = scroll.min(lines.len().saturating_sub(height));
    let more = lines.len() > first + height;
    let title =
        if model.search.is_empty() { title.to_owned() } else { format!("{title}with {:?} ", model.search) };
    let mut block =
        Block::bordered().border_style(colors.border()).title(Span::styled(title, colors.accent()));
    if more {
        block = block.title_bottom(Span::styled(" more below ", colors.dim()));
    }
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).collect();
    frame.render_widget(Paragraph::new(shown).wrap(Wrap { trim: false }).block(block), body);
}
