//! The app in the background of a shell: the terminal is the shell's until it is called back.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use std::io;

/// Stops this process as the terminal's own key would, until the shell lets it go on. Where no shell could do that, nothing happens (`man 7
/// signal`, `man 3 setpgid`, orphaned process groups).
///
/// Blocks; the terminal has been given back before.
pub fn stop() -> io::Result<()> {
    let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of this program, and what was set before is set again.
    let before = unsafe { sigaction(Signal::SIGTSTP, &usual)? };
    let stopped = raise(Signal::SIGTSTP);
    // SAFETY: as above.
    unsafe { sigaction(Signal::SIGTSTP, &before)? };
    stopped.map_err(io::Error::from)
}
