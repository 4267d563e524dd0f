//! The emulator behind its door.
//!
//! [`Guard`] stands between the parser and `alacritty_terminal`: every action a program's output asks for passes through it. Most go
//! on unchanged; those that could cost unbounded memory or time, or deceive the person who looks, are bounded or dropped.

use std::time::Duration;

use alacritty_terminal::Term;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::term::{Config, Osc52, TermMode};
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
    KeyboardModesApplyBehavior, LineClearMode, Mode, PrivateMode, Rgb, StandardCharset, TabulationClearMode,
    Timeout,
};
use unicode_width::UnicodeWidthChar;

use crate::console::MAX_TITLE_CHARS;
use crate::cursors::Cursors;
use crate::hold::Hold;
use crate::keyboard::Keyboard;
use crate::links::Links;
use crate::margins::Margins;
use crate::outbox::Listener;
use crate::sequences::Happening;

/// Most cells that are cleared in one call by sequences that clear many at once: as many as some hundred large screens. What is beyond
/// stays as it is.
const MAX_CLEARED: usize = 16 << 20;
/// Combining characters kept on one cell. Written languages need about four.
const MAX_COMBINING: usize = 8;
/// Most things that a program tells in one call and that are kept.
const MAX_HAPPENINGS: usize = 8;

/// The cursor shape that stands for "the program asked for none": the one no program can ask for.
pub(crate) const NO_CURSOR_SHAPE: CursorShape = CursorShape::HollowBlock;

/// Size of the visible screen, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.rows
    }

    fn screen_lines(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }
}

/// The options of the emulator, with so many lines of scrollback.
pub(crate) fn config(scrollback_lines: usize) -> Config {
    Config {
        scrolling_history: scrollback_lines,
        kitty_keyboard: true,
        osc52: Osc52::Disabled,
        default_cursor_style: CursorStyle { shape: NO_CURSOR_SHAPE, blinking: false },
        ..Config::default()
    }
}

/// Turns the parser's way of synchronized updates off, which holds bytes back; `hold` has another.
#[derive(Debug, Default)]
pub(crate) struct NothingHeldBack;

impl Timeout for NothingHeldBack {
    fn set_timeout(&mut self, _: Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

/// What a program set or told and the emulator does not keep.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) keyboard: Keyboard,
    pub(crate) links: Links,
    pub(crate) hold: Hold,
    pub(crate) margins: Margins,
    pub(crate) cursors: Cursors,
    pub(crate) columns_allowed: bool,
    pub(crate) directory: Option<String>,
    pub(crate) happenings: Vec<Happening>,
}

impl Kept {
    /// Keeps what a program tells, unless it tells too much at once.
    pub(crate) fn happened(&mut self, what: Happening) {
        if self.happenings.len() < MAX_HAPPENINGS {
            self.happenings.push(what);
        }
    }
}

/// The emulator, and how many more characters it may print in this call.
pub(crate) struct Guard<'a> {
    pub(crate) term: &'a mut Term<Listener>,
    pub(crate) kept: &'a mut Kept,
    listener: &'a Listener,
    pub(crate) characters_left: usize,
    /// Cells that may still be cleared in this call.
    clearings_left: usize,
}

impl<'a> Guard<'a> {
    /// A guard for one call that received `bytes` bytes.
    ///
    /// Each byte may print one character; "repeat the last character" (REP) prints more. An honest program fills at most a row with its
    /// four bytes, so a quarter row for each byte and one screen on top is enough for all of them.
    pub(crate) fn new(
        term: &'a mut Term<Listener>,
        kept: &'a mut Kept,
        listener: &'a Listener,
        bytes: usize,
    ) -> Self {
        let columns = term.columns();
        let characters_left =
            bytes.saturating_mul(columns / 4 + 1).saturating_add(columns * term.screen_lines());
        Self { term, kept, listener, characters_left, clearings_left: MAX_CLEARED }
    }

    /// Answers a query.
    pub(crate) fn reply(&self, text: &str) {
        self.listener.outbox().reply(text);
    }

    /// Whether so many rows may be cleared.
    pub(crate) fn clears(&mut self, rows: usize) -> bool {
        let cells = rows.min(self.term.screen_lines()) * self.term.columns();
        let may = cells <= self.clearings_left;
        self.clearings_left = self.clearings_left.saturating_sub(cells);
        may
    }

    /// Brings the emulator's keyboard flags to those of the screen the program is on.
    pub(crate) fn apply_keyboard(&mut self) {
        self.kept.keyboard.turn(self.term.mode().contains(TermMode::ALT_SCREEN));
        let modes = self.kept.keyboard.now();
        Handler::set_keyboard_mode(&mut *self.term, modes, KeyboardModesApplyBehavior::Replace);
    }

    /// Combining characters of the cell that the next one would go to.
    fn combining_before_cursor(&self) -> usize {
        let grid = self.term.grid();
        let line = grid.cursor.point.line;
        let mut column = grid.cursor.point.column;
        if !grid.cursor.input_needs_wrap {
            column.0 = column.0.saturating_sub(1);
        }
        let cell = &grid[line][column];
        let spacer = cell.flags.contains(Flags::WIDE_CHAR_SPACER);
        let cell = if spacer && column.0 > 0 { &grid[line][column - 1] } else { cell };
        cell.zerowidth().map_or(0, <[char]>::len)
    }
}

/// Characters that change the order or direction of what stands around them. The emulator lays cells out itself, and the terminal
/// around us must not do it again: text could show as something else than it is ("Trojan Source", CVE-2021-42574).
fn reorders_text(character: char) -> bool {
    matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// A line of text as it may be shown: without control and reordering characters, and not longer than so many characters.
pub(crate) fn clean_line(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control() && !reorders_text(*c)).take(most).collect()
}

/// Writes methods of [`Handler`] that only pass their arguments on.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(#[inline]
        fn $name(&mut self, $($argument: $kind),*) {
            Handler::$name(&mut *self.term, $($argument),*);
        })*
    };
}

impl Handler for Guard<'_> {
    #[inline]
    fn input(&mut self, character: char) {
        if self.characters_left == 0 {
            return;
        }
        self.characters_left -= 1;
        // No character before U+0300 combines or reorders.
        if character >= '\u{300}' {
            if reorders_text(character) {
                return;
            }
            if character.width() == Some(0) && self.combining_before_cursor() >= MAX_COMBINING {
                return;
            }
        }
        Handler::input(&mut *self.term, character);
    }

    fn set_title(&mut self, title: Option<String>) {
        let title = title.map(|title| clean_line(&title, MAX_TITLE_CHARS)).filter(|title| !title.is_empty());
        Handler::set_title(&mut *self.term, title);
    }

    fn put_tab(&mut self, count: u16) {
        // At the end of a full line it does nothing; the emulator would begin a new one.
        if self.term.grid().cursor.input_needs_wrap {
            return;
        }
        let count = usize::from(count).min(self.term.columns()) as u16;
        Handler::put_tab(&mut *self.term, count);
    }

    fn move_backward_tabs(&mut self, count: u16) {
        let count = usize::from(count).min(self.term.columns()) as u16;
        Handler::move_backward_tabs(&mut *self.term, count);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        self.turn(mode, true);
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        self.turn(mode, false);
    }

    fn report_private_mode(&mut self, mode: PrivateMode) {
        self.report(mode);
    }

    fn report_mode(&mut self, mode: Mode) {
        self.report_standard(mode);
    }

    fn save_cursor_position(&mut self) {
        self.save_cursor();
    }

    fn restore_cursor_position(&mut self) {
        self.restore_cursor();
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.kept.cursors.charset = index;
        Handler::set_active_charset(&mut *self.term, index);
    }

    fn linefeed(&mut self) {
        Handler::linefeed(&mut *self.term);
        // The parser asks for the same with IND, which should go straight down; who sets this mode prints line feeds.
        if self.term.mode().contains(TermMode::LINE_FEED_NEW_LINE) {
            Handler::carriage_return(&mut *self.term);
        }
    }

    fn goto_col(&mut self, column: usize) {
        let line = self.term.grid().cursor.point.line.0;
        self.go(line, column);
    }

    fn move_up(&mut self, count: usize) {
        self.move_by(count, false, None);
    }

    fn move_down(&mut self, count: usize) {
        self.move_by(count, true, None);
    }

    fn move_up_and_cr(&mut self, count: usize) {
        self.move_by(count, false, Some(0));
    }

    fn move_down_and_cr(&mut self, count: usize) {
        self.move_by(count, true, Some(0));
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let rows = self.term.screen_lines();
        self.kept.margins.set(top, bottom.unwrap_or(rows), rows);
        Handler::set_scrolling_region(&mut *self.term, top, bottom);
    }

    fn device_status(&mut self, argument: usize) {
        match argument {
            6 => {
                let (line, column) = self.reported_position();
                self.reply(&format!("\x1b[{line};{column}R"));
            }
            argument => Handler::device_status(&mut *self.term, argument),
        }
    }

    fn decaln(&mut self) {
        if !self.clears(usize::MAX) {
            return;
        }
        Handler::decaln(&mut *self.term);
        self.set_scrolling_region(1, None);
        self.go(0, 0);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        let above = self.term.grid().cursor.point.line.0.max(0) as usize + 1;
        let rows = match mode {
            ClearMode::Above => above,
            ClearMode::Below => self.term.screen_lines() + 1 - above,
            ClearMode::All | ClearMode::Saved => usize::MAX,
        };
        if !self.clears(rows) {
            return;
        }
        if matches!(mode, ClearMode::Above) {
            self.clear_first_line();
        }
        Handler::clear_screen(&mut *self.term, mode);
    }

    fn scroll_up(&mut self, count: usize) {
        if self.clears(count) {
            Handler::scroll_up(&mut *self.term, count);
        }
    }

    fn scroll_down(&mut self, count: usize) {
        if self.clears(count) {
            Handler::scroll_down(&mut *self.term, count);
        }
    }

    fn insert_blank_lines(&mut self, count: usize) {
        if self.clears(count) {
            Handler::insert_blank_lines(&mut *self.term, count);
        }
    }

    fn delete_lines(&mut self, count: usize) {
        if self.clears(count) {
            Handler::delete_lines(&mut *self.term, count);
        }
    }

    fn identify_terminal(&mut self, intermediate: Option<char>) {
        match intermediate {
            // A VT220 with colours that takes text for the clipboard.
            None => self.reply("\x1b[?62;22;52c"),
            intermediate => Handler::identify_terminal(&mut *self.term, intermediate),
        }
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        self.kept.keyboard.push(mode);
        self.apply_keyboard();
    }

    fn pop_keyboard_modes(&mut self, count: u16) {
        self.kept.keyboard.pop(count);
        self.apply_keyboard();
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, apply: KeyboardModesApplyBehavior) {
        self.kept.keyboard.set(mode, apply);
        self.apply_keyboard();
    }

    fn report_keyboard_mode(&mut self) {
        self.reply(&format!("\x1b[?{}u", self.kept.keyboard.now().bits()));
    }

    fn reset_state(&mut self) {
        if !self.clears(usize::MAX) {
            return;
        }
        self.kept.keyboard.reset();
        self.kept.hold.clear();
        self.kept.margins = Margins::default();
        self.kept.cursors = Cursors::default();
        self.kept.columns_allowed = false;
        Handler::reset_state(&mut *self.term);
        self.apply_keyboard();
    }

    fn dynamic_color_sequence(&mut self, prefix: String, index: usize, terminator: &str) {
        match self.term.colors()[index] {
            // One that the program set; the emulator leaves it to the outside, which knows only what it was before.
            Some(Rgb { r, g, b }) => self.reply(&format!(
                "\x1b]{prefix};rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}{terminator}"
            )),
            None => Handler::dynamic_color_sequence(&mut *self.term, prefix, index, terminator),
        }
    }

    fn set_hyperlink(&mut self, link: Option<Hyperlink>) {
        let link = link.and_then(|link| self.kept.links.keep(&link.uri));
        Handler::set_hyperlink(&mut *self.term, link);
    }

    // What a program copies comes another way; what the clipboard holds is none of its business.
    fn clipboard_store(&mut self, _: u8, _: &[u8]) {}
    fn clipboard_load(&mut self, _: u8, _: &str) {}

    pass_on! {
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
        goto(line: i32, column: usize);
        goto_line(line: i32);
        insert_blank(count: usize);
        move_forward(count: usize);
        move_backward(count: usize);
        backspace();
        carriage_return();
        bell();
        substitute();
        newline();
        set_horizontal_tabstop();
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_forward_tabs(count: u16);
        clear_line(mode: LineClearMode);
        clear_tabs(mode: TabulationClearMode);
        set_tabs(interval: u16);
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, color: Rgb);
        reset_color(index: usize);
        push_title();
        pop_title();
        text_area_size_chars();
    }
}

/// Where the cursor is (column, row); `None` when the program hides it.
pub(crate) fn cursor(term: &Term<Listener>) -> Option<(u16, u16)> {
    if !term.mode().contains(TermMode::SHOW_CURSOR) {
        return None;
    }
    let point = term.grid().cursor.point;
    let behind_wide = term.grid()[point].flags.contains(Flags::WIDE_CHAR_SPACER);
    let column = if behind_wide { point.column.0.saturating_sub(1) } else { point.column.0 };
    Some((u16::try_from(column).ok()?, u16::try_from(point.line.0).ok()?))
}

/// Whether `mode` asks for mouse reports.
pub(crate) fn wants_mouse(mode: TermMode) -> bool {
    mode.intersects(TermMode::MOUSE_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_cleaned() {
        assert_eq!(clean_line("a\x07b\u{202e}c\u{9b}d", 9), "abcd");
        assert_eq!(clean_line(&"x".repeat(10_000), MAX_TITLE_CHARS).len(), MAX_TITLE_CHARS);
    }
}
