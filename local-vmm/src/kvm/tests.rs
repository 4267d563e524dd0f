//! Small guests: a few instructions each, run by what the monitor itself uses, on any `/dev/kvm`. Software stand-ins run about a million
//! instructions a second, which is enough for all of these; a host without the device skips them.
//!
//! Guests stand in 64-bit mode, as a kernel is entered, and end by a write to a port: a CPU that halts stays in the kernel, where the interrupt
//! controllers are.

use super::bus::{Bus, Wire};
use super::devices::Random;
use super::layout::{DEVICES, HIGH_BEGIN, PAGE_TABLES, SLEEP_OFF};
use super::state::{self, SerialState, State};
use super::vcpu::{self, Gate};
use super::{cpu, kept, machine, memory};
use crate::Memory;
use crate::monitor::End;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

/// MiB of memory.
const MEMORY: u32 = 8;
/// Where guests leave their results.
const RESULT: u64 = 0x20_0000;
/// A table more, which leads to the devices.
const TABLE: u64 = 0xd000;
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the machine: `mov dx, 0x600; mov al, SLEEP_OFF; out dx, al`.
const OFF: [u8; 7] = [0x66, 0xba, 0x00, 0x06, 0xb0, SLEEP_OFF, 0xee];
/// Resets it, by the keyboard controller's port.
const RESET: [u8; 7] = [0x66, 0xba, 0x64, 0x00, 0xb0, 0xfe, 0xee];
/// Counts in `rbx` and at [`RESULT`]. Between two steps the count goes to the serial port's scratch register and back, and when it comes back as
/// something else the machine is reset:
///
/// ```text
///         mov dx, 0x3ff
/// again:  inc rbx
///         mov al, bl
///         out dx, al
///         mov al, 0
///         in al, dx
///         cmp al, bl
///         jne bad
///         mov [RESULT], rbx
///         jmp again
/// bad:    ...
/// ```
const COUNT: [u8; 27] = [
    0x66, 0xba, 0xff, 0x03, 0x48, 0xff, 0xc3, 0x88, 0xd8, 0xee, 0xb0, 0x00, 0xec, 0x38, 0xd8, 0x75, 0x0a,
    0x48, 0x89, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xe9,
];

/// A machine of one CPU, with one virtio device.
struct Small {
    kvm: Kvm,
    vm: VmFd,
    vcpu: Arc<Mutex<VcpuFd>>,
    bus: Arc<Bus>,
    gate: Arc<Gate>,
    memory: Memory,
    base: Option<File>,
    said: Arc<Mutex<Vec<u8>>>,
}

/// What the second machine takes over from the first.
struct Kept<'d>(&'d Path, State);

impl Small {
    /// A machine that will run this code, or go on; it waits at its gate. None where there is no KVM.
    fn make(code: &[u8], kept: Option<&Kept<'_>>) -> Option<Self> {
        let kvm = match Kvm::new() {
            Ok(kvm) => kvm,
            Err(error) => {
                println!("skipped: there is no KVM here ({error})");
                return None;
            }
        };
        let vm = machine::make_vm(&kvm).unwrap();
        let (memory, base) = match kept {
            None => (memory::fresh(&vm, MEMORY).unwrap(), None),
            Some(Kept(dir, _)) => {
                let (memory, base) = memory::from_file(&vm, MEMORY, &kept::memory(dir)).unwrap();
                (memory, Some(base))
            }
        };
        let slot = machine::attach(&vm, &memory, Box::new(Random), 0).unwrap();
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let screen = Arc::clone(&said);
        let output = Box::new(move |bytes: &[u8]| screen.lock().unwrap().extend(bytes));
        let wire = Wire(EventFd::new(libc::EFD_NONBLOCK).unwrap());
        let bus = Arc::new(Bus::new(wire, output, vec![slot], kept.map(|kept| &kept.1.serial)));
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid2(&cpu::features_of(&cpu::features(&kvm).unwrap(), 0, 1)).unwrap();
        match kept {
            None => {
                memory.write_slice(code, GuestAddress(HIGH_BEGIN)).unwrap();
                cpu::prepare(&vcpu).unwrap();
                cpu::begin(&vcpu, &memory, GuestAddress(HIGH_BEGIN)).unwrap();
                // The kernel makes itself page tables for what lies above the first gigabyte; here it is one large page.
                memory.write_obj(TABLE | 3, GuestAddress(PAGE_TABLES + 0x1000 + 3 * 8)).unwrap();
                memory.write_obj(DEVICES | 0x83, GuestAddress(TABLE + (DEVICES >> 21 & 511) * 8)).unwrap();
            }
            Some(Kept(_, state)) => {
                state::restore_cpu(&vcpu, &state.cpus[0]).unwrap();
                state::restore_chips(&vm, &state.chips, &state.timer).unwrap();
            }
        }
        let vcpu = Arc::new(Mutex::new(vcpu));
        let gate = vcpu::start(&[Arc::clone(&vcpu)], &bus).unwrap();
        Some(Self { kvm, vm, vcpu, bus, gate, memory, base, said })
    }

    /// Runs it to its end.
    fn end(&self) -> End {
        self.gate.open();
        self.gate.ended(Some(PATIENCE)).expect("it never ends")
    }

    fn result<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.memory.read_obj(GuestAddress(RESULT + at)).unwrap()
    }

    /// Waits until it has counted beyond a number; gives where it is.
    fn beyond(&self, count: u64) -> u64 {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let now = self.result(0);
            if now > count {
                return now;
            }
            assert_eq!(self.gate.ended(Some(Duration::from_millis(1))), None, "it ended at {now}");
            assert!(Instant::now() < give_up, "it stands still at {now}");
        }
    }

    /// All of it, while it waits at its gate.
    fn keep(&self, dir: &Path) -> (u64, State) {
        let wanted = self.kvm.get_msr_index_list().unwrap().as_slice().to_vec();
        let (chips, timer) = state::save_chips(&self.vm).unwrap();
        let state = State {
            host: state::host(&self.kvm).unwrap(),
            memory_mb: MEMORY,
            clock: 0,
            cpus: vec![state::save_cpu(&self.vcpu.lock().unwrap(), &wanted).unwrap()],
            chips,
            timer,
            devices: Vec::new(),
            serial: self.bus.serial(),
        };
        let pages = File::open("/proc/self/pagemap").unwrap();
        let written = memory::keep(&self.memory, self.base.as_ref(), &pages, dir).unwrap();
        state.write(&dir.join(kept::STATE)).unwrap();
        (written, State::read(&dir.join(kept::STATE)).unwrap())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.gate.end(End::Killed);
        let _ = self.gate.ended(Some(PATIENCE));
    }
}

#[test]
fn ports_lead_to_the_bus() {
    // Two letters to the serial port; then a port where nothing is, whose answer goes to the result.
    let code = [
        &[0x66, 0xba, 0xf8, 0x03, 0xb0, b'o', 0xee, 0xb0, b'k', 0xee][..],
        &[0x66, 0xba, 0x80, 0x00, 0xb0, 0x00, 0xec, 0x88, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00],
        &OFF,
    ];
    let Some(small) = Small::make(&code.concat(), None) else { return };
    assert_eq!(small.end(), End::Off);
    assert_eq!(*small.said.lock().unwrap(), b"ok");
    assert_eq!(small.result::<u8>(0), 0xff);
}

#[test]
fn addresses_lead_to_the_transport() {
    let store = |at: u8| [0x89, 0x04, 0x25, at, 0x00, 0x20, 0x00];
    let code = [
        // mov ebx, DEVICES; mov eax, [rbx]: the magic word, and the kind of device.
        &[0xbb, 0x00, 0x00, 0x00, 0xd0, 0x8b, 0x03][..],
        &store(0),
        &[0x8b, 0x43, 0x08],
        &store(4),
        // mov dword [rbx + 0x70], 3: the status, which is read back.
        &[0xc7, 0x43, 0x70, 0x03, 0x00, 0x00, 0x00, 0x8b, 0x43, 0x70],
        &store(8),
        // mov eax, [rbx + 0x5000]: there is no sixth device.
        &[0x8b, 0x83, 0x00, 0x50, 0x00, 0x00],
        &store(12),
        &OFF,
    ];
    let Some(small) = Small::make(&code.concat(), None) else { return };
    assert_eq!(small.end(), End::Off);
    assert_eq!([0, 4, 8, 12].map(|at| small.result::<u32>(at)), [0x7472_6976, 4, 3, u32::MAX]);
}

#[test]
fn a_machine_ends_as_its_guest_wants_or_deserves() {
    // The last is an instruction that is none, in a machine without any handlers.
    for (code, end) in [(&OFF[..], End::Off), (&RESET, End::Reset), (&[0x0f, 0x0b], End::Fault)] {
        let Some(small) = Small::make(code, None) else { return };
        assert_eq!(small.end(), end);
    }
}

#[test]
fn a_paused_guest_stands_still_and_loses_no_step() {
    let Some(small) = Small::make(&[&COUNT[..], &RESET].concat(), None) else { return };
    let mut count = 0;
    for round in 0..50 {
        small.gate.open();
        count = small.beyond(count);
        // At different moments of a step.
        thread::sleep(Duration::from_micros(round * 7));
        small.gate.close();
        let now: u64 = small.result(0);
        assert!(now >= count);
        thread::sleep(Duration::from_millis(2));
        assert_eq!(small.result::<u64>(0), now, "it goes on while it is paused");
        let rbx = small.vcpu.lock().unwrap().get_regs().unwrap().rbx;
        assert!(rbx == now || rbx == now + 1, "its register has {rbx}, its memory {now}");
        count = now;
    }
}

#[test]
fn a_guest_goes_on_in_another_machine_and_only_what_changed_is_written() {
    let code = [&COUNT[..], &RESET].concat();
    let Some(first) = Small::make(&code, None) else { return };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    first.gate.open();
    first.beyond(300);
    first.gate.close();
    let count: u64 = first.result(0);
    let (written, state) = first.keep(one.path());
    // Code, tables, the count: little of 8 MiB has been touched.
    assert!((4096..=32 * 4096).contains(&written), "{written} bytes were written");
    assert_eq!(state.serial, first.bus.serial());
    drop(first);

    let second = Small::make(&[], Some(&Kept(one.path(), state))).unwrap();
    assert_eq!(second.result::<u64>(0), count);
    second.gate.open();
    second.beyond(count + 300);
    second.gate.close();
    let further: u64 = second.result(0);
    // Into another folder the file is copied, and changed there; the first stays as it was.
    let (written, _) = second.keep(two.path());
    assert!((4096..=8 * 4096).contains(&written), "{written} bytes were written");
    let of = |dir: &Path| {
        let bytes = std::fs::read(kept::memory(dir)).unwrap();
        u64::from_le_bytes(bytes[RESULT as usize..][..8].try_into().unwrap())
    };
    assert_eq!((of(one.path()), of(two.path())), (count, further));
    // Into its own, in place.
    let (written, state) = second.keep(one.path());
    assert!((4096..=8 * 4096).contains(&written), "{written} bytes were written");
    assert_eq!(of(one.path()), further);
    assert_ne!(state.serial, SerialState::default(), "the scratch register is lost");
    drop(second);

    let third = Small::make(&[], Some(&Kept(one.path(), state))).unwrap();
    third.gate.open();
    assert!(third.beyond(further) > further);
}
