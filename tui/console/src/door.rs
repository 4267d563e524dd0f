//! The parser with the guard behind it, as the scanner feeds it.
//!
//! Most of a flood is plain text. The parser takes it apart and the emulator places it character by character; here whole runs of
//! printable ASCII go into their row at once. Only what is certain to come out the same does: everything else, and the first and
//! last character of each run, takes the ordinary way.

use std::sync::Arc;

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Column;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::vte::ansi::{CharsetIndex, Processor, StandardCharset};

use crate::emulator::{Guard, NothingHeldBack};
use crate::scan::Sink;
use crate::sequences;

/// Fewest characters in a row that are worth it.
const MIN_RUN: usize = 8;

pub(crate) struct Door<'a> {
    pub(crate) parser: &'a mut Processor<NothingHeldBack>,
    pub(crate) guard: Guard<'a>,
}

impl Sink for Door<'_> {
    fn parse(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.guard, bytes);
    }

    fn text(&mut self, bytes: &[u8]) {
        let mut start = 0; // Where the bytes begin that are not yet handed over.
        let mut at = 0;
        while at < bytes.len() {
            let run = bytes[at..].iter().position(|byte| !is_printable(*byte)).unwrap_or(bytes.len() - at);
            if run >= MIN_RUN && self.guard.takes_runs() {
                // The first is the parser's: it may hold the half of a character before it. So is the last, which could be repeated.
                self.parse(&bytes[start..=at]);
                self.run(&bytes[at + 1..at + run - 1]);
                start = at + run - 1;
            }
            at += run + 1;
        }
        self.parse(&bytes[start..]);
    }

    fn command(&mut self, content: &[u8]) {
        self.guard.command(content);
    }

    fn wants(&self, content: &[u8]) -> bool {
        sequences::known(content)
    }

    fn control(&mut self, content: &[u8]) {
        self.guard.control(content);
    }

    fn device(&mut self, content: &[u8]) {
        self.guard.device(content);
    }
}

impl Door<'_> {
    /// Prints a run of printable ASCII, row by row.
    fn run(&mut self, mut run: &[u8]) {
        while !run.is_empty() {
            run = &run[self.guard.write(run)..];
            // At the edges of rows, over a wide character and at the end of what may be printed.
            let (one, rest) = run.split_at(run.len().min(1));
            self.parse(one);
            run = rest;
        }
    }
}

impl Guard<'_> {
    /// Whether printable ASCII goes as it is into the cells from the cursor on.
    fn takes_runs(&self) -> bool {
        let charsets = &self.term.grid().cursor.charsets;
        let ascii = [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3]
            .iter()
            .all(|index| matches!(charsets[*index], StandardCharset::Ascii));
        ascii && !self.term.mode().contains(TermMode::INSERT)
    }

    /// Writes as much of a run as fits before the last column, moves the cursor behind it and returns how much it was.
    fn write(&mut self, run: &[u8]) -> usize {
        let last = self.term.columns() - 1;
        let grid = self.term.grid_mut();
        let (line, column) = (grid.cursor.point.line, grid.cursor.point.column.0);
        if grid.cursor.input_needs_wrap || column >= last {
            return 0;
        }
        let most = run.len().min(last - column).min(self.characters_left);
        let pen = grid.cursor.template.clone();
        let mut written = 0;
        for (cell, byte) in grid[line][Column(column)..Column(column + most)].iter_mut().zip(run) {
            // Its other half has to go as well.
            if cell.flags.intersects(Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER) {
                break;
            }
            cell.c = char::from(*byte);
            cell.fg = pen.fg;
            cell.bg = pen.bg;
            cell.flags = pen.flags;
            if cell.extra.is_some() || pen.extra.is_some() {
                cell.extra = pen.extra.as_ref().map(Arc::clone);
            }
            written += 1;
        }
        grid.cursor.point.column += written;
        self.characters_left -= written;
        written
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}
