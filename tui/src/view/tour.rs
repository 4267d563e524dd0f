//! The step of the tour, at the lower edge of what it is about.

use crate::action::Action;
use crate::model::Model;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let Some((place, words)) = model.tour.and_then(|tour| tour.words(model)) else { return };
    let colors = model.colors();
    let width = body.width.saturating_sub(4).clamp(20, 76).min(body.width);
    let room = usize::from(width.saturating_sub(4)).max(1);
    // Words do not fill every line to its end.
    let lines = (words.width() * 9 / 8).div_ceil(room).max(1) as u16;
    let height = (lines + 2).min(body.height);
    let left = body.x + (body.width - width) / 2;
    let area = Rect::new(left, body.bottom() - height, width, height);
    frame.render_widget(Clear, area);
    let skip = model.keys.name(Action::Tour).unwrap_or_else(|| format!("the command {}", Action::Tour));
    let block = Block::bordered()
        .border_style(colors.accent())
        .title(format!(" first steps, {place} "))
        .title_bottom(format!(" {skip} skips them "))
        .style(colors.base());
    frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }).block(block), area);
}
