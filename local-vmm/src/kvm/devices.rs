//! The devices, as the transport sees them.

use super::attach::{Device, MmioRing};
use crate::MemoryNow;
use crate::devices::{balloon, block, net, rng, vsock};
use crate::jail::Role;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// The disk.
pub(super) struct Disk(pub(super) block::Server<MmioRing>);

impl Device for Disk {
    fn name(&self) -> &'static str {
        block::NAME
    }

    fn kind(&self) -> u32 {
        block::KIND
    }

    fn role(&self) -> Role {
        Role::Disk
    }

    fn queues(&self) -> usize {
        self.0.block().queues()
    }

    /// Each queue for itself.
    fn groups(&self) -> Vec<Range<usize>> {
        (0..self.queues()).map(|queue| queue..queue + 1).collect()
    }

    fn features(&self) -> u64 {
        self.0.block().features()
    }

    fn config(&self) -> Vec<u8> {
        self.0.block().config().to_vec()
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        rings.iter().for_each(|ring| self.0.serve(ring, memory));
    }

    fn settle(&self) {
        self.0.settle();
    }
}

/// The sockets.
pub(super) struct Sockets {
    device: Arc<vsock::Vsock>,
    /// The guest was told of a reset, when it had offered so many buffers for events, and has not understood yet.
    told: Mutex<Option<u16>>,
}

impl Sockets {
    pub(super) fn new(device: Arc<vsock::Vsock>) -> Self {
        Self { device, told: Mutex::new(None) }
    }

    fn told(&self) -> MutexGuard<'_, Option<u16>> {
        // Each step leaves it whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for Sockets {
    fn name(&self) -> &'static str {
        vsock::NAME
    }

    fn kind(&self) -> u32 {
        vsock::KIND
    }

    fn role(&self) -> Role {
        Role::Sockets
    }

    fn queues(&self) -> usize {
        vsock::QUEUES
    }

    fn config(&self) -> Vec<u8> {
        self.device.config().to_vec()
    }

    fn waker(&self) -> Option<&EventFd> {
        Some(self.device.waker())
    }

    /// The guest learns that its connections are gone.
    fn moved(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [.., events] = rings {
            *self.told() = vsock::tell_reset(events, memory);
        }
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [receive, transmit, events] = rings {
            let mut told = self.told();
            if told.is_some_and(|told| vsock::has_understood(events, memory, told)) {
                *told = None;
            }
            vsock::serve(&self.device, receive, transmit, memory, told.is_some());
        }
    }
}

/// Randomness.
pub(super) struct Random;

impl Device for Random {
    fn name(&self) -> &'static str {
        rng::NAME
    }

    fn kind(&self) -> u32 {
        rng::KIND
    }

    fn queues(&self) -> usize {
        rng::QUEUES
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        rings.iter().for_each(|ring| rng::serve(ring, memory));
    }
}

/// Memory that the guest gives back.
pub(super) struct Balloon;

impl Device for Balloon {
    fn name(&self) -> &'static str {
        balloon::NAME
    }

    fn kind(&self) -> u32 {
        balloon::KIND
    }

    fn queues(&self) -> usize {
        balloon::QUEUES
    }

    fn features(&self) -> u64 {
        balloon::FEATURES
    }

    fn config(&self) -> Vec<u8> {
        balloon::config().to_vec()
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [inflate, deflate, reports @ ..] = rings {
            balloon::inflate(inflate, memory);
            balloon::take_back(deflate, memory);
            reports.iter().for_each(|ring| balloon::report(ring, memory));
        }
    }
}

/// The network card.
pub(super) struct Card(pub(super) net::Net);

impl Device for Card {
    fn name(&self) -> &'static str {
        net::NAME
    }

    fn kind(&self) -> u32 {
        net::KIND
    }

    fn role(&self) -> Role {
        Role::Sockets
    }

    fn queues(&self) -> usize {
        net::QUEUES
    }

    fn features(&self) -> u64 {
        net::FEATURES
    }

    fn config(&self) -> Vec<u8> {
        self.0.config().to_vec()
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.socket())
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [receive, transmit] = rings {
            net::serve(&self.0, receive, transmit, memory);
        }
    }
}
