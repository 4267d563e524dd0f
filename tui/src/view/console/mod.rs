//! A console in its frame.

use super::geometry;
use crate::keys::LEAVE_NAME;
use crate::model::{Attachment, Model};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use sprites_backend::client::clean;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, id: u64) {
    let colors = model.colors();
    let Some((place, tab)) = model.consoles.iter().enumerate().find(|(_, tab)| tab.id == id) else { return };
    let title =
        tab.terminal.title().map(|title| format!(" {} ", number::cut(&clean(title), 50))).unwrap_or_default();
    let mut block = Block::bordered()
        .border_style(colors.accent())
        .title(Line::from(vec![
            Span::styled(format!(" {} {} ", place + 1, tab.sprite), colors.accent()),
            Span::styled(title, colors.dim()),
        ]))
        .title(
            Line::from(Span::styled(format!(" {LEAVE_NAME} leaves "), colors.accent()))
                .alignment(Alignment::Right),
        );
    if tab.terminal.scrolled() > 0 {
        let words = format!(" {} of {} lines back ", tab.terminal.scrolled(), tab.terminal.scrollback());
        block =
            block.title_bottom(Line::from(Span::styled(words, colors.warn())).alignment(Alignment::Right));
    }
    frame.render_widget(block, body);
    let inside = geometry::inner(body);
    tab.terminal.draw(inside, frame.buffer_mut());
    let told = match &tab.attachment {
        Attachment::Attached => None,
        Attachment::Connecting => {
            Some((" connecting; a cold sprite takes a few seconds… ".to_owned(), colors.warn()))
        }
        Attachment::Detached => Some((" detached; any key connects again ".to_owned(), colors.warn())),
        Attachment::Ended(code) => Some((format!(" ended with code {code}; esc goes back "), colors.dim())),
        Attachment::Failed(why) => Some((format!(" {why}; esc goes back "), colors.bad())),
    };
    if let Some((words, style)) = told {
        let line = Rect::new(inside.x, inside.bottom() - 1, inside.width, 1);
        frame.render_widget(Clear, line);
        frame.render_widget(Paragraph::new(number::cut(&words, usize::from(line.width))).style(style), line);
    } else if let Some((x, y)) = tab.terminal.cursor() {
        frame.set_cursor_position(Position::new(inside.x + x, inside.y + y));
    }
}
