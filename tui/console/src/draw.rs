//! Cells of the emulator into a ratatui buffer.

use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::color::Colors;
use alacritty_terminal::vte::ansi::{Color as TermColor, NamedColor, Rgb};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Draws rows of cells, with the top left corner of the console at the top left of `area`; what does not fit is cut.
///
/// Cells without a colour of their own keep the colours that stand in the buffer, so that the surroundings decide how the default
/// looks.
pub(crate) fn draw<'a>(
    row: impl Fn(usize) -> Option<&'a [Cell]>,
    colors: &Colors,
    area: Rect,
    buffer: &mut Buffer,
) {
    let visible = area.intersection(buffer.area);
    let mut symbol = String::new();
    for y in visible.top()..visible.bottom() {
        let cells = row(usize::from(y - area.top())).unwrap_or_default();
        // The second half of a pair is drawn with the first.
        let mut drawn_before = false;
        for x in visible.left()..visible.right() {
            let column = usize::from(x - area.left());
            let target = &mut buffer[(x, y)];
            target.modifier = Modifier::empty();
            let Some(cell) = cells.get(column) else {
                target.set_char(' ');
                continue;
            };
            paint(cell, colors, target);
            if std::mem::take(&mut drawn_before) {
                target.set_char(' ');
                continue;
            }
            let blank = Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER | Flags::HIDDEN;
            let wide = cell.flags.contains(Flags::WIDE_CHAR);
            // Half a character cannot be drawn.
            let cut = wide && x + 1 >= visible.right();
            if cell.flags.intersects(blank) || cut || is_tint(cells, column) {
                target.set_char(' ');
            } else if cell.c.is_ascii() && cell.extra.is_none() {
                target.set_char(if cell.c.is_ascii_control() { ' ' } else { cell.c });
            } else if x + 1 < visible.right() && flag(cells, column, &mut symbol) {
                target.set_symbol(&symbol);
                drawn_before = true;
            } else if write_symbol(cell, wide, &mut symbol) {
                target.set_symbol(&symbol);
            } else {
                target.set_char(' ');
            }
        }
    }
}

/// Whether a cell is a skin colour behind a wide character. The emulator gives it cells of its own, as programs count them; drawn, many
/// terminals around us would join the two, and move the rest of the row.
fn is_tint(cells: &[Cell], column: usize) -> bool {
    matches!(cells[column].c, '\u{1f3fb}'..='\u{1f3ff}')
        && column >= 2
        && cells[column - 2].flags.contains(Flags::WIDE_CHAR)
}

/// Writes two letters that make a flag to `symbol`. Each has a cell; drawn one by one, a change of one of them would break the flag.
fn flag(cells: &[Cell], column: usize, symbol: &mut String) -> bool {
    let letter = |at: usize| {
        cells.get(at).filter(|cell| matches!(cell.c, '\u{1f1e6}'..='\u{1f1ff}') && cell.extra.is_none())
    };
    let (Some(one), Some(two)) = (letter(column), letter(column + 1)) else { return false };
    symbol.clear();
    symbol.extend([one.c, two.c]);
    symbol.width() == 2
}

/// Writes the text of `cell` to `symbol`: its character and what combines with it. `false` when there is none that takes exactly the
/// cells it should: the renderer measures text anew, and one cell too much would push a whole row out of place.
fn write_symbol(cell: &Cell, wide: bool, symbol: &mut String) -> bool {
    let width = if wide { 2 } else { 1 };
    symbol.clear();
    symbol.push(cell.c);
    if cell.c.is_control() || symbol.width() != width {
        return false;
    }
    let alone = symbol.len();
    symbol.extend(cell.zerowidth().into_iter().flatten());
    if symbol.width() != width {
        symbol.truncate(alone);
    }
    // A joiner at the end would make the terminal around us join two cells into one and move the rest of the row.
    symbol.truncate(symbol.trim_end_matches(ZERO_WIDTH_JOINER).len());
    true
}

/// Gives `target` the colours and attributes of `cell`.
fn paint(cell: &Cell, colors: &Colors, target: &mut ratatui::buffer::Cell) {
    if let Some(foreground) = color(cell.fg, colors) {
        target.fg = foreground;
    }
    if let Some(background) = color(cell.bg, colors) {
        target.bg = background;
    }
    target.underline_color = cell.underline_color().and_then(|of| color(of, colors)).unwrap_or_default();
    if !cell.flags.is_empty() {
        target.modifier = modifiers(cell.flags);
    }
}

fn modifiers(flags: Flags) -> Modifier {
    const TABLE: [(Flags, Modifier); 6] = [
        (Flags::BOLD, Modifier::BOLD),
        (Flags::DIM, Modifier::DIM),
        (Flags::ITALIC, Modifier::ITALIC),
        (Flags::ALL_UNDERLINES, Modifier::UNDERLINED),
        (Flags::INVERSE, Modifier::REVERSED),
        (Flags::STRIKEOUT, Modifier::CROSSED_OUT),
    ];
    TABLE
        .into_iter()
        .filter(|(flag, _)| flags.intersects(*flag))
        .fold(Modifier::empty(), |all, (_, modifier)| all | modifier)
}

/// The colour to draw, or `None` for the default one.
fn color(color: TermColor, colors: &Colors) -> Option<Color> {
    let index = match color {
        TermColor::Spec(Rgb { r, g, b }) => return Some(Color::Rgb(r, g, b)),
        TermColor::Indexed(index) => usize::from(index),
        TermColor::Named(name) => name as usize,
    };
    // A program may have redefined the colour.
    if let Some(Rgb { r, g, b }) = colors[index] {
        return Some(Color::Rgb(r, g, b));
    }
    const DIM_FIRST: usize = NamedColor::DimBlack as usize;
    const DIM_LAST: usize = NamedColor::DimWhite as usize;
    match index {
        0..=255 => Some(Color::Indexed(index as u8)),
        DIM_FIRST..=DIM_LAST => Some(Color::Indexed((index - DIM_FIRST) as u8)),
        _ => None,
    }
}
