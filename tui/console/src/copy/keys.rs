//! Keys in copy mode: those of vi, and those that have their meaning written on them.

use super::page::{Page, Place};
use super::search::{self, MAX_NEEDLE};
use super::{Copy, Outcome, Shape, View};
use alacritty_terminal::grid::Grid;
use alacritty_terminal::term::cell::Cell;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

impl Copy {
    pub(crate) fn key(&mut self, live: &Grid<Cell>, key: KeyEvent) -> Outcome {
        let Self { frozen, view } = self;
        let page = Page(frozen.as_ref().map_or(live, |frozen| &frozen.grid));
        if view.search.typing.is_some() {
            view.typed(page, key);
            return Outcome::Stays;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        // Some terminals send a capital as the small letter with shift.
        let code = match key.code {
            KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::SHIFT) && c.is_ascii_lowercase() => {
                KeyCode::Char(c.to_ascii_uppercase())
            }
            code => code,
        };
        match (code, control) {
            (KeyCode::Char('c'), true) | (KeyCode::Char('q'), false) => return Outcome::Left,
            (KeyCode::Esc, _) if view.anchor.is_some() => view.anchor = None,
            (KeyCode::Esc, _) => return Outcome::Left,
            (KeyCode::Enter | KeyCode::Char('y'), _) => {
                return self.selected(live).map_or(Outcome::Left, Outcome::Copied);
            }
            (KeyCode::Char('Y'), false) => {
                if view.anchor.is_none() {
                    (view.anchor, view.shape) = (Some(view.cursor), Shape::Lines);
                }
                return self.selected(live).map_or(Outcome::Left, Outcome::Copied);
            }
            (code, control) => view.pressed_key(page, code, control),
        }
        Outcome::Stays
    }

    /// Pasted text belongs to what is searched for.
    pub(crate) fn paste(&mut self, live: &Grid<Cell>, text: &str) {
        let Self { frozen, view } = self;
        let page = Page(frozen.as_ref().map_or(live, |frozen| &frozen.grid));
        if let Some((needle, _)) = &mut view.search.typing {
            let room = MAX_NEEDLE.saturating_sub(needle.chars().count());
            needle.extend(text.chars().filter(|c| !c.is_control()).take(room));
            view.look(page);
        }
    }

    /// Begins a search.
    pub(crate) fn ask(&mut self, backwards: bool) {
        self.view.ask(backwards);
    }
}

impl View {
    fn ask(&mut self, backwards: bool) {
        self.search.typing = Some((String::new(), self.cursor));
        self.search.backwards = backwards;
    }

    fn pressed_key(&mut self, page: Page<'_>, code: KeyCode, control: bool) {
        let at = self.cursor;
        let rows = page.rows() as isize;
        let (half, whole) = ((rows / 2).max(1), (rows - 1).max(1));
        let last = page.last_line();
        match (code, control) {
            (KeyCode::Char('h') | KeyCode::Left | KeyCode::Backspace, false) => self.go(page, page.left(at)),
            (KeyCode::Char('l' | ' ') | KeyCode::Right, false) => self.go(page, page.right(at)),
            (KeyCode::Char('j') | KeyCode::Down, false) | (KeyCode::Char('n'), true) => self.lines(page, 1),
            (KeyCode::Char('k') | KeyCode::Up, false) | (KeyCode::Char('p'), true) => self.lines(page, -1),
            (KeyCode::Char('w'), false) | (KeyCode::Right, true) => self.go(page, page.next_word(at)),
            (KeyCode::Char('b'), false) | (KeyCode::Left, true) => self.go(page, page.word_before(at)),
            (KeyCode::Char('e'), false) => self.go(page, page.word_end(at)),
            (KeyCode::Char('0') | KeyCode::Home, false) => {
                self.go(page, Place::new(page.first_row(at.line), 0));
            }
            (KeyCode::Char('^'), false) => {
                let line = page.first_row(at.line);
                let column = page.row(line).iter().position(|cell| !cell.c.is_whitespace()).unwrap_or(0);
                self.go(page, Place::new(line, column));
            }
            (KeyCode::Char('$') | KeyCode::End, false) => {
                let line = page.last_row(at.line);
                self.go(page, Place::new(line, page.end_of(line)));
            }
            (KeyCode::Char('g'), false) | (KeyCode::Home, true) => self.go(page, Place::new(0, 0)),
            (KeyCode::Char('G'), false) | (KeyCode::End, true) => {
                self.go(page, Place::new(last, page.end_of(last)));
            }
            (KeyCode::Char('H'), false) => self.go(page, Place::new(self.top, 0)),
            (KeyCode::Char('M'), false) => self.go(page, Place::new(self.top + page.rows() / 2, 0)),
            (KeyCode::Char('L'), false) => self.go(page, Place::new(self.top + page.rows() - 1, 0)),
            (KeyCode::Char('{'), false) => self.go(page, page.paragraph(at, false)),
            (KeyCode::Char('}'), false) => self.go(page, page.paragraph(at, true)),
            (KeyCode::Char('u'), true) => self.turn(page, -half),
            (KeyCode::Char('d'), true) => self.turn(page, half),
            (KeyCode::Char('b'), true) | (KeyCode::PageUp, _) => self.turn(page, -whole),
            (KeyCode::Char('f'), true) | (KeyCode::PageDown, _) => self.turn(page, whole),
            (KeyCode::Char('y'), true) => self.scroll(page, 1),
            (KeyCode::Char('e'), true) => self.scroll(page, -1),
            (KeyCode::Char('v'), true) => self.select(Shape::Block),
            (KeyCode::Char('v'), false) => self.select(Shape::Characters),
            (KeyCode::Char('V'), false) => self.select(Shape::Lines),
            (KeyCode::Char('o'), false) => {
                if let Some(anchor) = self.anchor {
                    self.anchor = Some(at);
                    self.go(page, anchor);
                }
            }
            (KeyCode::Char('/'), false) => self.ask(false),
            (KeyCode::Char('?'), false) => self.ask(true),
            (KeyCode::Char('n'), false) => self.next_hit(page, at, self.search.backwards),
            (KeyCode::Char('N'), false) => self.next_hit(page, at, !self.search.backwards),
            _ => {}
        }
    }

    /// Scrolls by lines and takes the cursor along.
    fn turn(&mut self, page: Page<'_>, by: isize) {
        self.top = self.top.saturating_add_signed(by).min(page.last_top());
        self.lines(page, by);
    }

    /// Begins a selection, changes its shape, or ends one that has this shape.
    fn select(&mut self, shape: Shape) {
        match self.anchor {
            Some(_) if self.shape == shape => self.anchor = None,
            Some(_) => {}
            None => self.anchor = Some(self.cursor),
        }
        self.shape = shape;
    }

    /// A key while the text to search for is typed.
    fn typed(&mut self, page: Page<'_>, key: KeyEvent) {
        let Some((text, origin)) = &mut self.search.typing else { return };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => {
                if text.is_empty() {
                    // Nothing typed: what was searched for last.
                    let origin = *origin;
                    self.search.typing = None;
                    self.next_hit(page, origin, self.search.backwards);
                } else {
                    self.search.needle = std::mem::take(text);
                    self.search.typing = None;
                }
                return;
            }
            KeyCode::Esc => return self.give_up(page),
            KeyCode::Char('c') if control => return self.give_up(page),
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Backspace if text.is_empty() => return self.give_up(page),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if !control && !c.is_control() && text.chars().count() < MAX_NEEDLE => {
                let shifted = key.modifiers.contains(KeyModifiers::SHIFT) && c.is_ascii_lowercase();
                text.push(if shifted { c.to_ascii_uppercase() } else { c });
            }
            _ => return,
        }
        self.look(page);
    }

    /// Searches for what has been typed so far.
    fn look(&mut self, page: Page<'_>) {
        let Some((text, origin)) = &self.search.typing else { return };
        let (text, origin) = (text.clone(), *origin);
        self.search.hits = search::find(page, &text);
        if self.search.hits.is_empty() {
            self.go(page, origin);
        } else {
            self.next_hit(page, origin, self.search.backwards);
        }
    }

    fn give_up(&mut self, page: Page<'_>) {
        if let Some((_, origin)) = self.search.typing.take() {
            self.search.hits = search::find(page, &self.search.needle);
            self.go(page, origin);
        }
    }

    /// To the next hit from a place; beyond the last, to the first.
    fn next_hit(&mut self, page: Page<'_>, from: Place, backwards: bool) {
        let hits = &self.search.hits;
        let found = if backwards {
            hits.iter().rev().find(|hit| hit.start < from).or(hits.last())
        } else {
            hits.iter().find(|hit| hit.start > from).or(hits.first())
        };
        if let Some(hit) = found {
            let to = hit.start;
            self.go(page, to);
        }
    }
}
