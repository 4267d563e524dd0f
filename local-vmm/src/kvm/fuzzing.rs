//! Entrances for fuzzing to our monitor's own parts: registers, kernels, tables, kept states. See `crate::fuzzing`.

use super::attach::{Device, Port};
use super::bus::{Bus, Wire};
use super::devices::{Balloon, Card, Disk, Random, Sockets};
use super::layout::{ACPI, DEVICE_SIZE, DEVICES, FIRST_LINE, GENERATION, GENERATION_LINE, HIGH_BEGIN};
use super::state::{self, DeviceState, State};
use super::transport::{Line, QUEUE, Registers};
use super::{acpi as tables, boot, kernel as loader};
use crate::devices::vsock::Vsock;
use crate::devices::{block, net};
use crate::fuzzing::{fresh_disk, scratch};
use crate::{MachineSpec, Memory};
use arbitrary::{Result, Unstructured};
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

/// Most bytes of an unpacked kernel here. A real one may have more; what is looked for does not need it.
const KERNEL: u64 = 4 << 20;
/// How long a device may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Offsets of registers (VIRTIO 1.2, section 4.2.2).
const STATUS: u64 = 0x70;

/// The kernel's command line of a machine.
pub(crate) fn command_line(spec: &MachineSpec) -> String {
    boot::command_line(spec)
}

/// A kernel, packed or not: unpacked, and put into a guest's memory.
pub fn kernel(data: &[u8]) {
    let memory = memory();
    let Some((how, rest)) = data.split_first() else { return };
    let file = match how % 4 {
        0 => rest.to_vec(),
        // A packed kernel whose head is right, so that what is fuzzed is what is in it.
        1 => bzimage(rest),
        2 => bzimage(&[&[0x02, 0x21, 0x4c, 0x18], rest].concat()),
        _ => {
            let block = lz4_literals(rest);
            let len = (block.len() as u32).to_le_bytes();
            bzimage(&[&[0x02, 0x21, 0x4c, 0x18], &len[..], &block].concat())
        }
    };
    if let Ok(unpacked) = vmm_image::unpack(&file, KERNEL) {
        assert!(unpacked.starts_with(b"\x7fELF") && unpacked.len() as u64 <= KERNEL.max(file.len() as u64));
    }
    if let Ok(loaded) = loader::put_bytes(&memory.0, &file, KERNEL) {
        assert!(loaded.kernel_load.0 >= HIGH_BEGIN, "its entry lies where our own tables are");
    }
}

fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 5 * 512];
    image[0x1f1] = 4;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image
}

/// A block of lz4 that stands for these bytes as they are.
fn lz4_literals(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    let mut block = vec![(len.min(15) as u8) << 4];
    if len >= 15 {
        block.extend(std::iter::repeat_n(255, (len - 15) / 255));
        block.push(((len - 15) % 255) as u8);
    }
    block.extend_from_slice(bytes);
    block
}

/// Two megabytes at the beginning of a guest's addresses, for all cases.
fn memory() -> MutexGuard<'static, Mapped> {
    static MEMORY: OnceLock<Mutex<Mapped>> = OnceLock::new();
    let fresh = || Memory::from_ranges(&[(GuestAddress(0), 2 << 20)]).expect("memory is to be had");
    lock(MEMORY.get_or_init(|| Mutex::new(Mapped(fresh()))))
}

struct Mapped(Memory);

/// The tables of a machine: written, and read as a kernel reads them.
pub fn acpi(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(cpus), Ok(devices)) = (u.arbitrary::<u8>(), u.arbitrary::<u16>()) else { return };
    let devices = u32::from(devices % 64);
    let memory = memory();
    let memory = &memory.0;
    const MARK: u8 = 0xa5;
    const END: usize = HIGH_BEGIN as usize;
    // The first megabyte, where the area ends, and some more.
    let all = vec![MARK; END + (64 << 10)];
    memory.write_slice(&all, GuestAddress(0)).expect("it fits into the memory");
    let written = tables::write(memory, cpus, devices);
    let mut now = all.clone();
    memory.read_slice(&mut now, GuestAddress(0)).expect("it fits into the memory");
    let (begin, end) = (ACPI as usize, HIGH_BEGIN as usize);
    assert!(now[..begin] == all[..begin] && now[end..] == all[end..], "a table lies outside of its area");
    if !written {
        assert!(devices > tables::MOST_DEVICES, "the tables of {devices} devices do not fit");
        return;
    }
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let root = &now[begin..begin + 36];
    assert!(root.starts_with(b"RSD PTR ") && sum(&root[..20]) == 0 && sum(root) == 0, "the root is damaged");
    let mut taken = vec![(begin, begin + 36)];
    let mut table = |at: u64, name: &[u8; 4]| {
        let at = usize::try_from(at).expect("addresses are small");
        assert!((begin..end - 36).contains(&at) && at.is_multiple_of(16), "a table lies at {at:#x}");
        let len = number(&now, at + 4, 4) as usize;
        assert!(len >= 36 && at + len <= end, "a table has {len} bytes");
        let bytes = &now[at..at + len];
        assert_eq!((&bytes[..4], sum(bytes)), (&name[..], 0));
        taken.push((at, at + len));
        bytes
    };
    let list = table(number(root, 24, 8), b"XSDT");
    let entries: Vec<u64> = list[36..].chunks_exact(8).map(|entry| number(entry, 0, 8)).collect();
    let [fixed, interrupts] = entries[..] else { panic!("there are {} tables", entries.len()) };
    let fixed = table(fixed, b"FACP");
    assert_ne!(number(fixed, 112, 4) & 1 << 20, 0, "the old hardware is promised");
    let code = table(number(fixed, 140, 8), b"DSDT");
    let mut rest = &table(interrupts, b"APIC")[44..];
    let mut ids = Vec::new();
    while let [kind, len, ..] = *rest {
        assert!(len >= 2 && usize::from(len) <= rest.len());
        if kind == 0 {
            assert_eq!(rest[4] & 1, 1, "a CPU is not enabled");
            ids.push(rest[3]);
        }
        rest = &rest[usize::from(len)..];
    }
    assert_eq!(ids, (0..cpus).collect::<Vec<_>>());
    taken.sort_unstable();
    assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0), "tables overlap: {taken:x?}");
    // Each device has its window and its line (ACPI 6.5, sections 6.4.3.4 and 6.4.3.6), in order.
    let found = |mark: &[u8], at: usize, len: usize| -> Vec<u64> {
        let places = code.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark);
        places.map(|(place, _)| number(code, place + at, len)).collect()
    };
    let windows = found(&[0x86, 9, 0, 1], 4, 4);
    assert_eq!(
        windows,
        (0..u64::from(devices)).map(|number| DEVICES + number * DEVICE_SIZE).collect::<Vec<_>>()
    );
    let lines = found(&[0x89, 6, 0], 5, 4);
    let own = (0..devices).map(|number| u64::from(FIRST_LINE + number));
    let expected: Vec<u64> = own.chain([4, u64::from(GENERATION_LINE)]).collect();
    assert_eq!(lines, expected);
    let distinct: std::collections::BTreeSet<_> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len(), "two devices share a line");
    // The generation: a page behind all tables, whose place is told in two halves, and whose line is its own event.
    let (page, size) = (GENERATION as usize, 16);
    assert!(taken.iter().all(|(_, to)| *to <= page), "a table lies where the generation is");
    assert_ne!(now[page..page + size], all[page..page + size]);
    assert!(now[page + size..end] == all[page + size..end], "the generation is longer than it is");
    // Both halves are values of the language, which has a word of one byte for the number 0.
    let (low, high) = (found(b"ADDR\x12", 8, 4), found(b"ADDR\x12", 12, 1));
    assert_eq!((low, high), (vec![GENERATION], vec![GENERATION >> 32]));
    assert_eq!(found(b"_EVT", 10, 1), [u64::from(GENERATION_LINE)]);
    let before = now[page..page + size].to_vec();
    assert!(tables::write(memory, cpus, devices), "what could be written once cannot be again");
    memory.read_slice(&mut now, GuestAddress(0)).expect("it fits into the memory");
    assert_ne!(now[page..page + size], before, "a machine has the generation of another");
}

/// A device with its registers, for all cases; cases take turns.
struct Rig {
    port: Arc<Port>,
    registers: Registers,
    memory: Memory,
    /// The other end of a network card's cable.
    peer: Option<UnixStream>,
}

/// One of each device.
const DEVICES_HERE: usize = 5;

fn rigs() -> MutexGuard<'static, [Rig; DEVICES_HERE]> {
    static RIGS: OnceLock<Mutex<[Rig; DEVICES_HERE]>> = OnceLock::new();
    let rig = |device: Box<dyn Device>, peer: Option<UnixStream>| {
        let memory = Memory::from_ranges(&[(GuestAddress(0), 1 << 20)]).expect("memory is to be had");
        let line = Arc::new(Line::new(event()));
        let port = Port::open(device, &memory, &line).expect("the device starts");
        let registers = Registers::new(port.device().kind(), port.device().features(), port.queues(), line);
        Rig { port, registers, memory, peer }
    };
    let make = || {
        let at = scratch().join("registers.sock");
        let listener = UnixListener::bind(at).expect("a socket can be made");
        let sockets = Sockets::new(Vsock::start(listener).expect("the device starts"));
        let (ours, peer) = UnixStream::pair().expect("a pair of sockets can be made");
        peer.set_nonblocking(true).expect("a socket can be told not to block");
        let card = Card(net::Net::new(ours, [2, 0, 0, 0, 0, 7]).expect("the device starts"));
        let disk = block::Server::start(fresh_disk("registers")).expect("a thread can be started");
        Mutex::new([
            rig(Box::new(Random), None),
            rig(Box::new(sockets), None),
            rig(Box::new(card), Some(peer)),
            rig(Box::new(Balloon), None),
            rig(Box::new(Disk(disk)), None),
        ])
    };
    lock(RIGS.get_or_init(make))
}

fn event() -> EventFd {
    EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).expect("an event can be made")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rig {
    fn read(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.registers.read(offset, &mut bytes, &self.port);
        u32::from_le_bytes(bytes)
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.registers.write(offset, &value.to_le_bytes(), &self.port);
    }

    /// What holds at any moment.
    fn check(&self) {
        assert_eq!([0, 4, 0x0c].map(|at| self.read(at)), [0x7472_6976, 2, 0x5350_5254]);
        let status = self.read(STATUS);
        assert_eq!(status & !0b1000_1111, 0, "the status has bits that nobody has");
        let kept = self.registers.state(false);
        let offered = self.offered();
        if status & 8 != 0 {
            assert_eq!(kept.driver_features & !offered, 0, "features are taken that were not offered");
        }
        for queue in &kept.queues {
            let queue = queue.queue(QUEUE).expect("a queue that cannot be");
            use virtio_queue::QueueT;
            assert!(queue.size().is_power_of_two() && queue.size() <= QUEUE);
        }
    }

    /// Feature bits offered: the device's own, the modern interface, and two ways of working with queues.
    fn offered(&self) -> u64 {
        self.port.device().features() | 1 << 32 | 1 << 28 | 1 << 29
    }

    /// Puts it into the state of a reset, as a driver does.
    fn reset(&mut self) {
        self.write(STATUS, 0);
        assert_eq!(self.read(STATUS), 0);
        assert!(!self.port.rest(), "the device goes on after a reset");
        // It was held only for the look; a machine that stands still lets its devices go on as well.
        self.port.release();
    }

    /// Sets it up with its queues from 0 on, 4 KiB apart, as a good driver does.
    fn set_up(&mut self) {
        for (offset, value) in [(STATUS, 1), (STATUS, 3), (0x24, 1), (0x20, 1), (STATUS, 0xb)] {
            self.write(offset, value);
        }
        for queue in 0..self.port.device().queues() as u32 {
            let page = queue * 0x1000;
            let places = [(0x80, page), (0x90, page + 0x400), (0xa0, page + 0x800)];
            let high = [0x84, 0x94, 0xa4].map(|offset| (offset, 0));
            let steps = [[(0x30, queue), (0x38, 16)].as_slice(), &places, &high, &[(0x44, 1)]].concat();
            steps.into_iter().for_each(|(offset, value)| self.write(offset, value));
        }
        self.write(STATUS, 0xf);
        assert_eq!(self.read(STATUS), 0xf, "a good driver is refused");
    }
}

/// Registers of virtio-mmio, with the device at work behind them.
pub fn registers(data: &[u8]) {
    let _ = try_registers(&mut Unstructured::new(data));
}

fn try_registers(u: &mut Unstructured<'_>) -> Result<()> {
    let mut rigs = rigs();
    let rig = &mut rigs[u.int_in_range(0..=DEVICES_HERE - 1)?];
    rig.reset();
    let len = u.int_in_range(0..=64)?;
    let filler = u.bytes(len.min(u.len()))?.to_vec();
    for page in 0..3u64 {
        rig.memory.write_slice(&filler, GuestAddress(page * 0x400)).expect("it lies within the memory");
    }
    for _ in 0..u.int_in_range(0..=60)? {
        if u.is_empty() {
            break;
        }
        let offset = match u.int_in_range(0..=7u8)? {
            0 => u.int_in_range(0..=0xfff)?,
            1 => STATUS,
            _ => *u.choose(&[
                0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4,
            ])?,
        };
        let value = match u.int_in_range(0..=3u8)? {
            0 => u.arbitrary()?,
            1 => 1 << u.int_in_range(0..=31)?,
            _ => u.int_in_range(0..=0xf)?,
        };
        let setting_up = rig.read(STATUS) & 4 == 0;
        let before = rig.registers.state(false);
        if setting_up && u.ratio(1, 8)? {
            // All that agreeing on features takes.
            let wanted = if u.arbitrary()? { rig.offered() } else { u.arbitrary()? };
            let steps =
                [(STATUS, 3), (0x24, 0), (0x20, wanted as u32), (0x24, 1), (0x20, (wanted >> 32) as u32)];
            steps.into_iter().for_each(|(offset, value)| rig.write(offset, value));
            rig.write(STATUS, 0xb);
        } else if u.ratio(7, 8)? {
            rig.write(offset, value);
        } else {
            let mut bytes = [0; 8];
            let len = u.int_in_range(0..=8)?;
            rig.registers.read(offset, &mut bytes[..len], &rig.port);
            rig.registers.write(offset, &bytes[..len], &rig.port);
        }
        let places =
            |state: &DeviceState| state.queues.iter().map(|queue| queue.places()).collect::<Vec<_>>();
        if !setting_up && offset != STATUS {
            let now = rig.registers.state(false);
            assert_eq!(places(&before), places(&now), "a queue was moved while its device works");
        }
        rig.check();
    }
    rig.reset();
    works(rig);
    Ok(())
}

/// The device answers a good driver. The sockets have nothing to say.
fn works(rig: &mut Rig) {
    // Which queue has one descriptor, whether it is to be written, and how many bytes are.
    let (queue, writes, expected) = match rig.port.device().kind() {
        net::KIND => (net::TRANSMIT as u32, false, Some(0)),
        // No request; what there is of an answer is the device's to say.
        block::KIND => (3, true, None),
        4 => (0, true, Some(32)),
        5 => (0, false, Some(0)),
        _ => (0, true, None),
    };
    let page = u64::from(queue) * 0x1000;
    let put = |rig: &Rig, at: u64, bytes: &[u8]| {
        rig.memory.write_slice(bytes, GuestAddress(at)).expect("it lies within the memory");
    };
    put(rig, 0, &[0; 0x5000]);
    // A balloon finds numbers of pages there that are none.
    put(rig, 0x1_0000, &[0xff; 32]);
    put(rig, page, &0x1_0000u64.to_le_bytes());
    put(rig, page + 8, &[32, 0, 0, 0, if writes { 2 } else { 0 }, 0, 0, 0]);
    put(rig, page + 0x402, &[1, 0]);
    rig.set_up();
    if rig.port.device().kind() != crate::devices::vsock::KIND {
        rig.write(0x50, queue);
        let give_up = Instant::now() + ANSWER;
        let number = |rig: &Rig, at: u64| -> u32 {
            rig.memory.read_obj(GuestAddress(page + at)).expect("it lies within the memory")
        };
        while number(rig, 0x800) >> 16 != 1 {
            assert!(Instant::now() < give_up, "the device no longer answers");
            // What a card has for its peer may be in the way.
            let mut waste = [0; 4096];
            while rig.peer.as_mut().is_some_and(|peer| peer.read(&mut waste).is_ok_and(|read| read > 0)) {}
            std::thread::sleep(Duration::from_micros(20));
        }
        assert!(expected.is_none_or(|expected| number(rig, 0x808) == expected));
    }
    rig.reset();
}

/// A kept state whose sum fits: decoded, said again, and put into devices.
pub fn state(data: &[u8]) {
    let Ok(kept) = State::decode(&state::sealed(data)) else { return };
    let said = postcard::to_stdvec(&kept).expect("a state has a form");
    let again = State::decode(&state::sealed(&said)).expect("what is written can be read");
    assert_eq!(said, postcard::to_stdvec(&again).expect("a state has a form"));
    // The serial port takes any registers.
    let bus = Bus::new(Wire(event()), Box::new(|_| ()), Vec::new(), Some(&kept.serial));
    let mut byte = [0];
    for port in super::layout::SERIAL_PORT..=0x3ff {
        bus.port_read(port, &mut byte);
        bus.port_write(port, &byte);
    }
    let mut rigs = rigs();
    for device in kept.devices.iter().take(8) {
        for rig in rigs.iter_mut() {
            rig.reset();
            if rig.registers.restore(device) {
                assert_eq!(rig.registers.state(device.live), *device, "a device is not as it was");
                rig.port.go_on(device.live);
            }
            rig.reset();
        }
    }
    rigs.iter_mut().for_each(works);
}
