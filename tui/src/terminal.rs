//! The modes a terminal is in while the app has it.

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the terminal may take to tell which keyboard protocol it speaks.
const ASK: Duration = Duration::from_millis(200);
/// Most bytes that are read for that.
const MAX_ANSWER: usize = 256;

/// Takes the terminal at standard output.
pub fn take() -> io::Result<()> {
    enable_raw_mode()?;
    let taken = execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        EnableFocusChange
    );
    taken.inspect_err(|_| give_back())
}

/// Asks whether the terminal speaks the kitty keyboard protocol, and turns it on if so. Only between [`take`] and the first look at keys;
/// what is typed meanwhile is lost. Blocks for [`ASK`] where there is no answer.
pub fn speak_keyboard() -> io::Result<bool> {
    // Every terminal answers the second question, so that no answer to the first is known at once.
    let mut out = io::stdout();
    out.write_all(b"\x1b[?u\x1b[c")?;
    out.flush()?;
    let input = io::stdin();
    let give_up = Instant::now() + ASK;
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER && !is_answered(&answer) {
        let left = give_up.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        if left.is_zero() || poll(&mut ready, timeout).unwrap_or(0) == 0 {
            break;
        }
        let mut bytes = [0; 64];
        match nix::unistd::read(input.as_fd(), &mut bytes) {
            Ok(count @ 1..) => answer.extend_from_slice(&bytes[..count]),
            _ => break,
        }
    }
    if !has_flags(&answer) {
        return Ok(false);
    }
    execute!(out, PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES))?;
    Ok(true)
}

/// Whether the terminal tells when keys are let go. Only after [`speak_keyboard`] said yes.
pub fn tell_releases(tell: bool) -> io::Result<()> {
    let mut flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
    flags.set(KeyboardEnhancementFlags::REPORT_EVENT_TYPES, tell);
    let mut out = io::stdout();
    write!(out, "\x1b[={};1u", flags.bits())?;
    out.flush()
}

/// Whether the device attributes are there: `ESC [ ? … c`.
fn is_answered(answer: &[u8]) -> bool {
    parts(answer).any(|(_, last)| last == b'c')
}

/// Whether the keyboard's flags are there: `ESC [ ? … u`.
fn has_flags(answer: &[u8]) -> bool {
    parts(answer).any(|(digits, last)| last == b'u' && !digits.is_empty())
}

/// Everything like `ESC [ ? parameters last`.
fn parts(answer: &[u8]) -> impl Iterator<Item = (&[u8], u8)> {
    answer.split(|byte| *byte == 0x1b).filter_map(|part| {
        let rest = part.strip_prefix(b"[?")?;
        let length = rest.iter().position(|byte| !(byte.is_ascii_digit() || *byte == b';'))?;
        Some((&rest[..length], rest[length]))
    })
}

/// Puts the terminal back; harmless when it was not taken, or is gone.
pub fn give_back() {
    // Flags of the keyboard belong to the screen they were set on; without any, taking them back does nothing.
    let _ = execute!(
        io::stdout(),
        PopKeyboardEnhancementFlags,
        cursor::SetCursorStyle::DefaultUserShape,
        DisableFocusChange,
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        for (answer, answered, flags) in [
            (b"\x1b[?0u\x1b[?62;4c".as_slice(), true, true),
            (b"\x1b[?62c", true, false),
            (b"\x1b[?1u", false, true),
            (b"cu?c\x1b[?6", false, false),
        ] {
            assert_eq!((is_answered(answer), has_flags(answer)), (answered, flags), "{answer:?}");
        }
    }
}
