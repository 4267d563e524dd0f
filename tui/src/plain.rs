//! The screen for those who hear it: what has changed, line by line, without frames, graphs and colours. What is selected begins with `>`.

use crate::model::{Model, Screen};
use crate::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;
use std::collections::HashSet;
use std::io::{self, Write};

/// What was told last.
#[derive(Debug, Default)]
pub struct Plain {
    place: Option<Place>,
    lines: Vec<Line>,
}

/// What is looked at. Somewhere else, everything is told.
#[derive(Debug, PartialEq)]
struct Place {
    screen: Screen,
    part: crate::action::Part,
    dialog: Option<String>,
    context: String,
}

#[derive(Debug, PartialEq)]
struct Line {
    selected: bool,
    words: String,
}

impl Line {
    /// What must differ to be told: figures move all the time, and whoever wants them goes there.
    fn gist(&self) -> String {
        let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
        let gist: String = self.words.chars().map(digits).collect();
        gist.split(['0', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0")
    }
}

impl Plain {
    /// Writes what has changed since the last time.
    pub fn tell(&mut self, model: &Model, out: &mut impl Write) -> io::Result<()> {
        let (columns, rows) = model.size;
        let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
        let Ok(_) = terminal.draw(|frame| view::draw(model, frame));
        let lines = lines(terminal.backend().buffer());
        let place = Place {
            screen: model.screen,
            part: model.part,
            dialog: model.dialog.as_ref().map(|dialog| dialog.title()),
            context: model.here.context.clone(),
        };
        let console = matches!(place.screen, Screen::Console(_));
        let elsewhere = self.place.as_ref() != Some(&place);
        let exact: HashSet<&str> = self.lines.iter().map(|line| line.words.as_str()).collect();
        let gists: HashSet<String> = self.lines.iter().map(Line::gist).collect();
        // A message of several lines stands out as the selected line does.
        let selected: HashSet<String> =
            self.lines.iter().filter(|line| line.selected).map(Line::gist).collect();
        for line in &lines {
            let known = match console {
                true => exact.contains(line.words.as_str()),
                false => gists.contains(&line.gist()),
            };
            let moved = line.selected && !selected.contains(&line.gist());
            if elsewhere || moved || !known {
                let mark = if line.selected { "> " } else { "" };
                write!(out, "{mark}{}\r\n", line.words)?;
            }
        }
        (self.place, self.lines) = (Some(place), lines);
        out.flush()
    }
}

/// Rows with words in them.
fn lines(buffer: &Buffer) -> Vec<Line> {
    let area = buffer.area;
    let row = |y: u16| {
        let mut text = String::new();
        let mut lit = 0;
        for x in 0..area.width {
            let cell = &buffer[(x, y)];
            let symbol = cell.symbol();
            let drawn = symbol.chars().next().is_some_and(|c| {
                ('\u{2500}'..='\u{259f}').contains(&c) || ('\u{2800}'..='\u{28ff}').contains(&c)
            });
            text.push_str(if drawn { " " } else { symbol });
            lit += u16::from(cell.modifier.contains(Modifier::REVERSED));
        }
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // A title that is open is reversed too, but only it.
        Line { selected: lit > area.width / 2, words }
    };
    (0..area.height).map(row).filter(|line| !line.words.is_empty()).collect()
}
