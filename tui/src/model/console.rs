//! A console: a terminal of a program inside a sprite.

use sprites_console::Console;
use std::time::Instant;

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
}
