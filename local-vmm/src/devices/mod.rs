//! Device cores: what a device does with a driver's requests, without knowing how these arrive. The emulated machine brings them over
//! vhost-user, our own monitor over virtio-mmio.
//!
//! Each device is a folder with the same files: `mod.rs` says what the device is (number, feature bits, configuration space), `serve.rs` works
//! on its queues, `tests.rs` has a driver that keeps the rules and several that do not. Whatever a guest puts into a chain is checked here.
//!
//! Source of formats and numbers: Virtual I/O Device (VIRTIO) Version 1.2, OASIS.

pub mod balloon;
pub mod block;
pub mod net;
pub mod ring;
pub mod rng;
#[cfg(test)]
pub(crate) mod testing;
pub mod vsock;
