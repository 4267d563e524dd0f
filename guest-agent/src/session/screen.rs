//! The picture of a terminal, kept so that a client that attaches later sees what those before it saw.
//!
//! The emulator is the `vt100` crate, which can still panic on legal output (a wide character in the last cell). It is
//! contained: a panic costs the picture, never the session.

use super::modes::modes;
use super::numbers::Numbers;
use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use vt100::capture::{BasicFormattedCaptureState, RowContents};

/// Cells beyond this are not kept, in either direction: the size comes from a client.
const SIDE_LIMIT: u16 = 500;
/// Output that is drawn at once, bytes, and how long the drawing of all that has waited may take. What is too much work is not drawn:
/// a picture is worth less than a terminal that answers.
const PIECE: usize = 4 << 10;
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest window title kept, bytes.
const TITLE_LIMIT: usize = 256;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread runs the emulator: a panic hook may keep silent about a panic that is caught right away.
pub fn is_contained() -> bool {
    CONTAINED.with(Cell::get)
}

/// A terminal's picture and the lines that have left it.
pub(crate) struct Screen {
    parser: vt100::Parser<History>,
    numbers: Numbers,
    cols: u16,
    rows: u16,
    scrollback: usize,
}

/// Lines that have left the top of the screen, formatted, oldest first; and the window title.
#[derive(Default)]
struct History {
    lines: VecDeque<String>,
    bytes: usize,
    limit: usize,
    format: BasicFormattedCaptureState,
    title: String,
}

impl vt100::Callbacks for History {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate_screen: bool) {
        if alternate_screen {
            return;
        }
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = row.write_formatted_basic(&mut line, &mut self.format);
        self.bytes += line.len() + size_of::<String>();
        self.lines.push_back(line);
        while self.bytes > self.limit {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len() + size_of::<String>();
        }
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        let title = String::from_utf8_lossy(&title[..title.len().min(TITLE_LIMIT)]);
        self.title = title.chars().filter(|c| !c.is_control()).collect();
    }
}

impl Screen {
    /// An empty screen that keeps `scrollback` bytes of scrolled-off lines.
    pub(crate) fn new(cols: u16, rows: u16, scrollback: usize) -> Self {
        let (cols, rows) = (side(cols), side(rows));
        Self {
            parser: parser(cols, rows, History { limit: scrollback, ..History::default() }),
            numbers: Numbers::default(),
            cols,
            rows,
            scrollback,
        }
    }

    /// Draws output, as much of it as half a second allows.
    pub(crate) fn process(&mut self, bytes: &[u8]) {
        let bytes = self.numbers.shorten(bytes);
        let begin = Instant::now();
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            if begin.elapsed() > PATIENCE {
                let rest = modes(&bytes[number * PIECE..]);
                self.contain(|parser| parser.process(&rest));
                return;
            }
            self.contain(|parser| parser.process(piece));
        }
    }

    /// Changes the size.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        (self.cols, self.rows) = (side(cols), side(rows));
        let (cols, rows) = (nonzero(self.cols), nonzero(self.rows));
        self.contain(|parser| parser.set_size(rows, cols));
    }

    /// Bytes that draw the picture on an empty terminal: scrolled-off lines, screen, title, cursor and input modes.
    pub(crate) fn render(&mut self) -> Vec<u8> {
        let rows = usize::from(self.rows);
        self.contain(|parser| {
            let mut out = String::from("\x1b[m");
            for line in &parser.callbacks().lines {
                // Each piece but the first begins with the line break before it.
                out.push_str(&line.replace('\n', "\r\n"));
            }
            if !parser.callbacks().lines.is_empty() {
                // Push the history off the visible part, which the next step clears.
                out.push_str("\x1b[m");
                out.extend(std::iter::repeat_n("\r\n", rows));
            }
            let alternate = parser.screen().alternate_screen();
            if alternate {
                // What lies below a full-screen program must be there when it ends.
                parser.process(b"\x1b[?47l");
                out.push_str(&parser.screen().contents_formatted());
                parser.process(b"\x1b[?47h");
                out.push_str("\x1b[?1049h");
            }
            out.push_str(&parser.screen().contents_formatted());
            out.push_str(&parser.screen().input_mode_formatted());
            let title = &parser.callbacks().title;
            if !title.is_empty() {
                out.push_str("\x1b]2;");
                out.push_str(title);
                out.push('\x07');
            }
            out.into_bytes()
        })
        .unwrap_or_default()
    }

    /// Runs the emulator. A panic throws its state away, but not the history.
    fn contain<T>(&mut self, act: impl FnOnce(&mut vt100::Parser<History>) -> T) -> Option<T> {
        let parser = &mut self.parser;
        CONTAINED.with(|contained| contained.set(true));
        let result = catch_unwind(AssertUnwindSafe(|| act(parser)));
        CONTAINED.with(|contained| contained.set(false));
        if result.is_err() {
            let history = std::mem::take(self.parser.callbacks_mut());
            self.parser = parser_with(self.cols, self.rows, history, self.scrollback);
        }
        result.ok()
    }
}

fn parser_with(cols: u16, rows: u16, history: History, limit: usize) -> vt100::Parser<History> {
    parser(cols, rows, History { limit, ..history })
}

fn parser(cols: u16, rows: u16, history: History) -> vt100::Parser<History> {
    vt100::Parser::new_with_callbacks(nonzero(rows), nonzero(cols), 0, history)
}

/// The emulator panics more readily on screens of one cell's width or height.
fn side(cells: u16) -> u16 {
    cells.clamp(2, SIDE_LIMIT)
}

fn nonzero(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8], cols: u16, rows: u16, scrollback: usize) -> vt100::Parser {
        let mut parser = vt100::Parser::new(nonzero(rows), nonzero(cols), scrollback);
        parser.process(bytes);
        parser
    }

    #[test]
    fn the_picture_comes_back() {
        let mut screen = Screen::new(80, 24, 1 << 16);
        for line in 0..100 {
            screen.process(format!("\x1b[31mline {line}\x1b[m\r\n").as_bytes());
        }
        screen.process(b"\x1b[?2004h\x1b]0;a title\x07$ ");
        let mut again = shown(&screen.render(), 80, 24, 1000);
        assert!(again.screen().contents().contains("line 99"), "{}", again.screen().contents());
        assert!(again.screen().contents().trim_end().ends_with('$'));
        assert!(again.screen().bracketed_paste());
        let length = again.screen().scrollback_len();
        again.screen_mut().set_scrollback(length);
        assert!(again.screen().contents().contains("line 0"), "{}", again.screen().contents());
    }

    #[test]
    fn a_full_screen_program_and_what_lies_below() {
        let mut screen = Screen::new(20, 5, 1 << 16);
        screen.process(b"below\x1b[?1049h\x1b[2J\x1b[Habove");
        let mut again = shown(&screen.render(), 20, 5, 0);
        assert!(again.screen().alternate_screen());
        assert_eq!(again.screen().contents().trim(), "above");
        again.process(b"\x1b[?1049l");
        assert_eq!(again.screen().contents().trim(), "below");
        // Rendering has not changed the picture itself.
        screen.process(b"!");
        assert!(shown(&screen.render(), 20, 5, 0).screen().contents().contains("above!"));
    }

    #[test]
    fn a_panic_of_the_emulator_costs_only_the_picture() {
        let mut screen = Screen::new(80, 24, 1 << 16);
        screen.process("\x1b[24;80H\u{2764}\u{fe0f}".as_bytes());
        screen.process(b"\x1b[23;80Hx");
        screen.process(b"\x1b[Hstill here");
        assert!(String::from_utf8(screen.render()).unwrap().contains("still here"));
    }

    #[test]
    fn what_asks_for_too_much_work_costs_its_picture_and_no_more() {
        let mut screen = Screen::new(500, 500, 1 << 16);
        screen.process(b"\x1b[?2004h");
        screen.process(&b"x\x1b[65535b\x1b[2J".repeat(20_000));
        screen.process(b"\x1b[?1000h\x1b[Hstill here");
        let seen = shown(&screen.render(), 500, 500, 0);
        assert!(seen.screen().contents().starts_with("still here"));
        assert!(seen.screen().bracketed_paste());
    }

    #[test]
    fn history_is_bounded() {
        let mut screen = Screen::new(80, 24, 4096);
        for line in 0..10_000 {
            screen.process(format!("{line}\r\n").as_bytes());
        }
        assert!(screen.render().len() < 8192);
    }

    proptest! {
        #[test]
        fn any_bytes_at_any_size(bytes in prop::collection::vec(any::<u8>(), 0..600), cols in any::<u16>(), rows in any::<u16>()) {
            let mut screen = Screen::new(cols, rows, 4096);
            screen.process(&bytes);
            screen.resize(rows, cols);
            screen.process(&bytes);
            screen.render();
        }
    }
}
