//! Consoles: terminals of programs inside sprites, and how they share the screen.

use super::layout::{Layout, Way};
use super::{Model, Screen};
use crate::keep::Keep;
use crate::prefix::Prefix;
use crate::view::geometry;
use ratatui::layout::Rect;
use sprites_console::Console;
use std::time::{Duration, Instant};
use termprofile::TermProfile;

/// After the one key, how long nothing may follow before what could is shown.
pub const HINT: Duration = Duration::from_secs(1);
/// Between two times that a program replaces what the clipboard holds.
pub const COPIES: Duration = Duration::from_millis(250);

/// How a console is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// On the way.
    Connecting,
    /// Live.
    Attached,
    /// Not connected; the program goes on. Looking at it connects again.
    Detached,
    /// The program ended.
    Ended(i32),
    /// It could not be connected.
    Failed(String),
}

/// One console.
#[derive(Debug)]
pub struct Tab {
    /// Its number.
    pub id: u64,
    /// The sprite's name.
    pub sprite: String,
    /// What somebody called it.
    pub name: Option<String>,
    /// The session, once it is known.
    pub session: Option<String>,
    /// How it is connected.
    pub attachment: Attachment,
    /// What was typed before it was connected.
    pub typed: Vec<u8>,
    /// The terminal.
    pub terminal: Console,
    /// When it was last on the screen.
    pub seen: Instant,
    /// The bell rang and nobody has looked since.
    pub rang: bool,
    /// When it last told something of its own accord.
    pub told: Option<Instant>,
}

impl Tab {
    /// What it is called on the screen.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.sprite)
    }
}

/// What keys do in a console, other than going to its program.
#[derive(Debug, Default)]
pub enum Task {
    /// Nothing else.
    #[default]
    None,
    /// The one key was pressed, at that time.
    Waiting(Instant),
    /// Arrows move the pane's lines.
    Resize,
    /// A digit puts that tab beside this one.
    Join,
    /// Its name is typed.
    Rename(tui_input::Input),
}

/// What the button that is down does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drag {
    /// It moves a line between panes.
    Line(Way),
    /// It went down on a cell of a console (column, row), so many times at once, and selects.
    Select {
        /// The console.
        id: u64,
        /// Where it went down, in the console.
        at: (u16, u16),
        /// Where it is, in the console; rows above and below scroll.
        to: (i32, i32),
        /// When to scroll again.
        again: Option<Instant>,
    },
    /// The program has it.
    Program(u64),
}

/// How consoles share the screen, and what is done with them.
#[derive(Debug)]
pub struct Mux {
    /// The one key, and what can follow it.
    pub prefix: Prefix,
    /// Lines of scrollback of each console.
    pub scrollback: usize,
    /// What keys do.
    pub task: Task,
    /// What could follow the key is shown.
    pub hint: bool,
    /// Tabs of several panes. A console that is in none is a tab of its own.
    pub layouts: Vec<Layout>,
    /// What the button that is down does.
    pub drag: Option<Drag>,
    /// The last click: when, where, how many at once.
    pub clicked: Option<(Instant, (u16, u16), u8)>,
    /// What was copied last.
    pub copied: Option<String>,
    /// What a program copies next: it must not replace the clipboard faster than at [`COPIES`].
    pub copies: Option<String>,
    /// When one copied last.
    pub copied_at: Option<Instant>,
    /// When the bell was to ring last.
    pub rang_at: Option<Instant>,
    /// Colours the terminal around the app has.
    pub profile: TermProfile,
    /// Whether the terminal around the app tells when keys are let go.
    pub key_releases: bool,
    /// The bell is to ring.
    pub bell: bool,
    /// Everything is to be painted anew.
    pub repaint: bool,
    /// Consoles of all contexts as they were kept.
    pub kept: Keep,
    /// Those of this context are back.
    pub restored: bool,
    /// The theme that programs were told the colours of.
    pub themed: Option<String>,
}

impl Default for Mux {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            scrollback: 10_000,
            task: Task::None,
            hint: false,
            layouts: Vec::new(),
            drag: None,
            clicked: None,
            copied: None,
            copies: None,
            copied_at: None,
            rang_at: None,
            profile: TermProfile::TrueColor,
            key_releases: false,
            bell: false,
            repaint: false,
            kept: Keep::default(),
            restored: false,
            themed: None,
        }
    }
}

impl Mux {
    /// What stays of it in another context.
    #[must_use]
    pub fn carried(self) -> Self {
        Self {
            prefix: self.prefix,
            scrollback: self.scrollback,
            copied: self.copied,
            profile: self.profile,
            key_releases: self.key_releases,
            kept: self.kept,
            ..Self::default()
        }
    }

    /// The layout that a console is in.
    pub fn layout(&self, id: u64) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.has(id))
    }

    /// The same, to change it.
    pub fn layout_mut(&mut self, id: u64) -> Option<&mut Layout> {
        self.layouts.iter_mut().find(|layout| layout.has(id))
    }
}

impl Model {
    /// The consoles on the screen, each with its place and frame; the one with the focus is that of [`Screen::Console`].
    pub fn panes(&self) -> Vec<(u64, Rect)> {
        let Screen::Console(id) = self.screen else { return Vec::new() };
        let body = geometry::body(self);
        match self.mux.layout(id) {
            Some(layout) => layout.panes(body),
            None => vec![(id, body)],
        }
    }

    /// Tabs, each by the console that stands for it: panes of one tab are one.
    pub fn tabs(&self) -> Vec<u64> {
        let mut tabs: Vec<u64> = Vec::new();
        for tab in &self.consoles {
            let layout = self.mux.layout(tab.id);
            let seen = |other: &u64| layout.is_some_and(|layout| layout.has(*other));
            if !tabs.iter().any(seen) {
                tabs.push(layout.map_or(tab.id, |layout| layout.focus));
            }
        }
        tabs
    }

    /// When the screen of consoles changes without anything happening.
    pub fn wakes_at(&self) -> Option<Instant> {
        let hint = match self.mux.task {
            Task::Waiting(since) if !self.mux.hint => Some(since + HINT),
            _ => None,
        };
        let scroll = match self.mux.drag {
            Some(Drag::Select { again, .. }) => again,
            _ => None,
        };
        let copy = self.mux.copies.as_ref().and(self.mux.copied_at).map(|at| at + COPIES);
        let panes = self.panes();
        let shown = self.consoles.iter().filter(|tab| panes.iter().any(|(id, _)| *id == tab.id));
        shown.filter_map(|tab| tab.terminal.changes_at()).chain(hint).chain(scroll).chain(copy).min()
    }

    /// Whether the program that is typed to wants to know when keys are let go.
    pub fn wants_releases(&self) -> bool {
        let Screen::Console(id) = self.screen else { return false };
        self.consoles.iter().any(|tab| tab.id == id && tab.terminal.wants_releases())
    }
}
