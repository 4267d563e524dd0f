//! The disk, virtio device 2 (VIRTIO 1.2, section 5.2).

mod bell;
mod data;
mod request;
mod serve;
#[cfg(test)]
mod tests;

pub use bell::Bell;
pub use serve::Server;

use crate::{Chain, Memory};
use std::sync::Arc;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_WRITE_ZEROES,
};
use vmm_disk::{BLOCK, Volume};

/// Its number in the standard.
pub const KIND: u32 = 2;
/// What the log calls it.
pub const NAME: &str = "disk";
/// Most queues.
pub const MAX_QUEUES: u16 = 4;
/// Unit of positions and lengths on the wire, bytes.
const SECTOR: u64 = 512;
/// Most data of one request, bytes. Linux asks for 1.25 MiB at most.
const MAX_DATA: usize = 4 << 20;
/// Most data descriptors of a request.
const SEG_MAX: u32 = 254;
/// Most ranges of a discard or write-zeroes request.
const MAX_RANGES: u32 = 64;
/// Longest range of a discard or write-zeroes request, sectors (1 GiB).
const MAX_RANGE: u32 = 1 << 21;
/// Bytes given back to the host at once; other requests wait for so long.
const TIDY: u64 = 16 << 20;
/// Bytes of the configuration space, up to and including the write-zeroes fields.
const CONFIG: usize = 60;
/// Bytes of the device's name.
const ID: usize = 20;

/// Feature bits offered by a disk of one queue.
const FEATURES: u64 = 1 << VIRTIO_BLK_F_SEG_MAX
    | 1 << VIRTIO_BLK_F_BLK_SIZE
    | 1 << VIRTIO_BLK_F_FLUSH
    | 1 << VIRTIO_BLK_F_DISCARD
    | 1 << VIRTIO_BLK_F_WRITE_ZEROES;

/// The device. Any number of threads may have it [handle](Self::handle) requests at once: the volume keeps them apart where it must.
#[derive(Debug)]
pub struct Block {
    volume: Arc<Volume>,
    bell: Arc<Bell>,
    id: [u8; ID],
    queues: u16,
}

impl Block {
    /// A device of one queue on `volume`, whose bell is `bell`; the first twenty bytes of `name` are what the guest sees as its serial number.
    pub fn new(volume: Arc<Volume>, bell: Arc<Bell>, name: &str) -> Self {
        let mut id = [0; ID];
        for (to, from) in id.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self { volume, bell, id, queues: 1 }
    }

    /// The same with so many queues, [`MAX_QUEUES`] at most.
    pub fn with_queues(self, queues: u32) -> Self {
        let queues = u16::try_from(queues).unwrap_or(MAX_QUEUES).clamp(1, MAX_QUEUES);
        Self { queues, ..self }
    }

    /// Number of its queues.
    pub fn queues(&self) -> usize {
        usize::from(self.queues)
    }

    /// Feature bits offered.
    pub fn features(&self) -> u64 {
        FEATURES | if self.queues > 1 { 1 << VIRTIO_BLK_F_MQ } else { 0 }
    }

    /// The configuration space (`struct virtio_blk_config`).
    pub fn config(&self) -> [u8; CONFIG] {
        let mut config = [0; CONFIG];
        let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(self.volume.size() / SECTOR).to_le_bytes());
        put(12, &SEG_MAX.to_le_bytes());
        put(20, &(BLOCK as u32).to_le_bytes());
        // num_queues
        put(34, &self.queues.to_le_bytes());
        put(36, &MAX_RANGE.to_le_bytes());
        put(40, &MAX_RANGES.to_le_bytes());
        put(44, &((BLOCK / SECTOR) as u32).to_le_bytes());
        put(48, &MAX_RANGE.to_le_bytes());
        put(52, &MAX_RANGES.to_le_bytes());
        // write_zeroes_may_unmap
        put(56, &[1]);
        config
    }

    /// Whether a transport should let other requests pass this one, because it waits for the host's disk: a flush, which a driver counts on
    /// only for what was done before it asked. Not while the guest is being brought to rest: then the shortest way is the best.
    pub fn takes_long(&self, memory: &Memory, chain: &Chain) -> bool {
        request::is_flush(memory, chain) && !self.bell.is_armed()
    }

    /// Gives some of what the guest discarded back to the host; true when more waits. For moments in which nothing else is to do.
    pub fn tidy(&self) -> bool {
        // What fails here fails the next flush too, where it is told.
        self.volume.trim(TIDY).unwrap_or(false)
    }

    /// Does what one chain asks for; returns the bytes written into it. A chain that makes no sense gets an error status where there is
    /// room for one, and is used up in any case.
    pub fn handle(&self, memory: &Memory, chain: Chain) -> u32 {
        request::handle(self, memory, chain).unwrap_or(0)
    }
}
