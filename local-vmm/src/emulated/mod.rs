//! The emulated machine: QEMU's software CPU with our devices, for hosts without usable KVM.
//!
//! QEMU computes; disk and sockets are ours and reach it over vhost-user. It gets no network but the cable of its card, no files but kernel and initramfs, and dies
//! with this process.

mod block;
mod clock;
mod qemu;
mod qmp;
mod vhost;
mod vsock;

use crate::MachineSpec;
use crate::devices::block::Block;
use crate::devices::vsock::Vsock;
use crate::machine::files;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use clock::tsc_khz;
pub use qemu::{Qemu, find};

/// How long QEMU may take to answer a command.
const ANSWER: Duration = Duration::from_secs(10);

/// Why the emulated machine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EmulatedError {
    /// There is no QEMU.
    #[error("QEMU is not installed; install the package qemu-system-x86 (`cargo xtask run` does it)")]
    NoQemu,
    /// Something of the host's failed.
    #[error("cannot {doing}: {source}")]
    Host {
        /// What was tried.
        doing: &'static str,
        /// The host's reason.
        source: io::Error,
    },
    /// A device cannot be attached.
    #[error("the {device} cannot be attached: {why}")]
    Device {
        /// Which one.
        device: &'static str,
        /// The reason.
        why: String,
    },
    /// QEMU refused a command.
    #[error("QEMU refuses {command}: {why}")]
    Refused {
        /// What it was told.
        command: &'static str,
        /// Its own words.
        why: String,
    },
    /// QEMU did not answer in time, or has ended.
    #[error("QEMU does not answer {command}; stop the sprite and start it again")]
    Silent {
        /// What it was told.
        command: &'static str,
    },
}

impl EmulatedError {
    pub(crate) fn host(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { doing, source }
    }
}

/// A running emulated machine.
#[derive(Debug)]
pub struct Emulated {
    child: Mutex<Child>,
    qmp: qmp::Qmp,
    pid: u32,
    /// Shows what it has computed.
    clock: Option<ClockId>,
}

impl Emulated {
    /// Starts the machine. Its console goes to `console`, QEMU's own words to the standard error of this process.
    ///
    /// Must be called from a thread that lives as long as the machine should: the kernel kills QEMU when it ends.
    pub fn start(
        spec: &MachineSpec,
        initramfs: &Path,
        cable: Option<&UnixStream>,
        disk: Disk,
        sockets: &Arc<Vsock>,
        console: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, EmulatedError> {
        // Its version is of no use here, and asking for it would start it twice.
        let qemu = qemu::executable().ok_or(EmulatedError::NoQemu)?;
        let disk = match disk {
            Disk::Ours(block) => {
                let socket = spec.inside().join(files::BLOCK);
                block::serve(*block, &socket)?;
                DiskAt::Socket(socket)
            }
            Disk::Raw(file, accel) => DiskAt::Raw(file, accel),
        };
        let attach = Attach { disk, vsock: spec.inside().join(files::VSOCK) };
        vsock::serve(Arc::clone(sockets), &attach.vsock)?;
        let (mut child, control, screen) = qemu::spawn(&qemu, spec, initramfs, cable, &attach)?;
        qemu::watch_console(screen, console)?;
        let pid = child.id();
        match qmp::Qmp::connect(control, ANSWER) {
            Ok(qmp) => {
                let clock = i32::try_from(pid).ok().map(Pid::from_raw).map(clock_getcpuclockid);
                Ok(Self { child: Mutex::new(child), qmp, pid, clock: clock.and_then(Result::ok) })
            }
            Err(error) => {
                let _ = child.kill();
                let ended = child.wait();
                // Its own message stands in the log; a start that fails at once is told by its exit.
                Err(match ended {
                    Ok(status) if status.code().is_some_and(|code| code != 0) => EmulatedError::Device {
                        device: "machine",
                        why: format!("QEMU ended with {status}; its log tells why"),
                    },
                    _ => error,
                })
            }
        }
    }

    /// Number of QEMU's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Host memory that backs the machine now, bytes; 0 where the host does not show it.
    pub fn memory_bytes(&self) -> u64 {
        crate::kvm::resident(&format!("/proc/{}/statm", self.pid))
    }

    /// Stops all virtual CPUs.
    pub fn pause(&self) -> Result<(), EmulatedError> {
        let done = self.qmp.call("stop", ANSWER);
        if matches!(done, Err(EmulatedError::Silent { .. })) {
            // It may do it later all the same, and then nobody would know; this comes after it.
            let _ = self.qmp.call("cont", ANSWER);
        }
        done
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<(), EmulatedError> {
        self.qmp.call("cont", ANSWER)
    }

    /// Lets the machine begin again from its kernel, as the reset button would; what the guest flushed is safe.
    pub fn reset(&self) -> Result<(), EmulatedError> {
        // A guest that wants to begin again ends QEMU; for this once it does not.
        self.qmp.call_with("set-action", r#"{"reboot":"reset"}"#, ANSWER)?;
        self.qmp.call("system_reset", ANSWER)?;
        self.qmp.call_with("set-action", r#"{"reboot":"shutdown"}"#, ANSWER)
    }

    /// What all of QEMU has computed so far; none where the host does not show it.
    pub fn cpu_time(&self) -> Option<Duration> {
        Some(clock_gettime(self.clock?).ok()?.into())
    }

    /// Ends the machine at once, as pulling the plug would; what the guest flushed is safe.
    pub fn kill(&self) {
        // It may have ended by itself.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// How the machine ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    /// Waits until the machine has ended or the deadline has passed.
    pub fn wait(&self, deadline: Option<Duration>) -> Option<ExitStatus> {
        let give_up = deadline.map(|deadline| Instant::now() + deadline);
        loop {
            // The control socket closes when the process ends; it is only a hint to look.
            let left =
                give_up.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
            self.qmp.closed(left.min(Duration::from_secs(1)));
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if give_up.is_some_and(|at| Instant::now() >= at) {
                return None;
            }
            if self.qmp.is_closed() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Who serves the machine's disk.
#[derive(Debug)]
pub enum Disk {
    /// We do.
    Ours(Box<Block>),
    /// QEMU itself, from a raw file and with a CPU of choice: what our disk and our monitor are measured against. No sprite runs so.
    Raw(PathBuf, Accel),
}

/// What computes in a machine that is there to be measured against. With a disk of ours it is always software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's software CPU.
    Software,
    /// The host's KVM.
    Kvm,
}

/// Where QEMU finds the devices.
struct Attach {
    disk: DiskAt,
    vsock: PathBuf,
}

enum DiskAt {
    Socket(PathBuf),
    Raw(PathBuf, Accel),
}

impl DiskAt {
    fn accel(&self) -> Accel {
        match self {
            Self::Socket(_) => Accel::Software,
            Self::Raw(_, accel) => *accel,
        }
    }
}
