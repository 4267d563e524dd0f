//! The disk over vhost-user.

use super::EmulatedError;
use super::vhost::{self, QUEUE, SharedMemory};
use crate::Memory;
use crate::devices::block::{Block, NAME, Server};
use crate::jail::Role;
use ::vhost::vhost_user::message::VhostUserProtocolFeatures;
use std::io;
use std::path::Path;
use std::sync::Arc;
use vhost_user_backend::{VhostUserBackend, VringMutex};
use vm_memory::GuestMemoryAtomic;
use vmm_sys_util::epoll::EventSet;

/// Serves the disk to QEMU at `socket`.
pub(super) fn serve(block: Block, socket: &Path) -> Result<(), EmulatedError> {
    let server = Server::start(block).map_err(EmulatedError::host("start a thread for the disk"))?;
    let backend = Arc::new(Backend { server, memory: SharedMemory::new() });
    vhost::serve(NAME, Role::DiskOfQemu, Arc::clone(&backend), &backend.memory, &[], socket)
}

struct Backend {
    server: Server<VringMutex>,
    memory: SharedMemory,
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        self.server.block().queues()
    }

    fn max_queue_size(&self) -> usize {
        QUEUE
    }

    fn features(&self) -> u64 {
        self.server.block().features() | vhost::features()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        vhost::protocol_features()
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        vhost::config(&self.server.block().config(), offset, size)
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        self.memory.replace(memory);
        Ok(())
    }

    /// An error would end the thread, so there is none.
    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        // QEMU is told of one queue: more are not faster on its software CPU.
        if let Some(vring) = vrings.first() {
            self.server.serve(vring, &self.memory.now());
        }
        Ok(())
    }
}
