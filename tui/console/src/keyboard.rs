//! The stacks of the kitty keyboard protocol: one for each of the two screens.
//!
//! Source: "Comprehensive keyboard handling in terminals", section "Progressive enhancement". They are kept here and not in the
//! emulator, whose own stack fails when a program pushes more than it holds.

use alacritty_terminal::vte::ansi::{KeyboardModes, KeyboardModesApplyBehavior};

/// Flags that are kept for later; when more are pushed the oldest go, as the protocol says.
const MAX_DEPTH: usize = 16;

/// The keyboard flags `keys` can speak. Others are not granted, and a program that asks sees that.
const SPOKEN: KeyboardModes = KeyboardModes::DISAMBIGUATE_ESC_CODES
    .union(KeyboardModes::REPORT_ALL_KEYS_AS_ESC)
    .union(KeyboardModes::REPORT_ASSOCIATED_TEXT);

/// The flags of a program, now and before.
#[derive(Debug, Default)]
pub(crate) struct Keyboard {
    /// Of the main and of the alternate screen.
    screens: [Screen; 2],
    alternate: bool,
    /// Whether the terminal around us tells when keys are let go.
    pub(crate) has_releases: bool,
}

#[derive(Debug)]
struct Screen {
    now: KeyboardModes,
    before: Vec<KeyboardModes>,
}

impl Default for Screen {
    fn default() -> Self {
        Self { now: KeyboardModes::NO_MODE, before: Vec::new() }
    }
}

impl Keyboard {
    fn screen(&mut self) -> &mut Screen {
        &mut self.screens[usize::from(self.alternate)]
    }

    /// The flags that hold.
    pub(crate) fn now(&self) -> KeyboardModes {
        self.screens[usize::from(self.alternate)].now
    }

    /// The program went to the alternate screen, or back.
    pub(crate) fn turn(&mut self, alternate: bool) {
        self.alternate = alternate;
    }

    pub(crate) fn push(&mut self, modes: KeyboardModes) {
        let granted = modes & self.spoken();
        let screen = self.screen();
        if screen.before.len() >= MAX_DEPTH {
            screen.before.remove(0);
        }
        screen.before.push(screen.now);
        screen.now = granted;
    }

    pub(crate) fn pop(&mut self, count: u16) {
        let screen = self.screen();
        for _ in 0..usize::from(count).min(MAX_DEPTH + 1) {
            screen.now = screen.before.pop().unwrap_or(KeyboardModes::NO_MODE);
        }
    }

    pub(crate) fn set(&mut self, modes: KeyboardModes, apply: KeyboardModesApplyBehavior) {
        let granted = modes & self.spoken();
        let screen = self.screen();
        screen.now = match apply {
            KeyboardModesApplyBehavior::Replace => granted,
            KeyboardModesApplyBehavior::Union => screen.now | granted,
            KeyboardModesApplyBehavior::Difference => screen.now - modes,
        };
    }

    /// As after a reset of the terminal.
    pub(crate) fn reset(&mut self) {
        self.screens = Default::default();
        self.alternate = false;
    }

    fn spoken(&self) -> KeyboardModes {
        if self.has_releases { SPOKEN | KeyboardModes::REPORT_EVENT_TYPES } else { SPOKEN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_screen_has_its_own_stack() {
        let mut keyboard = Keyboard::default();
        keyboard.push(KeyboardModes::DISAMBIGUATE_ESC_CODES);
        keyboard.turn(true);
        assert_eq!(keyboard.now(), KeyboardModes::NO_MODE);
        keyboard.push(KeyboardModes::REPORT_ALL_KEYS_AS_ESC);
        keyboard.turn(false);
        assert_eq!(keyboard.now(), KeyboardModes::DISAMBIGUATE_ESC_CODES);
        keyboard.pop(1);
        assert_eq!(keyboard.now(), KeyboardModes::NO_MODE);
        keyboard.turn(true);
        assert_eq!(keyboard.now(), KeyboardModes::REPORT_ALL_KEYS_AS_ESC);
    }

    #[test]
    fn the_stack_is_bounded_and_emptied() {
        let mut keyboard = Keyboard::default();
        for _ in 0..100_000 {
            keyboard.push(KeyboardModes::DISAMBIGUATE_ESC_CODES);
        }
        assert_eq!(keyboard.screen().before.len(), MAX_DEPTH);
        keyboard.pop(u16::MAX);
        assert_eq!(keyboard.now(), KeyboardModes::NO_MODE);
        keyboard.push(KeyboardModes::REPORT_EVENT_TYPES);
        assert_eq!(keyboard.now(), KeyboardModes::NO_MODE, "nobody here tells of releases");
    }
}
