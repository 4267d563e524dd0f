//! Synchronized output (mode 2026): while a program changes its screen, the one before is shown.
//!
//! Source: "Synchronized Output" (Contour's `synchronized-output.md`). Output is taken in as it comes; only what is shown waits, so
//! queries are answered at once and no bytes pile up.

use std::time::{Duration, Instant};

use alacritty_terminal::event::EventListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Line;
use alacritty_terminal::term::Term;
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::term::color::Colors;

/// Longest time that a program may hold its screen.
pub(crate) const MAX_HOLD: Duration = Duration::from_millis(150);
/// Most screens that are copied in one call, whatever number of updates its bytes begin.
const MAX_COPIES: u8 = 4;

/// A screen as it was.
pub(crate) struct Frame {
    pub(crate) cells: Vec<Cell>,
    pub(crate) columns: usize,
    pub(crate) colors: Colors,
    pub(crate) cursor: Option<(u16, u16)>,
    since: Instant,
}

/// Whether the screen is held, and what is shown meanwhile.
#[derive(Default)]
pub(crate) struct Hold {
    frame: Option<Frame>,
    on: bool,
    copies: u8,
}

impl Hold {
    /// At the begin of a call.
    pub(crate) fn arrive(&mut self) {
        self.copies = 0;
        if self.until().is_some_and(|until| until <= Instant::now()) {
            self.end();
            self.frame = None;
        }
    }

    /// At the end of a call: what is shown then is the present, unless it is held.
    pub(crate) fn leave(&mut self) {
        if !self.on {
            self.frame = None;
        }
    }

    /// The program begins to change its screen.
    pub(crate) fn begin<T: EventListener>(&mut self, term: &Term<T>, cursor: Option<(u16, u16)>) {
        // One that begins again without an end does not get more time.
        if std::mem::replace(&mut self.on, true) || self.copies >= MAX_COPIES {
            return;
        }
        self.copies += 1;
        let mut cells = self.frame.take().map(|frame| frame.cells).unwrap_or_default();
        cells.clear();
        for line in 0..term.screen_lines() {
            cells.extend_from_slice(&term.grid()[Line(line as i32)][..]);
        }
        let (columns, colors) = (term.columns(), *term.colors());
        self.frame = Some(Frame { cells, columns, colors, cursor, since: Instant::now() });
    }

    /// It is done.
    pub(crate) fn end(&mut self) {
        self.on = false;
    }

    /// The size changed, or everything was reset.
    pub(crate) fn clear(&mut self) {
        self.on = false;
        self.frame = None;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Until when the screen is held at most.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.frame.as_ref().filter(|_| self.on).map(|frame| frame.since + MAX_HOLD)
    }

    /// What is to be shown in the place of the present.
    pub(crate) fn shown(&self) -> Option<&Frame> {
        let held = self.until().is_some_and(|until| Instant::now() < until);
        self.frame.as_ref().filter(|_| held)
    }
}
