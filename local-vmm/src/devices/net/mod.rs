//! The network card, virtio device 1 (VIRTIO 1.2, section 5.1): one pair of queues, and nothing that a card might do beyond carrying frames.
//!
//! Its cable is a unix socket. On it each frame is preceded by its length, four bytes in network order: what passt speaks, and QEMU's
//! `-netdev stream`. Whoever is at the other end is the network; this device looks into no frame.
//!
//! Neither side can make the other keep more than a little. While the peer does not read, [`HELD`] bytes of frames are kept and the rest stays in
//! the guest's queue. While the guest has no buffers, one frame of the peer's is kept and the rest stays in the socket. A peer that goes away
//! leaves a card whose frames are lost, and so is one whose cable is not plugged in.

#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod link;
mod serve;
#[cfg(test)]
mod tests;

pub use serve::serve;

use link::Link;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Its number in the standard.
pub const KIND: u32 = 1;
/// What the log calls it.
pub const NAME: &str = "network card";
/// Number of its queues.
pub const QUEUES: usize = 2;
/// Queue of frames for the guest.
pub const RECEIVE: usize = 0;
/// Queue of frames from the guest.
pub const TRANSMIT: usize = 1;

/// Largest packet within a frame, bytes.
pub const MTU: u16 = 1500;
/// Bytes of a frame's own header: two addresses and a type.
const ETHERNET: usize = 14;
/// Largest frame, bytes. Larger ones are dropped.
const MAX_FRAME: usize = ETHERNET + MTU as usize;
/// Bytes before each frame in a queue (`struct virtio_net_hdr`, VIRTIO 1.2, section 5.1.6).
const HEADER: usize = 12;
/// Bytes from the guest that are kept while the peer does not read.
const HELD: usize = 64 << 10;
/// Most frames of one direction before the other has its turn.
const TURN: usize = 128;

/// The configuration space tells the largest packet (VIRTIO 1.2, section 5.1.3).
const HAS_MTU: u64 = 1 << 3;
/// The configuration space tells the address.
const HAS_MAC: u64 = 1 << 5;
/// Feature bits offered.
pub const FEATURES: u64 = HAS_MTU | HAS_MAC;

/// The device.
#[derive(Debug)]
pub struct Net {
    mac: [u8; 6],
    socket: UnixStream,
    link: Mutex<Link>,
}

impl Net {
    /// A card with that address on a cable.
    pub fn new(socket: UnixStream, mac: [u8; 6]) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { mac, socket, link: Mutex::default() })
    }

    /// A card whose cable leads nowhere.
    pub fn unplugged(mac: [u8; 6]) -> io::Result<Self> {
        let (socket, _) = UnixStream::pair()?;
        Ok(Self { link: Mutex::new(Link::dead()), ..Self::new(socket, mac)? })
    }

    /// The configuration space (`struct virtio_net_config`): address, status, pairs of queues, largest packet.
    pub fn config(&self) -> [u8; 12] {
        let mut config = [0; 12];
        config[..6].copy_from_slice(&self.mac);
        config[8..10].copy_from_slice(&1u16.to_le_bytes());
        config[10..].copy_from_slice(&MTU.to_le_bytes());
        config
    }

    /// What to wait for besides the queues: the device wants to be [served](serve) whenever something changes here, whether it can be read or
    /// written. Both are used up then, so that it need not be looked at before the next change (`EPOLLET`).
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // Each step leaves it whole.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
