//! What can be set, what is, and what the selected setting does.

use super::geometry;
use crate::config::table::{Kind, SECTIONS, SETTINGS};
use crate::model::Model;
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

/// Cells of a name.
const NAME: usize = 16;
/// Lines at the lower edge about the selected one.
const ABOUT: u16 = 3;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let block = Block::bordered()
        .border_style(colors.border())
        .title(Span::styled(" settings ", colors.accent()))
        .title_bottom(Span::styled(" more is set in config.toml: contexts, keys ", colors.dim()));
    let inside = geometry::inner(body);
    frame.render_widget(block, body);
    let height = inside.height.saturating_sub(ABOUT);
    let (lines, chosen) = lines(model, usize::from(inside.width));
    // The selected one is in the middle, as far as there is something above and below it.
    let first =
        chosen.saturating_sub(usize::from(height) / 2).min(lines.len().saturating_sub(usize::from(height)));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).take(usize::from(height)).collect();
    frame.render_widget(Paragraph::new(shown), Rect { height, ..inside });
    let setting = model.settings.setting();
    let values = match setting.kind {
        Kind::Word(words) => format!(" One of {}.", words.join(", ")),
        Kind::Switch => " True or false.".to_owned(),
        Kind::Texts => " Several are written with commas between them.".to_owned(),
        Kind::Text | Kind::Whole(_) => String::new(),
    };
    let about = format!("{}{values} As usual: {}.", setting.about, setting.usual);
    let place = Rect { y: inside.y + height, height: inside.height - height, ..inside };
    let below = Block::new().borders(ratatui::widgets::Borders::TOP).border_style(colors.border());
    frame.render_widget(Paragraph::new(about).wrap(Wrap { trim: true }).block(below), place);
}

/// A line for each, below their sections; and which is the selected one's.
fn lines(model: &Model, width: usize) -> (Vec<Line<'static>>, usize) {
    let colors = model.colors();
    let mut lines = Vec::new();
    let mut chosen = 0;
    for (section, about) in SECTIONS {
        lines.push(Line::styled(about, colors.dim()));
        for (index, setting) in SETTINGS.iter().enumerate().filter(|(_, setting)| setting.section == section)
        {
            let name = format!("  {:NAME$} ", setting.name);
            let room = width.saturating_sub(name.len());
            let (value, style) = match model.settings.values.get(index).and_then(Option::as_deref) {
                Some(value) => (clean(value), colors.good()),
                None => (setting.usual.to_owned(), colors.dim()),
            };
            let value = number::cut(&value, room);
            let rest = " ".repeat(room.saturating_sub(value.width()));
            let mut line = Line::from(vec![Span::raw(name), Span::styled(value, style), Span::raw(rest)]);
            if index == model.settings.chosen {
                chosen = lines.len();
                line = line.style(colors.selection());
            }
            lines.push(line);
        }
    }
    (lines, chosen)
}
