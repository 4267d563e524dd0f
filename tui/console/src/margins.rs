//! Margins, and how the cursor moves within them.
//!
//! Source: DEC's "VT510 Reference", sections on DECSTBM, DECOM, CUU and CUD. The emulator counts lines from the upper margin twice where
//! only the column or a number of lines is given, does not stop at margins, and does not tell where they are; so it is done here.

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::vte::ansi::{Handler, LineClearMode};

use crate::emulator::Guard;

/// First and last line that scroll; `None`: all do.
#[derive(Debug, Default)]
pub(crate) struct Margins(Option<(i32, i32)>);

impl Margins {
    /// Sets them to these lines, counted from 1, on a screen of so many; ignored where they make no sense.
    pub(crate) fn set(&mut self, top: usize, bottom: usize, rows: usize) {
        if top < bottom && top <= rows {
            // The number of rows is small.
            self.0 = Some((top as i32 - 1, bottom.min(rows) as i32 - 1));
        }
    }

    fn of(&self, rows: usize) -> (i32, i32) {
        self.0.unwrap_or((0, rows as i32 - 1))
    }
}

impl Guard<'_> {
    /// First and last line that scroll, counted from 0.
    pub(crate) fn margins(&self) -> (i32, i32) {
        self.kept.margins.of(self.term.screen_lines())
    }

    pub(crate) fn is_origin(&self) -> bool {
        self.term.mode().contains(TermMode::ORIGIN)
    }

    /// Puts the cursor on a line of the screen, whatever lines are counted from.
    pub(crate) fn go(&mut self, line: i32, column: usize) {
        let from = if self.is_origin() { self.margins().0 } else { 0 };
        self.term.goto(line - from, column);
    }

    /// Moves the cursor by lines; the margin it is within stops it.
    pub(crate) fn move_by(&mut self, count: usize, down: bool, column: Option<usize>) {
        let at = self.term.grid().cursor.point;
        let (top, bottom) = self.margins();
        let count = i32::try_from(count.min(self.term.screen_lines())).unwrap_or(0);
        let last = self.term.screen_lines() as i32 - 1;
        let line = if down {
            (at.line.0 + count).min(if at.line.0 <= bottom { bottom } else { last })
        } else {
            (at.line.0 - count).max(if at.line.0 >= top { top } else { 0 })
        };
        self.go(line, column.unwrap_or(at.column.0));
    }

    /// Line and column of the cursor as programs are told it, counted from 1.
    pub(crate) fn reported_position(&self) -> (i32, usize) {
        let at = self.term.grid().cursor.point;
        let from = if self.is_origin() { self.margins().0 } else { 0 };
        (at.line.0 - from + 1, at.column.0 + 1)
    }

    /// The emulator forgets the first line when it clears from the second one upwards.
    pub(crate) fn clear_first_line(&mut self) {
        let at = self.term.grid().cursor.point;
        if at.line == Line(1) {
            self.term.grid_mut().cursor.point.line = Line(0);
            self.term.clear_line(LineClearMode::All);
            self.term.grid_mut().cursor.point.line = at.line;
            debug_assert!(self.term.grid().cursor.point.column <= Column(self.term.columns()));
        }
    }
}
