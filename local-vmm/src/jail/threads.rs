//! Threads behind the filters of their kinds.

use super::{JailError, allocator, calls};
use crate::Kind;
use seccompiler::BpfProgram;
use std::io;
use std::sync::OnceLock;
use std::thread;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs a virtual CPU.
    Cpu,
    /// Serves the disk.
    Disk,
    /// Serves connections.
    Sockets,
    /// Serves the disk to QEMU, with all that takes.
    DiskOfQemu,
    /// Serves connections to QEMU.
    SocketsOfQemu,
    /// Serves a device that has nothing on the host.
    Device,
    /// Writes the console's log.
    Console,
    /// Serves the server: the main thread, and those that take calls.
    Control,
}

/// All of them.
pub const ROLES: [Role; 8] = [
    Role::Cpu,
    Role::Disk,
    Role::Sockets,
    Role::DiskOfQemu,
    Role::SocketsOfQemu,
    Role::Device,
    Role::Console,
    Role::Control,
];

struct Filters {
    each: Vec<(Role, BpfProgram)>,
    unknown: BpfProgram,
}

/// There once the process is in its jail. Without it, as in tests of a part, threads are not filtered.
static FILTERS: OnceLock<Filters> = OnceLock::new();

/// Makes the filters, while it can still be told that one cannot be made.
pub(super) fn prepare(kind: Kind) -> Result<(), JailError> {
    let failed = JailError::of("filter system calls");
    let qemu = kind == Kind::Emulated;
    let each =
        ROLES.into_iter().map(|role| Ok((role, calls::filter(role, qemu)?))).collect::<Result<_, String>>();
    let filters = Filters {
        each: each.map_err(|why| failed(&why))?,
        unknown: calls::unknown().map_err(|why| failed(&why))?,
    };
    allocator::opens_no_files();
    // A process enters its jail once.
    let _ = FILTERS.set(filters);
    Ok(())
}

/// Bytes of a thread's stack. A stack of two MiB may happen to lie where the kernel backs it by one large page, and then takes all of it.
pub(crate) const STACK: usize = 512 << 10;

/// Starts a thread that makes the system calls of its kind and no others.
pub fn spawn(
    role: Role,
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(move || {
        if let Err(error) = confine_this_thread(role) {
            // Whatever it is for, it must not be done without.
            tracing::error!("{error}");
            std::process::abort();
        }
        body();
    })
}

/// From here on the calling thread, and those that it starts, make the system calls of that kind and no others.
pub fn confine_this_thread(role: Role) -> Result<(), JailError> {
    let Some(filters) = FILTERS.get() else { return Ok(()) };
    let failed = JailError::of("filter system calls");
    if matches!(role, Role::Control | Role::DiskOfQemu | Role::SocketsOfQemu) {
        seccompiler::apply_filter(&filters.unknown).map_err(|error| failed(&error))?;
    }
    let (_, filter) =
        filters.each.iter().find(|(known, _)| *known == role).ok_or_else(|| failed(&"no such kind"))?;
    seccompiler::apply_filter(filter).map_err(|error| failed(&error))
}
