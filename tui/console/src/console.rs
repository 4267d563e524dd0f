//! The console: one program's terminal.

use std::fmt;

use alacritty_terminal::Term;
use alacritty_terminal::grid::{Dimensions, Scroll};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::term::{MIN_COLUMNS, TermMode};
use alacritty_terminal::vte::ansi::{CursorShape, Processor, Rgb};
use crossterm::cursor::SetCursorStyle;
use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::emulator::{self, Guard, Listener, NoSynchronizedUpdates, Size};
use crate::strings::StringBound;
use crate::{draw, keys, mouse, paste};

/// Most rows of a console. More than any real screen shows.
pub const MAX_ROWS: u16 = 500;
/// Most columns of a console.
pub const MAX_COLUMNS: u16 = 1000;
/// Most cells the scrollback holds, whatever number of lines was asked for: 24 MiB for plain text.
pub const MAX_SCROLLBACK_CELLS: usize = 1 << 20;
/// Most bytes of replies that one call of [`Console::feed`] returns.
pub const MAX_REPLY_BYTES: usize = 4096;
/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 256;

/// A program's terminal: screen, scrollback and modes.
///
/// Feed it what the program prints, send back what [`feed`](Self::feed), [`key`](Self::key), [`mouse`](Self::mouse) and
/// [`paste`](Self::paste) return, and [`draw`](Self::draw) it whenever [`generation`](Self::generation) has grown.
pub struct Console {
    term: Term<Listener>,
    parser: Processor<NoSynchronizedUpdates>,
    strings: StringBound,
    listener: Listener,
    title: Option<String>,
    bell: bool,
    generation: u64,
    /// Lines of scrollback asked for, before the bound on cells.
    scrollback_lines: usize,
}

impl Console {
    /// An empty console. The size is brought into the range from 1×2 to [`MAX_ROWS`]×[`MAX_COLUMNS`]; the scrollback holds as many
    /// lines as asked for, at most [`MAX_SCROLLBACK_CELLS`] cells.
    pub fn new(rows: u16, cols: u16, scrollback_lines: usize) -> Self {
        let size = clamp_size(rows, cols);
        let listener = Listener::default();
        let config = emulator::config(scrollback_bound(scrollback_lines, size.columns));
        Self {
            term: Term::new(config, &size, listener.clone()),
            parser: Processor::new(),
            strings: StringBound::new(),
            listener,
            title: None,
            bell: false,
            generation: 0,
            scrollback_lines,
        }
    }

    /// Takes output of the program. Returns what the terminal answers to queries in it; the caller sends that back as if typed. At most
    /// [`MAX_REPLY_BYTES`] for each call.
    ///
    /// The work is bounded in proportion to the bytes, yet three of them may clear the whole screen: whoever must stay responsive hands
    /// over a flood in pieces of some 16 KiB.
    #[must_use = "programs wait for the replies to their queries"]
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        if bytes.is_empty() {
            return Vec::new();
        }
        let mut guard = Guard::new(&mut self.term, &self.listener, bytes.len());
        self.strings.pass(bytes, |part| self.parser.advance(&mut guard, part));
        self.settle();

        let mut outbox = self.listener.outbox();
        if let Some(title) = outbox.take_title() {
            self.title = title;
        }
        self.bell |= outbox.take_bell();
        outbox.take_replies()
    }

    /// Changes the size, reflowing lines that were wrapped. The same bounds as in [`new`](Self::new).
    pub fn resize(&mut self, rows: u16, cols: u16) {
        let size = clamp_size(rows, cols);
        if size == self.size() {
            return;
        }
        // In this order the scrollback is never larger than its bound: reflow to few columns makes many lines.
        let bound = scrollback_bound(self.scrollback_lines, size.columns);
        if size.columns > self.term.columns() {
            self.term.set_options(emulator::config(bound));
            self.term.resize(size);
        } else {
            self.term.resize(size);
            self.term.set_options(emulator::config(bound));
        }
        // Setting options announces the title once more.
        self.listener.outbox().take_title();
        self.settle();
    }

    /// Rows and columns, as they are after bounds were applied.
    pub fn dimensions(&self) -> (u16, u16) {
        let Size { rows, columns } = self.size();
        // Both are at most MAX_ROWS and MAX_COLUMNS.
        (rows as u16, columns as u16)
    }

    /// Tells what "no colour" looks like around this console, as red, green and blue. Programs ask for it to choose light or dark
    /// colours.
    pub fn set_default_colors(&mut self, foreground: (u8, u8, u8), background: (u8, u8, u8)) {
        let rgb = |(r, g, b)| Rgb { r, g, b };
        self.listener.outbox().set_defaults(rgb(foreground), rgb(background));
    }

    /// The bytes to send for a key. Empty for releases and for keys that have no meaning in a terminal.
    pub fn key(&self, key: KeyEvent) -> Vec<u8> {
        keys::encode(key, *self.term.mode())
    }

    /// The bytes to send for a mouse event, or `None` when the program did not ask for it. `area` is where the console is drawn, in the
    /// coordinates of the event. On the alternate screen the wheel becomes arrow keys for programs that know no mouse.
    pub fn mouse(&self, event: MouseEvent, area: Rect) -> Option<Vec<u8>> {
        mouse::encode(event, area, *self.term.mode())
    }

    /// Whether the program asked for mouse events.
    pub fn wants_mouse(&self) -> bool {
        emulator::wants_mouse(*self.term.mode())
    }

    /// The bytes to send for pasted text: without control characters, in brackets when the program asked for them.
    pub fn paste(&self, text: &str) -> Vec<u8> {
        paste::encode(text, self.term.mode().contains(TermMode::BRACKETED_PASTE))
    }

    /// The bytes to send when the console gains or loses the focus, if the program asked for them.
    pub fn focus(&self, gained: bool) -> Option<&'static [u8]> {
        let asked = self.term.mode().contains(TermMode::FOCUS_IN_OUT);
        asked.then_some(if gained { b"\x1b[I" } else { b"\x1b[O" })
    }

    /// Scrolls by lines: positive into the past, negative towards the present. Stops at both ends.
    pub fn scroll(&mut self, lines: i32) {
        // The emulator adds this to its position, which the bound keeps from overflowing.
        let most = i32::try_from(self.term.grid().history_size()).unwrap_or(i32::MAX / 2);
        self.scroll_by(Scroll::Delta(lines.clamp(-most, most)));
    }

    /// Shows the present again.
    pub fn scroll_to_bottom(&mut self) {
        self.scroll_by(Scroll::Bottom);
    }

    /// Lines scrolled into the past; 0 shows the present.
    pub fn scrolled(&self) -> usize {
        self.term.grid().display_offset()
    }

    /// Lines that can be scrolled back to.
    pub fn scrollback(&self) -> usize {
        self.term.grid().history_size()
    }

    /// Where the cursor is (column, row), relative to the area the console is drawn in. `None` when the program hides it or the
    /// console is scrolled back.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        if self.scrolled() > 0 || !self.term.mode().contains(TermMode::SHOW_CURSOR) {
            return None;
        }
        let point = self.term.grid().cursor.point;
        let behind_wide = self.term.grid()[point].flags.contains(Flags::WIDE_CHAR_SPACER);
        let column = if behind_wide { point.column.0.saturating_sub(1) } else { point.column.0 };
        Some((u16::try_from(column).ok()?, u16::try_from(point.line.0).ok()?))
    }

    /// The shape of cursor the program asked for; the user's own when it asked for none.
    pub fn cursor_style(&self) -> SetCursorStyle {
        let style = self.term.cursor_style();
        match (style.shape, style.blinking) {
            (emulator::NO_CURSOR_SHAPE | CursorShape::Hidden, _) => SetCursorStyle::DefaultUserShape,
            (CursorShape::Block, true) => SetCursorStyle::BlinkingBlock,
            (CursorShape::Block, false) => SetCursorStyle::SteadyBlock,
            (CursorShape::Underline, true) => SetCursorStyle::BlinkingUnderScore,
            (CursorShape::Underline, false) => SetCursorStyle::SteadyUnderScore,
            (CursorShape::Beam, true) => SetCursorStyle::BlinkingBar,
            (CursorShape::Beam, false) => SetCursorStyle::SteadyBar,
        }
    }

    /// Draws the visible lines, top left aligned; what does not fit into `area` is cut. Default colours stay as they are in `buffer`, so the
    /// caller's theme shows through.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        draw::draw(&self.term, area, buffer);
    }

    /// The title the program gave its window, without control characters, at most [`MAX_TITLE_CHARS`] long.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// A number that grows whenever what is visible may have changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the bell rang since the last call.
    pub fn bell(&mut self) -> bool {
        std::mem::take(&mut self.bell)
    }

    /// Whether the program uses the screen without scrollback (editors, pagers).
    pub fn alternate_screen(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    /// The visible text, one line per row, without blanks at the ends of lines.
    pub fn text(&self) -> String {
        let rows = self.term.screen_lines();
        let lines: Vec<String> = (0..rows).map(|row| self.line(row, 0, usize::MAX).0).collect();
        lines.join("\n")
    }

    /// The visible text from one cell to another, both included, each as (column, row); in reading order whichever comes first. Lines that
    /// were wrapped by the terminal come out joined.
    pub fn select(&self, start: (u16, u16), end: (u16, u16)) -> String {
        let key = |(column, row): (u16, u16)| (row, column);
        let (start, end) = if key(start) <= key(end) { (start, end) } else { (end, start) };
        let last_row = usize::from(end.1).min(self.term.screen_lines() - 1);
        let mut text = String::new();
        for row in usize::from(start.1)..=last_row {
            let from = if row == usize::from(start.1) { usize::from(start.0) } else { 0 };
            let to = if row == usize::from(end.1) { usize::from(end.0) } else { usize::MAX };
            let (line, wrapped) = self.line(row, from, to);
            text.push_str(&line);
            if row < last_row && !wrapped {
                text.push('\n');
            }
        }
        text
    }

    /// Text of the columns `from` to `to` (included) of a visible row, and whether the line goes on in the next row. Blanks at the end go,
    /// unless the line goes on.
    fn line(&self, row: usize, from: usize, to: usize) -> (String, bool) {
        let row = row as i32 - self.scrolled() as i32; // At most MAX_ROWS and MAX_SCROLLBACK_CELLS.
        let cells = &self.term.grid()[Line(row)];
        let last = self.term.columns() - 1;
        let mut text = String::new();
        for column in from..=to.min(last) {
            let cell = &cells[Column(column)];
            if cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
                continue;
            }
            text.push(if cell.c.is_control() { ' ' } else { cell.c });
            text.extend(cell.zerowidth().into_iter().flatten());
        }
        let wrapped = to >= last && cells[Column(last)].flags.contains(Flags::WRAPLINE);
        if !wrapped {
            text.truncate(text.trim_end_matches(' ').len());
        }
        (text, wrapped)
    }

    /// After any change by the emulator: brings it back into a valid state and counts the change.
    ///
    /// While scrolled back, the emulator moves its view with every scroll, also with those inside a region that add nothing to the
    /// scrollback, and so beyond the oldest line. Scrolling by nothing clamps the view again.
    fn settle(&mut self) {
        if self.scrolled() > self.scrollback() {
            self.term.scroll_display(Scroll::Delta(0));
        }
        self.generation += 1;
    }

    fn scroll_by(&mut self, scroll: Scroll) {
        let before = self.scrolled();
        self.term.scroll_display(scroll);
        if self.scrolled() != before {
            self.generation += 1;
        }
    }

    fn size(&self) -> Size {
        Size { rows: self.term.screen_lines(), columns: self.term.columns() }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Console")
            .field("size", &self.size())
            .field("title", &self.title)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn clamp_size(rows: u16, cols: u16) -> Size {
    Size {
        rows: usize::from(rows.clamp(1, MAX_ROWS)),
        columns: usize::from(cols.min(MAX_COLUMNS)).max(MIN_COLUMNS),
    }
}

fn scrollback_bound(lines: usize, columns: usize) -> usize {
    lines.min(MAX_SCROLLBACK_CELLS / columns)
}
