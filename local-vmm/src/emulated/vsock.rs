//! The sockets over vhost-user. The third queue, for events, is QEMU's own.

use super::EmulatedError;
use crate::Memory;
use crate::devices::vsock::packet::HEADER;
use crate::devices::vsock::{FEATURES, Vsock};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_sys_util::epoll::EventSet;

/// Longest queue; as long as the machine model allows.
const QUEUE: usize = 1024;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Number of the wake-up event; those of the queues and the one after them are taken.
const WAKE: u64 = 3;

/// Waits in a thread of its own for QEMU at `socket`, and serves it until it goes.
pub(super) fn serve(sockets: Arc<Vsock>, socket: &Path) -> Result<(), EmulatedError> {
    let device = |why: String| EmulatedError::Device { device: "socket device", why };
    let memory = GuestMemoryAtomic::new(Memory::new());
    let waker = sockets.waker().as_raw_fd();
    let backend = Arc::new(Backend { sockets, memory: Mutex::new(memory.clone()) });
    let mut daemon =
        VhostUserDaemon::new("vsock".into(), backend, memory).map_err(|error| device(error.to_string()))?;
    for handler in daemon.get_epoll_handlers() {
        handler.register_listener(waker, EventSet::IN, WAKE).map_err(|error| device(error.to_string()))?;
    }
    let mut listener = Listener::new(socket, true).map_err(|error| device(error.to_string()))?;
    thread::Builder::new()
        .name("vsock-control".into())
        .spawn(move || {
            if let Err(error) = daemon.start(&mut listener).and_then(|()| daemon.wait()) {
                tracing::info!("the socket device is detached: {error}");
            }
        })
        .map(drop)
        .map_err(EmulatedError::host("serve the socket device"))
}

struct Backend {
    sockets: Arc<Vsock>,
    memory: Mutex<GuestMemoryAtomic<Memory>>,
}

impl Backend {
    /// Takes everything the guest sent.
    fn receive(
        &self,
        memory: &GuestMemoryAtomic<Memory>,
        vring: &VringMutex,
    ) -> Result<(), virtio_queue::Error> {
        let memory = memory.memory();
        let mut ring = vring.get_mut();
        if !ring.get_queue().ready() {
            return Ok(());
        }
        loop {
            ring.disable_notification()?;
            let mut used = false;
            while let Some(chain) = ring.get_queue_mut().iter(memory.clone())?.next() {
                let head = chain.head_index();
                self.sockets.receive(&memory, chain);
                ring.add_used(head, 0)?;
                used = true;
            }
            if used && ring.needs_notification()? {
                // A guest that cannot be told looks by itself in the end.
                let _ = ring.signal_used_queue();
            }
            if !ring.enable_notification()? {
                return Ok(());
            }
        }
    }

    /// Gives the guest what waits for it, as far as it has put buffers there.
    fn deliver(
        &self,
        memory: &GuestMemoryAtomic<Memory>,
        vring: &VringMutex,
    ) -> Result<(), virtio_queue::Error> {
        let memory = memory.memory();
        let mut ring = vring.get_mut();
        if !ring.get_queue().ready() {
            return Ok(());
        }
        let mut data = Vec::new();
        loop {
            ring.disable_notification()?;
            let mut used = false;
            while self.sockets.has_next() {
                let Some(chain) = ring.get_queue_mut().iter(memory.clone())?.next() else { break };
                let head = chain.head_index();
                let mut written = 0;
                // A buffer without room for a header is given back empty.
                if let Ok(mut writer) = chain.writer(&memory)
                    && let Some(room) = writer.available_bytes().checked_sub(HEADER)
                {
                    match self.sockets.next(room, &mut data) {
                        Some(header) => {
                            let done =
                                writer.write_all(&header.bytes()).and_then(|()| writer.write_all(&data));
                            if done.is_ok() {
                                written = (HEADER + data.len()) as u32;
                            }
                        }
                        None => {
                            ring.get_queue_mut().go_to_previous_position();
                            break;
                        }
                    }
                }
                ring.add_used(head, written)?;
                used = true;
            }
            if used && ring.needs_notification()? {
                let _ = ring.signal_used_queue();
            }
            // New buffers are worth looking at only when something waits for them.
            if !ring.enable_notification()? || !self.sockets.has_next() {
                return Ok(());
            }
        }
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
        FEATURES
            | 1 << VIRTIO_F_VERSION_1
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
        let config = self.sockets.config();
        (offset..offset.saturating_add(size.min(256)))
            .map(|at| config.get(at as usize).copied().unwrap_or(0))
            .collect()
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
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
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let done =
            self.receive(&memory, &vrings[TRANSMIT]).and_then(|()| self.deliver(&memory, &vrings[RECEIVE]));
        if let Err(error) = done {
            tracing::warn!("the guest's socket queues make no sense: {error}");
        }
        Ok(())
    }
}
