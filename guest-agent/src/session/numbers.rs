//! Numbers in output ask the emulator for work: "repeat the last character" takes any up to 65,535. None needs more digits than
//! screens have cells, so the rest of them is left out.

/// Digits of a number that stay.
const DIGITS: u8 = 3;

/// Where output is, across calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// Directly behind `ESC [`.
    Begin,
    /// In a control sequence, behind so many digits of a number.
    Number(u8),
    /// In one whose numbers are names of modes.
    Private,
}

/// Shortens numbers. One for each emulator; it must see every byte once, in order.
#[derive(Debug, Default)]
pub(super) struct Numbers(State);

impl Numbers {
    /// The same output without the digits that are too many.
    pub(super) fn shorten(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.0 = match (self.0, *byte) {
                (_, 0x1b) => State::Escape,
                (_, 0x18 | 0x1a) | (State::Text, _) => State::Text,
                (State::Escape, b'[') => State::Begin,
                // Controls are carried out in the middle of sequences.
                (state, 0x00..=0x1f | 0x7f..) => state,
                (State::Escape, _) => State::Text,
                (State::Begin, b'<'..=b'?') => State::Private,
                (State::Private, b' '..=b'?') => State::Private,
                (State::Begin, b'0'..=b'9') => State::Number(1),
                (State::Number(DIGITS), b'0'..=b'9') => continue,
                (State::Number(digits), b'0'..=b'9') => State::Number(digits + 1),
                (State::Begin | State::Number(_), b' '..=b'?') => State::Number(0),
                (State::Begin | State::Number(_) | State::Private, _) => State::Text,
            };
            out.push(*byte);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_numbers_change() {
        let cases: [(&str, &str); 8] = [
            ("x\x1b[65535b 65535", "x\x1b[655b 65535"),
            ("\x1b[1;38;2;255;128;64;0m", "\x1b[1;38;2;255;128;64;0m"),
            ("\x1b[?1049h\x1b[?2004;1006l\x1b[>4;2m", "\x1b[?1049h\x1b[?2004;1006l\x1b[>4;2m"),
            ("\x1b[9999;9999H\x1b[6n", "\x1b[999;999H\x1b[6n"),
            ("\x1b[65\n535b", "\x1b[65\n5b"),
            ("\x1b[65\x1b[65535b", "\x1b[65\x1b[655b"),
            ("\x1b[65\x1865535", "\x1b[65\x1865535"),
            ("\x1b]0;12345\x07\x1b(012345", "\x1b]0;12345\x07\x1b(012345"),
        ];
        for (from, to) in cases {
            assert_eq!(String::from_utf8(Numbers::default().shorten(from.as_bytes())).unwrap(), to);
            let mut pieces = Numbers::default();
            let cut: Vec<u8> = from.bytes().flat_map(|byte| pieces.shorten(&[byte])).collect();
            assert_eq!(String::from_utf8(cut).unwrap(), to);
        }
    }
}
