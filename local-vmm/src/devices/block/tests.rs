//! The disk against drivers: one that keeps the rules, and several that do not.

use super::*;
use proptest::prelude::*;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueOwnedT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic};
use vmm_disk::Store;

const MEMORY: usize = 1 << 20;
const SIZE: u64 = 1 << 20;
/// Where requests put their parts.
const HEADER: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
const STATUS: u64 = 0x8_0000;
/// No device writes this as a status.
const UNTOUCHED: u8 = 0xee;

struct Rig {
    _dir: tempfile::TempDir,
    block: Block,
    memory: GuestMemoryAtomic<Memory>,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    std::fs::write(&base, vec![7; BLOCK as usize]).unwrap();
    let at = dir.path().join("volume");
    Store::open(dir.path()).unwrap().create(&at, &base, SIZE).unwrap();
    let volume = Arc::new(Volume::open(&at).unwrap());
    let block = Block::new(Arc::clone(&volume), Arc::new(Bell::new(volume)), "sprite-0123456789abcdef");
    let memory = GuestMemoryAtomic::new(Memory::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap());
    Rig { _dir: dir, block, memory }
}

/// A part of a chain: place, length, flags, next.
type Part = (u64, u32, u32, u16);

impl Rig {
    /// Puts these parts at the beginning of the table and does the chain that starts at the first; gives the length it reports.
    fn raw(&mut self, parts: &[Part]) -> Option<u32> {
        let memory = self.memory.memory();
        memory.write_obj(UNTOUCHED, GuestAddress(STATUS)).unwrap();
        let mock = MockSplitQueue::new(&*memory, 16);
        for (index, (addr, len, flags, next)) in parts.iter().enumerate() {
            let descriptor = RawDescriptor::from(Descriptor::new(*addr, *len, *flags as u16, *next));
            mock.desc_table().store(index as u16, descriptor).unwrap();
        }
        mock.avail().ring().ref_at(0).unwrap().store(0u16.to_le());
        mock.avail().idx().store(1u16.to_le());
        let mut queue: Queue = mock.create_queue().unwrap();
        let chain = queue.iter(self.memory.memory()).unwrap().next()?;
        Some(self.block.handle(&memory, chain))
    }

    fn status(&self) -> u8 {
        self.memory.memory().read_obj(GuestAddress(STATUS)).unwrap()
    }

    /// A request with one piece of data, which the device reads or writes.
    fn request(&mut self, kind: u32, sector: u64, data: &[u8], writes: u32) -> (u32, u8, Vec<u8>) {
        let memory = self.memory.memory();
        memory.write_obj(kind.to_le(), GuestAddress(HEADER)).unwrap();
        memory.write_obj(sector.to_le(), GuestAddress(HEADER + 8)).unwrap();
        memory.write_slice(data, GuestAddress(DATA)).unwrap();
        let len = data.len() as u32;
        let flags = VRING_DESC_F_NEXT | if writes > 0 { VRING_DESC_F_WRITE } else { 0 };
        let mut parts: Vec<Part> = vec![(HEADER, 16, VRING_DESC_F_NEXT, 1)];
        let data_len = len.max(writes);
        if data_len > 0 {
            parts.push((DATA, data_len, flags, 2));
        }
        parts.push((STATUS, 1, VRING_DESC_F_WRITE, 0));
        let written = self.raw(&parts).unwrap();
        let mut out = vec![0; writes as usize];
        memory.read_slice(&mut out, GuestAddress(DATA)).unwrap();
        (written, self.status(), out)
    }
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPPORTED: u8 = VIRTIO_BLK_S_UNSUPP as u8;

#[test]
fn a_driver_that_keeps_the_rules() {
    let mut rig = rig();
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 0, &[], 512), (513, OK, vec![7; 512]));
    assert_eq!(rig.request(VIRTIO_BLK_T_OUT, 16, &[9; 4096], 0).1, OK);
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 17, &[], 512), (513, OK, vec![9; 512]));
    assert_eq!(rig.request(VIRTIO_BLK_T_FLUSH, 0, &[], 0), (1, OK, vec![]));
    let (written, status, name) = rig.request(VIRTIO_BLK_T_GET_ID, 0, &[], 20);
    assert_eq!((written, status, &name[..]), (21, OK, &b"sprite-0123456789abc"[..]));
    assert_eq!(rig.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &range(16, 4, 0), 0).1, OK);
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 18, &[], 512).2, vec![0; 512]);
    assert_eq!(rig.request(VIRTIO_BLK_T_DISCARD, 0, &[range(0, 8, 0), range(16, 8, 0)].concat(), 0).1, OK);
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 0, &[], 512).2, vec![0; 512]);
    let config = rig.block.config();
    assert_eq!(config[..8], (SIZE / 512).to_le_bytes());
}

#[test]
fn requests_that_make_no_sense_get_a_status_and_change_nothing() {
    let mut rig = rig();
    let end = SIZE / 512;
    for (kind, sector, data, writes, wanted) in [
        (VIRTIO_BLK_T_IN, end, vec![], 512, IOERR),
        (VIRTIO_BLK_T_IN, end - 1, vec![], 1024, IOERR),
        (VIRTIO_BLK_T_IN, u64::MAX, vec![], 512, IOERR),
        (VIRTIO_BLK_T_IN, u64::MAX / 512, vec![], 512, IOERR),
        (VIRTIO_BLK_T_IN, 0, vec![], 100, IOERR),
        (VIRTIO_BLK_T_OUT, end, vec![1; 512], 0, IOERR),
        (VIRTIO_BLK_T_OUT, 0, vec![1; 511], 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, vec![], 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, vec![0; 15], 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, range(end, 8, 0), 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, range(u64::MAX, u32::MAX, 0), 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, range(0, 8, 1), 0, UNSUPPORTED),
        (VIRTIO_BLK_T_WRITE_ZEROES, 0, range(0, 8, 2), 0, UNSUPPORTED),
        (VIRTIO_BLK_T_WRITE_ZEROES, 0, range(0, u32::MAX, 0), 0, IOERR),
        (VIRTIO_BLK_T_DISCARD, 0, range(0, 1, 0).repeat(65), 0, IOERR),
        (999, 0, vec![], 0, UNSUPPORTED),
    ] {
        let got = rig.request(kind, sector, &data, writes);
        assert_eq!((got.0, got.1), (1, wanted), "{kind} {sector} {} {writes}", data.len());
    }
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 0, &[], 4096).2, vec![7; 4096]);
}

#[test]
fn chains_that_lie() {
    let mut rig = rig();
    let (next, write) = (VRING_DESC_F_NEXT, VRING_DESC_F_WRITE);
    let beyond = MEMORY as u64;
    for parts in [
        // Without a status, without a header, with a header that is too short.
        vec![(HEADER, 16, 0, 0)],
        vec![(STATUS, 1, write, 0)],
        vec![(HEADER, 8, next, 1), (STATUS, 1, write, 0)],
        // Outside memory, across its end, around the end of all addresses.
        vec![(beyond, 16, next, 1), (STATUS, 1, write, 0)],
        vec![(beyond - 8, 16, next, 1), (STATUS, 1, write, 0)],
        vec![(u64::MAX - 4, 16, next, 1), (STATUS, 1, write, 0)],
        vec![(HEADER, 16, next, 1), (DATA, u32::MAX, next | write, 2), (STATUS, 1, write, 0)],
        vec![(HEADER, 16, next, 1), (beyond, 1, write, 0)],
        // In circles, and to nowhere.
        vec![(HEADER, 16, next, 0)],
        vec![(HEADER, 16, next, 1), (DATA, 512, next | write, 1)],
        vec![(HEADER, 16, next, 60_000)],
        // Nothing at all.
        vec![(HEADER, 0, next, 1), (STATUS, 0, write, 0)],
    ] {
        rig.raw(&parts);
        assert_ne!(rig.status(), OK, "{parts:?}");
    }
    // Parts in the wrong order, and data that overlaps header and status, only confuse the guest.
    rig.raw(&[(STATUS, 1, write | next, 1), (HEADER, 16, 0, 0)]);
    rig.raw(&[(HEADER, 16, next, 1), (HEADER, 4096, next | write, 2), (HEADER, 1, write, 0)]);
    assert_eq!(rig.request(VIRTIO_BLK_T_IN, 0, &[], 4096).2, vec![7; 4096]);
}

proptest! {
    /// Whatever stands in the table, the device comes back, and its disk still works.
    #[test]
    fn any_chain(parts in prop::collection::vec(
        (prop_oneof![0u64..MEMORY as u64, any::<u64>()], prop_oneof![0u32..8192, any::<u32>()], 0u32..8, 0u16..18), 1..16,
    ), header in prop::collection::vec(any::<u8>(), 16)) {
        let mut rig = rig();
        rig.memory.memory().write_slice(&header, GuestAddress(HEADER)).unwrap();
        rig.raw(&parts);
        prop_assert_eq!(rig.request(VIRTIO_BLK_T_FLUSH, 0, &[], 0).1, OK);
    }
}
