//! What was drawn, in ASCII: cell by cell at the end, so that nothing can slip through, whoever drew it and whoever named it.

use ratatui::buffer::Buffer;

/// What stands for a character that has no likeness in ASCII.
const UNKNOWN: &str = "?";

/// Turns everything that is drawn into ASCII. Each cell stays where it is.
pub fn only(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let first = cell.symbol().chars().next();
        cell.set_symbol(first.and_then(like).unwrap_or(UNKNOWN));
    }
}

/// The same for a text.
pub fn text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { like(c).unwrap_or(UNKNOWN).to_owned() })
        .collect()
}

/// The ASCII that is most like a character; none where nothing is.
pub fn like(c: char) -> Option<&'static str> {
    Some(match c {
        '─' | '━' | '═' | '╌' | '┄' | '—' | '–' | '−' | '⎯' => "-",
        '│' | '┃' | '║' | '┆' | '╎' => "|",
        '\u{2500}'..='\u{257f}' => "+",
        // More light, more ink.
        '▁' | '▂' | '░' => ".",
        '▃' | '▄' | '▒' => ":",
        '▅' | '▆' | '▓' => "=",
        '▇' | '█' | '▪' => "#",
        '\u{2580}'..='\u{259f}' => "#",
        '\u{2800}' => " ",
        '\u{2801}'..='\u{28ff}' | '•' => "*",
        '●' => "*",
        '◐' => "~",
        '○' | '∅' => "o",
        '◌' => ":",
        '✗' | '✂' | '×' => "x",
        '✓' => "+",
        '·' | '⋯' | '…' => ".",
        '→' | '▸' | '▶' | '≥' | '›' | '»' => ">",
        '←' | '◂' | '◀' | '≤' | '‹' | '«' => "<",
        '↑' | '▴' | '▲' => "^",
        '↓' | '▾' | '▼' => "v",
        '⇄' | '↔' => "=",
        '‘' | '’' => "'",
        '“' | '”' => "\"",
        '\u{a0}' => " ",
        '\u{fffd}' => UNKNOWN,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn every_cell_stays_where_it_is() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        buffer.set_string(0, 0, "┌●日本é❤\u{fe0f}x", Style::new());
        only(&mut buffer);
        let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(text, "+*? ? ?? x  ");
    }
}
