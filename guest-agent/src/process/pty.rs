//! Pseudo terminals. One of the modules with `unsafe`: the terminal calls have no safe form.

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, posix_openpt, unlockpt};
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

/// Both ends of a new pseudo terminal.
pub(crate) struct Pty {
    /// The end of the one who draws and types.
    pub(crate) master: OwnedFd,
    /// The end of the program.
    pub(crate) slave: OwnedFd,
}

/// Opens a pseudo terminal of `cols` by `rows` cells, in UTF-8 mode so that erasing a character erases all its bytes.
pub(crate) fn open(cols: u16, rows: u16) -> io::Result<Pty> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    unlockpt(&master)?;
    let slave = peer(&master)?;
    // SAFETY: `into_raw_fd` gives up the only owner of the descriptor, so it is owned exactly once again.
    let master = unsafe { OwnedFd::from_raw_fd(master.into_raw_fd()) };
    set_size(&master, cols, rows)?;
    let mut mode = tcgetattr(&slave)?;
    mode.input_flags |= InputFlags::IUTF8;
    tcsetattr(&slave, SetArg::TCSANOW, &mode)?;
    Ok(Pty { master, slave })
}

/// Opens the program's end by its master, which works whatever is mounted on `/dev/pts`.
fn peer(master: &PtyMaster) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the call takes an integer and returns a new descriptor or an error.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets the size, cells. The foreground process group gets SIGWINCH from the kernel when it changed.
pub(crate) fn set_size(terminal: impl AsFd, cols: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid `winsize` that outlives the call, which only reads it.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The process group that has the terminal now.
pub(crate) fn foreground(terminal: impl AsFd) -> Option<i32> {
    nix::unistd::tcgetpgrp(terminal).ok().map(|group| group.as_raw()).filter(|group| *group > 1)
}
