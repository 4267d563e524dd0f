//! Saved cursors, and the screens that they belong to.
//!
//! Sources: DEC's "VT510 Reference" (DECSC, DECRC), "XTerm Control Sequences" (private modes 47, 1047, 1048 and 1049). The emulator saves
//! neither the origin mode nor which character set is in use, and of the alternate screen's names it knows 1049 alone, which is the one
//! that saves the cursor.

use alacritty_terminal::grid::{Cursor, Dimensions};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::vte::ansi::{CharsetIndex, Handler};

use crate::emulator::Guard;
use crate::modes::{ALTERNATE, ORIGIN};

/// What belongs to a saved cursor and the emulator does not save.
#[derive(Debug, Default, Clone, Copy)]
struct Saved {
    origin: bool,
    charset: CharsetIndex,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// Of the main and of the alternate screen.
    saved: [Saved; 2],
    /// The character set in use.
    pub(crate) charset: CharsetIndex,
    /// The main screen's saved cursor while the alternate one is shown, if it is another than the emulator puts in its place.
    main: Option<Cursor<Cell>>,
}

impl Guard<'_> {
    pub(crate) fn is_alternate(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    fn saved(&mut self) -> &mut Saved {
        let screen = usize::from(self.is_alternate());
        &mut self.kept.cursors.saved[screen]
    }

    pub(crate) fn save_cursor(&mut self) {
        *self.saved() = Saved { origin: self.is_origin(), charset: self.kept.cursors.charset };
        Handler::save_cursor_position(&mut *self.term);
    }

    pub(crate) fn restore_cursor(&mut self) {
        self.restore_modes();
        Handler::restore_cursor_position(&mut *self.term);
    }

    /// There is no saved cursor any more: restoring goes home.
    pub(crate) fn forget_cursor(&mut self) {
        *self.saved() = Saved::default();
        self.term.grid_mut().saved_cursor = Cursor::default();
    }

    /// What was saved besides the cursor. Moves the cursor.
    fn restore_modes(&mut self) {
        let Saved { origin, charset } = *self.saved();
        if origin {
            Handler::set_private_mode(&mut *self.term, ORIGIN);
        } else {
            Handler::unset_private_mode(&mut *self.term, ORIGIN);
        }
        self.set_active_charset(charset);
    }

    /// Shows the alternate screen. `saves`: as the newest of its names has it, after the cursor was saved.
    pub(crate) fn enter_alternate(&mut self, saves: bool) {
        if self.is_alternate() {
            return;
        }
        if saves {
            self.save_cursor();
        }
        let grid = self.term.grid();
        self.kept.cursors.main = Some(&grid.saved_cursor).filter(|saved| **saved != grid.cursor).cloned();
        Handler::set_private_mode(&mut *self.term, ALTERNATE);
    }

    /// Shows the main screen, with its cursor where it was (`restores`) or where it is now.
    pub(crate) fn leave_alternate(&mut self, restores: bool) {
        if !self.is_alternate() {
            return;
        }
        let now = self.term.grid().cursor.clone();
        Handler::unset_private_mode(&mut *self.term, ALTERNATE);
        let (rows, columns) = (self.term.screen_lines(), self.term.columns());
        if let Some(mut saved) = self.kept.cursors.main.take() {
            // The size may have changed. The number of rows is small.
            saved.point.line = saved.point.line.min(Line(rows as i32 - 1));
            saved.point.column = saved.point.column.min(Column(columns - 1));
            self.term.grid_mut().saved_cursor = saved;
        }
        // The emulator moved the main screen's cursor with every change of size, but not the saved one.
        let cursor = if restores { self.term.grid().cursor.clone() } else { now };
        if restores {
            self.restore_modes();
        }
        self.term.grid_mut().cursor = cursor;
    }
}
