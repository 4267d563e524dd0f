//! Copy mode: the screen and its scrollback stand still, are looked through, and text is taken from them.
//!
//! The program goes on meanwhile. As long as nothing changes the page is the console's own; with the first byte that comes it is copied, so
//! whatever the program prints, what a person reads and selects stays where it is.

mod keys;
mod motion;
pub(crate) mod page;
pub(crate) mod search;

use alacritty_terminal::grid::Grid;
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::term::color::Colors;
use page::{Page, Place};
use ratatui::style::{Modifier, Style};
use search::Hit;

/// How a selection reaches from its begin to the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As the text runs.
    Characters,
    /// In whole lines; rows of one wrapped line are one.
    Lines,
    /// In columns.
    Block,
}

/// What came of a key or of a button that was let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Copy mode goes on.
    Stays,
    /// It was left.
    Left,
    /// It was left with this text.
    Copied(String),
}

/// Where a person is in copy mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The cursor's line, counted from 1 at the oldest.
    pub line: usize,
    /// Lines of screen and scrollback.
    pub lines: usize,
    /// How something is selected, if it is.
    pub selecting: Option<Shape>,
    /// What is searched for, and whether it is being typed.
    pub search: Option<(String, bool)>,
    /// The hit that the cursor is at, counted from 1 (0: at none), and how many there are.
    pub hits: (usize, usize),
}

/// How selection and hits are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// Selected text.
    pub selection: Style,
    /// Where the text that is searched for stands.
    pub hit: Style,
    /// The hit that the cursor is at.
    pub here: Style,
}

impl Default for Marks {
    fn default() -> Self {
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        Self {
            selection: reversed,
            hit: Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD),
            here: reversed.add_modifier(Modifier::UNDERLINED),
        }
    }
}

/// A page as it was.
struct Frozen {
    grid: Grid<Cell>,
    colors: Colors,
}

/// See the module.
pub(crate) struct Copy {
    frozen: Option<Frozen>,
    view: View,
}

/// What is looked at, and what is selected.
struct View {
    /// The first line that is shown.
    top: usize,
    cursor: Place,
    /// The column the cursor goes back to on a line that is long enough.
    column: usize,
    /// Where the selection begins.
    anchor: Option<Place>,
    shape: Shape,
    /// Where a button went down.
    pressed: Option<Place>,
    search: Search,
}

#[derive(Default)]
struct Search {
    needle: String,
    backwards: bool,
    /// What is typed, and where the cursor was before.
    typing: Option<(String, Place)>,
    hits: Vec<Hit>,
}

impl Copy {
    /// Begins where the console stands, with the cursor at its own, or at the last line shown.
    pub(crate) fn new(grid: &Grid<Cell>) -> Self {
        let page = Page(grid);
        let top = page.last_top() - grid.display_offset().min(page.last_top());
        let at = grid.cursor.point;
        let line = page.last_top() + usize::try_from(at.line.0).unwrap_or(0);
        let cursor = if line < top + page.rows() {
            page.settled(Place::new(line, at.column.0))
        } else {
            Place::new(top + page.rows() - 1, 0)
        };
        let view = View {
            top,
            cursor,
            column: cursor.column,
            anchor: None,
            shape: Shape::Characters,
            pressed: None,
            search: Search::default(),
        };
        Self { frozen: None, view }
    }

    /// What is looked at, when `live` is the console's own.
    pub(crate) fn page<'a>(&'a self, live: &'a Grid<Cell>) -> Page<'a> {
        Page(self.frozen.as_ref().map_or(live, |frozen| &frozen.grid))
    }

    /// The colours of it.
    pub(crate) fn colors<'a>(&'a self, live: &'a Colors) -> &'a Colors {
        self.frozen.as_ref().map_or(live, |frozen| &frozen.colors)
    }

    /// The live page is about to change.
    pub(crate) fn freeze(&mut self, grid: &Grid<Cell>, colors: &Colors) {
        if self.frozen.is_none() {
            self.frozen = Some(Frozen { grid: grid.clone(), colors: *colors });
        }
    }

    /// The console got another size. The page is frozen by now.
    pub(crate) fn resize(&mut self, reflow: bool, rows: usize, columns: usize) {
        let Some(frozen) = &mut self.frozen else { return };
        // Counted from the end, because reflow makes more or fewer lines of what is before.
        let from_end = Page(&frozen.grid).lines() - self.view.cursor.line;
        frozen.grid.resize(reflow, rows, columns);
        let page = Page(&frozen.grid);
        let view = &mut self.view;
        (view.anchor, view.pressed) = (None, None);
        view.cursor = page.settled(Place::new(page.lines().saturating_sub(from_end), view.cursor.column));
        view.search.hits = search::find(page, &view.search.needle);
        view.top = view.top.min(page.last_top());
        view.show_cursor(page);
    }

    /// The first line that is shown, and the cursor's place on the screen (column, row).
    pub(crate) fn shown(&self) -> (usize, (usize, usize)) {
        let View { top, cursor, .. } = &self.view;
        (*top, (cursor.column, cursor.line.saturating_sub(*top)))
    }

    pub(crate) fn scroll(&mut self, live: &Grid<Cell>, lines: i32) {
        let Self { frozen, view } = self;
        view.scroll(Page(frozen.as_ref().map_or(live, |frozen| &frozen.grid)), lines as isize);
    }

    /// A button went down on a cell of the screen (column, row): for the second time at once it selects a word, for the third a line.
    pub(crate) fn press(&mut self, live: &Grid<Cell>, (column, row): (u16, u16), times: u8) {
        let Self { frozen, view } = self;
        let page = Page(frozen.as_ref().map_or(live, |frozen| &frozen.grid));
        let at = page.settled(Place::new(view.top + usize::from(row), usize::from(column)));
        view.pressed = Some(at);
        (view.anchor, view.shape) = (None, Shape::Characters);
        view.go(page, at);
        match times {
            2 => {
                view.anchor = Some(page.word_begin(at));
                view.go(page, page.word_last(at));
            }
            3 => (view.anchor, view.shape) = (Some(at), Shape::Lines),
            _ => {}
        }
    }

    /// The pointer was moved with the button down; rows above and below the screen scroll.
    pub(crate) fn drag(&mut self, live: &Grid<Cell>, (column, row): (i32, i32)) {
        let Self { frozen, view } = self;
        let page = Page(frozen.as_ref().map_or(live, |frozen| &frozen.grid));
        let Some(pressed) = view.pressed else { return };
        let rows = page.rows() as i32;
        if row < 0 || row >= rows {
            view.scroll(page, if row < 0 { 1 } else { -1 });
        }
        let row = row.clamp(0, rows - 1) as usize;
        let column = column.clamp(0, page.columns() as i32 - 1) as usize;
        let at = page.settled(Place::new(view.top + row, column));
        // A hand that is not quite still has not selected anything.
        if view.anchor.is_none() && at != pressed {
            view.anchor = Some(pressed);
        }
        if view.anchor.is_some() {
            view.go(page, at);
        }
    }

    /// The button was let go: what is selected is the outcome.
    pub(crate) fn release(&mut self, live: &Grid<Cell>) -> Outcome {
        self.view.pressed = None;
        match self.selected(live) {
            Some(text) => Outcome::Copied(text),
            None => Outcome::Stays,
        }
    }

    /// The selected text, if there is a selection.
    pub(crate) fn selected(&self, live: &Grid<Cell>) -> Option<String> {
        let page = self.page(live);
        let (start, end) = self.view.selection(page)?;
        let mut text = String::new();
        for line in start.line..=end.line {
            let (from, to) = self.view.columns(page, start, end, line);
            let goes_on = page.read(line, from, to, &mut text) && self.view.shape != Shape::Block;
            if line < end.line && !goes_on {
                text.push('\n');
            }
        }
        if self.view.shape == Shape::Lines {
            text.push('\n');
        }
        Some(text)
    }

    pub(crate) fn status(&self, live: &Grid<Cell>) -> Status {
        let View { cursor, anchor, shape, search, .. } = &self.view;
        let here = search.hits.iter().position(|hit| hit.start == *cursor).map_or(0, |place| place + 1);
        Status {
            line: cursor.line + 1,
            lines: self.page(live).lines(),
            selecting: anchor.map(|_| *shape),
            search: match &search.typing {
                Some((text, _)) => Some((text.clone(), true)),
                None if search.needle.is_empty() => None,
                None => Some((search.needle.clone(), false)),
            },
            hits: (here, search.hits.len()),
        }
    }

    /// What is to be marked on a line: first and last column, and how.
    pub(crate) fn marks(&self, live: &Grid<Cell>, line: usize, marks: &Marks) -> Vec<(usize, usize, Style)> {
        let page = self.page(live);
        let hits = &self.view.search.hits;
        let first = hits.partition_point(|hit| hit.end.line < line);
        let mut found: Vec<_> = hits[first..]
            .iter()
            .take_while(|hit| hit.start.line <= line)
            .map(|hit| {
                let from = if hit.start.line == line { hit.start.column } else { 0 };
                let to = if hit.end.line == line { hit.end.column } else { page.columns() - 1 };
                (from, to, if hit.start == self.view.cursor { marks.here } else { marks.hit })
            })
            .collect();
        if let Some((start, end)) = self.view.selection(page)
            && (start.line..=end.line).contains(&line)
        {
            let (from, to) = self.view.columns(page, start, end, line);
            found.push((from, to, marks.selection));
        }
        found
    }
}

impl View {
    /// Begin and end of the selection, in the order of the text.
    fn selection(&self, page: Page<'_>) -> Option<(Place, Place)> {
        let anchor = self.anchor?;
        let (start, end) = (anchor.min(self.cursor), anchor.max(self.cursor));
        Some(match self.shape {
            Shape::Characters | Shape::Block => (start, page.end_of_cell(end)),
            Shape::Lines => (
                Place::new(page.first_row(start.line), 0),
                Place::new(page.last_row(end.line), page.columns() - 1),
            ),
        })
    }

    /// First and last selected column of a line within the selection.
    fn columns(&self, page: Page<'_>, start: Place, end: Place, line: usize) -> (usize, usize) {
        if self.shape == Shape::Block {
            let ends = [self.anchor.unwrap_or(start), self.cursor];
            let left = ends.iter().map(|at| at.column).min().unwrap_or(0);
            let right = ends.iter().map(|at| page.end_of_cell(*at).column).max().unwrap_or(left);
            return (page.settled(Place::new(line, left)).column, right);
        }
        let from = if line == start.line { start.column } else { 0 };
        let to = if line == end.line { end.column } else { page.columns() - 1 };
        (from, to)
    }

    /// Puts the cursor somewhere and shows it.
    fn go(&mut self, page: Page<'_>, to: Place) {
        self.cursor = page.settled(to);
        self.column = self.cursor.column;
        self.show_cursor(page);
    }

    fn show_cursor(&mut self, page: Page<'_>) {
        let lowest = self.cursor.line.saturating_sub(page.rows() - 1);
        self.top = self.top.clamp(lowest, self.cursor.line).min(page.last_top());
    }

    /// Moves the cursor by lines, in its column.
    fn lines(&mut self, page: Page<'_>, by: isize) {
        let line = self.cursor.line.saturating_add_signed(by).min(page.lines() - 1);
        self.cursor = page.settled(Place::new(line, self.column));
        self.show_cursor(page);
    }

    /// Moves what is shown: positive into the past. The cursor stays on the screen.
    fn scroll(&mut self, page: Page<'_>, lines: isize) {
        self.top = self.top.saturating_add_signed(lines.saturating_neg()).min(page.last_top());
        let line = self.cursor.line.clamp(self.top, self.top + page.rows() - 1);
        self.cursor = page.settled(Place::new(line, self.column));
    }
}
