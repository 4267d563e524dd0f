//! Characters that are drawn rather than written: frames, blocks and braille dots.
//!
//! Sources: the Unicode charts "Box Drawing" (U+2500), "Block Elements" (U+2580) and "Braille Patterns" (U+2800).

use std::fmt::Write as _;

/// Where a cell is, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// How a path is painted. Paths of one kind and colour are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// An area; opacity in percent.
    Filled {
        /// 100 hides what is behind.
        opacity: u8,
    },
    /// A line; width in tenths of a pixel.
    Line {
        /// 10 is one pixel.
        width: u8,
    },
}

const SOLID: Shape = Shape::Filled { opacity: 100 };
const LIGHT: Shape = Shape::Line { width: 11 };
const HEAVY: Shape = Shape::Line { width: 24 };

/// The arms of a frame character.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// Appends the path of `character` to `path` and tells how to paint it; `None` when it is to be written as text.
pub(super) fn draw(character: char, place: Place, path: &mut String) -> Option<Shape> {
    let Place { x, y, width, height } = place;
    let code = u32::from(character);
    match character {
        '▀' => rectangle(path, x, y, width, height / 2.0),
        // Lower one eighth to all of it.
        '▁'..='█' => {
            let part = height * (code - 0x2580) as f32 / 8.0;
            rectangle(path, x, y + height - part, width, part);
        }
        // Left seven eighths to left one eighth.
        '▉'..='▏' => rectangle(path, x, y, width * (0x2590 - code) as f32 / 8.0, height),
        '▐' => rectangle(path, x + width / 2.0, y, width / 2.0, height),
        '░' | '▒' | '▓' => {
            rectangle(path, x, y, width, height);
            return Some(Shape::Filled { opacity: (25 * (code - 0x2590)) as u8 });
        }
        '▔' => rectangle(path, x, y, width, height / 8.0),
        '▕' => rectangle(path, x + width * 7.0 / 8.0, y, width / 8.0, height),
        '\u{2800}'..='\u{28ff}' => dots(path, place, code - 0x2800),
        _ => return frame(path, place, character),
    }
    Some(SOLID)
}

/// The dots of a braille pattern: bits 0 to 2 and 6 are the left column from above, 3 to 5 and 7 the right one.
fn dots(path: &mut String, place: Place, pattern: u32) {
    const SIZE: f32 = 2.0;
    const POSITIONS: [(f32, f32); 8] =
        [(1.0, 1.0), (1.0, 3.0), (1.0, 5.0), (3.0, 1.0), (3.0, 3.0), (3.0, 5.0), (1.0, 7.0), (3.0, 7.0)];
    for (bit, (column, row)) in POSITIONS.into_iter().enumerate() {
        if pattern & (1 << bit) != 0 {
            let x = place.x + place.width * column / 4.0 - SIZE / 2.0;
            let y = place.y + place.height * row / 8.0 - SIZE / 2.0;
            rectangle(path, x, y, SIZE, SIZE);
        }
    }
}

fn frame(path: &mut String, place: Place, character: char) -> Option<Shape> {
    let (arms, shape) = match character {
        '─' => (LEFT | RIGHT, LIGHT),
        '│' => (UP | DOWN, LIGHT),
        '┌' | '╭' => (DOWN | RIGHT, LIGHT),
        '┐' | '╮' => (DOWN | LEFT, LIGHT),
        '└' | '╰' => (UP | RIGHT, LIGHT),
        '┘' | '╯' => (UP | LEFT, LIGHT),
        '├' => (UP | DOWN | RIGHT, LIGHT),
        '┤' => (UP | DOWN | LEFT, LIGHT),
        '┬' => (DOWN | LEFT | RIGHT, LIGHT),
        '┴' => (UP | LEFT | RIGHT, LIGHT),
        '┼' => (UP | DOWN | LEFT | RIGHT, LIGHT),
        '╴' => (LEFT, LIGHT),
        '╵' => (UP, LIGHT),
        '╶' => (RIGHT, LIGHT),
        '╷' => (DOWN, LIGHT),
        '━' => (LEFT | RIGHT, HEAVY),
        '┃' => (UP | DOWN, HEAVY),
        '┏' => (DOWN | RIGHT, HEAVY),
        '┓' => (DOWN | LEFT, HEAVY),
        '┗' => (UP | RIGHT, HEAVY),
        '┛' => (UP | LEFT, HEAVY),
        _ => return None,
    };
    let Place { x, y, width, height } = place;
    let (middle_x, middle_y) = (x + width / 2.0, y + height / 2.0);
    let (right, bottom) = (x + width, y + height);
    if matches!(character, '╭' | '╮' | '╰' | '╯') {
        let end_y = if arms & UP != 0 { y } else { bottom };
        let end_x = if arms & LEFT != 0 { x } else { right };
        let radius = width / 2.0;
        let turn_y = if arms & UP != 0 { middle_y - radius } else { middle_y + radius };
        let _ = write!(
            path,
            "M{middle_x:.1} {end_y:.1}V{turn_y:.1}Q{middle_x:.1} {middle_y:.1} {end_x:.1} {middle_y:.1}"
        );
        return Some(shape);
    }
    if arms & (LEFT | RIGHT) != 0 {
        let from = if arms & LEFT != 0 { x } else { middle_x };
        let to = if arms & RIGHT != 0 { right } else { middle_x };
        let _ = write!(path, "M{from:.1} {middle_y:.1}H{to:.1}");
    }
    if arms & (UP | DOWN) != 0 {
        let from = if arms & UP != 0 { y } else { middle_y };
        let to = if arms & DOWN != 0 { bottom } else { middle_y };
        let _ = write!(path, "M{middle_x:.1} {from:.1}V{to:.1}");
    }
    Some(shape)
}

fn rectangle(path: &mut String, x: f32, y: f32, width: f32, height: f32) {
    let _ = write!(path, "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { x: 0.0, y: 0.0, width: 8.0, height: 16.0 };

    fn drawn(character: char) -> (Option<Shape>, String) {
        let mut path = String::new();
        let shape = draw(character, PLACE, &mut path);
        (shape, path)
    }

    #[test]
    fn blocks() {
        assert_eq!(drawn('▁'), (Some(SOLID), "M0.0 14.0h8.0v2.0h-8.0z".to_owned()));
        assert_eq!(drawn('█'), (Some(SOLID), "M0.0 0.0h8.0v16.0h-8.0z".to_owned()));
        assert_eq!(drawn('▏'), (Some(SOLID), "M0.0 0.0h1.0v16.0h-1.0z".to_owned()));
        assert_eq!(drawn('▌'), (Some(SOLID), "M0.0 0.0h4.0v16.0h-4.0z".to_owned()));
        assert_eq!(drawn('▒').0, Some(Shape::Filled { opacity: 50 }));
    }

    #[test]
    fn braille() {
        assert_eq!(drawn('\u{2800}').1, "");
        assert_eq!(drawn('⠁').1, "M1.0 1.0h2.0v2.0h-2.0z");
        assert_eq!(drawn('⣿').1.matches('M').count(), 8);
    }

    #[test]
    fn frames() {
        assert_eq!(drawn('─'), (Some(LIGHT), "M0.0 8.0H8.0".to_owned()));
        assert_eq!(drawn('┌').1, "M4.0 8.0H8.0M4.0 8.0V16.0");
        assert_eq!(drawn('╮').1, "M4.0 16.0V12.0Q4.0 8.0 0.0 8.0");
        assert_eq!(drawn('┃').0, Some(HEAVY));
    }

    #[test]
    fn letters_are_text() {
        assert_eq!(drawn('é').0, None);
        assert_eq!(drawn('═').0, None);
    }
}
