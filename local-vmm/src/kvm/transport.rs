//! virtio-mmio, the modern interface (VIRTIO 1.2, section 4.2): registers of one device.
//!
//! Everything here is written by the guest's driver, or by whatever took its place. No register reaches the host's memory: queues are
//! checked by `virtio-queue` whenever they are used.

use super::attach::Port;
use super::state::{DeviceState, RingState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

/// Longest queue.
pub(super) const QUEUE: u16 = 256;
/// Where a driver writes the number of a queue that has something new.
pub(super) const NOTIFY: u64 = 0x50;
/// First byte of a device's own configuration.
const CONFIG: u64 = 0x100;
/// `virt` in little endian.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// Nobody in particular.
const VENDOR: u32 = 0x5350_5254;

/// How the guest is told: an interrupt line, and why it was pulled.
#[derive(Debug)]
pub(super) struct Line {
    reason: AtomicU32,
    fd: EventFd,
}

impl Line {
    pub(super) fn new(fd: EventFd) -> Self {
        Self { reason: AtomicU32::new(0), fd }
    }

    /// What pulls the line.
    pub(super) fn fd(&self) -> &EventFd {
        &self.fd
    }

    /// Chains were used.
    pub(super) fn used(&self) {
        self.reason.fetch_or(1, Ordering::SeqCst);
        // It only fails when the counter is full, and then the line is pulled already.
        let _ = self.fd.write(1);
    }
}

/// Registers of a device.
#[derive(Debug)]
pub(super) struct Registers {
    kind: u32,
    features: u64,
    status: u32,
    features_select: u32,
    driver_select: u32,
    driver_features: u64,
    queue_select: u32,
    queues: Vec<Arc<Mutex<Queue>>>,
    line: Arc<Line>,
}

impl Registers {
    /// Registers of a device of that kind, whose own feature bits are `features`.
    pub(super) fn new(kind: u32, features: u64, queues: Vec<Arc<Mutex<Queue>>>, line: Arc<Line>) -> Self {
        let common =
            1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;
        Self {
            kind,
            features: features | common,
            status: 0,
            features_select: 0,
            driver_select: 0,
            driver_features: 0,
            queue_select: 0,
            queues,
            line,
        }
    }

    /// What they show and hide.
    pub(super) fn state(&self, live: bool) -> DeviceState {
        let ring =
            |queue: &Arc<Mutex<Queue>>| RingState::of(&queue.lock().unwrap_or_else(PoisonError::into_inner));
        DeviceState {
            kind: self.kind,
            status: self.status,
            driver_features: self.driver_features,
            selects: [self.features_select, self.driver_select, self.queue_select],
            reason: self.line.reason.load(Ordering::SeqCst),
            live,
            queues: self.queues.iter().map(ring).collect(),
        }
    }

    /// Takes that on again. False when it belongs to another device.
    pub(super) fn restore(&mut self, state: &DeviceState) -> bool {
        if state.kind != self.kind
            || state.queues.len() != self.queues.len()
            || state.driver_features & !self.features != 0
        {
            return false;
        }
        for (queue, kept) in self.queues.iter().zip(&state.queues) {
            let Some(kept) = kept.queue(QUEUE) else { return false };
            *queue.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
        (self.status, self.driver_features) = (state.status, state.driver_features);
        [self.features_select, self.driver_select, self.queue_select] = state.selects;
        self.line.reason.store(state.reason, Ordering::SeqCst);
        true
    }

    fn queue<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let queue = self.queues.get(self.queue_select as usize)?;
        Some(work(&mut queue.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads `data.len()` bytes at `offset`.
    pub(super) fn read(&self, offset: u64, data: &mut [u8], port: &Port) {
        if let Some(at) = offset.checked_sub(CONFIG) {
            let config = port.config();
            for (to, at) in data.iter_mut().zip(at..) {
                *to = usize::try_from(at).ok().and_then(|at| config.get(at)).copied().unwrap_or(0);
            }
            return;
        }
        let value = match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.kind,
            0x0c => VENDOR,
            0x10 => half(self.features, self.features_select),
            0x34 => self.queue(|queue| u32::from(queue.max_size())).unwrap_or(0),
            0x44 => self.queue(|queue| u32::from(queue.ready())).unwrap_or(0),
            0x60 => self.line.reason.load(Ordering::SeqCst),
            0x70 => self.status,
            // The configuration never changes, so neither does its number.
            _ => 0,
        };
        if let Ok(to) = <&mut [u8; 4]>::try_from(data) {
            *to = value.to_le_bytes();
        }
    }

    /// Writes `data` at `offset`.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], port: &Port) {
        // No device here has a configuration that can be written, and registers are written whole.
        let Ok(bytes) = <[u8; 4]>::try_from(data) else { return };
        let value = u32::from_le_bytes(bytes);
        let setting_up = self.status & VIRTIO_CONFIG_S_DRIVER_OK == 0;
        match offset {
            0x14 => self.features_select = value,
            0x20 if self.status & VIRTIO_CONFIG_S_FEATURES_OK == 0 => {
                set_half(&mut self.driver_features, self.driver_select, value);
            }
            0x24 => self.driver_select = value,
            0x30 => self.queue_select = value,
            // Without an event descriptor of the kernel's.
            NOTIFY => port.kick(value),
            0x64 => drop(self.line.reason.fetch_and(!value, Ordering::SeqCst)),
            0x70 => self.set_status(value, port),
            _ if !setting_up => {}
            0x38 => drop(self.queue(|queue| queue.set_size(u16::try_from(value).unwrap_or(0)))),
            0x44 => drop(self.queue(|queue| queue.set_ready(value == 1))),
            0x80 => drop(self.queue(|queue| queue.set_desc_table_address(Some(value), None))),
            0x84 => drop(self.queue(|queue| queue.set_desc_table_address(None, Some(value)))),
            0x90 => drop(self.queue(|queue| queue.set_avail_ring_address(Some(value), None))),
            0x94 => drop(self.queue(|queue| queue.set_avail_ring_address(None, Some(value)))),
            0xa0 => drop(self.queue(|queue| queue.set_used_ring_address(Some(value), None))),
            0xa4 => drop(self.queue(|queue| queue.set_used_ring_address(None, Some(value)))),
            _ => {}
        }
    }

    fn set_status(&mut self, value: u32, port: &Port) {
        if value == 0 {
            port.stop();
            for queue in &self.queues {
                queue.lock().unwrap_or_else(PoisonError::into_inner).reset();
            }
            (self.status, self.driver_features) = (0, 0);
            (self.features_select, self.driver_select, self.queue_select) = (0, 0, 0);
            self.line.reason.store(0, Ordering::SeqCst);
            return;
        }
        let known = VIRTIO_CONFIG_S_ACKNOWLEDGE
            | VIRTIO_CONFIG_S_DRIVER
            | VIRTIO_CONFIG_S_DRIVER_OK
            | VIRTIO_CONFIG_S_FEATURES_OK
            | VIRTIO_CONFIG_S_FAILED;
        let mut value = value & known;
        let modern = self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0;
        if value & VIRTIO_CONFIG_S_FEATURES_OK != 0 && (self.driver_features & !self.features != 0 || !modern)
        {
            // The driver looks whether the bit stayed.
            value &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        let begins = value & !self.status & VIRTIO_CONFIG_S_DRIVER_OK != 0;
        self.status = value;
        if begins && value & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            self.begin(port);
        }
    }

    fn begin(&self, port: &Port) {
        let event_idx = self.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        for queue in &self.queues {
            queue.lock().unwrap_or_else(PoisonError::into_inner).set_event_idx(event_idx);
        }
        port.begin();
    }
}

/// One half of a set of bits, as the registers show them.
fn half(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

fn set_half(bits: &mut u64, select: u32, value: u32) {
    match select {
        0 => *bits = *bits & !0xffff_ffff | u64::from(value),
        1 => *bits = *bits & 0xffff_ffff | u64::from(value) << 32,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{Random, Sockets};
    use super::*;
    use crate::Memory;
    use crate::devices::vsock::Vsock;
    use proptest::prelude::*;
    use vm_memory::GuestAddress;

    const MEMORY: usize = 1 << 20;

    fn slot(sockets: bool) -> (Registers, Arc<Port>) {
        let memory = Memory::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let line = Arc::new(Line::new(EventFd::new(libc::EFD_NONBLOCK).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let device: Box<dyn super::super::attach::Device> = if sockets {
            let listener = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
            Box::new(Sockets::new(Vsock::start(listener).unwrap()))
        } else {
            Box::new(Random)
        };
        let port = Port::open(device, &memory, &line).unwrap();
        let registers = Registers::new(port.device().kind(), port.device().features(), port.queues(), line);
        (registers, port)
    }

    fn read(registers: &Registers, port: &Port, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        registers.read(offset, &mut bytes, port);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn a_driver_that_keeps_the_rules() {
        let (mut registers, port) = slot(true);
        assert_eq!([0, 4, 8].map(|at| read(&registers, &port, at)), [MAGIC, VERSION, 19]);
        // The guest's context id, in pieces of any size.
        let mut id = [0; 8];
        registers.read(CONFIG, &mut id, &port);
        assert_eq!(u64::from_le_bytes(id), 3);
        let mut write = |offset, value: u32| registers.write(offset, &value.to_le_bytes(), &port);
        [0, 1, 3].into_iter().for_each(|status| write(0x70, status));
        write(0x24, 1);
        write(0x20, 1);
        write(0x70, 0b1011);
        for queue in 0..3 {
            write(0x30, queue);
            write(0x38, 64);
            write(0x80, 0x1000 * (queue + 1));
            write(0x90, 0x1000 * (queue + 1) + 0x400);
            write(0xa0, 0x1000 * (queue + 1) + 0x800);
            write(0x44, 1);
        }
        write(0x70, 0b1111);
        assert_eq!(read(&registers, &port, 0x70), 0b1111);
        assert!(port.rest());
        // Kept and put back into another device of the kind, but not into one of another.
        let kept = registers.state(true);
        let (mut other, _port) = slot(true);
        assert!(other.restore(&kept));
        assert_eq!(other.state(true), kept);
        assert!(!slot(false).0.restore(&kept));
        registers.write(0x70, &[0; 4], &port);
        assert!(!port.rest());
    }

    #[test]
    fn features_that_were_not_offered_are_refused() {
        let (mut registers, port) = slot(false);
        let mut write = |offset, value: u32| registers.write(offset, &value.to_le_bytes(), &port);
        write(0x70, 3);
        write(0x20, u32::MAX);
        write(0x24, 1);
        write(0x20, u32::MAX);
        write(0x70, 0b1011);
        assert_eq!(read(&registers, &port, 0x70), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_writes_do_no_harm(
            steps in prop::collection::vec((0u64..0x140, any::<u32>(), 0usize..9), 1..200),
            sockets in any::<bool>(),
        ) {
            let (mut registers, port) = slot(sockets);
            for (offset, value, len) in steps {
                let value = if offset == 0x70 { value & 0xff } else { value };
                // Aligned offsets are where registers are.
                let offset = if value & 1 == 0 { offset & !3 } else { offset };
                let mut bytes = [value.to_le_bytes(), value.to_le_bytes()].concat();
                registers.write(offset, &bytes[..len.min(8)], &port);
                registers.read(offset, &mut bytes[..len.min(8)], &port);
            }
            registers.write(0x70, &[0; 4], &port);
            prop_assert!(!port.rest());
        }
    }
}
