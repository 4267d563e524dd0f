//! The sockets' queues at work.

use super::packet::HEADER;
use super::{NAME, Vsock};
use crate::devices::ring::{self, Ring, Served};
use crate::{Chain, MemoryNow};
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::Ordering;
use virtio_queue::QueueT;

/// Number of that event, and its length.
const RESET: u32 = 0;
const RESET_LEN: u32 = 4;

/// Serves both directions: what one brings often has to do with the other. While `holds` nothing is given to the guest.
pub fn serve(sockets: &Vsock, receive: &impl Ring, transmit: &impl Ring, memory: &MemoryNow, holds: bool) {
    let mut data = Vec::new();
    let take = |chain| {
        sockets.receive(memory, chain);
        Served::Used(0)
    };
    let done = ring::drain(transmit, memory, || true, take).and_then(|()| {
        let give = |chain| fill(sockets, memory, chain, &mut data);
        ring::drain(receive, memory, || !holds && sockets.has_next(), give)
    });
    ring::forgive(NAME, done);
}

/// Tells the guest that all its connections are gone (VIRTIO 1.2, section 5.10.6.7): it comes from a state that was kept. Gives how many buffers
/// for events it had offered until then, for [`has_understood`]; none when it had none left and is told nothing.
pub fn tell_reset(events: &impl Ring, memory: &MemoryNow) -> Option<u16> {
    let offered = offered(events, memory);
    let told = Cell::new(false);
    // Once: each telling ends what was opened since the one before it.
    let done = ring::drain(
        events,
        memory,
        || !told.get(),
        |chain| {
            told.set(true);
            match chain.writer(&**memory).map(|mut writer| writer.write_all(&RESET.to_le_bytes())) {
                Ok(Ok(())) => Served::Used(RESET_LEN),
                _ => Served::Used(0),
            }
        },
    );
    // The answer is the next buffer that it offers, and there are others left.
    ring::forgive(NAME, done.and_then(|()| ring::ring_for_next(events, memory)));
    offered.filter(|_| told.get())
}

/// Whether the guest has dealt with a reset: it offers the buffer again afterwards. A connection that is opened earlier may be taken for one of
/// those that are gone, and ends without a word.
pub fn has_understood(events: &impl Ring, memory: &MemoryNow, offered_then: u16) -> bool {
    offered(events, memory) != Some(offered_then)
}

/// How many buffers the driver has offered, modulo 65,536.
fn offered(ring: &impl Ring, memory: &MemoryNow) -> Option<u16> {
    ring.with(|queue| if queue.ready() { queue.avail_idx(&**memory, Ordering::Acquire).ok() } else { None })
        .map(|count| count.0)
}

/// Puts the next packet for the guest into a buffer of its, if there is a packet after all.
fn fill(sockets: &Vsock, memory: &MemoryNow, chain: Chain, data: &mut Vec<u8>) -> Served {
    // A buffer without room for a header is given back empty.
    let Ok(mut writer) = chain.writer(&**memory) else { return Served::Used(0) };
    let Some(room) = writer.available_bytes().checked_sub(HEADER) else { return Served::Used(0) };
    let Some(header) = sockets.next(room, data) else { return Served::Back };
    let done = writer.write_all(&header.bytes()).and_then(|()| writer.write_all(data));
    Served::Used(if done.is_ok() { (HEADER + data.len()) as u32 } else { 0 })
}
