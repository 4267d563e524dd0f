//! Output on its way into a terminal's picture.
//!
//! Emulating a flood of lines costs far more than passing it on, and almost all of it would scroll away unseen. So output
//! waits here until somebody wants the picture. When much has piled up, the older part is either drawn, or, when the
//! newer part holds so many lines that everything older has left the screen, reduced to the sequences that change modes.

use super::modes::modes;
use super::screen::Screen;
use std::sync::{Mutex, PoisonError};

/// Output that may wait, bytes.
const PENDING_LIMIT: usize = 128 << 10;
/// The newer part, always kept whole, bytes.
const TAIL: usize = 64 << 10;
/// Lines in the newer part that make the older part invisible: more than the tallest screen kept.
const LINES: usize = 600;

/// A terminal's picture and the output not yet drawn into it.
pub(crate) struct View {
    screen: Mutex<Screen>,
    pending: Mutex<Vec<u8>>,
}

impl View {
    /// An empty terminal.
    pub(crate) fn new(cols: u16, rows: u16, scrollback: usize) -> Self {
        Self { screen: Mutex::new(Screen::new(cols, rows, scrollback)), pending: Mutex::default() }
    }

    /// Adds output; `also` happens in the same instant, as far as [`View::snapshot`] can tell. True when the caller
    /// should soon call [`View::draw`], on a thread that may work for a while.
    pub(crate) fn append(&self, bytes: &[u8], also: impl FnOnce()) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.extend_from_slice(bytes);
        also();
        if pending.len() <= PENDING_LIMIT {
            return false;
        }
        let cut = pending.len() - TAIL;
        let tail = &pending[cut..];
        if tail.iter().filter(|byte| **byte == b'\n').count() < LINES {
            return true;
        }
        let Some(line) = tail.iter().position(|byte| *byte == b'\n') else { return true };
        let cut = cut + line + 1;
        let mut kept = modes(&pending[..cut]);
        kept.extend_from_slice(&pending[cut..]);
        *pending = kept;
        false
    }

    /// Draws what has waited.
    pub(crate) fn draw(&self) {
        self.draw_then(|_| ());
    }

    /// Draws what has waited, then changes the size.
    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        self.draw_then(|screen| screen.resize(cols, rows));
    }

    /// The picture as bytes. `attach` happens at the very instant of the picture: output before it is in the picture,
    /// output after it is not.
    pub(crate) fn snapshot<T>(&self, attach: impl FnOnce() -> T) -> (T, Vec<u8>) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let (attached, waiting) = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            (attach(), std::mem::take(&mut *pending))
        };
        screen.process(&waiting);
        (attached, screen.render())
    }

    fn draw_then(&self, act: impl FnOnce(&mut Screen)) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        screen.process(&waiting);
        act(&mut screen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(view: &View) -> String {
        let mut parser = vt100::Parser::default();
        parser.process(&view.snapshot(|| ()).1);
        parser.screen().contents()
    }

    #[test]
    fn a_flood_of_lines_keeps_its_end_and_its_modes() {
        let view = View::new(80, 24, 64 << 10);
        assert!(!view.append(b"\x1b[?2004h\x1b[31mred\r\n", || ()));
        for line in 0..200_000 {
            assert!(!view.append(format!("number {line}\r\n").as_bytes(), || ()));
        }
        assert!(view.pending.lock().unwrap().len() <= PENDING_LIMIT);
        assert!(text(&view).contains("number 199999"));
        let mut parser = vt100::Parser::default();
        parser.process(&view.snapshot(|| ()).1);
        assert!(parser.screen().bracketed_paste());
    }

    #[test]
    fn a_drawing_program_is_drawn() {
        let view = View::new(80, 24, 64 << 10);
        view.append(b"\x1b[2J\x1b[1;1Hhead", || ());
        let mut drawn = 0;
        for round in 0..20_000 {
            if view.append(format!("\x1b[5;5Hvalue {round}").as_bytes(), || ()) {
                view.draw();
                drawn += 1;
            }
        }
        assert!(drawn > 0);
        let text = text(&view);
        assert!(text.contains("head") && text.contains("value 19999"), "{text}");
    }
}
