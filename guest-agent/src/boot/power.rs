//! The end of a machine.

use super::say;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

/// Ends what still runs, flushes the disk and turns the machine off.
pub(super) fn off() -> ! {
    // Sessions have had their time; what is left, orphans included, must let go of the disk. Never PID 1 itself.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    nix::unistd::sync();
    if let Err(error) = read_only() {
        say(&format!("the disk could not be made read-only: {}; it was flushed", error.desc()));
        nix::unistd::sync();
    }
    loop {
        let Err(error) = reboot(RebootMode::RB_POWER_OFF);
        // PID 1 must not return: that would be a kernel panic. The host ends the machine at its own deadline.
        say(&format!("the machine cannot be turned off: {}", error.desc()));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Makes the disk's file system consistent as it is: its journal is empty after this. Killed processes may take a moment to
/// let go, so it is tried again for a while.
fn read_only() -> Result<(), Errno> {
    let mut tries = 0;
    loop {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        match mount(None::<&str>, "/", None::<&str>, flags, None::<&str>) {
            Err(Errno::EBUSY) if tries < 100 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
