//! The screen for those who hear it: what has changed, line by line, without frames, graphs and colours. What is selected begins with `>`.
//!
//! Each layer of the screen is told for itself: what lies above others covers nothing, and nothing is told again when it is gone.

use crate::action::Part;
use crate::model::{Model, Screen};
use crate::number;
use crate::view::{self, Layer, ascii, geometry};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Modifier;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::time::Instant;
use strum::IntoEnumIterator;
use unicode_width::UnicodeWidthStr;

/// What was told last.
#[derive(Debug, Default)]
pub struct Plain {
    place: Option<Place>,
    lines: HashMap<Layer, Vec<Line>>,
    /// Until when the last message that was told stays; later ones are new.
    said: Option<Instant>,
}

/// What is looked at. Somewhere else, everything is told.
#[derive(Debug, PartialEq)]
struct Place {
    screen: Screen,
    part: Part,
    context: String,
    dialog: Option<String>,
}

impl Place {
    fn of(model: &Model) -> Self {
        Self {
            screen: model.screen,
            part: model.part,
            context: model.here.context.clone(),
            dialog: model.dialog.as_ref().map(|dialog| dialog.title()),
        }
    }

    /// Whether a layer is about the same there.
    fn is_same(&self, other: &Self, layer: Layer) -> bool {
        match layer {
            Layer::Screen => {
                (self.screen, self.part, &self.context) == (other.screen, other.part, &other.context)
            }
            Layer::Dialog => self.dialog == other.dialog,
            Layer::Tour | Layer::Hint | Layer::Following | Layer::Messages | Layer::Palette => true,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Line {
    /// Its row.
    row: u16,
    selected: bool,
    words: String,
}

impl Line {
    /// What must differ to be told: figures move all the time, and whoever wants them goes there. Digits in a name are none.
    fn gist(&self) -> String {
        let gist = |word: &str| {
            let is_figure =
                word.chars().find(|c| c.is_alphanumeric()).is_some_and(|first| first.is_ascii_digit());
            if !is_figure {
                // A figure may grow from one unit into the next.
                let unit = word.trim_end_matches(',').trim_end_matches("/s");
                return if number::UNITS.contains(&unit) { String::new() } else { word.to_owned() };
            }
            let digits: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            digits.split(['0', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0")
        };
        self.words.split(' ').map(gist).collect::<Vec<_>>().join(" ")
    }

    /// What makes it another one where it is selected: lines are named by their first word, which may be a figure.
    fn identity(&self) -> (&str, String) {
        (self.words.split(' ').next().unwrap_or_default(), self.gist())
    }
}

impl Plain {
    /// Writes what has changed since the last time.
    pub fn tell(&mut self, model: &Model, out: &mut impl Write) -> io::Result<()> {
        let place = Place::of(model);
        let now: Vec<(Layer, Vec<Line>)> = Layer::iter()
            .filter(|layer| *layer != Layer::Messages)
            .map(|layer| (layer, lines(model, layer)))
            .collect();
        // Whoever comes back to what lay below is told where that is.
        let comes_back = now.iter().any(|(layer, lines)| {
            *layer != Layer::Tour
                && lines.is_empty()
                && self.lines.get(layer).is_some_and(|before| !before.is_empty())
        });
        for (layer, lines) in &now {
            let same = self.place.as_ref().is_some_and(|last| last.is_same(&place, *layer));
            let before = self.lines.get(layer).filter(|_| same).map_or(&[][..], Vec::as_slice);
            let again = comes_back && *layer == Layer::Screen;
            // What is typed is told to the letter, and so is what a program writes.
            let by_gist = *layer == Layer::Screen && !matches!(model.screen, Screen::Console(_));
            tell(lines, before, by_gist, again, out)?;
        }
        for toast in model.toasts.iter().filter(|toast| self.said.is_none_or(|said| toast.until > said)) {
            write!(out, "{}\r\n", shown(&toast.words(), model.look.ascii))?;
        }
        self.said = model.toasts.back().map(|toast| toast.until).or(self.said);
        (self.place, self.lines) = (Some(place), now.into_iter().collect());
        out.flush()
    }
}

/// Writes what is new in a layer; what is selected in it also where it is told `again`.
fn tell(lines: &[Line], before: &[Line], by_gist: bool, again: bool, out: &mut impl Write) -> io::Result<()> {
    let text = |line: &Line| if by_gist { line.gist() } else { line.words.clone() };
    let known: HashSet<String> = before.iter().map(text).collect();
    let selected: Vec<&Line> = before.iter().filter(|line| line.selected).collect();
    // Lines that differ in a figure only are told apart by the one that was left standing where it was.
    let is_left = |line: &Line| {
        let was = |last: &&Line| last.row == line.row && last.words == line.words;
        !line.selected && selected.iter().any(was)
    };
    let again = again || lines.iter().any(is_left);
    for line in lines {
        let is_known = selected.iter().any(|last| last.identity() == line.identity());
        let moved = line.selected && (again || !is_known);
        if moved || !known.contains(&text(line)) {
            let mark = if line.selected { "> " } else { "" };
            write!(out, "{mark}{}\r\n", line.words)?;
        }
    }
    Ok(())
}

/// Rows of a layer with words in them. The first steps are a sentence in one.
fn lines(model: &Model, layer: Layer) -> Vec<Line> {
    let (columns, rows) = model.size;
    // Programs in consoles have all columns; what is told otherwise stands one below the other.
    let columns = match model.screen {
        Screen::Console(_) => columns,
        _ => columns.min(geometry::APART),
    };
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| view::draw_layer(model, frame, layer));
    let buffer = terminal.backend().buffer();
    let row = |row: u16| {
        let (selected, words) = read(buffer, row);
        Line { row, selected, words: shown(&words, model.look.ascii) }
    };
    let lines: Vec<Line> = (0..rows).map(row).filter(|line| !line.words.is_empty()).collect();
    if layer != Layer::Tour || lines.is_empty() {
        return lines;
    }
    let words = lines.iter().map(|line| line.words.as_str()).collect::<Vec<_>>().join(" ");
    vec![Line { row: 0, selected: false, words }]
}

/// Whether something is selected in a row, and its words.
fn read(buffer: &Buffer, row: u16) -> (bool, String) {
    let cells: Vec<&Cell> = (0..buffer.area.width).map(|x| &buffer[(x, row)]).collect();
    // What stands in a frame of its own is selected for itself. A title that is open is reversed too, but only it.
    let selected = cells.split(|cell| cell.symbol() == "│").any(|part| {
        let lit = part.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        lit * 2 > part.len()
    });
    let mut text = String::new();
    let mut x = 0;
    while let Some(cell) = cells.get(x) {
        text.push_str(if is_drawn(cell) { " " } else { cell.symbol() });
        // Behind a wide character stands a cell that is none of its own.
        x += cell.symbol().width().max(1);
    }
    (selected, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Frames and graphs.
fn is_drawn(cell: &Cell) -> bool {
    let mut symbol = cell.symbol().chars();
    symbol
        .next()
        .is_some_and(|c| ('\u{2500}'..='\u{259f}').contains(&c) || ('\u{2800}'..='\u{28ff}').contains(&c))
}

fn shown(words: &str, in_ascii: bool) -> String {
    if in_ascii { ascii::text(words) } else { words.to_owned() }
}
