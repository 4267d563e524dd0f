//! What several of these files do together.

use super::attach::{Device, MmioRing, Port};
use super::devices::{Balloon, Card, Disk, Random};
use super::kept::OWN as FILE;
use super::state::DeviceState;
use super::transport::{Line, Registers};
use super::{kept, memory};
use crate::devices::block::{Bell, Block, Server};
use crate::devices::net::Net;
use crate::devices::testing::{Driver, MEMORY, NEXT, SIZE, WRITE, memory as plain};
use crate::devices::{balloon, ring::Ring};
use crate::{Memory, MemoryNow};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestRegionMmap};
use vmm_disk::{BLOCK, Store, Volume};
use vmm_sys_util::eventfd::EventFd;

const PAGE: usize = 4096;
/// Where drivers have their data.
const DATA: u64 = 0x2_0000;

fn wait(what: &str, done: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < give_up, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A memory that comes from a file, as that of a machine that goes on.
fn from_file(file: &File) -> Memory {
    let region = MmapRegionBuilder::new(MEMORY)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE)
        .with_file_offset(FileOffset::new(file.try_clone().unwrap(), 0))
        .build()
        .unwrap();
    Memory::from_regions(vec![GuestRegionMmap::new(region, GuestAddress(0)).unwrap()]).unwrap()
}

/// What the kernel tells of this process's pages.
fn own_pages() -> File {
    File::open("/proc/self/pagemap").unwrap()
}

fn contents(memory: &Memory) -> Vec<u8> {
    let mut out = vec![0; MEMORY];
    memory.read_slice(&mut out, GuestAddress(0)).unwrap();
    out
}

/// Pages that were given back are not "changed" any more, and what is kept is what the guest would have read.
#[test]
fn memory_given_back_is_kept_as_the_guest_would_read_it() {
    let root = tempfile::tempdir().unwrap();
    let (own, other) = (root.path().join("own"), root.path().join("other"));
    kept::make(&own).unwrap();
    kept::make(&other).unwrap();
    let old: Vec<u8> = (0..MEMORY).map(|at| (at / PAGE) as u8).collect();
    std::fs::write(own.join(FILE), &old).unwrap();
    let base = File::open(own.join(FILE)).unwrap();
    let memory = from_file(&base);
    let mut driver = Driver::new(&memory, 0);
    driver.put(0, &[0; PAGE]);
    driver.put(0x4_0000, &[0xee; 4 * PAGE]);
    driver.chain(&[(0x4_1000, 2 * PAGE as u32, WRITE, 0)]);
    balloon::report(&driver.ring, &driver.now());
    assert_eq!(driver.used().len(), 1);
    assert_eq!(
        driver.get(0x4_0000, 4 * PAGE),
        [[0xee; PAGE], [0x41; PAGE], [0x42; PAGE], [0xee; PAGE]].concat()
    );
    // One of them is used again.
    driver.put(0x4_2000, &[0xdd; PAGE]);
    let now = contents(&memory);

    // Elsewhere: a copy of what was, and the changes.
    let written = memory::keep(&memory, Some(&base), &own_pages(), &other).unwrap();
    assert_eq!((written, std::fs::read(other.join(FILE)).unwrap() == now), (4 * PAGE as u64, true));
    assert!(std::fs::read(own.join(FILE)).unwrap() == old);
    // In place: the changes alone.
    let written = memory::keep(&memory, Some(&base), &own_pages(), &own).unwrap();
    assert_eq!((written, std::fs::read(own.join(FILE)).unwrap() == now), (4 * PAGE as u64, true));
    // What is given back afterwards is what the file has now, so it stays so when it is kept once more.
    driver.put(0x4_0000, &[0x99; PAGE]);
    driver.chain(&[(0x4_0000, PAGE as u32, WRITE, 0)]);
    balloon::report(&driver.ring, &driver.now());
    assert_eq!(driver.get(0x4_0000, PAGE), [0xee; PAGE]);
    memory::keep(&memory, Some(&base), &own_pages(), &own).unwrap();
    assert!(std::fs::read(own.join(FILE)).unwrap() == contents(&memory));
}

#[test]
fn fresh_memory_that_was_given_back_takes_no_place() {
    let root = tempfile::tempdir().unwrap();
    let memory = plain();
    let mut driver = Driver::new(&memory, 0);
    driver.put(0x4_0000, &[0xee; 4 * PAGE]);
    driver.put(DATA, &[0x43, 0, 0, 0]);
    driver.chain(&[(DATA, 4, 0, 0)]);
    balloon::inflate(&driver.ring, &driver.now());
    let written = memory::keep(&memory, None, &own_pages(), root.path()).unwrap();
    // Three pages, the queue's and the list's.
    assert_eq!(written, 5 * PAGE as u64);
    assert!(std::fs::read(root.path().join(FILE)).unwrap() == contents(&memory));
}

fn slot(device: Box<dyn Device>, memory: &Memory) -> (Registers, Arc<Port>) {
    let line = Arc::new(Line::new(EventFd::new(libc::EFD_NONBLOCK).unwrap()));
    let port = Port::open(device, memory, &line).unwrap();
    let registers = Registers::new(port.device().kind(), port.device().features(), port.queues(), line);
    (registers, port)
}

/// Sets a device up as its driver does, with all its features and queues, which lie where [`Driver`] has them.
fn set_up(registers: &mut Registers, port: &Port) {
    let features = port.device().features();
    let mut write = |offset: u64, value: u32| registers.write(offset, &value.to_le_bytes(), port);
    [0, 1, 3].into_iter().for_each(|status| write(0x70, status));
    write(0x24, 0);
    write(0x20, features as u32);
    write(0x24, 1);
    write(0x20, 1 | (features >> 32) as u32);
    write(0x70, 0b1011);
    for queue in 0..port.queues().len() as u32 {
        write(0x30, queue);
        write(0x38, u32::from(SIZE));
        write(0x80, 0x1000 * queue);
        write(0x90, 0x1000 * queue + 0x400);
        write(0xa0, 0x1000 * queue + 0x800);
        write(0x44, 1);
    }
    write(0x70, 0b1111);
}

fn disk(root: &std::path::Path, name: &str, queues: u32) -> Disk {
    let base = root.join("base");
    std::fs::write(&base, vec![7; BLOCK as usize]).unwrap();
    let at = root.join(name);
    Store::open(root).unwrap().create(&at, &base, 64 * BLOCK).unwrap();
    let volume = Arc::new(Volume::open(&at).unwrap());
    let block = Block::new(Arc::clone(&volume), Arc::new(Bell::new(volume)), name).with_queues(queues);
    Disk(Server::start(block).unwrap())
}

fn card() -> (Card, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (Card(Net::new(ours, [2, 0, 0, 0, 0, 7]).unwrap()), peer)
}

#[test]
fn each_device_is_kept_and_put_back() {
    let root = tempfile::tempdir().unwrap();
    let mut count = 0;
    let mut fresh = || -> Vec<Box<dyn Device>> {
        count += 1;
        let (one, four) = (format!("one-{count}"), format!("four-{count}"));
        let disks = [disk(root.path(), &one, 1), disk(root.path(), &four, 99)];
        let mut all: Vec<Box<dyn Device>> = vec![Box::new(Balloon), Box::new(card().0), Box::new(Random)];
        all.extend(disks.into_iter().map(|disk| Box::new(disk) as Box<dyn Device>));
        all
    };
    let memory = plain();
    let kept: Vec<DeviceState> = fresh()
        .into_iter()
        .map(|device| {
            let (mut registers, port) = slot(device, &memory);
            set_up(&mut registers, &port);
            let state = registers.state(port.rest());
            assert!(state.live && state.queues.len() == port.device().queues());
            state
        })
        .collect();
    assert_eq!(kept.iter().map(|state| state.queues.len()).collect::<Vec<_>>(), [5, 2, 1, 1, 4]);
    let again: Vec<DeviceState> = postcard::from_bytes(&postcard::to_stdvec(&kept).unwrap()).unwrap();
    assert_eq!(again, kept);
    for (number, device) in fresh().into_iter().enumerate() {
        let (mut registers, port) = slot(device, &memory);
        for (other, state) in kept.iter().enumerate().filter(|(other, _)| *other != number) {
            assert!(!registers.restore(state), "{number} takes {other} for itself");
        }
        assert!(registers.restore(&kept[number]));
        port.go_on(kept[number].live);
        assert_eq!(registers.state(port.rest()), kept[number]);
    }
}

#[test]
fn a_disk_with_several_queues() {
    let root = tempfile::tempdir().unwrap();
    let memory = plain();
    let mut drivers: Vec<Driver> = (0..4).map(|number| Driver::new(&memory, number)).collect();
    let (mut registers, port) = slot(Box::new(disk(root.path(), "disk", 4)), &memory);
    set_up(&mut registers, &port);
    assert_eq!(port.config()[34..36], 4u16.to_le_bytes());
    // Each queue writes a block of its own, all at once, and reads another's.
    let begin = |drivers: &mut Vec<Driver>, kind: u32, block: fn(u64) -> u64, way: u32| {
        for (number, driver) in (0..).zip(drivers.iter_mut()) {
            let at = DATA + 0x4000 * number;
            driver.put(at, &[&kind.to_le_bytes()[..], &[0; 4], &(8 * block(number)).to_le_bytes()].concat());
            driver.put(at + 16, &[0xee]);
            let data = (at + 0x1000, BLOCK as u32, way | NEXT, 2);
            driver.chain(&[(at, 16, NEXT, 1), data, (at + 16, 1, WRITE, 0)]);
            port.kick(number as u32);
        }
        for (number, driver) in (0..).zip(drivers.iter_mut()) {
            let status = DATA + 0x4000 * number + 16;
            wait("a queue is not served", || driver.get(status, 1) != [0xee]);
            assert_eq!(driver.get(status, 1), [0]);
        }
        port.rest();
        port.release();
        assert!(drivers.iter_mut().all(|driver| driver.used().len() == 1));
    };
    for number in 0..4 {
        memory
            .write_slice(&[0x30 + number; PAGE], GuestAddress(DATA + 0x4000 * u64::from(number) + 0x1000))
            .unwrap();
    }
    begin(&mut drivers, 1, |number| number, 0);
    begin(&mut drivers, 0, |number| 3 - number, WRITE);
    for (number, driver) in (0u8..).zip(&drivers) {
        let data = driver.get(DATA + 0x4000 * u64::from(number) + 0x1000, PAGE);
        assert_eq!(data, [0x33 - number; PAGE]);
    }
    // A reset ends the work of all of them.
    registers.write(0x70, &[0; 4], &port);
    assert!(!port.rest());
}

/// Nothing that comes from outside reaches the memory of a machine that stands still.
#[test]
fn frames_wait_while_the_machine_stands_still() {
    let memory = plain();
    let (mut receive, mut transmit) = (Driver::new(&memory, 0), Driver::new(&memory, 1));
    let (card, mut peer) = card();
    let (mut registers, port) = slot(Box::new(card), &memory);
    set_up(&mut registers, &port);
    let frame = [&60u32.to_be_bytes()[..], &[0x55; 60]].concat();
    receive.chain(&[(DATA, 2048, WRITE, 0)]);
    port.kick(0);
    assert!(port.rest());
    let before = contents(&memory);
    peer.write_all(&frame).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(contents(&memory) == before && receive.used().is_empty());
    port.release();
    wait("the frame never comes", || receive.get(DATA + 12, 60) == [0x55; 60]);
    wait("the buffer never comes back", || receive.get(0x802, 2) == [1, 0]);
    assert_eq!(receive.used(), [(0, 72)]);
    // And out.
    transmit.put(DATA + 0x1000, &[[0; 12].as_slice(), &[0x66; 60]].concat());
    transmit.chain(&[(DATA + 0x1000, 72, 0, 0)]);
    port.kick(1);
    let mut got = [0; 64];
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got[..], [&60u32.to_be_bytes()[..], &[0x66; 60]].concat()[..]);
    // A frame without a buffer wakes the card when there is one.
    peer.write_all(&frame).unwrap();
    receive.chain(&[(DATA, 2048, WRITE, 0)]);
    port.kick(0);
    wait("the second frame never comes", || receive.get(0x802, 2) == [2, 0]);
}

/// A device of two groups whose work takes a while.
struct Slow {
    /// Groups at work, and how often any was.
    busy: Arc<[AtomicBool; 2]>,
    count: Arc<AtomicUsize>,
    memory: Mutex<()>,
}

impl Device for Slow {
    fn name(&self) -> &'static str {
        "slow device"
    }

    fn kind(&self) -> u32 {
        99
    }

    fn queues(&self) -> usize {
        3
    }

    fn groups(&self) -> Vec<Range<usize>> {
        vec![0..2, 2..3]
    }

    fn serve(&self, rings: &[MmioRing], _memory: &MemoryNow) {
        let group = usize::from(rings.len() == 1);
        assert!(!self.busy[group].swap(true, Ordering::SeqCst), "a group is served twice at once");
        drop(self.memory.lock());
        rings.iter().for_each(|ring| ring.with(|_| thread::sleep(Duration::from_millis(2))));
        self.count.fetch_add(1, Ordering::SeqCst);
        self.busy[group].store(false, Ordering::SeqCst);
    }
}

#[test]
fn rest_and_reset_wait_for_every_thread() {
    let (busy, count) = (Arc::<[AtomicBool; 2]>::default(), Arc::<AtomicUsize>::default());
    let device = Slow { busy: Arc::clone(&busy), count: Arc::clone(&count), memory: Mutex::default() };
    let (mut registers, port) = slot(Box::new(device), &plain());
    set_up(&mut registers, &port);
    let quiet = || !busy.iter().any(|busy| busy.load(Ordering::SeqCst));
    let done = Arc::new(AtomicBool::new(false));
    let (kicked, end) = (Arc::clone(&port), Arc::clone(&done));
    let driver = thread::spawn(move || {
        while !end.load(Ordering::SeqCst) {
            (0..3).for_each(|queue| kicked.kick(queue));
            thread::sleep(Duration::from_micros(300));
        }
    });
    for _ in 0..20 {
        let before = count.load(Ordering::SeqCst);
        wait("the device does nothing", || count.load(Ordering::SeqCst) > before);
        assert!(port.rest());
        let then = count.load(Ordering::SeqCst);
        for _ in 0..5 {
            assert!(quiet());
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(count.load(Ordering::SeqCst), then, "it works while it rests");
        port.release();
    }
    let before = count.load(Ordering::SeqCst);
    wait("the device does not go on", || count.load(Ordering::SeqCst) > before);
    registers.write(0x70, &[0; 4], &port);
    let then = count.load(Ordering::SeqCst);
    thread::sleep(Duration::from_millis(10));
    assert!(quiet() && count.load(Ordering::SeqCst) == then);
    done.store(true, Ordering::SeqCst);
    driver.join().unwrap();
}
