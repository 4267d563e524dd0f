//! The cable to the guest's card: Ethernet frames on a unix stream, each preceded by its length in four bytes, as
//! `local-vmm/src/devices/net` and QEMU's `-netdev stream` speak it.
//!
//! Neither direction keeps more than one fixed buffer. What the guest does not take stays in the buffers of the connections it is for, and these
//! hold their servers back. Reading never waits for writing: a guest that sends before it reads is served, and no two buffers wait for each other.

use crate::error::{Error, Result};
use crate::plan::Plan;
use smoltcp::wire::{EthernetFrame, EthernetProtocol};
use std::io;
use std::ops::Range;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// Largest packet in a frame.
pub(crate) const MTU: usize = 1500;
/// Largest frame.
pub(crate) const MAX_FRAME: usize = ETHERNET + MTU;
/// Longest frame that is passed over. A longer one means that the stream has lost its beat; the card at the other end holds it the same way.
const MAX_PASSED: usize = 128 << 10;
/// Bytes of each direction's buffer.
const HELD: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cable {
    stream: UnixStream,
    incoming: Incoming,
}

/// Bytes from the guest that are no whole frame yet, or frames nobody has looked at.
#[derive(Debug)]
struct Incoming {
    buffer: Box<[u8]>,
    held: Range<usize>,
}

/// Frames for the guest.
#[derive(Debug)]
pub(crate) struct Outgoing {
    buffer: Box<[u8]>,
    held: Range<usize>,
    source: smoltcp::wire::EthernetAddress,
    destination: smoltcp::wire::EthernetAddress,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// More bytes are there.
    Some,
    /// None for now.
    None,
    /// The other end is gone.
    End,
}

impl Cable {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, incoming: Incoming::new() }
    }

    /// Waits until something can be read, or written if anything is left to write.
    pub(crate) async fn ready(&self, out: &Outgoing) -> io::Result<()> {
        let writes = if out.held.is_empty() { Interest::READABLE } else { Interest::WRITABLE };
        self.stream.ready(Interest::READABLE | writes).await.map(drop)
    }

    /// Reads what is there, at most a buffer full.
    pub(crate) fn read(&mut self) -> Result<Read> {
        self.incoming.make_room();
        let end = self.incoming.held.end;
        match self.stream.try_read(&mut self.incoming.buffer[end..]) {
            Ok(0) => Ok(Read::End),
            Ok(read) => {
                self.incoming.held.end += read;
                Ok(Read::Some)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Read::None),
                io::ErrorKind::ConnectionReset => Ok(Read::End),
                _ => Err(Error::Cable(error)),
            },
        }
    }

    /// The next whole frame of a size that frames have.
    pub(crate) fn frame(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.incoming.frame()?.map(|at| &self.incoming.buffer[at]))
    }

    /// Hands the guest's card what it takes. False when it is gone.
    pub(crate) fn flush(&mut self, out: &mut Outgoing) -> Result<bool> {
        while !out.held.is_empty() {
            match self.stream.try_write(&out.buffer[out.held.clone()]) {
                Ok(0) => return Ok(false),
                Ok(written) => out.held.start += written,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(true),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Ok(false),
                    _ => return Err(Error::Cable(error)),
                },
            }
        }
        out.held = 0..0;
        Ok(true)
    }
}

impl Incoming {
    fn new() -> Self {
        Self { buffer: vec![0; HELD].into(), held: 0..0 }
    }

    fn make_room(&mut self) {
        // What remains is less than a frame, since all whole ones have been taken.
        if self.held.is_empty() {
            self.held = 0..0;
        } else if self.held.start > 0 {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
    }

    /// Where the next frame is.
    fn frame(&mut self) -> Result<Option<Range<usize>>> {
        loop {
            let Some(length) = self.buffer[self.held.clone()].first_chunk::<LENGTH>() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes(*length) as usize;
            if length > MAX_PASSED {
                return Err(Error::NotFrames(length));
            }
            if self.held.len() < LENGTH + length {
                return Ok(None);
            }
            let start = self.held.start + LENGTH;
            self.held.start = start + length;
            if (ETHERNET..=MAX_FRAME).contains(&length) {
                return Ok(Some(start..start + length));
            }
        }
    }
}

impl Outgoing {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            buffer: vec![0; HELD].into(),
            held: 0..0,
            source: plan.gateway_ethernet(),
            destination: plan.guest_ethernet(),
        }
    }

    /// Whether there is room for another frame.
    pub(crate) fn has_room(&self) -> bool {
        HELD - self.held.len() >= LENGTH + MAX_FRAME
    }

    /// Writes a frame for the guest: its header, and `len` bytes of a packet that `fill` writes whole. Without room it is lost, as on any
    /// cable; who cannot bear that looks [first](Self::has_room).
    pub(crate) fn frame<R>(
        &mut self,
        kind: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        match self.slot(kind, len) {
            Some(packet) => fill(packet),
            None => fill(&mut vec![0; len]),
        }
    }

    fn slot(&mut self, kind: EthernetProtocol, len: usize) -> Option<&mut [u8]> {
        if !self.has_room() || len > MTU {
            return None;
        }
        if HELD - self.held.end < LENGTH + ETHERNET + len {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        let end = self.held.end;
        self.held.end += LENGTH + ETHERNET + len;
        let (length, frame) = self.buffer[end..self.held.end].split_at_mut(LENGTH);
        length.copy_from_slice(&((ETHERNET + len) as u32).to_be_bytes());
        let mut ethernet = EthernetFrame::new_unchecked(&mut *frame);
        ethernet.set_dst_addr(self.destination);
        ethernet.set_src_addr(self.source);
        ethernet.set_ethertype(kind);
        Some(&mut frame[ETHERNET..])
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.buffer[self.held.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(incoming: &mut Incoming, bytes: &[u8]) {
        incoming.make_room();
        let end = incoming.held.end;
        incoming.buffer[end..end + bytes.len()].copy_from_slice(bytes);
        incoming.held.end += bytes.len();
    }

    fn with_length(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
    }

    #[test]
    fn frames_come_out_whole_and_others_are_passed_over() {
        let mut incoming = Incoming::new();
        let stream: Vec<u8> = [0, 13, 14, 1514, 1515, MAX_PASSED, 60]
            .into_iter()
            .flat_map(|length: usize| with_length(&vec![length as u8; length]))
            .collect();
        for step in [1, 7, 4096, stream.len()] {
            let mut seen = Vec::new();
            for part in stream.chunks(step) {
                feed(&mut incoming, part);
                while let Some(at) = incoming.frame().unwrap() {
                    seen.push(at.len());
                }
            }
            assert_eq!(seen, [14, 1514, 60], "in steps of {step}");
        }
        feed(&mut incoming, &(MAX_PASSED as u32 + 1).to_be_bytes());
        assert!(matches!(incoming.frame(), Err(Error::NotFrames(_))));
    }

    #[test]
    fn no_more_than_a_buffer_waits() {
        let mut out = Outgoing::new(&Plan::default());
        let mut taken = 0;
        while out.has_room() {
            out.frame(EthernetProtocol::Ipv4, MTU, |packet| packet.fill(7));
            taken += 1;
        }
        let waiting = out.held.clone();
        assert_eq!(
            out.frame(EthernetProtocol::Ipv4, MTU, |packet| packet.len()),
            MTU,
            "it is made all the same"
        );
        assert_eq!(out.held, waiting, "and lost");
        assert_eq!(taken, HELD / (LENGTH + MAX_FRAME));
        // The guest takes half of it, and there is room again.
        out.held.start += HELD / 2;
        assert_eq!(out.frame(EthernetProtocol::Ipv4, 20, |packet| packet.len()), 20);
        let waiting = out.held.clone();
        out.frame(EthernetProtocol::Ipv4, MTU + 1, |packet| packet.fill(7));
        assert_eq!(out.held, waiting, "too large for the cable");
        let last = &out.waiting()[out.waiting().len() - 38..];
        assert_eq!(last[..LENGTH], 34u32.to_be_bytes());
        assert_eq!(last[LENGTH..LENGTH + 6], Plan::default().guest_mac);
    }
}
