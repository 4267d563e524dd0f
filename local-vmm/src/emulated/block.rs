//! The disk over vhost-user.

use super::EmulatedError;
use crate::Memory;
use crate::devices::block::{Block, FEATURES};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueOwnedT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_disk::Volume;
use vmm_sys_util::epoll::EventSet;

/// Longest queue; as long as the machine model allows.
const QUEUE: usize = 1024;

/// Waits in a thread of its own for QEMU at `socket`, and serves it until it goes.
pub(super) fn serve(volume: Arc<Volume>, name: &str, socket: &Path) -> Result<(), EmulatedError> {
    let device = |why: String| EmulatedError::Device { device: "disk", why };
    let memory = GuestMemoryAtomic::new(Memory::new());
    let backend =
        Arc::new(Backend { block: Mutex::new(Block::new(volume, name)), memory: Mutex::new(memory.clone()) });
    let mut daemon =
        VhostUserDaemon::new("block".into(), backend, memory).map_err(|error| device(error.to_string()))?;
    let mut listener = Listener::new(socket, true).map_err(|error| device(error.to_string()))?;
    thread::Builder::new()
        .name("block-control".into())
        .spawn(move || {
            if let Err(error) = daemon.start(&mut listener).and_then(|()| daemon.wait()) {
                tracing::info!("the disk is detached: {error}");
            }
        })
        .map(drop)
        .map_err(EmulatedError::host("serve the disk"))
}

struct Backend {
    block: Mutex<Block>,
    memory: Mutex<GuestMemoryAtomic<Memory>>,
}

impl Backend {
    /// Does all requests that wait.
    fn process(&self, vring: &VringMutex) -> io::Result<()> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).memory();
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ring = vring.get_mut();
        let bad = |error: virtio_queue::Error| io::Error::other(error.to_string());
        loop {
            ring.disable_notification().map_err(bad)?;
            while let Some(chain) = ring.get_queue_mut().iter(memory.clone()).map_err(bad)?.next() {
                let head = chain.head_index();
                let written = block.handle(&memory, chain);
                ring.add_used(head, written).map_err(bad)?;
                if ring.needs_notification().map_err(bad)? {
                    ring.signal_used_queue()?;
                }
            }
            if !ring.enable_notification().map_err(bad)? {
                return Ok(());
            }
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
        FEATURES
            | 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let config = self.block.lock().unwrap_or_else(PoisonError::into_inner).config();
        // QEMU may ask for fields that came later to the standard; they are zero.
        (offset..offset.saturating_add(size.min(256)))
            .map(|at| config.get(at as usize).copied().unwrap_or(0))
            .collect()
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
        Ok(())
    }

    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        // An error would end the thread; a guest that breaks its own ring only loses its disk until it mends it.
        if let Some(vring) = vrings.first()
            && let Err(error) = self.process(vring)
        {
            tracing::warn!("the guest's disk queue makes no sense: {error}");
        }
        Ok(())
    }
}
