//! Modes that the emulator does not know, or knows otherwise.
//!
//! Sources: ECMA-48, DEC's "VT510 Reference", "XTerm Control Sequences".

use alacritty_terminal::term::TermMode;
use alacritty_terminal::vte::ansi::{Handler, Mode, NamedPrivateMode, PrivateMode};

use crate::emulator::{Guard, cursor};
use crate::margins::Margins;

/// Lines are counted from the upper margin.
pub(crate) const ORIGIN: PrivateMode = PrivateMode::Named(NamedPrivateMode::Origin);
/// The alternate screen, by the newest of its names.
pub(crate) const ALTERNATE: PrivateMode = PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor);
/// The number pad sends sequences (DECNKM).
const KEYPAD: PrivateMode = PrivateMode::Unknown(66);
/// 132 columns or 80 (DECCOLM). Only what else belongs to it is done: screen and margins are cleared.
const COLUMNS: PrivateMode = PrivateMode::Named(NamedPrivateMode::ColumnMode);
/// Whether that is to be heeded. Terminfo's `is2` resets it, and `tput init` is not meant to clear the screen.
const COLUMNS_ALLOWED: PrivateMode = PrivateMode::Unknown(40);
/// Set: the cursor is saved; reset: restored.
const CURSOR: PrivateMode = PrivateMode::Unknown(1048);
/// Synchronized output.
const SYNCHRONIZED: PrivateMode = PrivateMode::Named(NamedPrivateMode::SyncUpdate);

impl Guard<'_> {
    /// Sets a private mode or resets it.
    pub(crate) fn turn(&mut self, mode: PrivateMode, on: bool) {
        match (mode, on) {
            (SYNCHRONIZED, true) => {
                let cursor = cursor(self.term);
                return self.kept.hold.begin(self.term, cursor);
            }
            (SYNCHRONIZED, false) => return self.kept.hold.end(),
            (ALTERNATE | PrivateMode::Unknown(47 | 1047), true) | (COLUMNS, _)
                if !self.clears(usize::MAX) => {}
            (ALTERNATE, true) => self.enter_alternate(true),
            (ALTERNATE, false) => self.leave_alternate(true),
            (PrivateMode::Unknown(47 | 1047), true) => self.enter_alternate(false),
            (PrivateMode::Unknown(47 | 1047), false) => self.leave_alternate(false),
            (CURSOR, true) => self.save_cursor(),
            (CURSOR, false) => self.restore_cursor(),
            (KEYPAD, true) => self.set_keypad_application_mode(),
            (KEYPAD, false) => self.unset_keypad_application_mode(),
            (COLUMNS_ALLOWED, on) => self.kept.columns_allowed = on,
            (COLUMNS, _) if !self.kept.columns_allowed => {}
            (mode, on) => {
                if mode == COLUMNS {
                    self.kept.margins = Margins::default();
                }
                if on {
                    Handler::set_private_mode(&mut *self.term, mode);
                } else {
                    Handler::unset_private_mode(&mut *self.term, mode);
                }
                if mode == ORIGIN && !on {
                    self.go(0, 0);
                }
            }
        }
        self.apply_keyboard();
    }

    /// Answers whether a private mode is set.
    pub(crate) fn report(&mut self, mode: PrivateMode) {
        let is_on = match mode {
            SYNCHRONIZED => self.kept.hold.is_on(),
            PrivateMode::Unknown(47 | 1047) => self.is_alternate(),
            KEYPAD => self.term.mode().contains(TermMode::APP_KEYPAD),
            COLUMNS_ALLOWED => self.kept.columns_allowed,
            mode => return Handler::report_private_mode(&mut *self.term, mode),
        };
        let state = if is_on { 1 } else { 2 };
        self.reply(&format!("\x1b[?{};{state}$y", mode.raw()));
    }

    /// The same for the modes of ECMA-48.
    pub(crate) fn report_standard(&mut self, mode: Mode) {
        match mode {
            // For terminals that edit by themselves: off for good.
            Mode::Unknown(number @ (1 | 5 | 7 | 10 | 11 | 13..=19)) => {
                self.reply(&format!("\x1b[{number};4$y"));
            }
            mode => Handler::report_mode(&mut *self.term, mode),
        }
    }
}
