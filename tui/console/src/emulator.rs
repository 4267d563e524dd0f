//! The emulator behind its door.
//!
//! [`Guard`] stands between the parser and `alacritty_terminal`: every action a program's output asks for passes through it. Most go
//! on unchanged; those that could cost unbounded memory or time, or deceive the person who looks, are bounded or dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alacritty_terminal::Term;
use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::{Config, Osc52, TermMode};
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
    KeyboardModesApplyBehavior, LineClearMode, Mode, NamedPrivateMode, PrivateMode, Rgb, StandardCharset,
    TabulationClearMode, Timeout,
};
use unicode_width::UnicodeWidthChar;

use crate::console::{MAX_REPLY_BYTES, MAX_TITLE_CHARS};
use crate::palette::{self, DefaultColors};

/// Combining characters kept on one cell. Written languages need about four.
const MAX_COMBINING: usize = 8;

/// The keyboard flags `keys` can speak. Others are not granted, and a program that asks sees that.
const SPOKEN_KEYBOARD_MODES: KeyboardModes =
    KeyboardModes::DISAMBIGUATE_ESC_CODES.union(KeyboardModes::REPORT_ALL_KEYS_AS_ESC);

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

/// What the emulator wants to tell the outside.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    replies: Vec<u8>,
    /// `Some` when the title changed: the new one, or none.
    title: Option<Option<String>>,
    bell: bool,
    defaults: DefaultColors,
}

impl Outbox {
    /// Adds a reply, unless this call's share is used up. Replies are kept whole: half of one would be garbage as input.
    fn reply(&mut self, text: &str) {
        if self.replies.len() + text.len() <= MAX_REPLY_BYTES {
            self.replies.extend_from_slice(text.as_bytes());
        }
    }

    pub(crate) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    pub(crate) fn take_title(&mut self) -> Option<Option<String>> {
        self.title.take()
    }

    pub(crate) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.bell)
    }

    pub(crate) fn set_defaults(&mut self, foreground: Rgb, background: Rgb) {
        self.defaults = DefaultColors { foreground, background };
    }
}

/// The shared end of the outbox. The emulator calls it through a shared reference, so it needs a lock; it is never contended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Outbox>>);

impl Listener {
    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // The outbox holds plain data that is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventListener for Listener {
    fn send_event(&self, event: Event) {
        match event {
            Event::PtyWrite(text) => self.outbox().reply(&text),
            Event::Title(title) => self.outbox().title = Some(Some(title)),
            Event::ResetTitle => self.outbox().title = Some(None),
            Event::Bell => self.outbox().bell = true,
            Event::ColorRequest(index, answer) => {
                let mut outbox = self.outbox();
                let text = answer(palette::color(index, outbox.defaults));
                outbox.reply(&text);
            }
            // The size in pixels is not known here, and the clipboard is none of the program's business.
            Event::TextAreaSizeRequest(_) | Event::ClipboardStore(..) | Event::ClipboardLoad(..) => {}
            Event::MouseCursorDirty
            | Event::CursorBlinkingChange
            | Event::Wakeup
            | Event::Exit
            | Event::ChildExit(_) => {}
        }
    }
}

/// Turns synchronized updates off: holding output back needs a timer to end updates that never end, and the app draws at most once
/// per frame anyway.
#[derive(Debug, Default)]
pub(crate) struct NoSynchronizedUpdates;

impl Timeout for NoSynchronizedUpdates {
    fn set_timeout(&mut self, _: Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

/// The emulator, and how many more characters it may print in this call.
pub(crate) struct Guard<'a> {
    term: &'a mut Term<Listener>,
    listener: &'a Listener,
    characters_left: usize,
}

impl<'a> Guard<'a> {
    /// A guard for one call that received `bytes` bytes.
    ///
    /// Each byte may print one character; "repeat the last character" (REP) prints more. An honest program fills at most a row with its
    /// four bytes, so a quarter row for each byte and one screen on top is enough for all of them.
    pub(crate) fn new(term: &'a mut Term<Listener>, listener: &'a Listener, bytes: usize) -> Self {
        let columns = term.columns();
        let characters_left =
            bytes.saturating_mul(columns / 4 + 1).saturating_add(columns * term.screen_lines());
        Self { term, listener, characters_left }
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
        let spacer = cell.flags.contains(alacritty_terminal::term::cell::Flags::WIDE_CHAR_SPACER);
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

/// A title as it may be shown: without control and reordering characters, and not longer than [`MAX_TITLE_CHARS`].
fn clean_title(title: &str) -> String {
    title.chars().filter(|c| !c.is_control() && !reorders_text(*c)).take(MAX_TITLE_CHARS).collect()
}

/// The older names of the alternate screen, 47 and 1047, differ from 1049 only in whether the cursor is saved and when the screen is
/// cleared; the emulator knows 1049 alone.
fn known_private_mode(mode: PrivateMode) -> PrivateMode {
    match mode {
        PrivateMode::Unknown(47 | 1047) => NamedPrivateMode::SwapScreenAndSetRestoreCursor.into(),
        mode => mode,
    }
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
        let title = title.map(|title| clean_title(&title)).filter(|title| !title.is_empty());
        Handler::set_title(&mut *self.term, title);
    }

    fn put_tab(&mut self, count: u16) {
        let count = usize::from(count).min(self.term.columns()) as u16;
        Handler::put_tab(&mut *self.term, count);
    }

    fn move_backward_tabs(&mut self, count: u16) {
        let count = usize::from(count).min(self.term.columns()) as u16;
        Handler::move_backward_tabs(&mut *self.term, count);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        Handler::set_private_mode(&mut *self.term, known_private_mode(mode));
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        Handler::unset_private_mode(&mut *self.term, known_private_mode(mode));
    }

    fn report_private_mode(&mut self, mode: PrivateMode) {
        if mode == PrivateMode::Named(NamedPrivateMode::SyncUpdate) {
            // 0: not recognised. The emulator would claim to know it.
            self.listener.outbox().reply("\x1b[?2026;0$y");
            return;
        }
        Handler::report_private_mode(&mut *self.term, mode);
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        Handler::push_keyboard_mode(&mut *self.term, mode & SPOKEN_KEYBOARD_MODES);
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, apply: KeyboardModesApplyBehavior) {
        Handler::set_keyboard_mode(&mut *self.term, mode & SPOKEN_KEYBOARD_MODES, apply);
    }

    // Links are not shown, and one in each cell would cost a program nothing and us kilobytes per cell.
    fn set_hyperlink(&mut self, _: Option<Hyperlink>) {}

    // A program in a sprite neither reads nor writes the clipboard of the person at the keyboard.
    fn clipboard_store(&mut self, _: u8, _: &[u8]) {}
    fn clipboard_load(&mut self, _: u8, _: &str) {}

    pass_on! {
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
        goto(line: i32, column: usize);
        goto_line(line: i32);
        goto_col(column: usize);
        insert_blank(count: usize);
        move_up(count: usize);
        move_down(count: usize);
        identify_terminal(intermediate: Option<char>);
        device_status(argument: usize);
        move_forward(count: usize);
        move_backward(count: usize);
        move_down_and_cr(count: usize);
        move_up_and_cr(count: usize);
        backspace();
        carriage_return();
        linefeed();
        bell();
        substitute();
        newline();
        set_horizontal_tabstop();
        scroll_up(count: usize);
        scroll_down(count: usize);
        insert_blank_lines(count: usize);
        delete_lines(count: usize);
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_forward_tabs(count: u16);
        save_cursor_position();
        restore_cursor_position();
        clear_line(mode: LineClearMode);
        clear_screen(mode: ClearMode);
        clear_tabs(mode: TabulationClearMode);
        set_tabs(interval: u16);
        reset_state();
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        report_mode(mode: Mode);
        set_scrolling_region(top: usize, bottom: Option<usize>);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        set_active_charset(index: CharsetIndex);
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, color: Rgb);
        dynamic_color_sequence(prefix: String, index: usize, terminator: &str);
        reset_color(index: usize);
        decaln();
        push_title();
        pop_title();
        text_area_size_chars();
        report_keyboard_mode();
        pop_keyboard_modes(count: u16);
    }
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
        assert_eq!(clean_title("a\x07b\u{202e}c\u{9b}d"), "abcd");
        assert_eq!(clean_title(&"x".repeat(10_000)).len(), MAX_TITLE_CHARS);
    }

    #[test]
    fn replies_are_kept_whole_and_bounded() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            outbox.reply("12345678901");
        }
        let replies = outbox.take_replies();
        assert!(replies.len() <= MAX_REPLY_BYTES);
        assert_eq!(replies.len() % 11, 0);
        assert!(outbox.take_replies().is_empty());
    }
}
