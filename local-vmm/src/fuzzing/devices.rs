//! The devices behind their queues. Each entrance lays out queues, has the device serve them, checks the guest's memory, and then asks the
//! device for something as a good driver would.
//!
//! A new device takes one function like [`rng`]: make the guest, serve its rings, `check`, then `offer` a request and look at the answer.

use super::guest::{DATA, Guest, GuestRing};
use crate::devices::block::{Bell, Block, Server};
use crate::devices::rng as random;
use crate::devices::vsock::packet::{HOST_CID, Header, TYPE_STREAM};
use crate::devices::vsock::{self, GUEST_CID, Vsock};
use arbitrary::{Result, Unstructured};
use sprites_api::agent::VSOCK_PORT;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use vmm_disk::{BLOCK, Store, Volume};

/// Where requests after a case put their parts: behind all that a case lays out.
pub(super) const HEADER: u64 = DATA + 0x1_0000;
pub(super) const BUFFER: u64 = HEADER + 0x1000;
const STATUS: u64 = HEADER + 0x800;
/// Bytes of the fuzzed disk.
const DISK: u64 = 1 << 20;
/// Its queues.
const DISK_QUEUES: usize = 4;

/// Randomness.
pub fn rng(data: &[u8]) {
    let _ = try_rng(&mut Unstructured::new(data));
}

fn try_rng(u: &mut Unstructured<'_>) -> Result<()> {
    let guest = Guest::new(u, 1, &[])?;
    random::serve(&guest.rings()[0], &guest.now());
    guest.check();
    let ring = guest.offer(0, &[(BUFFER, 64, true)]);
    guest.write(BUFFER, &[0; 64]);
    random::serve(&ring, &guest.now());
    assert_eq!(guest.used(0), Some(64));
    assert_ne!(guest.read(BUFFER, 64), [0; 64]);
    Ok(())
}

/// The disk.
pub fn block(data: &[u8]) {
    let _ = try_block(&mut Unstructured::new(data));
}

fn try_block(u: &mut Unstructured<'_>) -> Result<()> {
    let headers = (0..16).map(|_| block_header(u)).collect::<Result<Vec<_>>>()?;
    let queues = u.len() % DISK_QUEUES + 1;
    let guest = Guest::new(u, queues, &headers)?;
    let disk = disk();
    if u.ratio(1, 16)? {
        // As a machine has it: each queue in its own thread.
        std::thread::scope(|scope| {
            for ring in guest.rings() {
                scope.spawn(|| disk.serve(ring, &guest.now()));
            }
        });
    } else {
        guest.rings().iter().for_each(|ring| disk.serve(ring, &guest.now()));
    }
    disk.settle();
    guest.check();
    // What is written is read back, and reaches the disk.
    let words: [u8; 512] = std::array::from_fn(|at| at as u8);
    let sector = u.int_in_range(0..=DISK / 512 - 1)?;
    let queue = sector % DISK_QUEUES as u64;
    let ask = |kind: u32, data: &[(u64, u32, bool)]| {
        guest.write(HEADER, &request(kind, sector));
        guest.write(STATUS, &[0xff]);
        let parts = [&[(HEADER, 16, false)], data, &[(STATUS, 1, true)]].concat();
        disk.serve(&guest.offer(queue, &parts), &guest.now());
        disk.settle();
        assert_eq!(guest.read(STATUS, 1), [0], "a good request of kind {kind} is refused");
        guest.used(queue)
    };
    guest.write(BUFFER, &words);
    assert_eq!(ask(1, &[(BUFFER, 512, false)]), Some(1));
    guest.write(BUFFER, &[0; 512]);
    assert_eq!(ask(0, &[(BUFFER, 512, true)]), Some(513));
    assert_eq!(guest.read(BUFFER, 512), words);
    assert_eq!(ask(4, &[]), Some(1));
    Ok(())
}

/// A request's header, followed by a range to discard.
fn block_header(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = *u.choose(&[0, 0, 1, 1, 4, 8, 11, 13, 2])?;
    let sector = if u.ratio(7, 8)? { u.int_in_range(0..=DISK / 512)? } else { u.arbitrary()? };
    let mut bytes = request(kind, sector);
    if kind >= 11 {
        bytes.extend(u.int_in_range(0..=DISK / 512)?.to_le_bytes());
        bytes.extend(if u.ratio(7, 8)? { u.int_in_range(0..=256u32)? } else { u.arbitrary()? }.to_le_bytes());
        bytes.extend(u.int_in_range(0..=2u32)?.to_le_bytes());
    }
    Ok(bytes)
}

fn request(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

/// One disk for all cases, with its thread; cases take turns.
fn disk() -> MutexGuard<'static, Server<GuestRing>> {
    static DEVICE: OnceLock<Mutex<Server<GuestRing>>> = OnceLock::new();
    let start = || Mutex::new(Server::start(fresh_disk("disk")).expect("a thread can be started"));
    DEVICE.get_or_init(start).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk in a folder of that name.
pub(crate) fn fresh_disk(name: &str) -> Block {
    let dir = scratch().join(name);
    std::fs::create_dir(&dir).expect("a folder can be made");
    let (base, at) = (dir.join("base"), dir.join("volume"));
    std::fs::write(&base, vec![7; BLOCK as usize]).expect("a file can be written");
    Store::open(&dir).and_then(|store| store.create(&at, &base, DISK)).expect("a disk can be made");
    let volume = Arc::new(Volume::open(&at).expect("a disk can be opened"));
    Block::new(Arc::clone(&volume), Arc::new(Bell::new(volume)), "fuzzed").with_queues(DISK_QUEUES as u32)
}

/// A folder for this process, in memory where there is one: thousands of flushes a second are not for a disk.
pub(crate) fn scratch() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn clean() {
        if let Some(folder) = FOLDER.get() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    let make = || {
        let shm = PathBuf::from("/dev/shm");
        let given = std::env::var_os("TMPDIR").map(PathBuf::from);
        let root = given.or_else(|| shm.is_dir().then_some(shm)).unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("sprites-fuzz-").tempdir_in(root);
        // SAFETY: the function touches nothing but files, and lives as long as the process.
        unsafe { libc::atexit(clean) };
        made.expect("a folder can be made").keep()
    };
    FOLDER.get_or_init(make).clone()
}

/// The sockets, both directions and the events.
pub fn vsock_queues(data: &[u8]) {
    let _ = try_vsock(&mut Unstructured::new(data));
}

fn try_vsock(u: &mut Unstructured<'_>) -> Result<()> {
    let sockets = sockets();
    sockets.forget_all();
    let streams = (0..u.int_in_range(0..=2)?)
        .map(|_| sockets.connect().expect("there is room for a connection"))
        .collect::<Vec<_>>();
    let ports = sockets.ports();
    let headers = (0..16)
        .map(|_| {
            let port = ports.get(u.int_in_range(0..=2usize)?).copied();
            Ok(packet(u, port)?.bytes().to_vec())
        })
        .collect::<Result<Vec<_>>>()?;
    let guest = Guest::new(u, 3, &headers)?;
    let [receive, transmit, events] = guest.rings() else { unreachable!("it has three queues") };
    let memory = guest.now();
    if u.ratio(1, 4)? {
        let told = vsock::tell_reset(events, &memory);
        let _ = told.map(|told| vsock::has_understood(events, &memory, told));
    }
    vsock::serve(&sockets, receive, transmit, &memory, u.arbitrary()?);
    vsock::serve(&sockets, receive, transmit, &memory, false);
    guest.check();
    sockets.check();
    // A fresh connection reaches a driver that keeps the rules.
    drop(streams);
    sockets.forget_all();
    let _stream = sockets.connect().expect("there is room for a connection");
    let receive = guest.offer(vsock::RECEIVE as u64, &[(BUFFER, 4096, true)]);
    let transmit = guest.offer(vsock::TRANSMIT as u64, &[(HEADER, 4, false)]);
    vsock::serve(&sockets, &receive, &transmit, &guest.now(), false);
    assert_eq!(guest.used(vsock::RECEIVE as u64), Some(44));
    let header: [u8; 44] = guest.read(BUFFER, 44).try_into().expect("so many were read");
    assert_eq!((Header::read(&header).op, Header::read(&header).dst_port), (1, VSOCK_PORT));
    Ok(())
}

/// A packet of the guest for a connection, mostly.
pub(super) fn packet(u: &mut Unstructured<'_>, port: Option<u32>) -> Result<Header> {
    let good = Header {
        src_cid: GUEST_CID,
        dst_cid: HOST_CID,
        src_port: VSOCK_PORT,
        dst_port: port.unwrap_or(1 << 30),
        kind: TYPE_STREAM,
        op: u.int_in_range(0..=8)?,
        len: u.int_in_range(0..=4096)?,
        flags: u.int_in_range(0..=3)?,
        buf_alloc: u.int_in_range(0..=16_384)?,
        fwd_cnt: u.int_in_range(0..=16_384)?,
    };
    Ok(match u.int_in_range(0..=31u8)? {
        0 => Header { src_cid: u.arbitrary()?, ..good },
        1 => Header { dst_cid: u.arbitrary()?, ..good },
        2 => Header { src_port: u.arbitrary()?, ..good },
        3 => Header { dst_port: u.arbitrary()?, ..good },
        4 => Header { kind: u.arbitrary()?, ..good },
        5 => Header { len: u.arbitrary()?, ..good },
        6 => Header { buf_alloc: u.arbitrary()?, fwd_cnt: u.arbitrary()?, ..good },
        7 => Header { op: u.arbitrary()?, flags: u.arbitrary()?, ..good },
        _ => good,
    })
}

/// One device for all cases, with its thread; cases take turns.
pub(super) fn sockets() -> MutexGuard<'static, Arc<Vsock>> {
    static DEVICE: OnceLock<Mutex<Arc<Vsock>>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let listener = UnixListener::bind(scratch().join("agent.sock")).expect("a socket can be made");
        Mutex::new(Vsock::start(listener).expect("the device starts"))
    });
    device.lock().unwrap_or_else(PoisonError::into_inner)
}
