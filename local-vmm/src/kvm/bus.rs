//! What a CPU finds at ports and addresses: the serial port, the reset, the way to turn the machine off, and the virtio devices.
//!
//! What is not there reads as ones, as on real hardware, and swallows what is written.

use super::attach::Port;
use super::layout::{DEVICE_SIZE, DEVICES, KEYBOARD_PORT, SERIAL_PORT, SLEEP_OFF, SLEEP_PORT};
use super::state::SerialState;
use super::transport::Registers;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

/// What the guest asks of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Go on.
    Nothing,
    /// Begin again.
    Reset,
    /// End.
    Off,
}

/// An interrupt line.
pub(super) struct Wire(pub(super) EventFd);

impl Trigger for Wire {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Where the serial port's bytes go.
pub(super) struct Screen(pub(super) Output);

/// Takes what the guest prints.
pub(super) type Output = Box<dyn FnMut(&[u8]) + Send>;

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A virtio device on the bus.
pub(super) struct Slot {
    pub(super) port: Arc<Port>,
    pub(super) registers: Mutex<Registers>,
}

/// See the module.
pub(super) struct Bus {
    serial: Mutex<Serial<Wire, NoEvents, Screen>>,
    slots: Vec<Slot>,
}

impl Bus {
    /// A bus whose serial port is as after a reset, or as it was.
    pub(super) fn new(wire: Wire, screen: Output, slots: Vec<Slot>, kept: Option<&SerialState>) -> Self {
        let state = kept.map_or_else(vm_superio::SerialState::default, |kept| {
            let [low, high, enable, identification, line, status, modem, modem_status, scratch] = kept.0;
            vm_superio::SerialState {
                baud_divisor_low: low,
                baud_divisor_high: high,
                interrupt_enable: enable,
                interrupt_identification: identification,
                line_control: line,
                line_status: status,
                modem_control: modem,
                modem_status,
                scratch,
                in_buffer: Vec::new(),
            }
        });
        // Nothing waits in its buffer, which is the only thing that could be too much.
        let serial = match Serial::from_state(&state, wire, NoEvents, Screen(screen)) {
            Ok(serial) => serial,
            Err(_) => unreachable!("an empty buffer fits"),
        };
        Self { serial: Mutex::new(serial), slots }
    }

    /// The serial port's registers.
    pub(super) fn serial(&self) -> SerialState {
        let state = lock(&self.serial).state();
        SerialState([
            state.baud_divisor_low,
            state.baud_divisor_high,
            state.interrupt_enable,
            state.interrupt_identification,
            state.line_control,
            state.line_status,
            state.modem_control,
            state.modem_status,
            state.scratch,
        ])
    }

    /// The virtio devices.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn port_read(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        let [byte] = data else { return };
        match port {
            SERIAL_PORT..=0x3ff => *byte = lock(&self.serial).read((port - SERIAL_PORT) as u8),
            // The keyboard controller is idle and has nothing to say.
            KEYBOARD_PORT | 0x64 => *byte = 0,
            _ => {}
        }
    }

    pub(super) fn port_write(&self, port: u16, data: &[u8]) -> Wish {
        let [byte] = data else { return Wish::Nothing };
        match (port, *byte) {
            (SERIAL_PORT..=0x3ff, byte) => {
                // The wire's counter is never full, and the screen takes everything.
                let _ = lock(&self.serial).write((port - SERIAL_PORT) as u8, byte);
                Wish::Nothing
            }
            (0x64, 0xfe) => Wish::Reset,
            (SLEEP_PORT, SLEEP_OFF) => Wish::Off,
            _ => Wish::Nothing,
        }
    }

    pub(super) fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((slot, offset)) = self.slot(address) {
            lock(&slot.registers).read(offset, data, &slot.port);
        }
    }

    pub(super) fn write(&self, address: u64, data: &[u8]) {
        if let Some((slot, offset)) = self.slot(address) {
            lock(&slot.registers).write(offset, data, &slot.port);
        }
    }

    fn slot(&self, address: u64) -> Option<(&Slot, u64)> {
        let offset = address.checked_sub(DEVICES)?;
        let slot = self.slots.get(usize::try_from(offset / DEVICE_SIZE).ok()?)?;
        Some((slot, offset % DEVICE_SIZE))
    }
}

/// Each step leaves a device whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
