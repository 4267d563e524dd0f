//! What a machine is besides its memory, in a form that can be kept: CPUs, interrupt controllers, timer, clock, devices.
//!
//! The file is a line that names format and version, then the state in postcard's encoding, then a checksum of both. It is read by a host that
//! did not write it, or wrote it long ago, so nothing in it is believed before the checksum fits; and nothing in it can do more harm than a
//! guest can: what KVM does not take ends in an error.

use super::KvmError;
use super::bounded::at_most;
use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, Msrs, kvm_debugregs, kvm_irqchip,
    kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_pit_state2, kvm_regs, kvm_sregs, kvm_vcpu_events,
    kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use virtio_queue::{Queue, QueueState};

/// First line of a file. A program reads the version it writes and no other: what it cannot read costs a boot, not data.
const HEAD: &[u8] = b"sprites-tui machine state 3\n";
/// What the first line of every version begins with.
const KIND: &[u8] = b"sprites-tui machine state ";
/// Most bytes of a file.
const MAX: u64 = 16 << 20;
/// Machine-specific registers that must be set after the others: the deadline of the timer means nothing before the counter is right.
const LAST: [u32; 1] = [TSC_DEADLINE];
const TSC_DEADLINE: u32 = 0x6e0;
/// Most of everything that there may be several of; see [`at_most`].
const MOST_CPUS: usize = 255;
const CHIPS: usize = 3;
const MOST_DEVICES: usize = super::acpi::MOST_DEVICES as usize;
const MOST_QUEUES: usize = 64;
const MOST_MSRS: usize = 4096;

/// A machine's state. See the module.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// What the host's CPUs are; another model may lack what the guest uses.
    pub host: String,
    /// MiB.
    pub memory_mb: u32,
    /// Nanoseconds that the guest's clock shows.
    pub clock: u64,
    #[serde(deserialize_with = "at_most::<_, _, MOST_CPUS>")]
    pub cpus: Vec<Cpu>,
    #[serde(deserialize_with = "at_most::<_, _, CHIPS>")]
    pub chips: Vec<kvm_irqchip>,
    pub timer: kvm_pit_state2,
    #[serde(deserialize_with = "at_most::<_, _, MOST_DEVICES>")]
    pub devices: Vec<DeviceState>,
    pub serial: SerialState,
}

/// A CPU.
#[derive(Serialize, Deserialize)]
pub(super) struct Cpu {
    /// Frequency of its time stamp counter, kHz.
    tsc_khz: u32,
    mode: kvm_mp_state,
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: kvm_xsave,
    xcrs: kvm_xcrs,
    debug: kvm_debugregs,
    lapic: kvm_lapic_state,
    #[serde(deserialize_with = "at_most::<_, _, MOST_MSRS>")]
    msrs: Vec<(u32, u64)>,
    events: kvm_vcpu_events,
}

/// A virtio device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeviceState {
    pub kind: u32,
    pub status: u32,
    pub driver_features: u64,
    pub selects: [u32; 3],
    pub reason: u32,
    pub live: bool,
    #[serde(deserialize_with = "at_most::<_, _, MOST_QUEUES>")]
    pub queues: Vec<RingState>,
}

/// A queue: VIRTIO 1.2, section 2.7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RingState {
    size: u16,
    ready: bool,
    event_idx: bool,
    next_avail: u16,
    next_used: u16,
    places: [u64; 3],
}

impl RingState {
    /// The state of a queue.
    pub(super) fn of(queue: &Queue) -> Self {
        let state = queue.state();
        Self {
            size: state.size,
            ready: state.ready,
            event_idx: state.event_idx_enabled,
            next_avail: state.next_avail,
            next_used: state.next_used,
            places: [state.desc_table, state.avail_ring, state.used_ring],
        }
    }

    /// Places of its table and rings.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn places(&self) -> [u64; 3] {
        self.places
    }

    /// A queue in that state; none when no queue is like that.
    pub(super) fn queue(&self, max_size: u16) -> Option<Queue> {
        let [desc_table, avail_ring, used_ring] = self.places;
        let state = QueueState {
            max_size,
            next_avail: self.next_avail,
            next_used: self.next_used,
            event_idx_enabled: self.event_idx,
            size: self.size,
            ready: self.ready,
            desc_table,
            avail_ring,
            used_ring,
        };
        Queue::try_from(state).ok()
    }
}

/// The serial port's registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SerialState(pub [u8; 9]);

impl State {
    /// Writes it to a file, which is whole or not there.
    pub(super) fn write(&self, path: &Path) -> Result<(), KvmError> {
        let failed = KvmError::host("keep the machine's state");
        let mut bytes = HEAD.to_vec();
        bytes.extend(postcard::to_stdvec(self).map_err(|error| failed(io::Error::other(error)))?);
        bytes.extend(checksum(&bytes).to_le_bytes());
        let unfinished = path.with_extension("new");
        let put = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        put().map_err(failed)
    }

    /// Reads it back.
    pub(super) fn read(path: &Path) -> Result<Self, KvmError> {
        let refused = |why: &str| super::kept::refused(path, why);
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| refused(&error.to_string()))?;
        Self::decode(&bytes).map_err(refused)
    }

    /// Whether a file is of the version that this program reads, as its first line says.
    pub(super) fn is_current(path: &Path) -> bool {
        let mut head = [0; HEAD.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *HEAD
    }

    /// The state in the bytes of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(HEAD) {
            let other = bytes.starts_with(KIND);
            return Err(if other { "another version wrote it" } else { "it is no machine's state" });
        }
        let Some((kept, sum)) = bytes.split_last_chunk::<8>().filter(|_| bytes.len() as u64 <= MAX) else {
            return Err("it is cut off");
        };
        if checksum(kept).to_le_bytes() != *sum {
            return Err("it is damaged");
        }
        let rest = kept.get(HEAD.len()..).ok_or("it is cut off")?;
        let state: Self = postcard::from_bytes(rest).map_err(|_| "it makes no sense")?;
        if state.cpus.is_empty() || state.cpus.len() > 64 || state.memory_mb == 0 {
            return Err("it describes no machine");
        }
        Ok(state)
    }
}

/// FNV-1a, 64 bits: finds what a disk or a cut leaves; whoever can write the file can write the sum as well.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A file with that state, whatever it is, and a sum that fits.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = [HEAD, body].concat();
    bytes.extend(checksum(&bytes).to_le_bytes());
    bytes
}

/// What the CPUs of this host are, as far as a guest could notice.
pub(super) fn host(kvm: &Kvm) -> Result<String, KvmError> {
    let all = super::cpu::features(kvm)?;
    let mut sum = Vec::new();
    for entry in all.as_slice() {
        // Leaves that tell of one moment or of one CPU are left out.
        if !matches!(entry.function, 0xb | 0xd | 0x1f | 0x8000_001e | 0x1) {
            for word in [entry.function, entry.index, entry.eax, entry.ebx, entry.ecx, entry.edx] {
                sum.extend(word.to_le_bytes());
            }
        } else if entry.function == 1 {
            for word in [entry.eax, entry.ecx, entry.edx] {
                sum.extend(word.to_le_bytes());
            }
        }
    }
    Ok(format!("{:016x}", checksum(&sum)))
}

/// The state of a CPU that stands still.
pub(super) fn save_cpu(vcpu: &VcpuFd, msrs: &[u32]) -> Result<Cpu, KvmError> {
    let failed = KvmError::kvm("read a CPU's state");
    // In this order: reading the mode lets pending events of the interrupt controller take effect.
    let mode = vcpu.get_mp_state().map_err(&failed)?;
    Ok(Cpu {
        mode,
        tsc_khz: vcpu.get_tsc_khz().unwrap_or(0),
        regs: vcpu.get_regs().map_err(&failed)?,
        sregs: vcpu.get_sregs().map_err(&failed)?,
        xsave: vcpu.get_xsave().map_err(&failed)?,
        xcrs: vcpu.get_xcrs().map_err(&failed)?,
        debug: vcpu.get_debug_regs().map_err(&failed)?,
        lapic: vcpu.get_lapic().map_err(&failed)?,
        msrs: read_msrs(vcpu, msrs)?,
        events: vcpu.get_vcpu_events().map_err(&failed)?,
    })
}

/// Those of the registers that this CPU has. KVM stops at the first that it does not.
fn read_msrs(vcpu: &VcpuFd, wanted: &[u32]) -> Result<Vec<(u32, u64)>, KvmError> {
    let failed = |doing| KvmError::kvm(doing);
    let mut out = Vec::new();
    let mut rest = wanted;
    while !rest.is_empty() {
        let entries: Vec<kvm_msr_entry> = rest
            .iter()
            .take(64)
            .map(|index| kvm_msr_entry { index: *index, ..kvm_msr_entry::default() })
            .collect();
        let mut msrs = Msrs::from_entries(&entries).map_err(|_| KvmError::Lacks("registers of its CPUs"))?;
        let read = vcpu.get_msrs(&mut msrs).map_err(failed("read a CPU's state"))?;
        out.extend(msrs.as_slice()[..read].iter().map(|entry| (entry.index, entry.data)));
        let skip = if read < entries.len() { read + 1 } else { read };
        rest = &rest[skip..];
    }
    Ok(out)
}

/// Puts a CPU, whose features are set, into a state.
pub(super) fn restore_cpu(vcpu: &VcpuFd, cpu: &Cpu) -> Result<(), KvmError> {
    let failed = KvmError::kvm("set a CPU's state");
    if cpu.tsc_khz != 0 && vcpu.get_tsc_khz().is_ok_and(|khz| khz.abs_diff(cpu.tsc_khz) > cpu.tsc_khz / 4000)
    {
        vcpu.set_tsc_khz(cpu.tsc_khz).map_err(&failed)?;
    }
    vcpu.set_mp_state(cpu.mode).map_err(&failed)?;
    vcpu.set_regs(&cpu.regs).map_err(&failed)?;
    vcpu.set_sregs(&cpu.sregs).map_err(&failed)?;
    // SAFETY: the area has the size that KVM reads where no larger features were asked for, and this program asks for none.
    unsafe { vcpu.set_xsave(&cpu.xsave) }.map_err(&failed)?;
    vcpu.set_xcrs(&cpu.xcrs).map_err(&failed)?;
    vcpu.set_debug_regs(&cpu.debug).map_err(&failed)?;
    vcpu.set_lapic(&cpu.lapic).map_err(&failed)?;
    for late in [false, true] {
        for (index, data) in cpu.msrs.iter().filter(|(index, _)| LAST.contains(index) == late) {
            // A deadline that has passed, or was reset with it, would never come again.
            let data = if *index == TSC_DEADLINE && *data == 0 { tsc(cpu).max(1) } else { *data };
            let entry = kvm_msr_entry { index: *index, data, ..kvm_msr_entry::default() };
            if let Ok(msrs) = Msrs::from_entries(&[entry]) {
                // Some can be read only; what the guest needs of them KVM keeps itself.
                let _ = vcpu.set_msrs(&msrs);
            }
        }
    }
    vcpu.set_vcpu_events(&cpu.events).map_err(&failed)
}

/// What the CPU's time stamp counter showed.
fn tsc(cpu: &Cpu) -> u64 {
    cpu.msrs.iter().find(|(index, _)| *index == 0x10).map_or(0, |(_, value)| *value)
}

/// Interrupt controllers and timer.
pub(super) fn save_chips(vm: &VmFd) -> Result<(Vec<kvm_irqchip>, kvm_pit_state2), KvmError> {
    let failed = KvmError::kvm("read the machine's state");
    let mut chips = Vec::new();
    for chip_id in [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC] {
        let mut chip = kvm_irqchip { chip_id, ..kvm_irqchip::default() };
        vm.get_irqchip(&mut chip).map_err(&failed)?;
        chips.push(chip);
    }
    Ok((chips, vm.get_pit2().map_err(&failed)?))
}

/// The same back again.
pub(super) fn restore_chips(
    vm: &VmFd,
    chips: &[kvm_irqchip],
    timer: &kvm_pit_state2,
) -> Result<(), KvmError> {
    let failed = KvmError::kvm("set the machine's state");
    for chip in chips {
        vm.set_irqchip(chip).map_err(&failed)?;
    }
    vm.set_pit2(timer).map_err(&failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain() -> State {
        let cpu = Cpu {
            tsc_khz: 1,
            mode: kvm_mp_state::default(),
            regs: kvm_regs { rip: 7, ..kvm_regs::default() },
            sregs: kvm_sregs::default(),
            xsave: kvm_xsave::default(),
            xcrs: kvm_xcrs::default(),
            debug: kvm_debugregs::default(),
            lapic: kvm_lapic_state::default(),
            msrs: vec![(0x10, 9)],
            events: kvm_vcpu_events::default(),
        };
        State {
            host: "here".into(),
            memory_mb: 256,
            clock: 5,
            cpus: vec![cpu],
            chips: Vec::new(),
            timer: kvm_pit_state2::default(),
            devices: Vec::new(),
            serial: SerialState::default(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        plain().write(&path).unwrap();
        let read = State::read(&path).unwrap();
        assert_eq!((read.clock, read.cpus[0].regs.rip, tsc(&read.cpus[0])), (5, 7, 9));
        assert!(State::is_current(&path));
        let bytes = fs::read(&path).unwrap();
        let older = [KIND, b"2\n", &bytes[HEAD.len()..]].concat();
        fs::write(&path, &older).unwrap();
        assert!(!State::is_current(&path));
        assert!(State::decode(&older).is_err_and(|why| why.contains("another version")));
        for cut in [0, 5, HEAD.len(), HEAD.len() + 8, bytes.len() / 2, bytes.len() - 1] {
            assert!(State::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(State::decode(&damaged).is_err(), "{at}");
        }
        // More chips than there are: a byte each in a file, half a kilobyte in memory.
        let chips = vec![kvm_irqchip::default(); CHIPS + 1];
        State { chips: chips[1..].to_vec(), ..plain() }.write(&path).unwrap();
        assert!(State::read(&path).is_ok());
        State { chips, ..plain() }.write(&path).unwrap();
        assert!(State::read(&path).is_err());
        fs::remove_file(&path).unwrap();
        assert!(matches!(State::read(&path), Err(KvmError::State(..))));
    }

    proptest! {
        /// Even with a sum that fits.
        #[test]
        fn anything_is_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut file = [HEAD, &bytes].concat();
            file.extend(checksum(&file).to_le_bytes());
            let _ = State::decode(&file);
        }
    }
}
