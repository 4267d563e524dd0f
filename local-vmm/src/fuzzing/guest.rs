//! A guest's memory and queues, filled from the bytes of a case.
//!
//! Each queue has a page for its table, its rings and its indirect tables; data lies behind them. Descriptors point there mostly, and
//! sometimes anywhere at all. After a device has served the queues, [`Guest::check`] compares the memory with what it was: only what the guest
//! offered for writing may differ, and nothing is given back that was not offered or with more bytes than it had room for.

use super::memory;
use crate::devices::ring::Ring;
use crate::{Memory, MemoryNow};
use arbitrary::{Result, Unstructured};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic};

/// Bytes of memory.
pub(super) const MEMORY: usize = 128 << 10;
/// Entries of each queue.
pub(super) const SIZE: u16 = 16;
/// Begin of the data.
pub(super) const DATA: u64 = 0x4000;
/// Parts of a queue's page.
const PAGE: u64 = 0x1000;
const AVAIL: u64 = 0x400;
const USED: u64 = 0x800;
const INDIRECT: u64 = 0xc00;
/// Entries of an indirect table.
const INDIRECT_SIZE: u64 = 64;
/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const IN_TABLE: u16 = 4;

/// A queue in that memory.
#[derive(Clone)]
pub(super) struct GuestRing {
    queue: Arc<Mutex<Queue>>,
    signals: Arc<AtomicUsize>,
}

impl Ring for GuestRing {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn signal(&self) {
        self.signals.fetch_add(1, Ordering::SeqCst);
    }

    /// Whoever plays the guest calls as often as it likes.
    fn again(&self) {}
}

/// A part of a chain: place, length, whether the device writes there.
pub(super) type Part = (u64, u32, bool);

/// See the module.
pub(super) struct Guest {
    memory: GuestMemoryAtomic<Memory>,
    rings: Vec<GuestRing>,
    before: Vec<u8>,
}

/// How a queue's descriptor is made; the second argument is where the queue's page begins.
pub(super) type Descriptor = fn(&mut Unstructured<'_>, u64) -> Result<[u8; 16]>;

impl Guest {
    /// A guest with that many queues. `headers` are what its requests may begin with; they are laid out in the data, 512 bytes apart.
    pub(super) fn new(u: &mut Unstructured<'_>, queues: usize, headers: &[Vec<u8>]) -> Result<Self> {
        Self::with(u, queues, headers, any_descriptor)
    }

    /// The same with descriptors of the caller's. There is room for four queues.
    pub(super) fn with(
        u: &mut Unstructured<'_>,
        queues: usize,
        headers: &[Vec<u8>],
        descriptor: Descriptor,
    ) -> Result<Self> {
        assert!(queues as u64 * PAGE <= DATA, "queues lie before the data");
        let mut image = vec![0x5a; MEMORY];
        image[..DATA as usize].fill(0);
        for (at, header) in (DATA as usize..MEMORY).step_by(512).zip(headers) {
            image[at..at + header.len()].copy_from_slice(header);
        }
        let rings = (0..queues as u64)
            .map(|number| queue(u, number, &mut image, descriptor))
            .collect::<Result<Vec<_>>>()?;
        // And whatever else the guest likes, anywhere.
        for _ in 0..u.int_in_range(0..=3)? {
            let at = u.int_in_range(0..=MEMORY - 64)?;
            let len = u.int_in_range(0..=16)?;
            let bytes = u.bytes(len.min(u.len()))?;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let memory = memory::mapped();
        memory.memory().write_slice(&image, GuestAddress(0)).expect("it is as long as the memory");
        Ok(Self { memory, rings, before: image })
    }

    /// Its memory now.
    pub(super) fn now(&self) -> MemoryNow {
        self.memory.memory()
    }

    /// Its queues.
    pub(super) fn rings(&self) -> &[GuestRing] {
        &self.rings
    }

    /// Its memory before anything was served.
    pub(super) fn before(&self) -> &[u8] {
        &self.before
    }

    /// What must hold after the queues were served. False when the guest has its own queues or tables written over, so that little can be said.
    pub(super) fn check(&self) -> bool {
        memory::check_around();
        let mut after = vec![0; MEMORY];
        self.now().read_slice(&mut after, GuestAddress(0)).expect("it is as long as the memory");
        // Which of them a device came across depends on what it wrote itself, so all are taken.
        let mut open: Vec<Range<u64>> = (0..self.rings.len() as u64)
            .flat_map(|number| writable(&self.before, number * PAGE, u64::from(SIZE)))
            .filter(|range| !range.is_empty())
            .collect();
        if open.iter().any(|range| range.start < DATA) {
            // It gets what it asked for.
            return false;
        }
        for number in 0..self.rings.len() as u64 {
            let used = Self::used_ring(number);
            open.push(used.start as u64..used.end as u64);
        }
        let tables = (0..self.rings.len() as u64).flat_map(|number| self.tables(number));
        if tables
            .into_iter()
            .any(|table| open.iter().any(|range| range.start < table.end && table.start < range.end))
        {
            // What its device wrote led to other places.
            return false;
        }
        open.sort_by_key(|range| range.start);
        let mut at = 0;
        for range in &open {
            let from = range.start.min(MEMORY as u64) as usize;
            if from > at {
                assert!(self.before[at..from] == after[at..from], "bytes in {at:#x}..{from:#x} were changed");
            }
            at = at.max(range.end.min(MEMORY as u64) as usize);
        }
        assert!(self.before[at..] == after[at..], "bytes from {at:#x} on were changed");
        for (number, ring) in (0u64..).zip(&self.rings) {
            let page = number * PAGE;
            // What was offered: at most what the driver said, and never more than the queue is long in one go.
            let used = ring.with(|queue| queue.next_used());
            let offered = number_at(&self.before, page + AVAIL + 2, 2) as u16;
            assert!(used <= offered, "{used} of {offered} chains were used");
            if used > 0 {
                // Until then there is what the guest put there.
                assert_eq!(number_at(&after, page + USED + 2, 2) as u16, used);
            }
            for entry in 0..used.min(SIZE) {
                let place = page + USED + 4 + 8 * u64::from(entry);
                let (id, len) = (number_at(&after, place, 4), number_at(&after, place + 4, 4));
                assert!(id < u64::from(SIZE), "chain {id} was never there");
                let room = room(&self.before, page, id as u16);
                assert!(len <= room, "{len} bytes were written where {room} had room");
            }
        }
        true
    }

    /// Bytes written into each chain that a device gave back, in order. Right only where [`check`](Self::check) had something to say.
    pub(super) fn written(&self, number: u64) -> Vec<u32> {
        let ring = self.read(number * PAGE + USED, 4 + 8 * usize::from(SIZE));
        let used = self.rings[number as usize].with(|queue| queue.next_used());
        (0..u64::from(used.min(SIZE))).map(|entry| number_at(&ring, 8 + 8 * entry, 4) as u32).collect()
    }

    /// Where the indirect tables of a queue lie.
    fn tables(&self, number: u64) -> Vec<Range<u64>> {
        (0..u64::from(SIZE))
            .filter_map(|index| read_descriptor(&self.before, number * PAGE + index * DESCRIPTOR))
            .filter(|(_, _, flags, _)| flags & IN_TABLE != 0)
            .map(|(place, len, ..)| place..place.saturating_add(len))
            .collect()
    }

    /// Where a queue's used ring lies, which its device may always write.
    pub(super) fn used_ring(number: u64) -> Range<usize> {
        let begin = (number * PAGE + USED) as usize;
        begin..begin + 6 + 8 * usize::from(SIZE)
    }

    /// What the guest offered in a queue: each chain of its available ring, whether or not that many were made known.
    pub(super) fn chains(&self, number: u64) -> impl Iterator<Item = Chain> {
        let page = number * PAGE;
        let head = move |entry: u64| number_at(&self.before, page + AVAIL + 4 + 2 * entry, 2) as u16;
        (0..u64::from(SIZE)).map(move |entry| chain(&self.before, page, head(entry)))
    }

    /// The driver resets its device and uses queue `number` anew, for one chain of these parts; gives the ring. It keeps the rules.
    pub(super) fn offer(&self, number: u64, parts: &[Part]) -> GuestRing {
        let page = number * PAGE;
        let memory = self.now();
        let put = |at: u64, bytes: &[u8]| {
            memory.write_slice(bytes, GuestAddress(page + at)).expect("queues lie within the memory");
        };
        put(0, &[0; PAGE as usize]);
        for (index, (place, len, writes)) in (0u16..).zip(parts) {
            let more = usize::from(index) + 1 < parts.len();
            let flags = if *writes { WRITE } else { 0 } | if more { NEXT } else { 0 };
            put(u64::from(index) * DESCRIPTOR, &descriptor(*place, *len, flags, index + 1));
        }
        put(AVAIL + 2, &1u16.to_le_bytes());
        ring(page, false)
    }

    /// The driver resets its device and uses queue `number` anew, with nothing in it.
    pub(super) fn empty(&self, number: u64) -> GuestRing {
        self.write(number * PAGE, &[0; PAGE as usize]);
        ring(number * PAGE, false)
    }

    /// Bytes of the first chain that a device gave back; none when it gave back none.
    pub(super) fn used(&self, number: u64) -> Option<u32> {
        let memory = self.now();
        let read = |at: u64| memory.read_obj::<u32>(GuestAddress(number * PAGE + USED + at)).ok();
        (read(0)? >> 16 == 1).then(|| read(8)).flatten()
    }

    /// Bytes at a place.
    pub(super) fn read(&self, place: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.now().read_slice(&mut bytes, GuestAddress(place)).expect("the place lies within the memory");
        bytes
    }

    /// Puts bytes at a place.
    pub(super) fn write(&self, place: u64, bytes: &[u8]) {
        self.now().write_slice(bytes, GuestAddress(place)).expect("the place lies within the memory");
    }
}

/// Lays out a queue.
fn queue(
    u: &mut Unstructured<'_>,
    number: u64,
    image: &mut [u8],
    descriptor: Descriptor,
) -> Result<GuestRing> {
    let page = number * PAGE;
    let mut put = |at: u64, bytes: &[u8]| {
        let at = (page + at) as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    for index in 0..u64::from(u.int_in_range(0..=SIZE)?) {
        put(index * DESCRIPTOR, &descriptor(u, page)?);
    }
    if u.ratio(1, 3)? {
        for index in 0..u.int_in_range(0..=8)? {
            put(INDIRECT + index * DESCRIPTOR, &descriptor(u, page)?);
        }
    }
    let offered = u.int_in_range(0..=SIZE)?;
    for index in 0..offered {
        let head: u16 = if u.ratio(15, 16)? { u.int_in_range(0..=SIZE - 1)? } else { u.arbitrary()? };
        put(AVAIL + 4 + 2 * u64::from(index), &head.to_le_bytes());
    }
    let said = if u.ratio(15, 16)? { offered } else { u.arbitrary()? };
    put(AVAIL, &u.arbitrary::<u16>()?.to_le_bytes());
    put(AVAIL + 2, &said.to_le_bytes());
    put(AVAIL + 4 + 2 * u64::from(SIZE), &u.arbitrary::<u16>()?.to_le_bytes());
    Ok(ring(page, u.arbitrary()?))
}

/// A descriptor that makes sense by itself mostly.
pub(super) fn any_descriptor(u: &mut Unstructured<'_>, page: u64) -> Result<[u8; 16]> {
    let flags: u16 = u.int_in_range(0..=7)?;
    let (place, len) = match u.int_in_range(0..=9u8)? {
        0 => (u.arbitrary()?, u.arbitrary()?),
        1 => (u.int_in_range(0..=MEMORY as u64)?, u.int_in_range(0..=0x1_0000)?),
        2 | 3 if flags & IN_TABLE != 0 => (page + INDIRECT, u.int_in_range(0..=INDIRECT_SIZE as u32)? * 16),
        2 => (DATA + 512 * u.int_in_range(0..=15u64)?, 16),
        3 => (DATA + 0x4000 + u.int_in_range(0..=4095u64)?, 1),
        4 => (DATA + 512 * u.int_in_range(0..=15u64)?, u.int_in_range(0..=64)?),
        _ => (DATA + 0x2000 + u.int_in_range(0..=0x7fffu64)?, 512 * u.int_in_range(0..=16u32)?),
    };
    let next = if u.ratio(15, 16)? { u.int_in_range(0..=SIZE - 1)? } else { u.arbitrary()? };
    Ok(descriptor(place, len, flags, next))
}

pub(super) fn descriptor(place: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&place.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}

fn ring(page: u64, event_idx: bool) -> GuestRing {
    let mut queue = Queue::new(SIZE).expect("it is a power of two");
    queue.set_desc_table_address(Some(page as u32), Some(0));
    queue.set_avail_ring_address(Some((page + AVAIL) as u32), Some(0));
    queue.set_used_ring_address(Some((page + USED) as u32), Some(0));
    queue.set_event_idx(event_idx);
    queue.set_ready(true);
    GuestRing { queue: Arc::new(Mutex::new(queue)), signals: Arc::default() }
}

/// Place, length, flags and next of a descriptor; none outside of the memory.
fn read_descriptor(memory: &[u8], at: u64) -> Option<(u64, u64, u16, u16)> {
    let end = at.checked_add(DESCRIPTOR).filter(|end| *end <= memory.len() as u64);
    end.map(|_| {
        (
            number_at(memory, at, 8),
            number_at(memory, at + 8, 4),
            number_at(memory, at + 12, 2) as u16,
            number_at(memory, at + 14, 2) as u16,
        )
    })
}

/// All places that a table, and the tables it leads to, offer for writing.
fn writable(memory: &[u8], table: u64, entries: u64) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for (place, len, flags, _) in
        (0..entries).filter_map(|index| read_descriptor(memory, table + index * DESCRIPTOR))
    {
        if flags & WRITE != 0 {
            out.push(place..place.saturating_add(len));
        }
        if flags & IN_TABLE != 0 {
            let inner = |index: u64| read_descriptor(memory, place.checked_add(index * DESCRIPTOR)?);
            for (place, len, flags, _) in (0..(len / DESCRIPTOR).min(0x1_0000)).map_while(inner) {
                if flags & WRITE != 0 {
                    out.push(place..place.saturating_add(len));
                }
            }
        }
    }
    out
}

/// What a chain consists of, at most: a device may refuse it or some of it.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) parts: Vec<Part>,
    /// Its indirect table.
    pub(super) table: Option<Range<u64>>,
}

fn chain(memory: &[u8], page: u64, head: u16) -> Chain {
    let (mut table, mut entries, mut index) = (page, u64::from(SIZE), u64::from(head));
    let mut out = Chain::default();
    let mut left = entries;
    while left > 0 && index < entries {
        left -= 1;
        let Some(at) = table.checked_add(index * DESCRIPTOR) else { break };
        let Some((place, len, flags, next)) = read_descriptor(memory, at) else { break };
        if flags & IN_TABLE != 0 && out.table.is_none() {
            (table, entries, index) = (place, len / DESCRIPTOR, 0);
            left = entries.min(0x1_0000);
            out.table = Some(place..place.saturating_add(len));
            continue;
        }
        if len > 0 {
            out.parts.push((place, len as u32, flags & WRITE != 0));
        }
        if flags & NEXT == 0 {
            break;
        }
        index = u64::from(next);
    }
    out
}

/// Bytes that a chain offers for writing, at most.
fn room(memory: &[u8], page: u64, head: u16) -> u64 {
    let parts = chain(memory, page, head).parts;
    parts.iter().filter(|(.., writes)| *writes).map(|(_, len, _)| u64::from(*len)).sum()
}

fn number_at(memory: &[u8], at: u64, len: usize) -> u64 {
    memory[at as usize..at as usize + len].iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
