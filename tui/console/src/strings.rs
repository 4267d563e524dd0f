//! A bound on control strings.
//!
//! The parser underneath collects an operating system command (`ESC ] … BEL` or `ESC ] … ESC \`) in memory until its end
//! arrives. An end that never comes would let a program fill the memory of the app, so this scanner walks in front of the parser,
//! follows just enough of its states to know when it is inside such a string, and cuts strings that are too long.

/// Longest operating system command that reaches the parser, in bytes. Titles and colours need far less, and the long ones
/// (clipboard, inline images) are not supported.
pub(crate) const MAX_STRING_BYTES: usize = 8 * 1024;

const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

/// What the parser is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Anything that holds no memory.
    Outside,
    /// Directly behind an escape character.
    Escape,
    /// Inside an operating system command, with the bytes passed on so far.
    Command(usize),
    /// Inside an operating system command that was cut: bytes are dropped until its end.
    Dropped,
}

/// The scanner. One for each parser; it must see every byte once, in order.
#[derive(Debug)]
pub(crate) struct StringBound {
    state: State,
}

impl StringBound {
    /// A scanner that stands where a new parser stands.
    pub(crate) fn new() -> Self {
        Self { state: State::Outside }
    }

    /// Hands `bytes` to `parse` in order, without the parts of control strings that are too long.
    pub(crate) fn pass(&mut self, bytes: &[u8], mut parse: impl FnMut(&[u8])) {
        let mut start = 0; // Where the bytes begin that are not yet handed over.
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Outside => match bytes[at..].iter().position(|byte| *byte == ESCAPE) {
                    Some(distance) => {
                        at += distance + 1;
                        self.state = State::Escape;
                    }
                    None => at = bytes.len(),
                },
                State::Escape => {
                    self.state = match bytes[at] {
                        b']' => State::Command(0),
                        CANCEL | SUBSTITUTE => State::Outside,
                        // Controls are carried out in the middle of an escape sequence, and bytes that mean nothing are
                        // skipped: the parser still waits for the byte behind the escape character.
                        0x00..=0x1f | 0x7f.. => State::Escape,
                        _ => State::Outside,
                    };
                    at += 1;
                }
                State::Command(passed) => {
                    let room = MAX_STRING_BYTES - passed;
                    let window = &bytes[at..bytes.len().min(at + room)];
                    match window.iter().position(|byte| is_end(*byte)) {
                        Some(distance) => {
                            self.state = after_end(window[distance]);
                            at += distance + 1;
                        }
                        None if window.len() < room => {
                            self.state = State::Command(passed + window.len());
                            at = bytes.len();
                        }
                        None => {
                            // Too long. The parser keeps what it has and sees nothing more until the real end comes, so the
                            // rest is not mistaken for text.
                            at += window.len();
                            parse(&bytes[start..at]);
                            start = at;
                            self.state = State::Dropped;
                        }
                    }
                }
                State::Dropped => match bytes[at..].iter().position(|byte| is_end(*byte)) {
                    Some(distance) => {
                        at += distance;
                        start = at;
                        self.state = after_end(bytes[at]);
                        at += 1;
                    }
                    None => {
                        at = bytes.len();
                        start = at;
                    }
                },
            }
        }
        if start < bytes.len() {
            parse(&bytes[start..]);
        }
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, BELL | CANCEL | SUBSTITUTE | ESCAPE)
}

fn after_end(byte: u8) -> State {
    if byte == ESCAPE { State::Escape } else { State::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut bound = StringBound::new();
        let mut out = Vec::new();
        for piece in pieces {
            bound.pass(piece, |bytes| out.extend_from_slice(bytes));
        }
        out
    }

    #[test]
    fn ordinary_output_passes_unchanged() {
        let text = b"a\x1b[1mb\x1b]0;title\x07c\x1b]2;t\x1b\\d\x1bP1$r\x1b\\e\x1b\n]0;x\x07".as_slice();
        assert_eq!(passed(&[text]), text);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(passed(&bytes), text);
    }

    #[test]
    fn a_string_without_end_is_cut() {
        let mut bound = StringBound::new();
        let mut total = 0;
        bound.pass(b"\x1b]0;", |bytes| total += bytes.len());
        for _ in 0..1000 {
            bound.pass(&[b'x'; 4096], |bytes| total += bytes.len());
        }
        assert_eq!(total, 2 + MAX_STRING_BYTES);
        let mut rest = Vec::new();
        bound.pass(b"xx\x07after", |bytes| rest.extend_from_slice(bytes));
        assert_eq!(rest, b"\x07after");
    }

    #[test]
    fn an_escape_ends_a_cut_string() {
        let mut long = b"\x1b]0;".to_vec();
        long.extend(std::iter::repeat_n(b'y', 3 * MAX_STRING_BYTES));
        let out = passed(&[&long, b"\x1b]2;short\x07z"]);
        assert_eq!(out.len(), 2 + MAX_STRING_BYTES + b"\x1b]2;short\x07z".len());
        assert!(out.ends_with(b"\x1b]2;short\x07z"));
    }

    #[test]
    fn a_string_of_exactly_the_bound_is_cut_only_when_it_goes_on() {
        let mut exact = b"\x1b]".to_vec();
        exact.extend(std::iter::repeat_n(b'y', MAX_STRING_BYTES));
        exact.push(BELL);
        assert_eq!(passed(&[&exact]), exact);
    }
}
