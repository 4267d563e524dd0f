//! Screens of text: help and log.

use super::geometry;
use crate::action::{Action, Place};
use crate::keys::LEAVE_NAME;
use crate::model::{Model, Screen, Weight};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use strum::IntoEnumIterator;

/// Every action with its keys; those of the screen one came from first.
pub(super) fn help(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let mut lines = Vec::new();
    let mut sections = vec![
        ("Sprites", vec![Place::List]),
        ("One sprite", vec![Place::Sprite]),
        ("Both", vec![Place::Either]),
        ("Everywhere", vec![Place::Everywhere]),
    ];
    if model.before == Screen::Sprite {
        sections.swap(0, 1);
    }
    for (title, places) in sections {
        lines.push(Line::styled(title, colors.accent()));
        for action in Action::iter().filter(|action| places.contains(&action.place())) {
            let keys = model.keys.names(action);
            if keys.is_empty() {
                continue;
            }
            lines.push(Line::from(vec![
                Span::styled(format!("  {keys:<16} "), colors.good()),
                Span::raw(action.about()),
            ]));
        }
        lines.push(Line::default());
    }
    lines.push(Line::styled("Consoles", colors.accent()));
    for (keys, about) in [
        (LEAVE_NAME, "leave; the program goes on. All other keys go to the program"),
        ("1 … 9", "outside of consoles: look at that console"),
        ("shift-pageup", "scroll back; so does the wheel, unless the program wants it"),
    ] {
        lines.push(Line::from(vec![Span::styled(format!("  {keys:<16} "), colors.good()), Span::raw(about)]));
    }
    page(model, frame, body, " help ", lines, model.scroll);
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

fn page(model: &Model, frame: &mut Frame<'_>, body: Rect, title: &str, lines: Vec<Line<'_>>, scroll: usize) {
    let colors = model.colors();
    let height = usize::from(geometry::inner(body).height);
    let first = scroll.min(lines.len().saturating_sub(height));
    let more = lines.len() > first + height;
    let mut block = Block::bordered()
        .border_style(colors.border())
        .title(Span::styled(title.to_owned(), colors.accent()));
    if more {
        block = block.title_bottom(Span::styled(" more below ", colors.dim()));
    }
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).collect();
    frame.render_widget(Paragraph::new(shown).wrap(Wrap { trim: false }).block(block), body);
}
