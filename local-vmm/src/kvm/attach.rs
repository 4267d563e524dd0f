//! Devices at work behind the transport. A thread for each group of queues waits for the driver's word; that of the first group also for what
//! the device itself waits for.
//!
//! A thread shares the device's state while it is at work, and whoever takes the state alone knows that nothing of the device touches the guest's
//! memory. Requests that outlive the work (flushes) are waited for besides, by [`Device::settle`].

use super::KvmError;
use super::transport::{Line, QUEUE};
use crate::devices::ring::Ring;
use crate::jail::{self, Role};
use crate::{Memory, MemoryNow};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// Numbers of events that are no queue's.
const WAKER: u64 = u64::MAX;
const SOCKET: u64 = u64::MAX - 1;

/// A device, as the transport sees it. Each of its queues is served in one thread only.
pub(super) trait Device: Send + Sync {
    /// What the log calls it.
    fn name(&self) -> &'static str;
    /// Its number in the standard, chapter 5.
    fn kind(&self) -> u32;
    /// What its thread may do on the host.
    fn role(&self) -> Role {
        Role::Device
    }
    /// Number of its queues.
    fn queues(&self) -> usize;
    /// Its own feature bits.
    fn features(&self) -> u64 {
        0
    }
    /// Its configuration space.
    fn config(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Queues that are served together, group by group, in a thread for each group. There is at least one, and no queue is in two.
    fn groups(&self) -> Vec<Range<usize>> {
        std::iter::once(0..self.queues()).collect()
    }
    /// What else its first group waits for; read empty by whoever serves it.
    fn waker(&self) -> Option<&EventFd> {
        None
    }
    /// Another thing that its first group waits for: any change there. Whoever is served because of it reads and writes until that would block.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Serves what is in the queues of a group.
    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow);
    /// The machine was kept and is back: what the device had outside of the guest's memory is gone.
    fn moved(&self, _rings: &[MmioRing], _memory: &MemoryNow) {}
    /// Waits until nothing that was taken from a queue is still on its way.
    fn settle(&self) {}
}

/// A queue behind virtio-mmio.
#[derive(Clone, Debug)]
pub(super) struct MmioRing {
    queue: Arc<Mutex<Queue>>,
    line: Arc<Line>,
    kick: Arc<EventFd>,
}

impl Ring for MmioRing {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        // What a panic left behind is the guest's own queue, checked anew with every use.
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn signal(&self) {
        self.line.used();
    }

    fn again(&self) {
        // Full means that it is awake anyway.
        let _ = self.kick.write(1);
    }
}

/// Where a device and its driver meet.
pub(super) struct Port {
    device: Box<dyn Device>,
    rings: Vec<MmioRing>,
    memory: GuestMemoryAtomic<Memory>,
    /// Shared by threads at work.
    status: RwLock<Status>,
}

/// Whether a device works.
#[derive(Clone, Copy, Debug, Default)]
struct Status {
    /// The driver has set it up.
    live: bool,
    /// The machine stands still. What the host's side brings meanwhile waits, so that the memory can be looked at.
    held: bool,
}

impl Port {
    /// A device with its queues and its threads, which live as long as the process.
    pub(super) fn open(
        device: Box<dyn Device>,
        memory: &Memory,
        line: &Arc<Line>,
    ) -> Result<Arc<Self>, KvmError> {
        let fresh = || {
            let queue =
                Queue::new(QUEUE).map_err(|error| KvmError::host("make a queue")(io::Error::other(error)))?;
            let kick = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            let kick = Arc::new(kick.map_err(KvmError::host("make an event"))?);
            Ok(MmioRing { queue: Arc::new(Mutex::new(queue)), line: Arc::clone(line), kick })
        };
        let rings = (0..device.queues()).map(|_| fresh()).collect::<Result<Vec<_>, KvmError>>()?;
        let memory = GuestMemoryAtomic::new(memory.clone());
        let port = Arc::new(Self { device, rings, memory, status: RwLock::default() });
        for (number, group) in port.device.groups().into_iter().enumerate() {
            let worker = Arc::clone(&port);
            let first = number == 0;
            let epoll = port.watch(&group, first).map_err(KvmError::host("wait for a device's events"))?;
            let name = port.device.name().replace(' ', "-");
            let name = if first { name } else { format!("{name}-{number}") };
            jail::spawn(port.device.role(), &name, move || worker.work(&epoll, group))
                .map_err(KvmError::host("start a device's thread"))?;
        }
        Ok(port)
    }

    /// The device.
    pub(super) fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// Its configuration space.
    pub(super) fn config(&self) -> Vec<u8> {
        self.device.config()
    }

    /// Its queues.
    pub(super) fn queues(&self) -> Vec<Arc<Mutex<Queue>>> {
        self.rings.iter().map(|ring| Arc::clone(&ring.queue)).collect()
    }

    /// What is written to for each queue that has something new.
    pub(super) fn kicks(&self) -> impl Iterator<Item = &EventFd> {
        self.rings.iter().map(|ring| &*ring.kick)
    }

    /// A queue has something new.
    pub(super) fn kick(&self, queue: u32) {
        if let Some(ring) = self.rings.get(queue as usize) {
            ring.again();
        }
    }

    /// The driver is ready.
    pub(super) fn begin(&self) {
        self.alone().live = true;
        // What it put into its queues before may have gone by.
        self.kick_all();
    }

    /// The driver lets go; nothing is touched in its memory after this.
    pub(super) fn stop(&self) {
        let mut status = self.alone();
        self.device.settle();
        status.live = false;
    }

    /// Brings the device to rest, and holds it there until it is [released](Self::release); tells whether its driver is ready.
    pub(super) fn rest(&self) -> bool {
        let mut status = self.alone();
        self.device.settle();
        status.held = true;
        status.live
    }

    /// Lets the device go on.
    pub(super) fn release(&self) {
        let mut status = self.alone();
        if std::mem::take(&mut status.held) {
            drop(status);
            // What came meanwhile has gone by.
            self.kick_all();
        }
    }

    /// Its driver has been there before: the device goes on where it stood.
    pub(super) fn go_on(&self, live: bool) {
        if live {
            self.device.moved(&self.rings, &self.memory.memory());
            self.begin();
        }
    }

    /// The state, while no thread of the device is at work.
    fn alone(&self) -> RwLockWriteGuard<'_, Status> {
        self.status.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> RwLockReadGuard<'_, Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kick_all(&self) {
        self.rings.iter().for_each(MmioRing::again);
    }

    fn watch(&self, group: &Range<usize>, first: bool) -> io::Result<Epoll> {
        let epoll = Epoll::new()?;
        let add = |fd: &dyn AsRawFd, set: EventSet, number: u64| {
            epoll.ctl(ControlOperation::Add, fd.as_raw_fd(), EpollEvent::new(set, number))
        };
        for number in group.clone() {
            add(&*self.rings[number].kick, EventSet::IN, number as u64)?;
        }
        if let Some(waker) = self.device.waker().filter(|_| first) {
            add(waker, EventSet::IN, WAKER)?;
        }
        if let Some(socket) = self.device.socket().filter(|_| first) {
            add(&socket, EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED, SOCKET)?;
        }
        Ok(epoll)
    }

    fn work(&self, epoll: &Epoll, group: Range<usize>) {
        let mut events = [EpollEvent::default(); 8];
        loop {
            let count = match epoll.wait(-1, &mut events) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!("the {} no longer works: {error}", self.device.name());
                    return;
                }
            };
            for event in &events[..count] {
                let fd = match event.data() {
                    SOCKET => None,
                    WAKER => self.device.waker(),
                    number => usize::try_from(number)
                        .ok()
                        .and_then(|number| self.rings.get(number))
                        .map(|ring| &*ring.kick),
                };
                // Empty when somebody else read it.
                let _ = fd.map(EventFd::read);
            }
            let status = self.shared();
            if status.live && !status.held {
                self.device.serve(&self.rings[group.clone()], &self.memory.memory());
            }
        }
    }
}
