//! Where keys lead in copy mode.

use super::page::{Page, Place};
use alacritty_terminal::term::cell::Flags;

/// What a character is, for words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Word,
    Mark,
}

impl Page<'_> {
    fn class(self, at: Place) -> Class {
        match self.row(at.line)[at.column].c {
            c if c.is_alphanumeric() || c == '_' => Class::Word,
            c if c.is_whitespace() || c.is_control() => Class::Blank,
            _ => Class::Mark,
        }
    }

    /// The next character, if there is one, and whether a line ended before it.
    fn after(self, at: Place) -> Option<(Place, bool)> {
        let mut next = Place::new(at.line, at.column + 1);
        let mut ended = false;
        if next.column < self.columns()
            && self.row(next.line)[next.column].flags.contains(Flags::WIDE_CHAR_SPACER)
        {
            next.column += 1;
        }
        if next.column >= self.columns() {
            ended = !self.is_wrapped(at.line);
            next = Place::new(at.line + 1, 0);
        }
        (next.line < self.lines()).then_some((next, ended))
    }

    /// The character before, if there is one, and whether a line ended behind it.
    fn before(self, at: Place) -> Option<(Place, bool)> {
        if at.column > 0 {
            return Some((self.settled(Place::new(at.line, at.column - 1)), false));
        }
        let line = at.line.checked_sub(1)?;
        Some((self.settled(Place::new(line, self.columns() - 1)), !self.is_wrapped(line)))
    }

    pub(super) fn left(self, at: Place) -> Place {
        match self.before(at) {
            Some((place, false)) => place,
            _ => at,
        }
    }

    pub(super) fn right(self, at: Place) -> Place {
        match self.after(at) {
            Some((place, false)) => place,
            _ => at,
        }
    }

    /// The begin of the next word.
    pub(super) fn next_word(self, from: Place) -> Place {
        let mut class = self.class(from);
        let mut at = from;
        while let Some((next, ended)) = self.after(at) {
            let of = self.class(next);
            if of != Class::Blank && (of != class || ended) {
                return next;
            }
            class = of;
            at = next;
        }
        at
    }

    /// The begin of this word, or of the one before.
    pub(super) fn word_before(self, from: Place) -> Place {
        let mut at = from;
        while let Some((before, _)) = self.before(at) {
            at = before;
            if self.class(at) != Class::Blank {
                break;
            }
        }
        self.word_begin(at)
    }

    /// The end of this word, or of the next.
    pub(super) fn word_end(self, from: Place) -> Place {
        let mut at = from;
        while let Some((next, _)) = self.after(at) {
            at = next;
            if self.class(at) != Class::Blank {
                break;
            }
        }
        self.word_last(at)
    }

    /// The first character of the word at this place.
    pub(super) fn word_begin(self, mut at: Place) -> Place {
        let class = self.class(at);
        while let Some((before, ended)) = self.before(at) {
            if ended || self.class(before) != class {
                break;
            }
            at = before;
        }
        at
    }

    /// The last character of the word at this place.
    pub(super) fn word_last(self, mut at: Place) -> Place {
        let class = self.class(at);
        while let Some((next, ended)) = self.after(at) {
            if ended || self.class(next) != class {
                break;
            }
            at = next;
        }
        at
    }

    /// The next line without text, downwards or upwards.
    pub(super) fn paragraph(self, from: Place, down: bool) -> Place {
        let empty = |line: usize| self.row(line).iter().all(|cell| cell.c.is_whitespace() || cell.c == '\0');
        let mut line = from.line;
        let mut text = false;
        loop {
            let next = if down { line + 1 } else { line.wrapping_sub(1) };
            if next >= self.lines() {
                break;
            }
            line = next;
            if empty(line) && text {
                break;
            }
            text |= !empty(line);
        }
        Place::new(line, 0)
    }
}
