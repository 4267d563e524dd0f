//! The terminal while a console has it: every key goes to the sprite, and on every way out it is as it was.

use crate::failure::Failure;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode, size};
use std::io::{IsTerminal, stdin, stdout};

/// The key that leaves a console running: ctrl-\.
pub(crate) const DETACH: u8 = 0x1c;
/// Environment that a program needs to draw on this terminal.
const PASSED: [&str; 4] = ["TERM", "COLORTERM", "LANG", "LC_ALL"];

/// Holds the terminal; dropped, it gives it back.
#[derive(Debug)]
pub(crate) struct Terminal(());

impl Terminal {
    /// Takes the terminal. There must be one.
    pub(crate) fn take() -> Result<Self, Failure> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(Failure::Usage(
                "this takes a terminal; use `sprite exec` without --tty in scripts".into(),
            ));
        }
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // What goes wrong is to be read on a terminal that shows lines.
            let _ = disable_raw_mode();
            usual(panic);
        }));
        enable_raw_mode().map_err(Failure::io("use", "the terminal"))?;
        Ok(Self(()))
    }

    /// Rows and columns.
    pub(crate) fn size() -> (u16, u16) {
        size().map_or((24, 80), |(cols, rows)| (rows.max(1), cols.max(1)))
    }

    /// What of this environment goes along.
    pub(crate) fn environment() -> Vec<(String, String)> {
        let set = |name: &&str| std::env::var(name).ok().map(|value| (name.to_string(), value));
        PASSED.iter().filter_map(set).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = disable_raw_mode();
    }
}
