//! One connection between a unix socket on the host and a port in the guest.

use super::packet::{Header, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::num::Wrapping;
use std::os::unix::net::UnixStream;

/// Bytes from the guest that are kept while the host's side does not read.
pub(super) const BUFFER: u32 = 256 << 10;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The guest has not answered yet.
    Asked,
    /// Both sides may send.
    Open,
    /// The guest is done; what it sent last is still being handed over.
    Draining,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) phase: Phase,
    /// The host's side may have something to read; epoll is silent until it has been read empty.
    pub(super) readable: bool,
    /// The host's side will send nothing more.
    pub(super) host_done: bool,
    /// The guest has been told of each direction that ended.
    pub(super) told: u32,
    /// Bytes from the guest for the host.
    out: VecDeque<u8>,
    /// The guest will send nothing more.
    guest_done: bool,
    /// Bytes handed to the host, ever.
    forwarded: Wrapping<u32>,
    /// `forwarded` as the guest knows it.
    pub(super) told_forwarded: Wrapping<u32>,
    /// Bytes sent to the guest, ever.
    sent: Wrapping<u32>,
    guest_room: u32,
    guest_forwarded: Wrapping<u32>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            phase: Phase::Asked,
            readable: false,
            host_done: false,
            told: 0,
            out: VecDeque::new(),
            guest_done: false,
            forwarded: Wrapping(0),
            told_forwarded: Wrapping(0),
            sent: Wrapping(0),
            guest_room: 0,
            guest_forwarded: Wrapping(0),
        }
    }

    /// Takes over what a packet of the guest tells about its room.
    pub(super) fn learn(&mut self, header: &Header) {
        self.guest_room = header.buf_alloc;
        self.guest_forwarded = Wrapping(header.fwd_cnt);
    }

    /// Bytes the guest has room for. A guest that lies here harms its own reading only.
    pub(super) fn credit(&self) -> u32 {
        self.guest_room.saturating_sub((self.sent - self.guest_forwarded).0)
    }

    /// Fills in what a packet to the guest tells about our room.
    pub(super) fn fill(&mut self, header: &mut Header) {
        header.buf_alloc = BUFFER;
        header.fwd_cnt = self.forwarded.0;
        self.told_forwarded = self.forwarded;
    }

    /// Whether the guest should be told that there is room again.
    pub(super) fn owes_credit(&self) -> bool {
        (self.forwarded - self.told_forwarded).0 >= BUFFER / 2
    }

    /// Reads from the host's side for the guest.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.sent += read as u32;
        Ok(read)
    }

    /// Takes data from the guest; false when it sent more than it was allowed.
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        if self.guest_done || self.out.len() + data.len() > BUFFER as usize {
            return false;
        }
        self.out.extend(data);
        true
    }

    /// Hands over what it can. An error means that the host's side is gone.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            let (first, _) = self.out.as_slices();
            match self.stream.write(first) {
                Ok(written) => {
                    self.out.drain(..written);
                    self.forwarded += written as u32;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.guest_done {
            // It may have ended already, from the other side.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Whether data waits for the host's side.
    pub(super) fn is_full(&self) -> bool {
        !self.out.is_empty()
    }

    /// Bytes that wait for the host's side.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// The guest ends directions.
    pub(super) fn guest_shutdown(&mut self, flags: u32) {
        if flags & SHUTDOWN_SEND != 0 {
            self.guest_done = true;
        }
        if flags & SHUTDOWN_RECEIVE != 0 {
            self.host_done = true;
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }
}
