//! What a sprite reaches, and what it may reach.

use crate::model::{Load, Model};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_backend::client::clean;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let block =
        Block::bordered().border_style(colors.border()).title(Span::styled(" network ", colors.accent()));
    let line = match &model.network.log {
        Load::Waiting => Line::from("Asking the server…"),
        Load::Failed(why) => Line::styled(clean(why), colors.bad()),
        Load::Ready(log) => Line::from(format!(
            "{} out, {} in, {} open",
            number::bytes(log.sent),
            number::bytes(log.received),
            log.connections
        )),
    };
    frame.render_widget(Paragraph::new(line).wrap(Wrap { trim: true }).block(block), area);
}
