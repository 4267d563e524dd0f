//! Devices at work behind the transport: a thread for each, which waits for the driver's word and for what the device itself waits for.

use super::KvmError;
use super::transport::{Line, QUEUE};
use crate::devices::ring::Ring;
use crate::devices::{block, rng, vsock};
use crate::jail::{self, Role};
use crate::{Memory, MemoryNow};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// A device, as the transport sees it. Its queues are served in the thread of its [`Port`] only.
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
    /// What else it waits for; read empty by whoever serves it.
    fn waker(&self) -> Option<&EventFd> {
        None
    }
    /// Serves what is in its queues.
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
}

impl Ring for MmioRing {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        // What a panic left behind is the guest's own queue, checked anew with every use.
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn signal(&self) {
        self.line.used();
    }
}

/// Where a device and its driver meet.
pub(super) struct Port {
    device: Box<dyn Device>,
    rings: Vec<MmioRing>,
    /// One for each queue.
    kicks: Vec<EventFd>,
    memory: GuestMemoryAtomic<Memory>,
    /// Whether the driver has set it up. Held while the device is at work, so that whoever holds it knows it to be at rest.
    live: Mutex<bool>,
}

impl Port {
    /// A device with its queues and its thread, which lives as long as the process.
    pub(super) fn open(
        device: Box<dyn Device>,
        memory: &Memory,
        line: &Arc<Line>,
    ) -> Result<Arc<Self>, KvmError> {
        let fresh = || {
            let queue =
                Queue::new(QUEUE).map_err(|error| KvmError::host("make a queue")(io::Error::other(error)))?;
            Ok(MmioRing { queue: Arc::new(Mutex::new(queue)), line: Arc::clone(line) })
        };
        let rings = (0..device.queues()).map(|_| fresh()).collect::<Result<Vec<_>, KvmError>>()?;
        let event = |_: &MmioRing| EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        let kicks = rings
            .iter()
            .map(event)
            .collect::<io::Result<Vec<_>>>()
            .map_err(KvmError::host("make an event"))?;
        let memory = GuestMemoryAtomic::new(memory.clone());
        let port = Arc::new(Self { device, rings, kicks, memory, live: Mutex::new(false) });
        let worker = Arc::clone(&port);
        let epoll = port.watch().map_err(KvmError::host("wait for a device's events"))?;
        let name = port.device.name().replace(' ', "-");
        jail::spawn(port.device.role(), &name, move || worker.work(&epoll))
            .map_err(KvmError::host("start a device's thread"))?;
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
    pub(super) fn kicks(&self) -> &[EventFd] {
        &self.kicks
    }

    /// A queue has something new.
    pub(super) fn kick(&self, queue: u32) {
        if let Some(kick) = self.kicks.get(queue as usize) {
            // Full means that it is awake anyway.
            let _ = kick.write(1);
        }
    }

    /// The driver is ready.
    pub(super) fn begin(&self, _features: u64) {
        *self.lock() = true;
        // What it put into its queues before may have gone by.
        (0..).take(self.kicks.len()).for_each(|queue| self.kick(queue));
    }

    /// The driver lets go; nothing is touched in its memory after this.
    pub(super) fn stop(&self) {
        let mut live = self.lock();
        self.device.settle();
        *live = false;
    }

    /// Waits until the device is at rest, which it is as long as no CPU runs and the host's side is quiet; tells whether its driver is ready.
    pub(super) fn rest(&self) -> bool {
        let live = self.lock();
        self.device.settle();
        *live
    }

    /// Its driver has been there before: the device goes on where it stood.
    pub(super) fn go_on(&self, live: bool) {
        if live {
            self.device.moved(&self.rings, &self.memory.memory());
            self.begin(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> io::Result<Epoll> {
        let epoll = Epoll::new()?;
        for (number, fd) in (0..).zip(self.kicks.iter().chain(self.device.waker())) {
            let event = EpollEvent::new(EventSet::IN, number);
            epoll.ctl(ControlOperation::Add, fd.as_raw_fd(), event)?;
        }
        Ok(epoll)
    }

    fn work(&self, epoll: &Epoll) {
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
                let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
                let fd = self.kicks.get(number).or_else(|| self.device.waker());
                // Empty when somebody else read it.
                let _ = fd.map(EventFd::read);
            }
            let live = self.lock();
            if *live {
                self.device.serve(&self.rings, &self.memory.memory());
            }
        }
    }
}

/// The disk.
pub(super) struct Disk(pub(super) block::Server<MmioRing>);

impl Device for Disk {
    fn name(&self) -> &'static str {
        block::NAME
    }

    fn kind(&self) -> u32 {
        2
    }

    fn role(&self) -> Role {
        Role::Disk
    }

    fn queues(&self) -> usize {
        1
    }

    fn features(&self) -> u64 {
        block::FEATURES
    }

    fn config(&self) -> Vec<u8> {
        self.0.block().config().to_vec()
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        rings.iter().for_each(|ring| self.0.serve(ring, memory));
    }

    fn settle(&self) {
        self.0.settle();
    }
}

/// The sockets.
pub(super) struct Sockets {
    device: Arc<vsock::Vsock>,
    /// The guest was told of a reset, when it had offered so many buffers for events, and has not understood yet.
    told: Mutex<Option<u16>>,
}

impl Sockets {
    pub(super) fn new(device: Arc<vsock::Vsock>) -> Self {
        Self { device, told: Mutex::new(None) }
    }

    fn told(&self) -> MutexGuard<'_, Option<u16>> {
        // Each step leaves it whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for Sockets {
    fn name(&self) -> &'static str {
        vsock::NAME
    }

    fn kind(&self) -> u32 {
        19
    }

    fn role(&self) -> Role {
        Role::Sockets
    }

    /// The third is for events.
    fn queues(&self) -> usize {
        3
    }

    fn config(&self) -> Vec<u8> {
        self.device.config().to_vec()
    }

    fn waker(&self) -> Option<&EventFd> {
        Some(self.device.waker())
    }

    /// The guest learns that its connections are gone.
    fn moved(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [.., events] = rings {
            *self.told() = vsock::tell_reset(events, memory);
        }
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        if let [receive, transmit, events] = rings {
            let mut told = self.told();
            if told.is_some_and(|told| vsock::has_understood(events, memory, told)) {
                *told = None;
            }
            vsock::serve(&self.device, receive, transmit, memory, told.is_some());
        }
    }
}

/// Randomness.
pub(super) struct Random;

impl Device for Random {
    fn name(&self) -> &'static str {
        rng::NAME
    }

    fn kind(&self) -> u32 {
        4
    }

    fn queues(&self) -> usize {
        1
    }

    fn serve(&self, rings: &[MmioRing], memory: &MemoryNow) {
        rings.iter().for_each(|ring| rng::serve(ring, memory));
    }
}
