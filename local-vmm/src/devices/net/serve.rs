//! The network card's queues at work.

use super::{HEADER, NAME, Net, TURN};
use crate::devices::ring::{self, Ring, Served};
use crate::{Chain, MemoryNow};
use std::cell::Cell;
use std::io::{Read, Write};

/// What stands before a frame for the guest: nothing is left to do for it, and it lies in one buffer.
const PLAIN: [u8; HEADER] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Serves both directions, each for a turn. Where one has more to do the device is called again.
pub fn serve(net: &Net, receive: &impl Ring, transmit: &impl Ring, memory: &MemoryNow) {
    let sent = send(net, transmit, memory);
    let got = get(net, receive, memory);
    if sent == TURN {
        transmit.again();
    } else if got == TURN {
        receive.again();
    }
}

/// Frames of the guest's; gives how many chains were used.
fn send(net: &Net, ring: &impl Ring, memory: &MemoryNow) -> usize {
    let count = Cell::new(0);
    let wanted = || count.get() < TURN && net.link().has_room(&mut &net.socket);
    let take = |chain| {
        count.set(count.get() + 1);
        from_guest(net, memory, chain);
        Served::Used(0)
    };
    ring::forgive(NAME, ring::drain(ring, memory, wanted, take));
    net.link().flush(&mut &net.socket);
    count.get()
}

/// Frames for the guest; gives how many chains were used.
fn get(net: &Net, ring: &impl Ring, memory: &MemoryNow) -> usize {
    let count = Cell::new(0);
    let wanted = || count.get() < TURN && net.link().frame(&mut &net.socket).is_some();
    let give = |chain| {
        count.set(count.get() + 1);
        Served::Used(to_guest(net, memory, chain))
    };
    ring::forgive(NAME, ring::drain(ring, memory, wanted, give));
    count.get()
}

/// Takes a frame out of a chain. What the header asks for was not offered, so it is passed over.
fn from_guest(net: &Net, memory: &MemoryNow, chain: Chain) {
    let Ok(mut reader) = chain.reader(&**memory) else { return };
    let mut header = [0; HEADER];
    if reader.read_exact(&mut header).is_ok() {
        net.link().take(reader.available_bytes(), |frame| reader.read_exact(frame));
    }
}

/// Puts the frame that is there into a chain; gives the bytes written. One that does not fit is lost.
fn to_guest(net: &Net, memory: &MemoryNow, chain: Chain) -> u32 {
    let mut link = net.link();
    let Some(frame) = link.frame(&mut &net.socket) else { return 0 };
    let put = |chain: Chain| {
        let mut writer = chain.writer(&**memory).ok()?;
        let len = HEADER + frame.len();
        if writer.available_bytes() < len {
            return None;
        }
        writer.write_all(&PLAIN).and_then(|()| writer.write_all(frame)).ok()?;
        u32::try_from(len).ok()
    };
    let written = put(chain).unwrap_or(0);
    link.drop_frame();
    written
}
