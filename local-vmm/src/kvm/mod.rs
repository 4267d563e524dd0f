//! Our own monitor: a microVM on KVM, for hosts whose KVM is real.
//!
//! | file | what it is |
//! |---|---|
//! | `probe` | whether KVM is real here |
//! | `host` | what it needs of the host, opened before the walls are up |
//! | `layout` | where things lie in the guest's address space |
//! | `machine` | the whole: start, pause, resume, end |
//! | `memory` | the guest's memory, fresh or from a file |
//! | `kept` | a machine in a folder, and folders that share one memory |
//! | `state` | everything else of a machine, kept in a file |
//! | `bounded` | lists of bounded length, for `state` |
//! | `kernel` | a kernel, put into memory |
//! | `boot` | kernel, initramfs and what the kernel is told, put into memory |
//! | `acpi` | the tables that describe the machine |
//! | `cpu` | what a virtual CPU is and how it begins |
//! | `vcpu` | the threads that run the CPUs |
//! | `bus` | what a CPU finds at ports and addresses |
//! | `transport` | virtio-mmio |
//! | `attach` | devices at work behind the transport |
//! | `devices` | the devices, as the transport sees them |
//! | `generation` | how a guest learns that it goes on from a copy |

mod acpi;
mod attach;
mod boot;
mod bounded;
mod bus;
mod cpu;
#[cfg(test)]
mod device_tests;
mod devices;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod generation;
mod host;
mod kept;
mod kernel;
mod layout;
mod machine;
mod memory;
mod probe;
mod state;
#[cfg(test)]
mod tests;
mod transport;
mod vcpu;

pub(crate) use boot::KERNEL_WORDS;
pub use host::KvmHost;
pub(crate) use host::resident;
pub(crate) use kept::{SHARED, tidy};
pub use kept::{forget, is_current, is_kept, kept_bytes, share};
pub use machine::{Begin, KvmMachine};
pub use probe::{KvmState, probe};

use std::io;

/// Why our monitor cannot run a machine.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// KVM itself refuses.
    #[error("KVM cannot {doing}: {source}")]
    Kvm {
        /// What was tried.
        doing: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// KVM is too old, or not all there.
    #[error("this host's KVM lacks {0}; a newer kernel has it")]
    Lacks(&'static str),
    /// The guest's memory.
    #[error("{0} MiB of memory cannot be had: {1}; give the sprite less, or stop another one")]
    Memory(u64, String),
    /// The kernel or the initramfs.
    #[error("the kernel {0} cannot be started: {1}; build the base image again")]
    Kernel(String, String),
    /// A kept state or memory.
    #[error("the sleeping state {0} cannot be used: {1}; the sprite starts without it")]
    State(String, String),
    /// Something of the host's failed.
    #[error("cannot {doing}: {source}")]
    Host {
        /// What was tried.
        doing: &'static str,
        /// The host's reason.
        source: io::Error,
    },
}

impl KvmError {
    fn kvm(doing: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self + Copy {
        move |errno| Self::Kvm { doing, source: io::Error::from_raw_os_error(errno.errno()) }
    }

    fn host(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Host { doing, source }
    }
}
