//! Sequences that the parser underneath does not know.
//!
//! Sources: "XTerm Control Sequences" (XTVERSION, window reports, DECXCPR, DECRQSS, XTGETTCAP, OSC 7 and 9), DEC's "VT510 Reference"
//! (DECSTR, DECSED), rxvt-unicode (OSC 777).

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, Color, CursorShape, Handler, LineClearMode, Mode, NamedColor, NamedMode,
    NamedPrivateMode, StandardCharset,
};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::emulator::{Guard, NO_CURSOR_SHAPE, clean_line};

/// Cells are told to be that large, in pixels: nothing here draws pixels, and programs divide by it.
const CELL: (usize, usize) = (8, 16);
/// Most characters of a notification, and of a directory's name.
const MAX_TEXT: usize = 1024;
/// Programs write base64 with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What programs may ask about a terminal's devices (DSR), and the answers: there is none of them.
const DEVICES: [(&[u8], &str); 8] = [
    (b"?15n", "\x1b[?13n"),   // No printer.
    (b"?25n", "\x1b[?21n"),   // Keys can not be defined.
    (b"?26n", "\x1b[?27;0n"), // The keyboard's language is not known.
    (b"?55n", "\x1b[?50n"),   // No locator,
    (b"?56n", "\x1b[?57;0n"), // and so of no kind.
    (b"?62n", "\x1b[0*{"),    // No room for macros.
    (b"?75n", "\x1b[?70n"),   // No error on the line.
    (b"?85n", "\x1b[?83n"),   // One session.
];

/// Something a program wants to tell or give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// Text for the clipboard. Without control characters but tabs and line ends.
    Copy(String),
    /// A notification: its title, which may be empty, and its text. Both without control characters.
    Notice(String, String),
}

/// Whether [`Guard::control`] knows what stands behind `ESC [`.
pub(crate) fn known(content: &[u8]) -> bool {
    matches!(
        content,
        [b'>', .., b'q'] | [b'!', b'p'] | [b'?', b'6', b'n'] | [b'?', .., b'J' | b'K'] | [b'=', .., b'c']
    ) || matches!(content, [b'0'..=b'9', .., b't'])
        || about_device(content).is_some()
}

/// The answer to such a question.
fn about_device(question: &[u8]) -> Option<&'static str> {
    DEVICES.iter().find(|(known, _)| *known == question).map(|(_, answer)| *answer)
}

impl Guard<'_> {
    /// See [`known`].
    pub(crate) fn control(&mut self, content: &[u8]) {
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
        match content {
            [b'>', digits @ .., b'q'] if digits.is_empty() || number(digits) == Some(0) => {
                self.reply(concat!("\x1bP>|sprites-tui(", env!("CARGO_PKG_VERSION"), ")\x1b\\"));
            }
            // A unit number, as xterm has it.
            [b'=', digits @ .., b'c'] if digits.is_empty() || number(digits) == Some(0) => {
                self.reply("\x1bP!|00000000\x1b\\");
            }
            b"!p" => self.soft_reset(),
            b"?6n" => {
                let (line, column) = self.reported_position();
                self.reply(&format!("\x1b[?{line};{column}R"));
            }
            [b'?', .., b'n'] => {
                if let Some(answer) = about_device(content) {
                    self.reply(answer);
                }
            }
            // Nothing here is protected, so that erasing what is not protected is erasing.
            [b'?', digits @ .., b'J'] => match digits {
                b"" | b"0" => self.clear_screen(ClearMode::Below),
                b"1" => self.clear_screen(ClearMode::Above),
                b"2" => self.clear_screen(ClearMode::All),
                _ => {}
            },
            [b'?', digits @ .., b'K'] => match digits {
                b"" | b"0" => self.clear_line(LineClearMode::Right),
                b"1" => self.clear_line(LineClearMode::Left),
                b"2" => self.clear_line(LineClearMode::All),
                _ => {}
            },
            [digits @ .., b't'] => {
                let (rows, columns) = (self.term.screen_lines(), self.term.columns());
                match digits {
                    b"11" => self.reply("\x1b[1t"),
                    b"13" => self.reply("\x1b[3;0;0t"),
                    b"14" => self.reply(&format!("\x1b[4;{};{}t", rows * CELL.1, columns * CELL.0)),
                    b"15" => self.reply(&format!("\x1b[5;{};{}t", rows * CELL.1, columns * CELL.0)),
                    b"16" => self.reply(&format!("\x1b[6;{};{}t", CELL.1, CELL.0)),
                    b"19" => self.reply(&format!("\x1b[9;{rows};{columns}t")),
                    // A title told back would be typed, and a title may be anything (CVE-2003-0063).
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// A device control string.
    pub(crate) fn device(&mut self, content: &[u8]) {
        match content {
            b"$qr" => {
                let (top, bottom) = self.margins();
                self.reply(&format!("\x1bP1$r{};{}r\x1b\\", top + 1, bottom + 1));
            }
            // There is no status line: what is printed goes to the screen (DECSASD, DECSSDT).
            b"$q$}" | b"$q$~" => self.reply(&format!("\x1bP1$r0${}\x1b\\", char::from(content[3]))),
            b"$qm" => {
                let attributes = self.attributes();
                self.reply(&format!("\x1bP1$r{attributes}m\x1b\\"));
            }
            b"$q q" => {
                let style = self.term.cursor_style();
                let number = match style.shape {
                    NO_CURSOR_SHAPE | CursorShape::Hidden => 0,
                    CursorShape::Block => 2,
                    CursorShape::Underline => 4,
                    CursorShape::Beam => 6,
                };
                let number = if style.blinking && number > 0 { number - 1 } else { number };
                self.reply(&format!("\x1bP1$r{number} q\x1b\\"));
            }
            [b'$', b'q', ..] => self.reply("\x1bP0$r\x1b\\"),
            [b'+', b'q', names @ ..] => {
                for name in names.split(|byte| *byte == b';') {
                    let told = match name.to_ascii_uppercase().as_slice() {
                        b"544E" => "1+r544E=787465726D2D323536636F6C6F72", // TN: xterm-256color
                        b"436F" | b"436F6C6F7273" => "1+r436F=323536",     // Co, colors: 256
                        b"524742" => "1+r524742=38",                       // RGB: 8
                        _ => "0+r",
                    };
                    self.reply(&format!("\x1bP{told}\x1b\\"));
                }
            }
            _ => {}
        }
    }

    /// An operating system command.
    pub(crate) fn command(&mut self, content: &[u8]) {
        let Some((code, rest)) =
            content.split_at_checked(content.iter().position(|b| *b == b';').unwrap_or(0))
        else {
            return;
        };
        let rest = rest.get(1..).unwrap_or_default();
        match code {
            b"7" => self.kept.directory = directory(rest),
            b"52" => {
                let Some(place) = rest.iter().position(|byte| *byte == b';') else { return };
                // Who asks for what the clipboard holds gets no answer.
                if let Ok(bytes) = BASE64.decode(&rest[place + 1..]) {
                    let text = String::from_utf8_lossy(&bytes);
                    let text: String =
                        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
                    if !text.is_empty() {
                        self.kept.happened(Happening::Copy(text));
                    }
                }
            }
            b"9" => {
                let text = String::from_utf8_lossy(rest);
                // ConEmu has commands with numbers behind the same code: progress bars and the like.
                let number = text.split(';').next().is_some_and(|first| first.parse::<u8>().is_ok());
                if !number {
                    self.notice("", &text);
                }
            }
            b"777" => {
                let text = String::from_utf8_lossy(rest);
                if let Some(("notify", told)) = text.split_once(';') {
                    let (title, body) = told.split_once(';').unwrap_or(("", told));
                    self.notice(title, body);
                }
            }
            _ => {}
        }
    }

    fn notice(&mut self, title: &str, text: &str) {
        let (title, text) = (clean_line(title, MAX_TEXT), clean_line(text, MAX_TEXT));
        if !(title.is_empty() && text.is_empty()) {
            self.kept.happened(Happening::Notice(title, text));
        }
    }

    /// DECSTR: modes as at the beginning; what is on the screen stays.
    fn soft_reset(&mut self) {
        for mode in [NamedPrivateMode::ShowCursor, NamedPrivateMode::LineWrap] {
            self.set_private_mode(mode.into());
        }
        // The origin mode goes after the region, because setting either moves the cursor.
        let at = self.term.grid().cursor.point;
        self.set_scrolling_region(1, None);
        for mode in [NamedPrivateMode::CursorKeys, NamedPrivateMode::Origin] {
            self.unset_private_mode(mode.into());
        }
        self.go(at.line.0, at.column.0);
        self.unset_mode(Mode::Named(NamedMode::Insert));
        self.unset_keypad_application_mode();
        self.terminal_attribute(Attr::Reset);
        for index in [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3] {
            self.configure_charset(index, StandardCharset::Ascii);
        }
        self.set_active_charset(CharsetIndex::G0);
        self.set_cursor_style(None);
        self.forget_cursor();
    }

    /// The attributes that hold, as the sequence SGR has them.
    fn attributes(&self) -> String {
        const FLAGS: [(Flags, &str); 7] = [
            (Flags::BOLD, "1"),
            (Flags::DIM, "2"),
            (Flags::ITALIC, "3"),
            (Flags::UNDERLINE, "4"),
            (Flags::INVERSE, "7"),
            (Flags::HIDDEN, "8"),
            (Flags::STRIKEOUT, "9"),
        ];
        let template = &self.term.grid().cursor.template;
        let mut parts = vec!["0".to_owned()];
        parts.extend(
            FLAGS.iter().filter(|(flag, _)| template.flags.contains(*flag)).map(|(_, n)| (*n).into()),
        );
        parts.extend(color(template.fg, 30));
        parts.extend(color(template.bg, 40));
        parts.join(";")
    }
}

/// A colour as SGR has it; `first` is 30 for the foreground and 40 for the background.
fn color(color: Color, first: usize) -> Option<String> {
    match color {
        Color::Named(name) if name as usize <= NamedColor::White as usize => {
            Some((first + name as usize).to_string())
        }
        Color::Named(name) if name as usize <= NamedColor::BrightWhite as usize => {
            Some((first + 60 + name as usize - NamedColor::BrightBlack as usize).to_string())
        }
        Color::Named(_) => None,
        Color::Indexed(index) => Some(format!("{}:5:{index}", first + 8)),
        Color::Spec(rgb) => Some(format!("{}:2::{}:{}:{}", first + 8, rgb.r, rgb.g, rgb.b)),
    }
}

/// The directory in an address such as `file://host/home/me`.
fn directory(address: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(address).ok()?;
    let path = text.strip_prefix("file://")?;
    let path = &path[path.find('/')?..];
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8); // Two hexadecimal digits.
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    Some(clean_line(&String::from_utf8_lossy(&bytes), MAX_TEXT)).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let of = |text: &str| directory(text.as_bytes());
        assert_eq!(of("file://box/home/a%20b%e2%82%ac").as_deref(), Some("/home/a b€"));
        assert_eq!(of("file:///x%1b%4").as_deref(), Some("/x%4"));
        assert_eq!(of("http://x/y"), None);
        assert_eq!(of("file://host"), None);
    }
}
