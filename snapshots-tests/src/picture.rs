//! A terminal screen as a picture: one SVG file that needs nothing else.
//!
//! Every cell stands exactly on the grid, whatever font the viewer has: plain text is stretched to its cells, other characters are
//! placed one by one, and frames, blocks and braille dots are drawn as shapes, so that they join without gaps.

mod shapes;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

use shapes::{Place, Shape};

/// Width of a cell, in pixels.
const CELL_WIDTH: f32 = 8.4;
/// Height of a cell, in pixels.
const CELL_HEIGHT: f32 = 18.0;
/// Size of letters, in pixels. Common monospaced fonts advance by 0.6 of it.
const FONT_SIZE: f32 = 14.0;
/// From the top of a cell to the line the letters stand on.
const BASELINE: f32 = 13.2;
/// Free space around the screen.
const MARGIN: f32 = 12.0;

/// What colours mean that a program names only by number, or not at all.
#[derive(Debug, Clone)]
pub struct Colors {
    /// Text without a colour.
    pub foreground: [u8; 3],
    /// Behind cells without a colour, and around the screen.
    pub background: [u8; 3],
    /// The sixteen colours of the terminal.
    pub ansi: [[u8; 3]; 16],
}

impl Default for Colors {
    /// A calm dark terminal.
    fn default() -> Self {
        Self {
            foreground: [0xc9, 0xd1, 0xd9],
            background: [0x0f, 0x13, 0x1a],
            ansi: [
                [0x1b, 0x20, 0x29],
                [0xe0, 0x6c, 0x75],
                [0x7f, 0xc8, 0x8a],
                [0xe0, 0xb8, 0x6a],
                [0x6c, 0xa8, 0xf0],
                [0xc0, 0x8c, 0xe0],
                [0x5c, 0xc0, 0xc8],
                [0xc9, 0xd1, 0xd9],
                [0x6b, 0x75, 0x85],
                [0xf0, 0x84, 0x8c],
                [0x98, 0xe0, 0xa4],
                [0xf0, 0xcc, 0x84],
                [0x8c, 0xc0, 0xff],
                [0xd4, 0xa8, 0xf4],
                [0x7c, 0xdc, 0xe4],
                [0xf4, 0xf6, 0xfa],
            ],
        }
    }
}

impl Colors {
    fn of(&self, color: Color, default: [u8; 3]) -> [u8; 3] {
        match color {
            Color::Default => default,
            Color::Rgb(r, g, b) => [r, g, b],
            Color::Idx(index @ 0..=15) => self.ansi[usize::from(index)],
            // xterm's cube of 6×6×6 colours, then its ramp of greys.
            Color::Idx(index @ 16..=231) => {
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                let cube = index - 16;
                [level(cube / 36), level(cube / 6 % 6), level(cube % 6)]
            }
            Color::Idx(index) => [8 + 10 * (index - 232); 3],
        }
    }
}

/// How the text of a cell looks. Neighbours of one look are drawn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    foreground: [u8; 3],
    background: [u8; 3],
    bold: bool,
    italic: bool,
    underline: bool,
}

impl Look {
    fn of(cell: &Cell, colors: &Colors) -> Self {
        let mut foreground = colors.of(cell.fgcolor(), colors.foreground);
        let mut background = colors.of(cell.bgcolor(), colors.background);
        if cell.inverse() {
            std::mem::swap(&mut foreground, &mut background);
        }
        if cell.dim() {
            // Three fifths of the way from the background to the text.
            let mix = |text: u8, behind: u8| ((u16::from(text) * 3 + u16::from(behind) * 2) / 5) as u8;
            foreground = std::array::from_fn(|channel| mix(foreground[channel], background[channel]));
        }
        Self { foreground, background, bold: cell.bold(), italic: cell.italic(), underline: cell.underline() }
    }
}

/// Neighbouring cells of one look that hold plain ASCII text.
struct Run {
    column: u16,
    text: String,
    look: Look,
}

/// Draws `screen`, with `description` for those who cannot see it.
pub fn svg(screen: &Screen, colors: &Colors, description: &str) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let width = f32::from(columns) * CELL_WIDTH + 2.0 * MARGIN;
    let height = f32::from(rows) * CELL_HEIGHT + 2.0 * MARGIN;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.1} {height:.1}" width="{width:.0}" height="{height:.0}" font-family="ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace" font-size="{FONT_SIZE}"><title>{title}</title><rect width="100%" height="100%" rx="8" fill="{background}"/>"#,
        title = escape(description),
        background = hex(colors.background),
    );
    out.push('\n');
    for row in 0..rows {
        draw_row(&mut out, screen, row, columns, colors);
    }
    out.push_str("</svg>\n");
    out
}

fn draw_row(out: &mut String, screen: &Screen, row: u16, columns: u16, colors: &Colors) {
    let cells: Vec<(u16, &Cell, Look)> = (0..columns)
        .filter_map(|column| screen.cell(row, column).map(|cell| (column, cell, Look::of(cell, colors))))
        .collect();
    draw_backgrounds(out, row, &cells, colors);

    let cursor = (!screen.hide_cursor()).then(|| screen.cursor_position());
    let mut shapes: BTreeMap<(Shape, [u8; 3]), String> = BTreeMap::new();
    let mut run: Option<Run> = None;
    for &(column, cell, look) in &cells {
        if cursor == Some((row, column)) {
            let place = place(row, column);
            let color = hex(look.foreground);
            let _ = write!(
                out,
                r#"<rect x="{:.1}" y="{:.1}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}" fill="{color}" fill-opacity="0.55"/>"#,
                place.x, place.y,
            );
        }
        let text = if cell.is_wide_continuation() { "" } else { cell.contents() };
        let plain = !cell.is_wide_continuation() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if plain {
            let text = if text.is_empty() { " " } else { text };
            match &mut run {
                Some(run) if run.look == look => run.text.push_str(text),
                _ => {
                    draw_run(out, row, run.take());
                    run = Some(Run { column, text: text.to_owned(), look });
                }
            }
            continue;
        }
        draw_run(out, row, run.take());
        let mut characters = text.chars();
        let only = characters.next().filter(|_| characters.next().is_none());
        let mut path = String::new();
        match only.and_then(|character| shapes::draw(character, place(row, column), &mut path)) {
            Some(shape) => shapes.entry((shape, look.foreground)).or_default().push_str(&path),
            None if text.is_empty() => {}
            None => draw_text(out, row, column, text, if cell.is_wide() { 2 } else { 1 }, look),
        }
    }
    draw_run(out, row, run);
    for ((shape, color), path) in shapes {
        let color = hex(color);
        let _ = match shape {
            Shape::Filled { opacity } => {
                write!(
                    out,
                    r#"<path fill="{color}" fill-opacity="{}" d="{path}"/>"#,
                    f32::from(opacity) / 100.0
                )
            }
            Shape::Line { width } => {
                let width = f32::from(width) / 10.0;
                write!(out, r#"<path fill="none" stroke="{color}" stroke-width="{width}" d="{path}"/>"#)
            }
        };
    }
    out.push('\n');
}

fn draw_backgrounds(out: &mut String, row: u16, cells: &[(u16, &Cell, Look)], colors: &Colors) {
    for group in cells.chunk_by(|one, other| one.2.background == other.2.background) {
        let Some((column, _, look)) = group.first() else { continue };
        if look.background == colors.background {
            continue;
        }
        let Place { x, y, .. } = place(row, *column);
        let width = group.len() as f32 * CELL_WIDTH;
        let _ = write!(
            out,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{CELL_HEIGHT}" fill="{}"/>"#,
            hex(look.background)
        );
    }
}

fn draw_run(out: &mut String, row: u16, run: Option<Run>) {
    let Some(run) = run else { return };
    // Blanks show nothing, except under a line.
    let (skipped, text) = if run.look.underline {
        (0, run.text.as_str())
    } else {
        let text = run.text.trim_start_matches(' ');
        (run.text.len() - text.len(), text.trim_end_matches(' '))
    };
    if !text.is_empty() {
        // ASCII: bytes are cells, and there are at most as many as columns.
        draw_text(out, row, run.column + skipped as u16, text, text.len(), run.look);
    }
}

/// Writes `text` so that it takes exactly `cells` cells.
fn draw_text(out: &mut String, row: u16, column: u16, text: &str, cells: usize, look: Look) {
    let Place { x, y, .. } = place(row, column);
    let _ = write!(
        out,
        r#"<text x="{x:.1}" y="{:.1}" textLength="{:.1}" fill="{}""#,
        y + BASELINE,
        cells as f32 * CELL_WIDTH,
        hex(look.foreground)
    );
    if look.bold {
        out.push_str(r#" font-weight="bold""#);
    }
    if look.italic {
        out.push_str(r#" font-style="italic""#);
    }
    if look.underline {
        out.push_str(r#" text-decoration="underline""#);
    }
    if text.contains(' ') {
        out.push_str(r#" xml:space="preserve""#);
    }
    let _ = write!(out, ">{}</text>", escape(text));
}

fn place(row: u16, column: u16) -> Place {
    Place {
        x: MARGIN + f32::from(column) * CELL_WIDTH,
        y: MARGIN + f32::from(row) * CELL_HEIGHT,
        width: CELL_WIDTH,
        height: CELL_HEIGHT,
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text as XML content. Characters that XML cannot hold become blanks.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character if character.is_control() => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn drawn(output: &str) -> String {
        let size = |cells| NonZeroU16::new(cells).unwrap();
        let mut parser = vt100::Parser::new(size(4), size(20), 0);
        parser.process(b"\x1b[?25l");
        parser.process(output.as_bytes());
        svg(parser.screen(), &Colors::default(), "a <test>")
    }

    #[test]
    fn text_is_escaped_and_on_the_grid() {
        let picture = drawn("  a<b & \"c\"");
        assert!(picture.contains("<title>a &lt;test&gt;</title>"));
        let x = MARGIN + 2.0 * CELL_WIDTH;
        assert!(picture.contains(&format!(r#"<text x="{x:.1}""#)), "{picture}");
        assert!(picture.contains(r#"xml:space="preserve">a&lt;b &amp; &quot;c&quot;</text>"#), "{picture}");
        assert!(picture.contains(&format!(r#"textLength="{:.1}""#, 9.0 * CELL_WIDTH)));
    }

    #[test]
    fn wide_characters_take_two_cells() {
        let picture = drawn("漢x");
        assert!(picture.contains(&format!(r#"textLength="{:.1}" fill="#, 2.0 * CELL_WIDTH)));
        let behind = MARGIN + 2.0 * CELL_WIDTH;
        assert!(picture.contains(&format!(r#"<text x="{behind:.1}""#)), "{picture}");
    }

    #[test]
    fn colours_and_attributes() {
        let picture = drawn("\x1b[1;4;38;2;1;2;3;48;5;196mx\x1b[0;7my\x1b[0;3mz");
        assert!(picture.contains("fill=\"#ff0000\"/>"), "{picture}");
        assert!(picture.contains("fill=\"#010203\" font-weight=\"bold\" text-decoration=\"underline\">x<"));
        assert!(picture.contains("fill=\"#0f131a\">y<"));
        assert!(picture.contains("font-style=\"italic\">z<"));
    }

    #[test]
    fn frames_blocks_and_dots_are_shapes() {
        let picture = drawn("╭─┤█▁⣿");
        assert!(!picture.contains("<text"), "{picture}");
        assert!(picture.contains("stroke-width"));
        assert!(picture.contains("<path fill="));
    }

    #[test]
    fn the_cursor_shows_unless_hidden() {
        assert!(!drawn("x").contains("fill-opacity=\"0.55\""));
        assert!(drawn("x\x1b[?25h").contains("fill-opacity=\"0.55\""));
    }
}
