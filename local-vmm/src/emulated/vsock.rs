//! The sockets over vhost-user. The third queue, for events, is QEMU's own.

use super::EmulatedError;
use super::vhost::{self, QUEUE, SharedMemory};
use crate::Memory;
use crate::devices::vsock::{self, NAME, RECEIVE, TRANSMIT, Vsock};
use crate::jail::Role;
use ::vhost::vhost_user::message::VhostUserProtocolFeatures;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use vhost_user_backend::{VhostUserBackend, VringMutex};
use vm_memory::GuestMemoryAtomic;
use vmm_sys_util::epoll::EventSet;

/// Number of the wake-up event; those of the queues and the one after them are taken.
const WAKE: u64 = 3;

/// Serves the sockets to QEMU at `socket`.
pub(super) fn serve(sockets: Arc<Vsock>, socket: &Path) -> Result<(), EmulatedError> {
    let waker = sockets.waker().as_raw_fd();
    let backend = Arc::new(Backend { sockets, memory: SharedMemory::new() });
    vhost::serve(NAME, Role::SocketsOfQemu, Arc::clone(&backend), &backend.memory, &[(waker, WAKE)], socket)
}

struct Backend {
    sockets: Arc<Vsock>,
    memory: SharedMemory,
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
        vsock::serve(&self.sockets, &vrings[RECEIVE], &vrings[TRANSMIT], &self.memory.now(), false);
        Ok(())
    }
}
