//! A driver for tests: a queue in a memory of its own, and chains of any shape, hostile ones too.

use super::ring::Ring;
use crate::{Memory, MemoryNow};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic};

/// Bytes of the memory of a test.
pub(crate) const MEMORY: usize = 1 << 20;
/// Chains and descriptors of a queue.
pub(crate) const SIZE: u16 = 16;
/// The next descriptor belongs to the chain.
pub(crate) const NEXT: u32 = VRING_DESC_F_NEXT;
/// The device writes into it.
pub(crate) const WRITE: u32 = VRING_DESC_F_WRITE;
/// Bytes that a queue takes: descriptors, offers at 0x400, answers at 0x800.
const AREA: u64 = 0x1000;

/// A descriptor: place, length, flags, next.
pub(crate) type Part = (u64, u32, u32, u16);

/// A queue that counts how often its driver was told.
#[derive(Clone)]
pub(crate) struct TestRing {
    queue: Arc<Mutex<Queue>>,
    signals: Arc<AtomicUsize>,
    again: Arc<AtomicUsize>,
}

impl TestRing {
    /// How often its device wanted to be called again, since it was asked last.
    pub(crate) fn called_again(&self) -> usize {
        self.again.swap(0, Ordering::SeqCst)
    }
}

impl Ring for TestRing {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock().unwrap())
    }

    fn signal(&self) {
        self.signals.fetch_add(1, Ordering::SeqCst);
    }

    fn again(&self) {
        self.again.fetch_add(1, Ordering::SeqCst);
    }
}

/// Memory with nothing in it.
pub(crate) fn memory() -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap()
}

/// The driver's side of a queue, and its ring. See the module.
pub(crate) struct Driver {
    pub(crate) memory: Memory,
    pub(crate) ring: TestRing,
    base: u64,
    offered: u16,
    seen: u16,
}

impl Driver {
    /// The queue with that number, in the lowest part of the memory.
    pub(crate) fn new(memory: &Memory, number: u64) -> Self {
        let base = number * AREA;
        let low = |offset: u64| Some(u32::try_from(base + offset).unwrap());
        let mut queue = Queue::new(SIZE).unwrap();
        queue.set_size(SIZE);
        queue.set_desc_table_address(low(0), Some(0));
        queue.set_avail_ring_address(low(0x400), Some(0));
        queue.set_used_ring_address(low(0x800), Some(0));
        queue.set_ready(true);
        let ring =
            TestRing { queue: Arc::new(Mutex::new(queue)), signals: Arc::default(), again: Arc::default() };
        Self { memory: memory.clone(), ring, base, offered: 0, seen: 0 }
    }

    /// The memory, as devices get it.
    pub(crate) fn now(&self) -> MemoryNow {
        GuestMemoryAtomic::new(self.memory.clone()).memory()
    }

    /// Writes descriptors into the table, from number `at` on.
    pub(crate) fn describe(&self, at: u16, parts: &[Part]) {
        for (index, (addr, len, flags, next)) in (u64::from(at)..).zip(parts) {
            let place = self.base + index * 16;
            self.put(place, &addr.to_le_bytes());
            self.put(place + 8, &len.to_le_bytes());
            self.put(place + 12, &(*flags as u16).to_le_bytes());
            self.put(place + 14, &next.to_le_bytes());
        }
    }

    /// Offers the chain that begins at that descriptor.
    pub(crate) fn offer(&mut self, head: u16) {
        let place = self.base + 0x404 + 2 * u64::from(self.offered % SIZE);
        self.put(place, &head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        self.put(self.base + 0x402, &self.offered.to_le_bytes());
    }

    /// Describes a chain at the table's beginning and offers it.
    pub(crate) fn chain(&mut self, parts: &[Part]) {
        self.describe(0, parts);
        self.offer(0);
    }

    /// Chains that came back since the last look: which, and how many bytes are said to be in them.
    pub(crate) fn used(&mut self) -> Vec<(u32, u32)> {
        let number = |at: u64| self.memory.read_obj::<u32>(GuestAddress(at)).unwrap();
        let end: u16 = self.memory.read_obj(GuestAddress(self.base + 0x802)).unwrap();
        let mut out = Vec::new();
        while self.seen != end {
            let place = self.base + 0x804 + 8 * u64::from(self.seen % SIZE);
            out.push((number(place), number(place + 4)));
            self.seen = self.seen.wrapping_add(1);
        }
        out
    }

    /// How often the driver was told.
    pub(crate) fn signals(&self) -> usize {
        self.ring.signals.load(Ordering::SeqCst)
    }

    /// Bytes in memory.
    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.memory.read_slice(&mut out, GuestAddress(at)).unwrap();
        out
    }

    /// Puts bytes into memory.
    pub(crate) fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
    }
}

/// Any descriptors: in memory and out of it, with any flags, in circles and to nowhere.
pub(crate) fn any_parts() -> impl Strategy<Value = Vec<Part>> {
    let place = prop_oneof![0u64..MEMORY as u64, (0u64..256).prop_map(|page| page << 12), any::<u64>()];
    let len = prop_oneof![0u32..8192, (0u32..300).prop_map(|pages| pages << 12), any::<u32>()];
    prop::collection::vec((place, len, 0u32..8, 0u16..18), 1..usize::from(SIZE))
}

/// Chains that no driver may make; `good` is a place with data, which the device may read and write.
pub(crate) fn lies(good: u64) -> Vec<Vec<Part>> {
    let beyond = MEMORY as u64;
    let mut out = Vec::new();
    for way in [0, WRITE] {
        // Outside memory, across its end, around the end of all addresses, far too long, without length.
        out.push(vec![(beyond, 64, way, 0)]);
        out.push(vec![(beyond - 8, 64, way, 0)]);
        out.push(vec![(u64::MAX - 4, 64, way, 0)]);
        out.push(vec![(good, u32::MAX, way, 0)]);
        out.push(vec![(good, 0, way, 0)]);
        // In circles, and to nowhere.
        out.push(vec![(good, 64, way | NEXT, 0)]);
        out.push(vec![(good, 64, way | NEXT, 1), (good, 64, way | NEXT, 0)]);
        out.push(vec![(good, 64, way | NEXT, 60_000)]);
        // Over each other, and over the queue itself.
        out.push(vec![(good, 64, way | NEXT, 1), (good + 32, 64, way, 0)]);
        out.push(vec![(0, AREA as u32, way, 0)]);
    }
    // Both directions, in the wrong order.
    out.push(vec![(good, 64, WRITE | NEXT, 1), (good + 64, 64, 0, 0)]);
    out.push(vec![(good, 64, NEXT, 1), (good + 64, 64, WRITE, 0)]);
    out
}
