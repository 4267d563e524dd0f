//! The step of the tour, in rows of its own between the screen and its keys, so that it covers nothing.

use crate::action::Action;
use crate::model::{Model, Screen};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if let Some(line) = line(model) {
        frame.render_widget(Paragraph::new(line).wrap(Wrap { trim: true }), area);
    }
}

/// Rows that it takes on a screen of that width.
pub(super) fn rows(model: &Model, width: u16) -> u16 {
    let Some(line) = line(model) else { return 0 };
    let width = usize::from(width);
    let (mut rows, mut used) = (1, 0);
    for word in line.to_string().split_whitespace().map(UnicodeWidthStr::width) {
        if used > 0 && used + 1 + word > width {
            (rows, used) = (rows + 1, 0);
        }
        used += word + usize::from(used > 0);
    }
    rows
}

fn line(model: &Model) -> Option<Line<'static>> {
    let (place, words) = model.tour_step()?;
    let colors = model.colors();
    let mut spans = vec![
        Span::styled(format!("first steps, {place}:"), colors.accent().add_modifier(Modifier::UNDERLINED)),
        Span::raw(format!(" {words}")),
    ];
    // In a console that key is the program's.
    if !matches!(model.screen, Screen::Console(_)) {
        let skip = model.keys.name(Action::Tour).unwrap_or_else(|| format!("the command {}", Action::Tour));
        spans.push(Span::styled(format!(" {skip} skips them."), colors.dim()));
    }
    Some(Line::from(spans))
}
