//! A process of its own for the machine, the first in namespaces of its own: it sees no other process, no network and nothing of the host's mounts.
//!
//! The process that was started stays outside and does nothing but wait, hand signals on, and end as the machine's ends. The two
//! die together.

use super::{JailError, group};
use crate::MachineSpec;
use crate::machine::exit::Exit;
use crate::machine::files;
use crate::machine::log::BoundedLog;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, fork, getgid, getuid};
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;

/// Signals that end a machine in order.
const ENDINGS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
/// Most bytes that tell how a machine ended.
const OUTCOME: u64 = 64 << 10;
/// How long the last words of a machine that has ended may take, milliseconds.
const LAST_WORDS: u8 = 200;

/// The machine's process, from within.
#[derive(Debug)]
pub struct Machine {
    /// Its number, as the host sees it.
    pid: u32,
    apart: bool,
    outcome: PipeWriter,
}

impl Machine {
    /// Its process id outside of its namespaces.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells the process that waits how this one ends.
    pub fn tell(&mut self, outcome: &[u8]) {
        // Who waits hears nothing then, and takes it for killed.
        let _ = self.outcome.write_all(outcome);
    }

    /// Whether it has namespaces of its own.
    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }
}

/// Goes on in a process of its own; the calling one never returns from this and ends as that one does. The number of the new process is
/// written into the run folder first, and how it ended last. What it says on its standard error goes into a log that has an end. The caller must be
/// its process's only thread.
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
    let (outcome, told_outcome) = pipe().map_err(|error| failed(&error))?;
    let (words, said) = pipe().map_err(|error| failed(&error))?;
    let waits: SigSet = ENDINGS.into_iter().chain([Signal::SIGCHLD]).collect();
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&waits), Some(&mut before)).map_err(|errno| failed(&errno))?;
    // SAFETY: this is the only thread, so the child finds no lock taken and nothing half-done.
    match unsafe { fork() }.map_err(|errno| failed(&errno))? {
        ForkResult::Child => {
            drop((writer, outcome, words));
            dup2_stderr(said).map_err(|errno| failed(&errno))?;
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(|errno| failed(&errno))?;
            Ok(Machine { pid: begin(reader)?, apart: apart && depart(), outcome: told_outcome })
        }
        ForkResult::Parent { child } => {
            drop((reader, told_outcome, said));
            let group = group::enter(spec, child);
            let number = child.as_raw();
            let told = fs::write(spec.run_dir.join(files::PID), number.to_string())
                .and_then(|()| writer.write_all(&number.to_le_bytes()));
            if let Err(error) = told {
                tracing::error!("cannot tell the machine's process its number: {error}");
                let _ = kill(child, Signal::SIGKILL);
            }
            drop(writer);
            let mut log = BoundedLog::go_on(&spec.run_dir, files::LOG);
            let code = attend(child, &waits, words, &mut log);
            drop(group);
            let mut heard = Vec::new();
            // It has ended, and with it the other end of the pipe.
            let _ = outcome.take(OUTCOME).read_to_end(&mut heard);
            files::clear(&spec.run_dir);
            if let Some(exit) = Exit::heard(&heard) {
                exit.keep(&spec.run_dir);
            }
            std::process::exit(code)
        }
    }
}

/// Leaves the namespaces that the process which waits stays in, because it has files to write when this one has ended.
fn depart() -> bool {
    let apart = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match unshare(apart) {
        Ok(()) => true,
        Err(errno) => {
            tracing::warn!(
                "this host allows no namespaces of mounts and networks ({errno}); the other walls hold"
            );
            false
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

/// Leaves the host's namespaces of users and of processes; the latter counts for children only.
fn leave() -> nix::Result<()> {
    let (user, group) = (getuid(), getgid());
    let apart = CloneFlags::CLONE_NEWPID;
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

/// Waits for the machine's end, hands on what should end it, and writes down what it and QEMU say. Gives the code to end with.
///
/// In one thread: the kernel gives no others to a process that has left its namespace of processes.
fn attend(child: Pid, waits: &SigSet, mut words: PipeReader, log: &mut BoundedLog) -> i32 {
    let Ok(signals) = SignalFd::with_flags(waits, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC) else {
        return 1;
    };
    let mut speaks = true;
    loop {
        let mut watched = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(words.as_fd(), if speaks { PollFlags::POLLIN } else { PollFlags::empty() }),
        ];
        match poll(if speaks { &mut watched } else { &mut watched[..1] }, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
        let [told, said] = watched.map(|one| one.any().unwrap_or(false));
        if speaks && said {
            speaks = write_down(&mut words, log);
        }
        if told && let Some(code) = obey(child, &signals) {
            // Its last words are in the pipe already, and QEMU's come with its end.
            let quick = PollTimeout::from(LAST_WORDS);
            while speaks
                && poll(&mut [PollFd::new(words.as_fd(), PollFlags::POLLIN)], quick)
                    .is_ok_and(|ready| ready > 0)
            {
                speaks = write_down(&mut words, log);
            }
            return code;
        }
    }
}

/// Keeps what was said; false when there will be no more.
fn write_down(words: &mut PipeReader, log: &mut BoundedLog) -> bool {
    let mut buffer = [0; 4096];
    match words.read(&mut buffer) {
        Ok(count @ 1..) => {
            log.add(&buffer[..count]);
            true
        }
        _ => false,
    }
}

/// Takes the signals that have come; a code when the machine has ended.
fn obey(child: Pid, signals: &SignalFd) -> Option<i32> {
    while let Ok(Some(told)) = signals.read_signal() {
        let signal = i32::try_from(told.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
        match signal {
            Some(Signal::SIGCHLD) => match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return Some(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    if signal == Signal::SIGSYS {
                        tracing::error!(
                            "the machine's process asked the kernel for something that it has no business with, and was ended"
                        );
                    }
                    return Some(128 + signal as i32);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Some(1),
            },
            Some(signal) => {
                // It may have ended a moment ago.
                let _ = kill(child, signal);
            }
            None => {}
        }
    }
    None
}
