//! What fuzzing sees of the device's inside.

use super::connection::BUFFER;
use super::packet::Header;
use super::{MAX_CONNECTIONS, MAX_CONTROL, Vsock};

impl Vsock {
    /// A packet of the guest, whichever way it came.
    pub(crate) fn take(&self, header: &Header, data: &[u8]) {
        self.handle(header, data);
    }

    /// Ports of the connections there are.
    pub(crate) fn ports(&self) -> Vec<u32> {
        self.lock().connections.keys().copied().collect()
    }

    /// Whether the connection of a port is open for data.
    pub(crate) fn is_open(&self, port: u32) -> bool {
        self.lock().connections.get(&port).is_some_and(|connection| connection.phase == super::Phase::Open)
    }

    /// Ends all connections at once.
    pub(crate) fn forget_all(&self) {
        let mut inner = self.lock();
        inner.connections.clear();
        inner.control.clear();
        inner.ready.clear();
        inner.next_port = super::FIRST_PORT;
    }

    /// That nothing here is more than it may be.
    pub(crate) fn check(&self) {
        let inner = self.lock();
        assert!(inner.connections.len() <= MAX_CONNECTIONS, "too many connections");
        assert!(inner.control.len() <= MAX_CONTROL, "too many packets wait");
        let mut ready: Vec<u32> = inner.ready.iter().copied().collect();
        ready.sort_unstable();
        assert!(ready.windows(2).all(|pair| pair[0] != pair[1]), "a port waits twice");
        for connection in inner.connections.values() {
            assert!(connection.waiting() <= BUFFER as usize, "more is kept for the host than is allowed");
        }
    }
}
