//! The walls around a machine process: what a guest finds that took over one of its devices.
//!
//! | file | what it is |
//! |---|---|
//! | `process` | a process of its own, first in namespaces of its own |
//! | `root` | a file system with nothing in it but the machine's own folders |
//! | `files` | Landlock: the same once more, by another part of the kernel, with sockets and signals |
//! | `limits` | resource limits, and no privileges |
//! | `group` | a control group, where the host has handed one over |
//! | `calls` | which system calls each kind of thread may make |
//! | `threads` | threads behind those filters |
//! | `allocator` | the C library's allocator, told how to behave there |
//! | `reader` | all of it for a process that only reads a disk |
//!
//! Each wall stands for itself: what the others keep out it keeps out too. Those that a host does not have (namespaces for users, an old
//! kernel's Landlock) are told in the log and left out; system calls are filtered, and privileges given up, always.

pub(crate) mod allocator;
mod calls;
mod files;
mod group;
pub(crate) mod limits;
mod process;
pub(crate) mod reader;
mod root;
mod threads;

pub use process::{Machine, part};
pub(crate) use root::PLACE as ROOT;
pub(crate) use threads::STACK;
pub use threads::{ROLES, Role, confine_this_thread, spawn};

use crate::{Kind, MachineSpec};

/// Why there is no jail.
#[derive(Debug, thiserror::Error)]
#[error("the machine is not started without its walls: {0}")]
pub struct JailError(String);

impl JailError {
    pub(crate) fn of(doing: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |why| Self(format!("cannot {doing}: {why}"))
    }
}

/// Puts the calling thread and all it will start behind the walls, but for the filters of system calls, which each thread gets when it starts. Call
/// it after [`part`], before there are other threads, and after everything outside of the machine's own folders has been opened.
pub fn enter(spec: &MachineSpec, machine: &Machine) -> Result<(), JailError> {
    limits::set()?;
    if machine.is_apart() {
        root::change(spec)?;
    }
    limits::give_up_privileges()?;
    files::restrict(spec)?;
    threads::prepare(spec.kind)
}

pub use limits::largest_file;

/// Numbers of the system calls that a thread may make, some of them with certain flags only. For tests.
pub fn allowed(role: Role, kind: Kind) -> std::collections::BTreeSet<i64> {
    calls::lists(role, kind == Kind::Emulated).into_iter().flatten().map(calls::Call::number).collect()
}
