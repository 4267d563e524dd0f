//! A process of its own for the machine, the first in namespaces of its own: it sees no other process, no network and nothing of the host's mounts.
//!
//! The process that was started stays outside and does nothing but wait, hand signals on, and end as the machine's ends. The two
//! die together.

use super::{JailError, group};
use crate::MachineSpec;
use crate::machine::files;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getgid, getuid};
use std::fs;
use std::io::{PipeReader, Read, Write, pipe};

/// Signals that end a machine in order.
const ENDINGS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The machine's process, from within.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its number, as the host sees it.
    pid: u32,
    apart: bool,
}

impl Machine {
    /// Its process id outside of its namespaces.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has namespaces of its own.
    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }
}

/// Goes on in a process of its own; the calling one never returns from this and ends as that one does. The number of the new process is
/// written into the run folder first. The caller must be its process's only thread.
pub fn part(spec: &MachineSpec) -> Result<Machine, JailError> {
    let failed = JailError::of("start a process of its own");
    let apart = match leave() {
        Ok(()) => true,
        Err(errno) => {
            tracing::warn!("this host allows no namespaces ({errno}); the other walls hold");
            false
        }
    };
    let (reader, mut writer) = pipe().map_err(|error| failed(&error))?;
    let waits: SigSet = ENDINGS.into_iter().chain([Signal::SIGCHLD]).collect();
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&waits), Some(&mut before)).map_err(|errno| failed(&errno))?;
    // SAFETY: this is the only thread, so the child finds no lock taken and nothing half-done.
    match unsafe { fork() }.map_err(|errno| failed(&errno))? {
        ForkResult::Child => {
            drop(writer);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(|errno| failed(&errno))?;
            Ok(Machine { pid: begin(reader)?, apart })
        }
        ForkResult::Parent { child } => {
            drop(reader);
            let group = group::enter(spec, child);
            let number = child.as_raw();
            let told = fs::write(spec.run_dir.join(files::PID), number.to_string())
                .and_then(|()| writer.write_all(&number.to_le_bytes()));
            if let Err(error) = told {
                tracing::error!("cannot tell the machine's process its number: {error}");
                let _ = kill(child, Signal::SIGKILL);
            }
            drop(writer);
            let code = attend(child, &waits);
            drop(group);
            std::process::exit(code)
        }
    }
}

/// The first steps of the new process: it dies with the one that waits for it, and learns its number.
fn begin(mut reader: PipeReader) -> Result<u32, JailError> {
    let failed = JailError::of("begin in a process of its own");
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| failed(&errno))?;
    let mut number = [0; 4];
    // Also tells that the other one was still there after the line above.
    reader.read_exact(&mut number).map_err(|error| failed(&error))?;
    Ok(u32::from_le_bytes(number))
}

/// Leaves the host's namespaces; those of processes count for children only.
fn leave() -> nix::Result<()> {
    let (user, group) = (getuid(), getgid());
    let apart = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match unshare(apart | CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            // A user sees itself as itself, and nobody else.
            let write = |name: &str, text: String| {
                fs::write(format!("/proc/self/{name}"), text)
                    .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
            };
            write("setgroups", "deny".into())?;
            write("uid_map", format!("{user} {user} 1"))?;
            write("gid_map", format!("{group} {group} 1"))
        }
        // The host's administrator needs none for users.
        Err(_) if user.is_root() => unshare(apart),
        Err(errno) => Err(errno),
    }
}

/// Waits for the machine's end, and hands on what should end it. Gives the code to end with.
fn attend(child: Pid, waits: &SigSet) -> i32 {
    loop {
        match waits.wait() {
            Ok(Signal::SIGCHLD) => match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return code,
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    if signal == Signal::SIGSYS {
                        tracing::error!(
                            "the machine's process asked the kernel for something that it has no business with, and was ended"
                        );
                    }
                    return 128 + signal as i32;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return 1,
            },
            Ok(signal) => {
                // It may have ended a moment ago.
                let _ = kill(child, signal);
            }
            Err(_) => return 1,
        }
    }
}
