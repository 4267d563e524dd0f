//! One sprite's computer: its devices, its process, its virtual machine.
//!
//! [`machine::run`] is the whole life of one machine process; [`MachineHandle`] is how the server starts, finds and drives one. The disk
//! is `vmm_disk`, images are `vmm_image`. Threads, confinement and protocols: `docs/machine.md`.

pub mod devices;
pub mod emulated;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateway;
pub mod initramfs;
pub mod jail;
pub mod kvm;
pub mod machine;
mod monitor;
mod random;
mod spec;

pub use machine::control::{CheckpointDone, MachineStatus, State, Suspended};
pub use machine::handle::{ExitReason, HandleError, MachineHandle};
pub use monitor::{End, Host, Kind, Monitor, MonitorError};
pub use spec::{MachineSpec, NetSpec, SpecError};

/// A guest's memory.
pub type Memory = vm_memory::GuestMemoryMmap<()>;
/// A guest's memory as it is now; a guest may change its layout while devices work.
pub type MemoryNow = vm_memory::atomic::GuestMemoryLoadGuard<Memory>;
/// One request of a driver.
pub type Chain = virtio_queue::DescriptorChain<MemoryNow>;
