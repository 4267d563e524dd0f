//! The sockets over vhost-user. The third queue, for events, is QEMU's own.

use super::EmulatedError;
use super::vhost::{self, QUEUE, Served, SharedMemory};
use crate::devices::vsock::Vsock;
use crate::devices::vsock::packet::HEADER;
use crate::{Chain, Memory, MemoryNow};
use ::vhost::vhost_user::message::VhostUserProtocolFeatures;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use vhost_user_backend::{VhostUserBackend, VringMutex};
use vm_memory::GuestMemoryAtomic;
use vmm_sys_util::epoll::EventSet;

const NAME: &str = "socket device";
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Number of the wake-up event; those of the queues and the one after them are taken.
const WAKE: u64 = 3;

/// Serves the sockets to QEMU at `socket`.
pub(super) fn serve(sockets: Arc<Vsock>, socket: &Path) -> Result<(), EmulatedError> {
    let waker = sockets.waker().as_raw_fd();
    let backend = Arc::new(Backend { sockets, memory: SharedMemory::new() });
    vhost::serve(NAME, Arc::clone(&backend), &backend.memory, &[(waker, WAKE)], socket)
}

struct Backend {
    sockets: Arc<Vsock>,
    memory: SharedMemory,
}

impl Backend {
    /// Puts the next packet for the guest into a buffer of its, if there is a packet after all.
    fn fill(&self, memory: &MemoryNow, chain: Chain, data: &mut Vec<u8>) -> Served {
        // A buffer without room for a header is given back empty.
        let Ok(mut writer) = chain.writer(memory) else { return Served::Used(0) };
        let Some(room) = writer.available_bytes().checked_sub(HEADER) else { return Served::Used(0) };
        let Some(header) = self.sockets.next(room, data) else { return Served::Back };
        let done = writer.write_all(&header.bytes()).and_then(|()| writer.write_all(data));
        Served::Used(if done.is_ok() { (HEADER + data.len()) as u32 } else { 0 })
    }
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        2
    }

    fn max_queue_size(&self) -> usize {
        QUEUE
    }

    fn features(&self) -> u64 {
        vhost::features()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        vhost::protocol_features()
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        vhost::config(&self.sockets.config(), offset, size)
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        self.memory.replace(memory);
        Ok(())
    }

    /// Whatever happened, both directions are looked at: what one brings often has to do with the other.
    fn handle_event(
        &self,
        event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        if u64::from(event) == WAKE {
            // Empty when another event came first.
            let _ = self.sockets.waker().read();
        }
        let memory = self.memory.now();
        let mut data = Vec::new();
        let take = |chain| {
            self.sockets.receive(&memory, chain);
            Served::Used(0)
        };
        let done = vhost::drain(&vrings[TRANSMIT], &memory, || true, take).and_then(|()| {
            let give = |chain| self.fill(&memory, chain, &mut data);
            vhost::drain(&vrings[RECEIVE], &memory, || self.sockets.has_next(), give)
        });
        vhost::forgive(NAME, done)
    }
}
