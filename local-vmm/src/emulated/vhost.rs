//! What our devices have in common on vhost-user.

use super::EmulatedError;
use crate::devices::ring::Ring;
use crate::jail::{self, Role};
use crate::{Memory, MemoryNow};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::Queue;
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
    role: Role,
    backend: Arc<B>,
    memory: &SharedMemory,
    extra: &[(RawFd, u64)],
    socket: &Path,
) -> Result<(), EmulatedError>
where
    B: VhostUserBackend<Bitmap = (), Vring = VringMutex> + Send + Sync + 'static,
{
    let failed = move |why: String| EmulatedError::Device { device, why };
    let mut listener = Listener::new(socket, true).map_err(|error| failed(error.to_string()))?;
    let (memory, extra) = (memory.handle(), extra.to_vec());
    let (ready, told) = mpsc::channel();
    // The threads of the library begin in this one, and so behind its filter.
    let body = move || {
        let made = attach(device, backend, memory, &extra);
        let daemon = made.map_err(|why| drop(ready.send(Err(why))));
        let Ok(mut daemon) = daemon else { return };
        let _ = ready.send(Ok(()));
        if let Err(error) = daemon.start(&mut listener).and_then(|()| daemon.wait()) {
            tracing::info!("the {device} is detached: {error}");
        }
    };
    jail::spawn(role, &format!("{device}-control"), body).map_err(|source| failed(source.to_string()))?;
    told.recv().unwrap_or_else(|_| Err("its thread ended".into())).map_err(failed)
}

fn attach<B>(
    device: &str,
    backend: Arc<B>,
    memory: GuestMemoryAtomic<Memory>,
    extra: &[(RawFd, u64)],
) -> Result<VhostUserDaemon<Arc<B>>, String>
where
    B: VhostUserBackend<Bitmap = (), Vring = VringMutex> + Send + Sync + 'static,
{
    let daemon = VhostUserDaemon::new(device.into(), backend, memory).map_err(|error| error.to_string())?;
    for handler in daemon.get_epoll_handlers() {
        for (fd, number) in extra {
            handler.register_listener(*fd, EventSet::IN, *number).map_err(|error| error.to_string())?;
        }
    }
    Ok(daemon)
}

impl Ring for VringMutex {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(self.get_mut().get_queue_mut())
    }

    fn signal(&self) {
        let _ = self.signal_used_queue();
    }

    fn again(&self) {
        if let Some(kick) = self.get_ref().get_kick() {
            // SAFETY: the queue keeps it open, and is borrowed.
            let fd = unsafe { BorrowedFd::borrow_raw(kick.as_raw_fd()) };
            // It only fails when the counter is full, and then it is heard anyway.
            let _ = nix::unistd::write(fd, &1u64.to_ne_bytes());
        }
    }
}
