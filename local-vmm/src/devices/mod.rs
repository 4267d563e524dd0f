//! Device cores: what a device does with a driver's requests, without knowing how these arrive. The emulated machine brings them over
//! vhost-user, our own monitor over virtio-mmio.
//!
//! Each device has the same few entrances: its feature bits, its configuration space, and a function per queue that takes one chain
//! of descriptors and gives the number of bytes written into it. Whatever a guest puts into a chain is checked here.
//!
//! Source of formats and numbers: Virtual I/O Device (VIRTIO) Version 1.2, OASIS.

pub mod block;
pub mod ring;
pub mod rng;
pub mod vsock;
