//! The terminal in the app's hands; given back whatever happens.

use crate::guard::Guard;
use crate::model::Model;
use crate::plain::Plain;
use crate::{suspend, terminal, view};
use crossterm::event::Event;
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{self, Stdout};

/// See the module.
pub struct Screen {
    /// None where what changes is told line by line.
    full: Option<Terminal<CrosstermBackend<Stdout>>>,
    plain: Plain,
    /// Told last that all is well.
    _guard: Option<Guard>,
}

impl Screen {
    /// Takes the terminal; `plain` leaves its screen to what is told line by line.
    pub fn open(plain: bool) -> io::Result<Self> {
        // A panic must be readable, on a terminal that works.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            terminal::give_back();
            hook(panic);
        }));
        let guard = Guard::start();
        take(plain)?;
        Ok(Self { full: full(plain)?, plain: Plain::default(), _guard: guard })
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        crossterm::terminal::size()
    }

    /// Shows what has changed.
    pub fn draw(&mut self, model: &Model) -> io::Result<()> {
        match &mut self.full {
            Some(terminal) => terminal.draw(|frame| view::draw(model, frame)).map(drop),
            None => self.plain.tell(model, &mut io::stdout()),
        }
    }

    /// Lets everything be drawn anew. To clear by the library's call would ask the terminal for its cursor, while others read its answers.
    pub fn repaint(&mut self) -> io::Result<()> {
        if self.full.is_some() {
            execute!(io::stdout(), Clear(ClearType::All))?;
            self.full = full(false)?;
        }
        Ok(())
    }

    /// Gives the terminal to the shell until it calls; then everything is drawn anew. Gives the size that it has then.
    pub fn suspend(&mut self) -> io::Result<Event> {
        terminal::give_back();
        let stopped = suspend::stop();
        take(self.full.is_none())?;
        stopped?;
        let (columns, rows) = self.size()?;
        self.repaint()?;
        self.plain = Plain::default();
        Ok(Event::Resize(columns, rows))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        terminal::give_back();
    }
}

fn full(plain: bool) -> io::Result<Option<Terminal<CrosstermBackend<Stdout>>>> {
    (!plain).then(|| Terminal::new(CrosstermBackend::new(io::stdout()))).transpose()
}

fn take(plain: bool) -> io::Result<()> {
    if plain { enable_raw_mode() } else { terminal::take() }
}
