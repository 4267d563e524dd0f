//! A scanner in front of the parser: it bounds control strings, and finds the sequences that the parser does not know.
//!
//! The parser underneath collects an operating system command (`ESC ] … BEL` or `ESC ] … ESC \`) in memory until its end
//! arrives. An end that never comes would let a program fill the memory of the app, so this scanner walks in front of the parser,
//! follows just enough of its states to know when it is inside such a string, and cuts strings that are too long.

/// Longest operating system command that reaches the parser, in bytes. Titles, colours and links need far less.
pub(crate) const MAX_STRING_BYTES: usize = 8 * 1024;
/// Longest command that is taken here, in bytes: a copy of some 74 KB in base64, as much as xterm takes.
pub(crate) const MAX_COMMAND_BYTES: usize = 100_000;
/// Longest device control string that is taken here, in bytes.
const MAX_DEVICE_BYTES: usize = 256;
/// Longest control sequence that is looked at here, in bytes. Those meant for us are far shorter.
const MAX_CONTROL_BYTES: usize = 32;
/// Shortest text that is handed over as such.
const MIN_TEXT: usize = 32;
/// Beginnings of the commands that are taken here: directory, notification, copy, notification.
const COMMANDS: [&[u8]; 4] = [b"7;", b"9;", b"52;", b"777;"];

const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

/// Who takes what the scanner finds.
pub(crate) trait Sink {
    /// Bytes for the parser.
    fn parse(&mut self, bytes: &[u8]);
    /// The same, which it sees outside of all sequences and strings, and without an escape character.
    fn text(&mut self, bytes: &[u8]);
    /// A whole operating system command, without what begins and ends it.
    fn command(&mut self, content: &[u8]);
    /// Whether [`control`](Self::control) knows a control sequence; `content` is as there.
    fn wants(&self, content: &[u8]) -> bool;
    /// A whole control sequence behind `ESC [`. The parser has seen everything up to here.
    fn control(&mut self, content: &[u8]);
    /// A whole device control string, without what begins and ends it. The parser has seen everything up to here.
    fn device(&mut self, content: &[u8]);
}

/// What the parser is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the text between sequences.
    Outside,
    /// Directly behind an escape character.
    Escape,
    /// Inside an escape sequence, before its last byte.
    Intermediate,
    /// Inside a string that nobody takes (SOS, PM, APC).
    Ignored,
    /// Inside a control sequence.
    Control,
    /// Inside a device control string.
    Device,
    /// Inside an operating system command, with the bytes passed on so far.
    Command(usize),
    /// Inside an operating system command that was cut: the parser sees nothing of it until its end.
    Dropped,
}

/// The scanner. One for each parser; it must see every byte once, in order.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// What was collected of the string or sequence it is in.
    content: Vec<u8>,
    /// Whether that is not meant for us, or too long.
    unwanted: bool,
}

impl Scanner {
    /// A scanner that stands where a new parser stands.
    pub(crate) fn new() -> Self {
        Self { state: State::Outside, content: Vec::new(), unwanted: false }
    }

    /// Hands `bytes` to `sink` in order, without the parts of control strings that are too long.
    pub(crate) fn pass(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut start = 0; // Where the bytes begin that are not yet handed over.
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Outside => {
                    let text = memchr::memchr(ESCAPE, &bytes[at..]).unwrap_or(bytes.len() - at);
                    if text >= MIN_TEXT {
                        sink.parse(&bytes[start..at]);
                        sink.text(&bytes[at..at + text]);
                        start = at + text;
                    }
                    at += text;
                    if at < bytes.len() {
                        at += 1;
                        self.state = State::Escape;
                    }
                }
                State::Escape => {
                    self.state = match bytes[at] {
                        b']' => self.begin(State::Command(0)),
                        b'[' => self.begin(State::Control),
                        b'P' => self.begin(State::Device),
                        b'X' | b'^' | b'_' => State::Ignored,
                        b' '..=b'/' => State::Intermediate,
                        CANCEL | SUBSTITUTE => State::Outside,
                        // Controls are carried out in the middle of an escape sequence, and bytes that mean nothing are
                        // skipped: the parser still waits for the byte behind the escape character.
                        0x00..=0x1f | 0x7f.. => State::Escape,
                        _ => State::Outside,
                    };
                    at += 1;
                }
                State::Intermediate => {
                    self.state = match bytes[at] {
                        CANCEL | SUBSTITUTE | ESCAPE => after_end(bytes[at]),
                        b'0'..=b'~' => State::Outside,
                        _ => State::Intermediate,
                    };
                    at += 1;
                }
                State::Ignored => {
                    let rest = &bytes[at..];
                    let end = rest.iter().position(|byte| matches!(*byte, CANCEL | SUBSTITUTE | ESCAPE));
                    at += end.map_or(rest.len(), |distance| distance + 1);
                    if let Some(distance) = end {
                        self.state = after_end(rest[distance]);
                    }
                }
                State::Control => {
                    let byte = bytes[at];
                    at += 1;
                    match byte {
                        CANCEL | SUBSTITUTE | ESCAPE => self.state = after_end(byte),
                        0x00..=0x1f | 0x7f.. => {}
                        0x20..=0x3f => self.collect(&[byte], MAX_CONTROL_BYTES),
                        0x40..=0x7e => {
                            self.state = State::Outside;
                            self.collect(&[byte], MAX_CONTROL_BYTES);
                            if !self.unwanted && sink.wants(&self.content) {
                                sink.parse(&bytes[start..at]);
                                start = at;
                                sink.control(&self.content);
                            }
                        }
                    }
                }
                State::Device => {
                    let rest = &bytes[at..];
                    let end = rest.iter().position(|byte| matches!(*byte, CANCEL | SUBSTITUTE | ESCAPE));
                    let part = end.unwrap_or(rest.len());
                    self.collect(&rest[..part], MAX_DEVICE_BYTES);
                    at += part;
                    if end.is_some() {
                        let byte = bytes[at];
                        at += 1;
                        self.state = after_end(byte);
                        if byte == ESCAPE && !self.unwanted {
                            sink.parse(&bytes[start..at]);
                            start = at;
                            sink.device(&self.content);
                        }
                    }
                }
                State::Command(passed) => {
                    let room = MAX_STRING_BYTES - passed;
                    let window = &bytes[at..bytes.len().min(at + room)];
                    let end = window.iter().position(|byte| is_end(*byte));
                    self.collect_command(&window[..end.unwrap_or(window.len())]);
                    match end {
                        Some(distance) => {
                            at += distance + 1;
                            self.end_command(window[distance], sink);
                        }
                        None if window.len() < room => {
                            self.state = State::Command(passed + window.len());
                            at = bytes.len();
                        }
                        None => {
                            // Too long. The parser keeps what it has and sees nothing more until the real end comes, so the
                            // rest is not mistaken for text.
                            at += window.len();
                            sink.parse(&bytes[start..at]);
                            start = at;
                            self.state = State::Dropped;
                        }
                    }
                }
                State::Dropped => {
                    let rest = &bytes[at..];
                    let end = rest.iter().position(|byte| is_end(*byte));
                    self.collect_command(&rest[..end.unwrap_or(rest.len())]);
                    at += end.unwrap_or(rest.len());
                    start = at;
                    if end.is_some() {
                        let byte = bytes[at];
                        at += 1;
                        self.end_command(byte, sink);
                    }
                }
            }
        }
        if start < bytes.len() {
            sink.parse(&bytes[start..]);
        }
    }

    fn begin(&mut self, state: State) -> State {
        self.content.clear();
        self.unwanted = false;
        state
    }

    /// Keeps a part of what it is in, at most so many bytes of the whole.
    fn collect(&mut self, part: &[u8], most: usize) {
        self.unwanted |= self.content.len() + part.len() > most;
        if !self.unwanted {
            self.content.extend_from_slice(part);
        }
    }

    /// The same for an operating system command, if it is one of ours.
    fn collect_command(&mut self, part: &[u8]) {
        self.collect(part, MAX_COMMAND_BYTES);
        let fits = |known: &&[u8]| {
            let shared = known.len().min(self.content.len());
            known[..shared] == self.content[..shared]
        };
        if !COMMANDS.iter().any(fits) {
            self.unwanted = true;
            self.content.clear();
        }
    }

    fn end_command(&mut self, byte: u8, sink: &mut impl Sink) {
        self.state = after_end(byte);
        if !self.unwanted && matches!(byte, BELL | ESCAPE) {
            sink.command(&self.content);
        }
        // One long copy is no reason to keep its memory.
        self.content = Vec::new();
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

    #[derive(Default)]
    struct Seen {
        parsed: Vec<u8>,
        found: Vec<String>,
    }

    impl Sink for Seen {
        fn parse(&mut self, bytes: &[u8]) {
            self.parsed.extend_from_slice(bytes);
        }

        fn text(&mut self, bytes: &[u8]) {
            self.parse(bytes);
        }

        fn command(&mut self, content: &[u8]) {
            self.found.push(format!("command {}", String::from_utf8_lossy(content)));
        }

        fn wants(&self, content: &[u8]) -> bool {
            content.ends_with(b"q")
        }

        fn control(&mut self, content: &[u8]) {
            let after = self.parsed.len();
            self.found.push(format!("control {} after {after}", String::from_utf8_lossy(content)));
        }

        fn device(&mut self, content: &[u8]) {
            self.found.push(format!("device {}", String::from_utf8_lossy(content)));
        }
    }

    fn passed(pieces: &[&[u8]]) -> Seen {
        let mut scanner = Scanner::new();
        let mut seen = Seen::default();
        for piece in pieces {
            scanner.pass(piece, &mut seen);
        }
        seen
    }

    #[test]
    fn ordinary_output_passes_unchanged() {
        let text =
            b"a\x1b[1mb\x1b]0;title\x07c\x1b]2;t\x1b\\d\x1bP1$r\x1b\\e\x1b\n]0;x\x07\x1b[>q\x1b]7;y\x07"
                .as_slice();
        assert_eq!(passed(&[text]).parsed, text);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(passed(&bytes).parsed, text);
    }

    #[test]
    fn what_is_ours_is_found_however_it_is_cut() {
        let text = b"ab\x1b[>0qc\x1b[1m\x1b]7;file:///x\x07\x1b]52;c;eA==\x1b\\\x1bP$qm\x1b\\\x1b]0;no\x07\x1b]9;hi\x18\x1b[>\x1b[2q\x1bP+q\x18";
        let found = ["control >0q after 7", "command 7;file:///x", "command 52;c;eA==", "device $qm"];
        let whole = passed(&[text]);
        assert_eq!(whole.found[..4], found);
        assert_eq!(whole.found.len(), 5, "{:?}", whole.found);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(passed(&bytes).found, whole.found);
    }

    #[test]
    fn a_string_without_end_is_cut() {
        for code in ["0", "52"] {
            let mut scanner = Scanner::new();
            let mut seen = Seen::default();
            scanner.pass(format!("\x1b]{code};").as_bytes(), &mut seen);
            for _ in 0..1000 {
                scanner.pass(&[b'x'; 4096], &mut seen);
            }
            assert_eq!(seen.parsed.len(), 2 + MAX_STRING_BYTES);
            assert!(scanner.content.capacity() <= 2 * MAX_COMMAND_BYTES);
            seen.parsed.clear();
            scanner.pass(b"xx\x07after", &mut seen);
            assert_eq!(seen.parsed, b"\x07after");
            assert_eq!(seen.found, Vec::<String>::new());
        }
    }

    #[test]
    fn a_long_copy_arrives_whole() {
        let content = format!("52;c;{}", "QUJD".repeat(MAX_STRING_BYTES));
        let seen = passed(&[b"\x1b]", content.as_bytes(), b"\x1b\\"]);
        assert_eq!(seen.found, [format!("command {content}")]);
    }

    #[test]
    fn an_escape_ends_a_cut_string() {
        let mut long = b"\x1b]0;".to_vec();
        long.extend(std::iter::repeat_n(b'y', 3 * MAX_STRING_BYTES));
        let out = passed(&[&long, b"\x1b]2;short\x07z"]).parsed;
        assert_eq!(out.len(), 2 + MAX_STRING_BYTES + b"\x1b]2;short\x07z".len());
        assert!(out.ends_with(b"\x1b]2;short\x07z"));
    }

    #[test]
    fn a_string_of_exactly_the_bound_is_cut_only_when_it_goes_on() {
        let mut exact = b"\x1b]".to_vec();
        exact.extend(std::iter::repeat_n(b'y', MAX_STRING_BYTES));
        exact.push(BELL);
        assert_eq!(passed(&[&exact]).parsed, exact);
    }
}
