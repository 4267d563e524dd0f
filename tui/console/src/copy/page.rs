//! A screen with its scrollback, to be read: lines are counted from the oldest.

use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};

const SPACERS: Flags = Flags::WIDE_CHAR_SPACER.union(Flags::LEADING_WIDE_CHAR_SPACER);

/// A cell: its line, counted from the oldest, and its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }
}

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a>(pub(crate) &'a Grid<Cell>);

impl<'a> Page<'a> {
    /// Lines of screen and scrollback.
    pub(crate) fn lines(self) -> usize {
        self.0.total_lines()
    }

    /// Rows of the screen.
    pub(crate) fn rows(self) -> usize {
        self.0.screen_lines()
    }

    pub(crate) fn columns(self) -> usize {
        self.0.columns()
    }

    /// The last line that can be the first one shown.
    pub(crate) fn last_top(self) -> usize {
        self.lines() - self.rows()
    }

    pub(crate) fn row(self, line: usize) -> &'a [Cell] {
        // Bounds on rows and scrollback keep both far below the largest number.
        &self.0[Line(line as i32 - self.0.history_size() as i32)][..]
    }

    /// Whether a line goes on in the next one.
    pub(crate) fn is_wrapped(self, line: usize) -> bool {
        line + 1 < self.lines() && self.row(line)[self.columns() - 1].flags.contains(Flags::WRAPLINE)
    }

    /// The first row of the line that this row belongs to.
    pub(crate) fn first_row(self, mut line: usize) -> usize {
        while line > 0 && self.is_wrapped(line - 1) {
            line -= 1;
        }
        line
    }

    /// Its last row.
    pub(crate) fn last_row(self, mut line: usize) -> usize {
        while self.is_wrapped(line) {
            line += 1;
        }
        line
    }

    /// The column of the last cell of a row that is not blank; 0 when all are.
    pub(crate) fn end_of(self, line: usize) -> usize {
        let blank = |cell: &Cell| matches!(cell.c, ' ' | '\0' | '\t') && !cell.flags.intersects(SPACERS);
        self.row(line).iter().rposition(|cell| !blank(cell)).unwrap_or(0)
    }

    /// The last line with text, or the one that the program writes on when that is further down.
    pub(crate) fn last_line(self) -> usize {
        let written = self.last_top() + usize::try_from(self.0.cursor.point.line.0).unwrap_or(0);
        let blank = |line: &usize| self.row(*line).iter().all(|cell| matches!(cell.c, ' ' | '\0' | '\t'));
        (written + 1..self.lines()).rev().find(|line| !blank(line)).unwrap_or(written)
    }

    /// The cell that holds the character at this place: of a wide one its first.
    pub(crate) fn settled(self, at: Place) -> Place {
        let line = at.line.min(self.lines() - 1);
        let column = at.column.min(self.columns() - 1);
        let behind_wide = self.row(line)[column].flags.contains(Flags::WIDE_CHAR_SPACER);
        Place::new(line, if behind_wide { column.saturating_sub(1) } else { column })
    }

    /// The last cell of the character at this place.
    pub(crate) fn end_of_cell(self, at: Place) -> Place {
        let wide = self.row(at.line)[at.column].flags.contains(Flags::WIDE_CHAR);
        Place::new(at.line, if wide { (at.column + 1).min(self.columns() - 1) } else { at.column })
    }

    /// Adds the characters of the columns `from` to `to` (included) of a row to `text`, and whether the line goes on in the next row to
    /// the answer. Blanks at the end go, unless it goes on there.
    pub(crate) fn read(self, line: usize, from: usize, to: usize, text: &mut String) -> bool {
        let cells = self.row(line);
        let last = cells.len() - 1;
        let begin = text.len();
        for cell in cells.iter().take(to.min(last) + 1).skip(from) {
            push(cell, text);
        }
        let goes_on = to >= last && self.is_wrapped(line);
        if !goes_on {
            text.truncate(begin + text[begin..].trim_end_matches(' ').len());
        }
        goes_on
    }

    /// The line that this row belongs to, and the place of each of its characters in it, in bytes.
    pub(crate) fn line_of(self, line: usize) -> (String, Vec<(usize, Place)>) {
        let (mut text, mut places) = (String::new(), Vec::new());
        for row in self.first_row(line)..=self.last_row(line) {
            for (column, cell) in self.row(row).iter().enumerate() {
                places.push((text.len(), Place::new(row, column)));
                push(cell, &mut text);
            }
        }
        (text, places)
    }
}

/// Adds what a cell shows.
pub(crate) fn push(cell: &Cell, text: &mut String) {
    if cell.flags.intersects(SPACERS) {
        return;
    }
    text.push(if cell.c.is_control() { ' ' } else { cell.c });
    text.extend(cell.zerowidth().into_iter().flatten());
}
