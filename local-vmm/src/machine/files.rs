//! Names within a machine's run folder, and how they are used safely.
//!
//! The folder itself is written by the server and by the process that waits for the machine, which are outside of the walls. What the machine
//! process makes is in the folder [`INSIDE`] below it. A guest that took over that process can put anything there, so whoever comes from outside follows
//! no link there and reads no more than it should.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the machine process may write: sockets, the console's log, the initramfs.
pub(crate) const INSIDE: &str = "in";

/// Held locked by the machine process.
pub(crate) const LOCK: &str = "lock";
/// Its process id.
pub(crate) const PID: &str = "pid";
/// Takes calls.
pub(crate) const CONTROL: &str = "control.sock";
/// Leads to the agent inside.
pub(crate) const AGENT: &str = "agent.sock";
/// Where QEMU finds the disk.
pub(crate) const BLOCK: &str = "block.sock";
/// Where QEMU finds the socket device.
pub(crate) const VSOCK: &str = "vsock.sock";
/// Modules and agent, for the kernel.
pub(crate) const INITRAMFS: &str = "initramfs";
/// How it ended.
pub(crate) const EXIT: &str = "exit.json";
/// What the process says.
pub(crate) const LOG: &str = "machine";
/// What the guest's console says.
pub(crate) const CONSOLE: &str = "console";
/// Longest file that is read from a run folder, bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Place of a log by its name.
pub(crate) fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).with_extension("log")
}

/// Path by which a socket can be connected to: the one that stands there now, and only if it is one. It is good as long as the file is kept.
pub(super) fn socket(path: &Path) -> io::Result<(File, PathBuf)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.file_type().is_socket() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    Ok((file, path))
}

/// A short file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes what has no meaning without a process.
pub(crate) fn clear(run_dir: &Path) {
    let inside = run_dir.join(INSIDE);
    for name in [CONTROL, AGENT, BLOCK, VSOCK, INITRAMFS] {
        // Often it is not there.
        let _ = fs::remove_file(inside.join(name));
    }
    let _ = fs::remove_file(run_dir.join(PID));
    let _ = fs::remove_dir(run_dir.join(crate::jail::ROOT));
}
