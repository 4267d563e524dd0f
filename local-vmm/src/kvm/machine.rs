//! The whole machine.

use super::attach::{Device, Disk, Port, Random, Sockets};
use super::bus::{Bus, Slot, Wire};
use super::layout::{DEVICE_SIZE, DEVICES, FIRST_LINE, SERIAL_LINE, TASK_SEGMENT};
use super::transport::{Line, NOTIFY, Registers};
use super::vcpu::{self, Gate};
use super::{KvmError, acpi, boot, cpu, memory};
use crate::devices::block::{Block, Server};
use crate::devices::vsock::Vsock;
use crate::monitor::End;
use crate::{MachineSpec, Memory};
use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// What KVM must have, and what it is called.
const NEEDED: [(Cap, &str); 5] = [
    (Cap::Irqchip, "interrupt controllers of its own"),
    (Cap::Ioeventfd, "events for writes of the guest"),
    (Cap::Irqfd, "interrupts from events"),
    (Cap::UserMemory, "memory from this program"),
    (Cap::ImmediateExit, "a way to interrupt a CPU"),
];

/// A running machine of our own.
pub struct KvmMachine {
    gate: Arc<Gate>,
    bus: Arc<Bus>,
    /// Keeps the guest's memory mapped.
    _memory: Memory,
    _vm: VmFd,
}

impl std::fmt::Debug for KvmMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KvmMachine")
    }
}

impl KvmMachine {
    /// Starts a machine. Its console goes to `console`.
    pub fn start(
        spec: &MachineSpec,
        initramfs: &Path,
        disk: Block,
        sockets: &Arc<Vsock>,
        console: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::kvm("be opened"))?;
        if let Some((_, what)) = NEEDED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(KvmError::Lacks(what));
        }
        let vm = kvm.create_vm().map_err(KvmError::kvm("make a machine"))?;
        vm.set_tss_address(TASK_SEGMENT).map_err(KvmError::kvm("place its own segment"))?;
        vm.create_irq_chip().map_err(KvmError::kvm("make interrupt controllers"))?;
        // Without the dummy the kernel waits for a speaker that never ticks.
        let timer = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..kvm_pit_config::default() };
        vm.create_pit2(timer).map_err(KvmError::kvm("make a timer"))?;
        let memory = memory::fresh(&vm, spec.memory_mb)?;
        let entry = boot::load(&memory, spec, initramfs)?;

        let disk = Server::start(disk).map_err(KvmError::host("start a thread for the disk"))?;
        let devices: Vec<Box<dyn Device>> =
            vec![Box::new(Disk(disk)), Box::new(Sockets(Arc::clone(sockets))), Box::new(Random)];
        let slots = devices
            .into_iter()
            .zip(0..)
            .map(|(device, number)| attach(&vm, &memory, device, number))
            .collect::<Result<Vec<_>, _>>()?;
        let cpus = u8::try_from(spec.cpus).unwrap_or(1).max(1);
        if !acpi::write(&memory, cpus, slots.len() as u32) {
            return Err(KvmError::Lacks("room for the description of so many devices"));
        }
        let wire = event()?;
        vm.register_irqfd(&wire, SERIAL_LINE).map_err(KvmError::kvm("connect an interrupt"))?;
        let bus = Arc::new(Bus::new(Wire(wire), Box::new(console), slots));

        let features = cpu::features(&kvm)?;
        let mut vcpus = Vec::new();
        for id in 0..u32::from(cpus) {
            let vcpu = vm.create_vcpu(u64::from(id)).map_err(KvmError::kvm("make a CPU"))?;
            let its = cpu::features_of(&features, id, u32::from(cpus));
            vcpu.set_cpuid2(&its).map_err(KvmError::kvm("describe a CPU"))?;
            cpu::prepare(&vcpu)?;
            if id == 0 {
                cpu::begin(&vcpu, &memory, entry)?;
            }
            vcpus.push(vcpu);
        }
        let gate = vcpu::start(vcpus, &bus)?;
        gate.open();
        Ok(Self { gate, bus, _memory: memory, _vm: vm })
    }

    /// Stops all virtual CPUs and waits until no device touches the guest's memory.
    pub fn pause(&self) {
        self.gate.close();
        for slot in self.bus.slots() {
            drop(slot.port.rest());
        }
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.gate.open();
    }

    /// Ends the machine at once, as pulling the plug would; what the guest flushed is safe.
    pub fn kill(&self) {
        self.gate.end(End::Killed);
    }

    /// Waits until the machine has ended or the deadline has passed.
    pub fn wait(&self, deadline: Option<Duration>) -> Option<End> {
        self.gate.ended(deadline)
    }
}

/// Puts a device onto the bus.
fn attach(vm: &VmFd, memory: &Memory, device: Box<dyn Device>, number: u32) -> Result<Slot, KvmError> {
    let line = Arc::new(Line::new(event()?));
    vm.register_irqfd(line.fd(), FIRST_LINE + number).map_err(KvmError::kvm("connect an interrupt"))?;
    let port = Port::open(device, memory, &line)?;
    let address = IoEventAddress::Mmio(DEVICES + u64::from(number) * DEVICE_SIZE + NOTIFY);
    for (queue, kick) in (0u32..).zip(port.kicks()) {
        vm.register_ioevent(kick, &address, queue).map_err(KvmError::kvm("watch a queue"))?;
    }
    let device = port.device();
    let registers = Registers::new(device.kind(), device.features(), port.queues(), line);
    Ok(Slot { port, registers: Mutex::new(registers) })
}

fn event() -> Result<EventFd, KvmError> {
    EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(KvmError::host("make an event"))
}
