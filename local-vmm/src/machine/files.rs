//! Names within a machine's run folder.

use std::fs;
use std::path::Path;

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
pub(crate) const LOG: &str = "machine.log";

/// Removes what has no meaning without a process.
pub(super) fn clear(run_dir: &Path) {
    for name in [CONTROL, AGENT, BLOCK, VSOCK, INITRAMFS, PID] {
        // Often it is not there.
        let _ = fs::remove_file(run_dir.join(name));
    }
    let _ = fs::remove_dir(run_dir.join(crate::jail::ROOT));
}
