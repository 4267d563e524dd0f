//! The whole machine.

use super::attach::{Device, Port};
use super::bus::{Bus, Output, Slot, Wire};
use super::devices::{Balloon, Card, Disk, Random, Sockets};
use super::host::{self, KvmHost};
use super::kept::{self, STATE};
use super::layout::{DEVICE_SIZE, DEVICES, FIRST_LINE, GENERATION_LINE, SERIAL_LINE, TASK_SEGMENT};
use super::state::{self, State};
use super::transport::{Line, NOTIFY, Registers};
use super::vcpu::{self, Gate};
use super::{KvmError, acpi, boot, cpu, generation, memory};
use crate::devices::block::{Block, Server};
use crate::devices::net::Net;
use crate::devices::vsock::Vsock;
use crate::gateway::Plan;
use crate::jail::{self, Role};
use crate::monitor::End;
use crate::{MachineSpec, Memory};
use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_clock_data, kvm_pit_config};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VcpuFd, VmFd};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// How a machine begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin<'p> {
    /// Its kernel boots with this initramfs.
    Boot(&'p Path),
    /// It goes on where the one that was [kept](KvmMachine::keep) in this folder stood.
    GoOn(&'p Path),
}

/// A running machine of our own.
pub struct KvmMachine {
    kvm: Kvm,
    vm: VmFd,
    vcpus: Vec<Arc<Mutex<VcpuFd>>>,
    gate: Arc<Gate>,
    bus: Arc<Bus>,
    memory: Memory,
    /// The file that the memory came from.
    base: Option<File>,
    /// What the kernel tells of this process's pages, and of all of them together.
    pages: File,
    sizes: File,
    /// Tells the guest that its generation has changed.
    generation: EventFd,
    /// Nanoseconds that the guest's clock showed when it was stopped.
    clock: Mutex<Option<u64>>,
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
        host: &KvmHost,
        begin: Begin<'_>,
        disk: Block,
        sockets: &Arc<Vsock>,
        console: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, KvmError> {
        let kvm = host.kvm()?;
        if let Some((_, what)) = NEEDED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(KvmError::Lacks(what));
        }
        let kept = match begin {
            Begin::Boot(_) => None,
            Begin::GoOn(dir) => Some((read(&kvm, dir, spec)?, kept::memory(dir))),
        };
        let vm = make_vm(&kvm)?;
        let (memory, base) = match &kept {
            None => (memory::fresh(&vm, spec.memory_mb)?, None),
            Some((_, file)) => {
                let (memory, base) = memory::from_file(&vm, spec.memory_mb, file)?;
                (memory, Some(base))
            }
        };
        let kept = kept.map(|(state, _)| state);
        let entry = match begin {
            Begin::Boot(initramfs) => Some(boot::load(&memory, spec, initramfs)?),
            Begin::GoOn(_) => None,
        };
        let slots = devices(spec, host, disk, sockets)?
            .into_iter()
            .zip(0..)
            .map(|(device, number)| attach(&vm, &memory, device, number))
            .collect::<Result<Vec<_>, _>>()?;
        let cpus = u8::try_from(spec.cpus).unwrap_or(1).max(1);
        if entry.is_some() && !acpi::write(&memory, cpus, slots.len() as u32) {
            return Err(KvmError::Lacks("room for the description of so many devices"));
        }
        let wire = event()?;
        vm.register_irqfd(&wire, SERIAL_LINE).map_err(KvmError::kvm("connect an interrupt"))?;
        let generation = event()?;
        vm.register_irqfd(&generation, GENERATION_LINE).map_err(KvmError::kvm("connect an interrupt"))?;
        let serial = kept.as_ref().map(|state| &state.serial);
        let bus = Arc::new(Bus::new(Wire(wire), watch(console)?, slots, serial));

        let features = cpu::features(&kvm)?;
        let mut vcpus = Vec::new();
        for id in 0..u32::from(cpus) {
            let vcpu = vm.create_vcpu(u64::from(id)).map_err(KvmError::kvm("make a CPU"))?;
            let its = cpu::features_of(&features, id, u32::from(cpus));
            vcpu.set_cpuid2(&its).map_err(KvmError::kvm("describe a CPU"))?;
            match (&kept, entry) {
                (Some(state), _) => state::restore_cpu(&vcpu, &state.cpus[id as usize])?,
                (None, entry) => {
                    cpu::prepare(&vcpu)?;
                    if let Some(entry) = entry.filter(|_| id == 0) {
                        cpu::begin(&vcpu, &memory, entry)?;
                    }
                }
            }
            vcpus.push(Arc::new(Mutex::new(vcpu)));
        }
        let clock = Mutex::new(kept.as_ref().map(|state| state.clock));
        let gate = vcpu::start(&vcpus, &bus)?;
        let seen = KvmError::host("see this process's own memory");
        let (pages, sizes) = (host.pages().map_err(seen)?, host.sizes().map_err(seen)?);
        let machine = Self { kvm, vm, vcpus, gate, bus, memory, base, pages, sizes, generation, clock };
        if let Some(state) = kept {
            machine.go_on(&state)?;
        }
        if let Begin::GoOn(dir) = begin {
            // From its first step on its disk moves away from what is kept.
            kept::forget(dir).map_err(KvmError::host("take the kept machine up"))?;
        }
        machine.resume()?;
        Ok(machine)
    }

    /// Interrupt controllers and devices as they were. The guest learns that it may be one of several that go on from here.
    fn go_on(&self, state: &State) -> Result<(), KvmError> {
        state::restore_chips(&self.vm, &state.chips, &state.timer)?;
        if state.devices.len() != self.bus.slots().len() {
            return Err(KvmError::State("kept".into(), "it has other devices".into()));
        }
        // No CPU runs before this is done, so none draws a number from what the others know too. A guest without a driver for it is told the same
        // by its agent, a little later.
        if !generation::renew(&self.memory) {
            return Err(KvmError::Lacks("a place for the machine's generation"));
        }
        self.generation.write(1).map_err(KvmError::host("tell of a new generation"))?;
        for (slot, kept) in self.bus.slots().iter().zip(&state.devices) {
            if !lock(&slot.registers).restore(kept) {
                return Err(KvmError::State("kept".into(), "it has other devices".into()));
            }
            slot.port.go_on(kept.live);
        }
        Ok(())
    }

    /// Stops all virtual CPUs and waits until no device touches the guest's memory, which none does until it goes on, whatever comes from outside.
    /// The guest's clock stands still from now on.
    pub fn pause(&self) -> Result<(), KvmError> {
        self.gate.close();
        for slot in self.bus.slots() {
            slot.port.rest();
        }
        let clock = self.vm.get_clock().map_err(KvmError::kvm("read the machine's clock"))?;
        lock(&self.clock).get_or_insert(clock.clock);
        Ok(())
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<(), KvmError> {
        if let Some(clock) = lock(&self.clock).take() {
            let clock = kvm_clock_data { clock, ..kvm_clock_data::default() };
            self.vm.set_clock(&clock).map_err(KvmError::kvm("set the machine's clock"))?;
            for vcpu in &self.vcpus {
                // The guest's own watchdogs learn that it stood still; a guest that does not use this clock cannot be told.
                let _ = lock(vcpu).kvmclock_ctrl();
            }
        }
        for slot in self.bus.slots() {
            slot.port.release();
        }
        self.gate.open();
        Ok(())
    }

    /// Keeps a paused machine in a folder, from which another can [go on](Begin::GoOn). Where it is the folder that this one came from only what
    /// changed is written. Gives the number of bytes of memory written. The machine can go on afterwards; its disk moves away then.
    ///
    /// Until it is done there is nothing in the folder that a machine could start from.
    pub fn keep(&self, spec: &MachineSpec, dir: &Path) -> Result<u64, KvmError> {
        let failed = KvmError::host("keep the machine's memory");
        let clock = lock(&self.clock).ok_or(KvmError::Lacks("a machine that stands still"))?;
        kept::make(dir).map_err(failed)?;
        kept::forget(dir).map_err(failed)?;
        let wanted: Vec<u32> = self
            .kvm
            .get_msr_index_list()
            .map_err(KvmError::kvm("name its CPUs' registers"))?
            .as_slice()
            .to_vec();
        let (chips, timer) = state::save_chips(&self.vm)?;
        let devices =
            self.bus.slots().iter().map(|slot| lock(&slot.registers).state(slot.port.rest())).collect();
        let cpus = self
            .vcpus
            .iter()
            .map(|vcpu| state::save_cpu(&lock(vcpu), &wanted))
            .collect::<Result<Vec<_>, _>>()?;
        let state = State {
            host: state::host(&self.kvm)?,
            memory_mb: spec.memory_mb,
            clock,
            cpus,
            chips,
            timer,
            devices,
            serial: self.bus.serial(),
        };
        let written = memory::keep(&self.memory, self.base.as_ref(), &self.pages, dir).map_err(failed)?;
        state.write(&dir.join(STATE))?;
        Ok(written)
    }

    /// Host memory that backs the machine now, bytes.
    pub fn memory_bytes(&self) -> u64 {
        host::resident_of(&self.sizes)
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

/// Hands what the guest prints to a thread that writes it down: a CPU neither waits for the host's disk nor opens files. What comes
/// faster than that is lost.
fn watch(mut console: impl FnMut(&[u8]) + Send + 'static) -> Result<Output, KvmError> {
    let failed = KvmError::host("watch the console");
    let (mut reader, mut writer) = UnixStream::pair().map_err(failed)?;
    writer.set_nonblocking(true).map_err(failed)?;
    let body = move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            console(&buffer[..read]);
        }
    };
    jail::spawn(Role::Console, "console", body).map_err(failed)?;
    Ok(Box::new(move |bytes| drop(writer.write(bytes))))
}

/// What the machine has on its bus, in this order.
fn devices(
    spec: &MachineSpec,
    host: &KvmHost,
    disk: Block,
    sockets: &Arc<Vsock>,
) -> Result<Vec<Box<dyn Device>>, KvmError> {
    // More queues than CPUs would stay empty.
    let disk =
        Server::start(disk.with_queues(spec.cpus)).map_err(KvmError::host("start a thread for the disk"))?;
    // Whether there is a network or not: a machine that goes on has the devices that it had before, and may have another network.
    let card = match (&spec.net, host.network()?) {
        (Some(net), Some(cable)) => Net::new(cable, net.mac),
        _ => Net::unplugged(Plan::default().guest_mac),
    };
    Ok(vec![
        Box::new(Disk(disk)),
        Box::new(Sockets::new(Arc::clone(sockets))),
        Box::new(Random),
        Box::new(Balloon),
        Box::new(Card(card.map_err(KvmError::host("connect the machine's network"))?)),
    ])
}

/// A kept machine's state, if it fits host and specification.
fn read(kvm: &Kvm, dir: &Path, spec: &MachineSpec) -> Result<State, KvmError> {
    let path = dir.join(STATE);
    let state = State::read(&path)?;
    let refused = |why: &str| Err(kept::refused(&path, why));
    if state.host != state::host(kvm)? {
        return refused("it comes from a host with other CPUs");
    }
    if state.memory_mb != spec.memory_mb || state.cpus.len() != spec.cpus as usize {
        return refused("it has another size");
    }
    Ok(state)
}

/// A virtual machine without memory and CPUs.
pub(super) fn make_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let vm = kvm.create_vm().map_err(KvmError::kvm("make a machine"))?;
    vm.set_tss_address(TASK_SEGMENT).map_err(KvmError::kvm("place its own segment"))?;
    vm.create_irq_chip().map_err(KvmError::kvm("make interrupt controllers"))?;
    // Without the dummy the kernel waits for a speaker that never ticks.
    let timer = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..kvm_pit_config::default() };
    vm.create_pit2(timer).map_err(KvmError::kvm("make a timer"))?;
    Ok(vm)
}

/// Puts a device onto the bus.
pub(super) fn attach(
    vm: &VmFd,
    memory: &Memory,
    device: Box<dyn Device>,
    number: u32,
) -> Result<Slot, KvmError> {
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

/// Each step leaves what these locks guard whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
