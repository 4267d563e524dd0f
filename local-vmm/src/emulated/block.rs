//! The disk over vhost-user.

use super::EmulatedError;
use super::vhost::{self, QUEUE, Served, SharedMemory};
use crate::devices::block::{Block, FEATURES};
use crate::{Chain, Memory, MemoryNow};
use ::vhost::vhost_user::message::VhostUserProtocolFeatures;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SendError, Sender, TryRecvError};
use std::thread;
use vhost_user_backend::{VhostUserBackend, VringMutex};
use vm_memory::GuestMemoryAtomic;
use vmm_sys_util::epoll::EventSet;

const NAME: &str = "disk";

/// Serves the disk to QEMU at `socket`.
pub(super) fn serve(block: Block, socket: &Path) -> Result<(), EmulatedError> {
    let block = Arc::new(block);
    let (flushes, waiting) = mpsc::channel();
    let device = Arc::clone(&block);
    thread::Builder::new()
        .name("disk-flush".into())
        .spawn(move || flush(&device, &waiting))
        .map_err(EmulatedError::host("start a thread for the disk"))?;
    let backend = Arc::new(Backend { block, flushes, memory: SharedMemory::new() });
    vhost::serve(NAME, Arc::clone(&backend), &backend.memory, &[], socket)
}

struct Backend {
    block: Arc<Block>,
    /// At most as many as the queue is long.
    flushes: Sender<Flush>,
    memory: SharedMemory,
}

/// A flush on its way.
struct Flush {
    vring: VringMutex,
    memory: MemoryNow,
    chain: Chain,
}

/// Does flushes, which wait for the host's disk, and tidies up when there are none.
fn flush(block: &Block, waiting: &Receiver<Flush>) {
    let mut untidy = false;
    loop {
        let next = if untidy { waiting.try_recv() } else { waiting.recv().map_err(Into::into) };
        match next {
            Ok(Flush { vring, memory, chain }) => {
                let head = chain.head_index();
                let written = block.handle(&memory, chain);
                // The guest's doing, as in `forgive`; there is nobody to return it to.
                let _ = vhost::forgive(NAME, vhost::finish(&vring, head, written));
                untidy = true;
            }
            Err(TryRecvError::Empty) => untidy = block.tidy(),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        1
    }

    fn max_queue_size(&self) -> usize {
        QUEUE
    }

    fn features(&self) -> u64 {
        FEATURES | vhost::features()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        vhost::protocol_features()
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        vhost::config(&self.block.config(), offset, size)
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        self.memory.replace(memory);
        Ok(())
    }

    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        let Some(vring) = vrings.first() else { return Ok(()) };
        let memory = self.memory.now();
        let done = vhost::drain(
            vring,
            &memory,
            || true,
            |chain| {
                if self.block.takes_long(&memory, &chain) {
                    let flush = Flush { vring: vring.clone(), memory: memory.clone(), chain };
                    match self.flushes.send(flush) {
                        Ok(()) => return Served::Later,
                        // The thread is gone; the flush is done here.
                        Err(SendError(flush)) => {
                            return Served::Used(self.block.handle(&memory, flush.chain));
                        }
                    }
                }
                Served::Used(self.block.handle(&memory, chain))
            },
        );
        vhost::forgive(NAME, done)
    }
}
