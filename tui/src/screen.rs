//! The terminal in the app's hands; given back whatever happens.

use crate::guard::Guard;
use crate::model::Model;
use crate::plain::Plain;
use crate::{mishap, suspend, terminal, view};
use crossterm::cursor::SetCursorStyle;
use crossterm::event::Event;
use crossterm::style::Print;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

/// What draws whole screens.
type Full = Terminal<CrosstermBackend<Sheet>>;

/// Where a frame is written before it goes to the terminal, as a whole or not at all.
#[derive(Clone, Debug, Default)]
struct Sheet(Rc<RefCell<Vec<u8>>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// See the module.
pub struct Screen {
    /// None where what changes is told line by line.
    full: Option<Full>,
    sheet: Sheet,
    /// The frame that was written last.
    last: Vec<u8>,
    plain: Plain,
    /// The cursor's shape, where it is not the person's own.
    cursor: SetCursorStyle,
    /// Whether the terminal tells when keys are let go.
    releases: bool,
    /// Told last that all is well.
    _guard: Option<Guard>,
}

impl Screen {
    /// Takes the terminal; `plain` leaves its screen to what is told line by line.
    pub fn open(plain: bool) -> io::Result<Self> {
        mishap::prepare();
        let guard = Guard::start();
        take(plain)?;
        let sheet = Sheet::default();
        Ok(Self {
            full: full(plain, &sheet)?,
            sheet,
            last: Vec::new(),
            plain: Plain::default(),
            cursor: SetCursorStyle::DefaultUserShape,
            releases: false,
            _guard: guard,
        })
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        crossterm::terminal::size()
    }

    /// Asks which keyboard protocol the terminal speaks, and so whether it can tell when keys are let go. Nobody else reads keys meanwhile; those that
    /// were pressed are given.
    pub fn speak_keyboard(&self, model: &mut Model) -> io::Result<Vec<Event>> {
        if self.full.is_none() {
            return Ok(Vec::new());
        }
        let (speaks, keys) = terminal::speak_keyboard()?;
        model.mux.key_releases = speaks;
        Ok(keys)
    }

    /// Shows what has changed, in one piece where the terminal knows how, and brings to the terminal what goes beside it.
    pub fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        if self.full.is_none() {
            return self.plain.tell(model, &mut io::stdout());
        }
        if std::mem::take(&mut model.mux.repaint) {
            self.repaint()?;
        }
        let mut sheet = self.sheet.clone();
        sheet.0.borrow_mut().clear();
        queue!(sheet, BeginSynchronizedUpdate)?;
        if let Some(terminal) = &mut self.full {
            terminal.draw(|frame| view::draw(model, frame))?;
        }
        let cursor = view::cursor_style(model);
        if cursor.to_string() != self.cursor.to_string() {
            queue!(sheet, cursor)?;
            self.cursor = cursor;
        }
        let rings = std::mem::take(&mut model.mux.bell);
        if rings {
            queue!(sheet, Print('\x07'))?;
        }
        queue!(sheet, EndSynchronizedUpdate)?;
        let frame = sheet.0.borrow();
        // What changes nothing is the same twice, and the second of it need not be written.
        if rings || *frame != self.last {
            io::stdout().write_all(&frame)?;
            io::stdout().flush()?;
            self.last.clone_from(&frame);
        }
        let releases = model.mux.key_releases && model.wants_releases();
        if releases != self.releases {
            terminal::tell_releases(releases)?;
            self.releases = releases;
        }
        Ok(())
    }

    /// Lets everything be drawn anew. To clear by the library's call would ask the terminal for its cursor, while others read its answers.
    pub fn repaint(&mut self) -> io::Result<()> {
        if self.full.is_some() {
            execute!(io::stdout(), Clear(ClearType::All))?;
            self.full = full(false, &self.sheet)?;
            self.last.clear();
        }
        Ok(())
    }

    /// Leaves the terminal to another program.
    pub fn give_back(&self) {
        terminal::give_back();
    }

    /// Takes it again, with all that it has forgotten meanwhile. Nobody else reads keys; those that were pressed are given, behind its size.
    pub fn take_again(&mut self, model: &mut Model) -> io::Result<Vec<Event>> {
        take(self.full.is_none())?;
        self.plain = Plain::default();
        self.last.clear();
        (self.cursor, self.releases) = (SetCursorStyle::DefaultUserShape, false);
        let (columns, rows) = self.size()?;
        let mut events = vec![Event::Resize(columns, rows)];
        events.extend(self.speak_keyboard(model)?);
        Ok(events)
    }

    /// Takes it again from who had it without being given it.
    pub fn renew(&mut self, model: &mut Model) -> io::Result<Vec<Event>> {
        self.give_back();
        self.take_again(model)
    }

    /// Gives the terminal to the shell until it calls; then it is [taken again](Self::take_again).
    pub fn suspend(&mut self, model: &mut Model) -> io::Result<Vec<Event>> {
        self.give_back();
        let stopped = suspend::stop();
        let events = self.take_again(model)?;
        stopped.map(|()| events)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        terminal::give_back();
    }
}

fn full(plain: bool, sheet: &Sheet) -> io::Result<Option<Full>> {
    (!plain).then(|| Terminal::new(CrosstermBackend::new(sheet.clone()))).transpose()
}

fn take(plain: bool) -> io::Result<()> {
    if plain { terminal::take_keys() } else { terminal::take() }
}
