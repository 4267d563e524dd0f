//! What happened to all sprites, newest first.

use super::{events, geometry};
use crate::model::{Load, Model};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_api::extension::Happened;
use unicode_width::UnicodeWidthStr;

/// Below so many columns names and times are short.
const WIDE: usize = 100;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let title = match model.search.as_str() {
        "" => " what happened to all sprites ".to_owned(),
        search => format!(" what happened to all sprites, with {search:?} "),
    };
    let block = Block::bordered().border_style(colors.border()).title(Span::styled(title, colors.accent()));
    frame.render_widget(block, body);
    let (list, told) = geometry::pane(body);
    let shown = model.shown_events();
    let say = |words: String, style: Style| Paragraph::new(words).style(style).wrap(Wrap { trim: true });
    match &model.timeline.events {
        Load::Waiting => return frame.render_widget(say("Asking the server…".into(), Style::new()), list),
        Load::Failed(why) => return frame.render_widget(say(why.clone(), colors.bad()), list),
        Load::Ready(_) if shown.is_empty() => {
            let words = match model.search.is_empty() {
                true => "Nothing has happened yet.",
                false => "Nothing that happened holds that.",
            };
            return frame.render_widget(say(words.into(), colors.dim()), list);
        }
        Load::Ready(_) => {}
    }
    let place = model.timeline_place(&shown);
    let first = geometry::window(shown.len(), usize::from(list.height), place);
    for ((index, happened), row) in shown.iter().enumerate().skip(first).zip(list.rows()) {
        let line = line(model, happened, usize::from(list.width));
        frame.render_widget(if index == place { line.style(colors.selection()) } else { line }, row);
    }
    let chosen = shown[place];
    let (mark, _) = events::mark(model, &chosen.event);
    let word = mark.split_whitespace().last().unwrap_or_default();
    let whole = format!("{}, {word}: {}", chosen.sprite, chosen.event.reason);
    frame.render_widget(say(whole, colors.dim()), told);
}

/// When, what, to whom, why.
fn line(model: &Model, happened: &Happened, width: usize) -> Line<'static> {
    let colors = model.colors();
    let (mark, style) = events::mark(model, &happened.event);
    let cells = if width < WIDE { 16 } else { 28 };
    let name = number::cut(&happened.sprite, cells);
    let pad = " ".repeat(cells + 1 - name.width());
    let time = events::time(&happened.event, width < WIDE);
    let taken = time.width() + 2 + 13 + cells + 1;
    Line::from(vec![
        Span::styled(format!("{time}  "), colors.dim()),
        Span::styled(format!("{mark:<12} "), style),
        Span::raw(name + &pad),
        Span::styled(number::cut(&happened.event.reason, width.saturating_sub(taken)), colors.dim()),
    ])
}
