//! The colours a program is told about when it asks.
//!
//! The real palette belongs to the terminal around us and is not known here; programs that ask mostly want to know whether the
//! background is dark. The answers are xterm's standard palette, and the app's own foreground and background when it has set them.

use alacritty_terminal::vte::ansi::{NamedColor, Rgb};

/// The first sixteen colours of xterm's default palette.
const ANSI: [(u8, u8, u8); 16] = [
    (0x00, 0x00, 0x00),
    (0xcd, 0x00, 0x00),
    (0x00, 0xcd, 0x00),
    (0xcd, 0xcd, 0x00),
    (0x00, 0x00, 0xee),
    (0xcd, 0x00, 0xcd),
    (0x00, 0xcd, 0xcd),
    (0xe5, 0xe5, 0xe5),
    (0x7f, 0x7f, 0x7f),
    (0xff, 0x00, 0x00),
    (0x00, 0xff, 0x00),
    (0xff, 0xff, 0x00),
    (0x5c, 0x5c, 0xff),
    (0xff, 0x00, 0xff),
    (0x00, 0xff, 0xff),
    (0xff, 0xff, 0xff),
];

/// Levels of one channel in the 6×6×6 colour cube.
const CUBE: [u8; 6] = [0x00, 0x5f, 0x87, 0xaf, 0xd7, 0xff];

/// Colours of cells that ask for none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DefaultColors {
    pub(crate) foreground: Rgb,
    pub(crate) background: Rgb,
}

impl Default for DefaultColors {
    fn default() -> Self {
        Self { foreground: rgb(ANSI[7]), background: rgb(ANSI[0]) }
    }
}

/// The colour with this index: 0 to 255 the palette, above them the named ones (foreground, background, cursor, …).
pub(crate) fn color(index: usize, defaults: DefaultColors) -> Rgb {
    if let Some(ansi) = ANSI.get(index) {
        return rgb(*ansi);
    }
    match index {
        16..=231 => {
            let cell = index - 16;
            rgb((CUBE[cell / 36], CUBE[cell / 6 % 6], CUBE[cell % 6]))
        }
        232..=255 => {
            let level = 8 + 10 * (index - 232) as u8; // At most 8 + 10 * 23 = 238.
            rgb((level, level, level))
        }
        _ if index == NamedColor::Background as usize => defaults.background,
        _ => defaults.foreground,
    }
}

fn rgb((r, g, b): (u8, u8, u8)) -> Rgb {
    Rgb { r, g, b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_the_palette() {
        let of = |index| {
            let Rgb { r, g, b } = color(index, DefaultColors::default());
            (r, g, b)
        };
        assert_eq!(of(1), (0xcd, 0, 0));
        assert_eq!(of(16), (0, 0, 0));
        assert_eq!(of(21), (0, 0, 0xff));
        assert_eq!(of(231), (0xff, 0xff, 0xff));
        assert_eq!(of(232), (8, 8, 8));
        assert_eq!(of(255), (238, 238, 238));
        assert_eq!(of(NamedColor::Background as usize), (0, 0, 0));
        assert_eq!(of(usize::MAX), (0xe5, 0xe5, 0xe5));
    }
}
