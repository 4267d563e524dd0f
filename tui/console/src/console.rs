//! The console: one program's terminal.

use std::fmt;
use std::time::Instant;

use alacritty_terminal::Term;
use alacritty_terminal::grid::{Dimensions, Grid, Scroll};
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::term::{MIN_COLUMNS, TermMode};
use alacritty_terminal::vte::ansi::{CursorShape, Processor, Rgb};
use crossterm::cursor::SetCursorStyle;
use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::copy::page::{Page, Place};
use crate::copy::{Copy, Marks, Outcome, Status};
use crate::door::Door;
use crate::emulator::{self, Guard, Kept, NothingHeldBack, Size};
use crate::margins::Margins;
use crate::outbox::Listener;
use crate::scan::Scanner;
use crate::sequences::Happening;
use crate::{draw, keys, links, mouse, paste};

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
    parser: Processor<NothingHeldBack>,
    scanner: Scanner,
    listener: Listener,
    kept: Kept,
    copy: Option<Copy>,
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
            scanner: Scanner::new(),
            listener,
            kept: Kept::default(),
            copy: None,
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
        if let Some(copy) = &mut self.copy {
            copy.freeze(self.term.grid(), self.term.colors());
        }
        self.kept.hold.arrive();
        let guard = Guard::new(&mut self.term, &mut self.kept, &self.listener, bytes.len());
        self.scanner.pass(bytes, &mut Door { parser: &mut self.parser, guard });
        self.kept.hold.leave();
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
        self.kept.hold.clear();
        self.kept.margins = Margins::default();
        if let Some(copy) = &mut self.copy {
            copy.freeze(self.term.grid(), self.term.colors());
            let reflow = !self.term.mode().contains(TermMode::ALT_SCREEN);
            copy.resize(reflow, size.rows, size.columns);
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
        if let Some(copy) = &mut self.copy {
            copy.scroll(self.term.grid(), lines);
            self.generation += 1;
            return;
        }
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

    /// Cells that the scrollback holds, each of which takes 24 bytes.
    pub fn scrollback_cells(&self) -> usize {
        self.scrollback() * self.term.columns()
    }

    /// Forgets the oldest lines of the scrollback, so that it holds at most so many cells; it may grow again.
    pub fn forget(&mut self, most: usize) {
        let columns = self.term.columns();
        if most / columns < self.scrollback() {
            let bound = scrollback_bound(self.scrollback_lines, columns);
            let grid = self.term.grid_mut();
            grid.update_history(most / columns);
            grid.update_history(bound);
            self.generation += 1;
        }
    }

    /// Where the cursor is (column, row), relative to the area the console is drawn in: the program's, or that of copy mode. `None` when
    /// the program hides it or the console is scrolled back.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        if let Some(copy) = &self.copy {
            let (_, (column, row)) = copy.shown();
            return Some((u16::try_from(column).ok()?, u16::try_from(row).ok()?));
        }
        match self.kept.hold.shown() {
            _ if self.scrolled() > 0 => None,
            Some(frame) => frame.cursor,
            None => emulator::cursor(&self.term),
        }
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
        self.draw_marked(area, buffer, &Marks::default());
    }

    /// The same, with selection and hits of copy mode marked so.
    pub fn draw_marked(&self, area: Rect, buffer: &mut Buffer, marks: &Marks) {
        let grid = self.term.grid();
        if let Some(copy) = &self.copy {
            let page = copy.page(grid);
            let (top, _) = copy.shown();
            let row = |row| (row < page.rows()).then(|| page.row(top + row));
            draw::draw(row, copy.colors(self.term.colors()), area, buffer);
            for row in 0..page.rows().min(usize::from(area.height)) {
                for (from, to, style) in copy.marks(grid, top + row, marks) {
                    let columns = usize::from(area.width);
                    let (from, to) = (from.min(columns), (to + 1).min(columns));
                    // Within the area, whose sides are small.
                    let place = Rect::new(area.x + from as u16, area.y + row as u16, (to - from) as u16, 1);
                    buffer.set_style(place, style);
                }
            }
            return;
        }
        if let Some(frame) = self.kept.hold.shown().filter(|_| self.scrolled() == 0) {
            return draw::draw(|row| frame.cells.chunks(frame.columns).nth(row), &frame.colors, area, buffer);
        }
        let page = Page(grid);
        let top = page.last_top() - self.scrolled();
        let row = |row| (row < page.rows()).then(|| page.row(top + row));
        draw::draw(row, self.term.colors(), area, buffer);
    }

    /// When what is shown changes by itself: the end of an update that the program does not end.
    pub fn changes_at(&self) -> Option<Instant> {
        self.kept.hold.until()
    }

    /// That time has come.
    pub fn change(&mut self) {
        self.kept.hold.arrive();
        self.generation += 1;
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
        let page = Page(self.term.grid());
        let top = page.last_top() - self.scrolled();
        let mut text = String::new();
        for row in 0..page.rows() {
            if row > 0 {
                text.push('\n');
            }
            page.read(top + row, 0, usize::MAX - 1, &mut text);
        }
        text
    }

    /// The directory the program says it is in.
    pub fn directory(&self) -> Option<&str> {
        self.kept.directory.as_deref()
    }

    /// What the program wanted to tell or give since the last call.
    pub fn happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.kept.happenings)
    }

    /// Whether the terminal around this console tells when keys are let go. Programs are told so when they ask.
    pub fn set_key_releases(&mut self, told: bool) {
        self.kept.keyboard.has_releases = told;
    }

    /// Whether the program wants to know when keys are let go.
    pub fn wants_releases(&self) -> bool {
        self.term.mode().contains(TermMode::REPORT_EVENT_TYPES)
    }

    /// The address of the link on the visible cell (column, row): one that the program made, or one that is written there.
    pub fn link(&self, (column, row): (u16, u16)) -> Option<String> {
        let grid = self.term.grid();
        let (page, top) = match &self.copy {
            Some(copy) => (copy.page(grid), copy.shown().0),
            None => (Page(grid), Page(grid).last_top() - self.scrolled()),
        };
        let (column, row) = (usize::from(column), usize::from(row));
        if row >= page.rows() || column >= page.columns() {
            return None;
        }
        let at = page.settled(Place::new(top + row, column));
        if let Some(link) = page.row(at.line)[at.column].hyperlink() {
            return self.kept.links.address(link.uri()).map(str::to_owned);
        }
        let (text, places) = page.line_of(at.line);
        let byte = places.iter().find(|(_, place)| *place == at)?.0;
        links::written(&text, byte).map(str::to_owned)
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

    /// Begins copy mode, where the console stands now.
    pub fn copy(&mut self) {
        if self.copy.is_none() {
            self.copy = Some(Copy::new(self.term.grid()));
            self.generation += 1;
        }
    }

    /// Begins copy mode, if need be, and a search in it.
    pub fn search(&mut self, backwards: bool) {
        self.copy();
        if let Some(copy) = &mut self.copy {
            copy.ask(backwards);
        }
    }

    /// Ends copy mode, and shows the present.
    pub fn stop_copying(&mut self) {
        if self.copy.take().is_some() {
            self.generation += 1;
            self.scroll_to_bottom();
        }
    }

    /// Where a person is in copy mode; `None` outside of it.
    pub fn copying(&self) -> Option<Status> {
        self.copy.as_ref().map(|copy| copy.status(self.term.grid()))
    }

    /// A key in copy mode.
    pub fn copy_key(&mut self, key: KeyEvent) -> Outcome {
        self.copied(|copy, grid| copy.key(grid, key))
    }

    /// Text pasted in copy mode: it belongs to what is searched for.
    pub fn copy_paste(&mut self, text: &str) {
        self.copied(|copy, grid| {
            copy.paste(grid, text);
            Outcome::Stays
        });
    }

    /// A button went down on a visible cell (column, row): begins copy mode, if need be. Twice at once it selects a word, three times a
    /// line.
    pub fn copy_press(&mut self, at: (u16, u16), times: u8) {
        self.copy();
        self.copied(|copy, grid| {
            copy.press(grid, at, times);
            Outcome::Stays
        });
    }

    /// The pointer went to a cell (column, row) with the button down. Above and below the console this scrolls by a line.
    pub fn copy_drag(&mut self, to: (i32, i32)) {
        self.copied(|copy, grid| {
            copy.drag(grid, to);
            Outcome::Stays
        });
    }

    /// The button was let go. With a selection this ends copy mode.
    pub fn copy_release(&mut self) -> Outcome {
        self.copied(|copy, grid| copy.release(grid))
    }

    fn copied(&mut self, act: impl FnOnce(&mut Copy, &Grid<Cell>) -> Outcome) -> Outcome {
        let Some(copy) = &mut self.copy else { return Outcome::Left };
        let outcome = act(copy, self.term.grid());
        self.generation += 1;
        if outcome != Outcome::Stays {
            self.stop_copying();
        }
        outcome
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
