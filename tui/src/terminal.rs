//! The modes a terminal is in while the app has it.

use crate::question;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture, Event, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stdin, pipe2};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the terminal may take to tell which keyboard protocol it speaks.
const ASK: Duration = Duration::from_millis(200);

/// Whether this process has taken the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the terminal is no more.
static GONE: AtomicBool = AtomicBool::new(false);

/// Takes its keys, and leaves its screen as it is.
pub fn take_keys() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    Ok(())
}

/// Takes the terminal at standard output.
pub fn take() -> io::Result<()> {
    take_keys()?;
    let taken = execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        EnableFocusChange
    );
    taken.inspect_err(|_| give_back())
}

/// Watches the terminal at standard input from now on. The library that reads keys reads the end of one that is gone for ever, in the thread of
/// whoever asks it for a key, which then hears of nothing else; so what it reads becomes a place where nothing ever comes.
pub fn watch_for_its_end() -> io::Result<()> {
    let terminal = io::stdin().as_fd().try_clone_to_owned()?;
    let (nothing, open) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let watch = move || {
        while !is_over(terminal.as_fd(), PollTimeout::NONE) {}
        GONE.store(true, Ordering::SeqCst);
        let _ = dup2_stdin(&nothing);
        // As long as it is open, there is no end to read.
        std::mem::forget(open);
    };
    std::thread::Builder::new().name("terminal's end".into()).spawn(watch).map(drop)
}

fn is_over(terminal: BorrowedFd<'_>, wait: PollTimeout) -> bool {
    let mut asked = [PollFd::new(terminal, PollFlags::empty())];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    poll(&mut asked, wait).is_ok() && asked[0].revents().is_some_and(|events| events.intersects(gone))
}

/// Whether the terminal at standard input is no more. Mostly a signal tells that, but not where the terminal was not the one that controls this process; whoever
/// reads keys would then read its end again and again.
pub fn is_gone() -> bool {
    GONE.load(Ordering::SeqCst) || is_over(io::stdin().as_fd(), PollTimeout::ZERO)
}

/// Asks whether the terminal speaks the kitty keyboard protocol, and turns it on if so; gives the keys that were pressed meanwhile as well. Only
/// while nobody else reads keys. Blocks for [`ASK`] where there is no answer.
pub fn speak_keyboard() -> io::Result<(bool, Vec<Event>)> {
    let reply = question::ask(b"\x1b[?u", ASK)?;
    let speaks = reply.sequences.iter().any(|part| has_flags(part));
    if speaks {
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
        execute!(io::stdout(), PushKeyboardEnhancementFlags(flags))?;
    }
    Ok((speaks, reply.keys))
}

/// Whether the terminal tells when keys are let go. Only after [`speak_keyboard`] said yes.
pub fn tell_releases(tell: bool) -> io::Result<()> {
    let mut flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
    flags.set(KeyboardEnhancementFlags::REPORT_EVENT_TYPES, tell);
    let mut out = io::stdout();
    write!(out, "\x1b[={};1u", flags.bits())?;
    out.flush()
}

/// Whether it tells the keyboard's flags: `ESC [ ? … u`.
fn has_flags(part: &[u8]) -> bool {
    let digits = part.strip_prefix(b"\x1b[?").and_then(|rest| rest.strip_suffix(b"u"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

/// Puts the terminal back, if it was taken. Once: after it others have written there, such as what a panic says, and leaving the alternate screen again would
/// put the cursor in front of that.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        put_back();
    }
}

/// Puts the terminal back, whoever has taken it; harmless when it is gone.
pub fn put_back() {
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
        for (answer, flags) in
            [(b"\x1b[?0u".as_slice(), true), (b"\x1b[?62c", false), (b"\x1b[?u", false), (b"cu?c", false)]
        {
            assert_eq!(has_flags(answer), flags, "{answer:?}");
        }
    }
}
