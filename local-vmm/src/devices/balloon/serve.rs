//! The balloon's queues at work.

use super::{MAX_PAGES, MAX_RANGES, NAME, PAGE, give};
use crate::devices::ring::{self, Ring, Served};
use crate::{Chain, Memory, MemoryNow};
use std::io::Read;
use vm_memory::GuestAddress;

/// Bytes of a page's number on the wire.
const NUMBER: usize = 4;

/// The driver puts pages into the balloon (VIRTIO 1.2, section 5.5.6).
pub fn inflate(ring: &impl Ring, memory: &MemoryNow) {
    each(ring, memory, inflated);
}

/// The driver takes pages out again. They are there as soon as it touches them, so there is nothing to do.
pub fn take_back(ring: &impl Ring, memory: &MemoryNow) {
    each(ring, memory, |_, _| ());
}

/// The driver reports pages that it does not use (VIRTIO 1.2, section 5.5.6.7). It uses them again when it has the chain back.
pub fn report(ring: &impl Ring, memory: &MemoryNow) {
    each(ring, memory, reported);
}

fn each(ring: &impl Ring, memory: &MemoryNow, work: impl Fn(&Memory, Chain)) {
    let done = ring::drain(
        ring,
        memory,
        || true,
        |chain| {
            work(memory, chain);
            Served::Used(0)
        },
    );
    ring::forgive(NAME, done);
}

/// The chain holds numbers of pages.
fn inflated(memory: &Memory, chain: Chain) {
    let Ok(mut reader) = chain.reader(memory) else { return };
    let count = (reader.available_bytes() / NUMBER).min(MAX_PAGES);
    let mut bytes = vec![0; count * NUMBER];
    if reader.read_exact(&mut bytes).is_err() {
        return;
    }
    let (numbers, _) = bytes.as_chunks::<NUMBER>();
    let mut run: Option<(u64, u64)> = None;
    for number in numbers.iter().map(|number| u64::from(u32::from_le_bytes(*number))) {
        // Pages that lie side by side, in either direction, are one piece of work.
        run = match run {
            Some((first, count)) if number == first + count => Some((first, count + 1)),
            Some((first, count)) if number + 1 == first => Some((number, count + 1)),
            before => {
                give_run(memory, before);
                Some((number, 1))
            }
        };
    }
    give_run(memory, run);
}

fn give_run(memory: &Memory, run: Option<(u64, u64)>) {
    if let Some((first, count)) = run {
        give::back(memory, GuestAddress(first * PAGE), count * PAGE);
    }
}

/// The chain's buffers are the pages. Those that the device may not write are none.
fn reported(memory: &Memory, chain: Chain) {
    for range in chain.writable().take(MAX_RANGES) {
        give::back(memory, range.addr(), u64::from(range.len()));
    }
}
