//! What our devices have in common on vhost-user.

use super::EmulatedError;
use crate::{Chain, Memory, MemoryNow};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_sys_util::epoll::EventSet;

/// Longest queue; as long as the machine model allows.
pub(super) const QUEUE: usize = 1024;
/// Most bytes of a configuration space that are asked for at once.
const MAX_CONFIG: u32 = 256;

/// Feature bits of the transport.
pub(super) fn features() -> u64 {
    1 << VIRTIO_F_VERSION_1
        | 1 << VIRTIO_RING_F_INDIRECT_DESC
        | 1 << VIRTIO_RING_F_EVENT_IDX
        | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
}

/// Features of the protocol between QEMU and us.
pub(super) fn protocol_features() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK
}

/// A part of a configuration space. QEMU may ask for fields that came later to the standard; they are zero.
pub(super) fn config(space: &[u8], offset: u32, size: u32) -> Vec<u8> {
    (offset..offset.saturating_add(size.min(MAX_CONFIG)))
        .map(|at| space.get(at as usize).copied().unwrap_or(0))
        .collect()
}

/// The guest's memory, which QEMU tells and may tell anew.
pub(super) struct SharedMemory(Mutex<GuestMemoryAtomic<Memory>>);

impl SharedMemory {
    pub(super) fn new() -> Self {
        Self(Mutex::new(GuestMemoryAtomic::new(Memory::new())))
    }

    pub(super) fn now(&self) -> MemoryNow {
        self.handle().memory()
    }

    pub(super) fn replace(&self, memory: GuestMemoryAtomic<Memory>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    fn handle(&self) -> GuestMemoryAtomic<Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits in a thread of its own for QEMU at `socket`, and serves the device until it goes. Besides the queues' events the device gets
/// those of `extra`, with their number.
pub(super) fn serve<B>(
    device: &'static str,
    backend: Arc<B>,
    memory: &SharedMemory,
    extra: &[(RawFd, u64)],
    socket: &Path,
) -> Result<(), EmulatedError>
where
    B: VhostUserBackend<Bitmap = (), Vring = VringMutex> + Send + Sync + 'static,
{
    let failed = |why: String| EmulatedError::Device { device, why };
    let mut daemon = VhostUserDaemon::new(device.into(), backend, memory.handle())
        .map_err(|error| failed(error.to_string()))?;
    for handler in daemon.get_epoll_handlers() {
        for (fd, number) in extra {
            handler
                .register_listener(*fd, EventSet::IN, *number)
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    let mut listener = Listener::new(socket, true).map_err(|error| failed(error.to_string()))?;
    thread::Builder::new()
        .name(format!("{device}-control"))
        .spawn(move || {
            if let Err(error) = daemon.start(&mut listener).and_then(|()| daemon.wait()) {
                tracing::info!("the {device} is detached: {error}");
            }
        })
        .map(drop)
        .map_err(|source| failed(source.to_string()))
}

/// What became of a chain.
pub(super) enum Served {
    /// It is used up, and so many bytes were written into it.
    Used(u32),
    /// Somebody else will [`finish`] it.
    Later,
    /// It stays in the queue, and nothing else is taken.
    Back,
}

/// Takes chains from a queue as long as there is a use for them.
pub(super) fn drain(
    vring: &VringMutex,
    memory: &MemoryNow,
    wanted: impl Fn() -> bool,
    mut serve: impl FnMut(Chain) -> Served,
) -> Result<(), virtio_queue::Error> {
    let mut ring = vring.get_mut();
    if !ring.get_queue().ready() {
        return Ok(());
    }
    loop {
        ring.disable_notification()?;
        while wanted() {
            let Some(chain) = ring.get_queue_mut().iter(memory.clone())?.next() else { break };
            let head = chain.head_index();
            match serve(chain) {
                Served::Used(written) => {
                    ring.add_used(head, written)?;
                    if ring.needs_notification()? {
                        // A guest that cannot be told looks by itself in the end.
                        let _ = ring.signal_used_queue();
                    }
                }
                Served::Later => {}
                Served::Back => {
                    ring.get_queue_mut().go_to_previous_position();
                    break;
                }
            }
        }
        // New chains are worth looking at only when there is a use for them.
        if !ring.enable_notification()? || !wanted() {
            return Ok(());
        }
    }
}

/// Gives back a chain that was served [later](Served::Later).
pub(super) fn finish(vring: &VringMutex, head: u16, written: u32) -> Result<(), virtio_queue::Error> {
    let mut ring = vring.get_mut();
    ring.add_used(head, written)?;
    if ring.needs_notification()? {
        let _ = ring.signal_used_queue();
    }
    Ok(())
}

/// What a device's event handler returns: an error would end its thread; a guest that breaks its own queue only loses the device until it
/// mends it.
pub(super) fn forgive(device: &str, outcome: Result<(), virtio_queue::Error>) -> io::Result<()> {
    if let Err(error) = outcome {
        tracing::warn!("the guest's queue of the {device} makes no sense: {error}");
    }
    Ok(())
}
