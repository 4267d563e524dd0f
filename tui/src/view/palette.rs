//! The palette, and what can follow a key that begins something.

use super::geometry;
use crate::model::{Model, Palette};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use unicode_width::UnicodeWidthStr;

/// Cells for the name of an entry.
const NAME: usize = 24;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect, palette: &Palette) {
    let colors = model.colors();
    let areas = geometry::palette((area.width, area.height));
    frame.render_widget(Clear, areas.whole);
    let block = Block::bordered().border_style(colors.accent()).title(" commands ").style(colors.base());
    frame.render_widget(block, areas.whole);
    let scroll = palette.input.visual_scroll(usize::from(areas.line.width).saturating_sub(3));
    let shown: String = palette.input.value().chars().skip(scroll).collect();
    frame.render_widget(Line::from(vec![Span::styled(": ", colors.accent()), Span::raw(shown)]), areas.line);
    let cursor = palette.input.visual_cursor().saturating_sub(scroll) as u16;
    frame.set_cursor_position(Position::new(areas.line.x + 2 + cursor, areas.line.y));
    if palette.entries.is_empty() {
        frame.render_widget(Line::styled("Nothing is called that.", colors.dim()), areas.entries);
    }
    let first = geometry::window(palette.entries.len(), usize::from(areas.entries.height), palette.chosen);
    let visible = palette.entries.iter().enumerate().skip(first).zip(areas.entries.rows());
    for ((place, entry), row) in visible {
        let (about, style) = match &entry.about {
            Ok(about) => (about, colors.dim()),
            Err(why) => (why, colors.bad()),
        };
        let width = usize::from(row.width);
        let keys = entry.keys.width();
        let name = number::cut(&entry.text, width.saturating_sub(keys + 2));
        let room = width.saturating_sub(NAME.max(name.width()) + keys + 4);
        let line = Line::from(vec![
            Span::raw(format!("{name:<NAME$}  ")),
            Span::styled(number::cut(about, room), style),
        ]);
        let chosen = place == palette.chosen;
        frame.render_widget(if chosen { line.style(colors.selection()) } else { line }, row);
        frame.render_widget(Line::styled(entry.keys.as_str(), colors.accent()).right_aligned(), row);
    }
    let told =
        Line::styled(" enter does it   tab completes   ctrl-p earlier lines   esc leaves ", colors.dim());
    frame.render_widget(told, areas.told);
}

/// What can follow, in the lower right corner.
pub(super) fn following(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    if model.waiting.is_empty() {
        return;
    }
    let colors = model.colors();
    let following = model.keys.following(&model.waiting, model.place());
    let lines: Vec<Line<'_>> = following
        .into_iter()
        .map(|(key, action)| {
            let style = if model.possible(action).is_ok() { colors.base() } else { colors.dim() };
            Line::from(vec![
                Span::styled(format!(" {key:<4} "), colors.accent()),
                Span::styled(format!("{} ", action.about()), style),
            ])
        })
        .collect();
    let widest = lines.iter().map(Line::width).max().unwrap_or_default() as u16;
    let width = (widest + 2).min(body.width);
    let height = (lines.len() as u16 + 2).min(body.height);
    let place = Rect::new(body.right() - width, body.bottom() - height, width, height);
    frame.render_widget(Clear, place);
    let title = format!(" {} … ", crate::keys::written(&model.waiting));
    let block = Block::bordered().border_style(colors.accent()).title(title).style(colors.base());
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
