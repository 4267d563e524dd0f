//! Signal names, and sending signals to whole groups.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Reads a name with or without `SIG`, in any case.
pub(crate) fn parse(name: &str) -> Option<Signal> {
    let name = name.trim().to_ascii_uppercase();
    let bare = name.strip_prefix("SIG").unwrap_or(&name);
    format!("SIG{bare}").parse().ok()
}

/// Sends a signal to a process group; a group that is gone is no error.
pub(crate) fn send_group(group: i32, signal: Signal) -> Result<(), Errno> {
    match kill(Pid::from_raw(-group), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["TERM", "SIGTERM", "term", " sigterm "] {
            assert_eq!(parse(name), Some(Signal::SIGTERM), "{name}");
        }
        for (name, signal) in
            [("WINCH", Signal::SIGWINCH), ("USR1", Signal::SIGUSR1), ("SIGKILL", Signal::SIGKILL)]
        {
            assert_eq!(parse(name), Some(signal));
        }
        for bad in ["", "SIG", "9", "TERM;", "SIGSIGTERM", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
