//! What can follow the one key of a console.

use crate::model::Model;
use crate::number;
use crate::prefix::Command;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use strum::IntoEnumIterator;

/// Least columns of an entry.
const WIDTH: u16 = 36;

/// Draws it at the lower end of the body.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let prefix = &model.mux.prefix;
    let name = prefix.name();
    let mut entries: Vec<(String, String)> = Command::iter()
        .map(|command| (prefix.keys_of(command), command.about().to_owned()))
        .filter(|(keys, _)| !keys.is_empty())
        .collect();
    entries.push(("1 … 9".to_owned(), "go to that tab".to_owned()));
    entries.push((name.clone(), format!("send {name} to the program")));
    let columns = ((body.width.saturating_sub(2)) / WIDTH).max(1);
    let width = body.width.saturating_sub(2) / columns;
    let rows = (entries.len() as u16).div_ceil(columns).min(body.height.saturating_sub(2));
    let place = Rect::new(body.x, body.bottom() - rows - 2, body.width, rows + 2);
    frame.render_widget(Clear, place);
    let title = format!(" after {name} ");
    frame.render_widget(
        Block::bordered().border_style(colors.accent()).title(title).style(colors.base()),
        place,
    );
    for (index, (keys, words)) in entries.iter().enumerate() {
        let (column, row) = (index as u16 / rows.max(1), index as u16 % rows.max(1));
        if column >= columns {
            break;
        }
        let keys = format!(" {:<10} ", number::cut(keys, 10));
        let words = number::cut(words, usize::from(width).saturating_sub(12));
        let line = Line::from(vec![Span::styled(keys, colors.accent()), Span::raw(words)]);
        let at = Rect::new(place.x + 1 + column * width, place.y + 1 + row, width, 1);
        frame.render_widget(Paragraph::new(line), at.intersection(place));
    }
}
