//! The balloon against drivers. What is given back reads as zeros here, because the memory is nobody's file.

use super::*;
use crate::MemoryNow;
use crate::devices::testing::{Driver, MEMORY, NEXT, Part, SIZE, TestRing, WRITE, any_parts, lies, memory};
use proptest::prelude::*;

/// First byte of the pages that tests give away.
const PAGES: u64 = 0x4_0000;
/// Where lists of page numbers lie.
const LIST: u64 = 0x2_0000;

/// What the queues do.
const WORKS: [fn(&TestRing, &MemoryNow); 3] = [report, inflate, take_back];

/// A driver whose pages, and the bytes around them, are all in use.
fn driver() -> Driver {
    let driver = Driver::new(&memory(), 0);
    driver.put(0x1000, &vec![7; MEMORY - 0x1000]);
    driver
}

/// Pages of the memory that are no longer in use.
fn given(driver: &Driver) -> Vec<u64> {
    (1..MEMORY as u64 / PAGE).filter(|page| driver.get(page * PAGE, 4096) == [0; 4096]).collect()
}

fn list(driver: &mut Driver, numbers: &[u32]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    driver.put(LIST, &bytes);
    driver.chain(&[(LIST, bytes.len() as u32, 0, 0)]);
}

#[test]
fn a_driver_that_keeps_the_rules() {
    let mut driver = driver();
    driver.chain(&[(PAGES, 0x2000, WRITE | NEXT, 1), (PAGES + 0x8000, 0x1000, WRITE, 0)]);
    report(&driver.ring, &driver.now());
    assert_eq!((driver.used(), driver.signals()), (vec![(0, 0)], 1));
    assert_eq!(given(&driver), [0x40, 0x41, 0x48]);
    // They can be used at once.
    driver.put(PAGES, &[9; 4096]);
    assert_eq!(driver.get(PAGES, 4096), [9; 4096]);

    // Upwards, downwards, alone.
    list(&mut driver, &[0x50, 0x51, 0x52, 0x6a, 0x69, 0x68, 0x70]);
    inflate(&driver.ring, &driver.now());
    assert_eq!(driver.used(), [(0, 0)]);
    assert_eq!(given(&driver), [0x41, 0x48, 0x50, 0x51, 0x52, 0x68, 0x69, 0x6a, 0x70]);
    list(&mut driver, &[0x50]);
    take_back(&driver.ring, &driver.now());
    assert_eq!(driver.used(), [(0, 0)]);
    assert_eq!(config(), [0; 8]);
}

#[test]
fn pieces_of_pages_and_what_is_not_the_guests_stay() {
    let mut driver = driver();
    let end = MEMORY as u64;
    for part in [
        // Not whole pages.
        (PAGES + 8, 0x1000, WRITE, 0),
        (PAGES, 0x1008, WRITE, 0),
        (PAGES, 8, WRITE, 0),
        (PAGES, 0, WRITE, 0),
        // Not the device's to write.
        (PAGES, 0x1000, 0, 0),
        // Beyond the end, across it, around all addresses, too long.
        (end, 0x1000, WRITE, 0),
        (end - 0x1000, 0x2000, WRITE, 0),
        (u64::MAX - 0xfff, 0x1000, WRITE, 0),
        (u64::MAX - 0xfff, 0x2000, WRITE, 0),
        (0x1000, !0xfff, WRITE, 0),
    ] {
        driver.chain(&[part]);
        report(&driver.ring, &driver.now());
        assert_eq!((driver.used(), given(&driver)), (vec![(0, 0)], vec![]), "{part:?}");
    }
    for numbers in [vec![0x100], vec![u32::MAX], vec![0xff, 0x100], vec![u32::MAX, u32::MAX - 1], vec![]] {
        list(&mut driver, &numbers);
        inflate(&driver.ring, &driver.now());
        assert_eq!((driver.used(), given(&driver)), (vec![(0, 0)], vec![]), "{numbers:x?}");
    }
}

#[test]
fn a_range_does_not_reach_from_one_piece_of_memory_into_another() {
    use vm_memory::{Bytes, GuestAddress};
    let apart =
        crate::Memory::from_ranges(&[(GuestAddress(0), 0x8000), (GuestAddress(0x8000), 0x8000)]).unwrap();
    apart.write_slice(&[7; 0x4000], GuestAddress(0x6000)).unwrap();
    assert!(!give::back(&apart, GuestAddress(0x7000), 0x2000));
    assert_eq!(apart.read_obj::<u8>(GuestAddress(0x7000)).unwrap(), 7);
    assert!(give::back(&apart, GuestAddress(0x8000), 0x1000));
    assert_eq!(apart.read_obj::<u8>(GuestAddress(0x8000)).unwrap(), 0);
    assert_eq!(apart.read_obj::<u8>(GuestAddress(0x7fff)).unwrap(), 7);
}

#[test]
fn a_chain_is_bounded() {
    let mut driver = driver();
    // The same page number a thousand times and more: what is beyond the bound stays.
    let mut numbers = vec![0x50; MAX_PAGES];
    numbers.push(0x60);
    list(&mut driver, &numbers);
    inflate(&driver.ring, &driver.now());
    assert_eq!(given(&driver), [0x50]);
    // An indirect table with more ranges than are looked at.
    let table = 0x3_0000;
    for index in 0..=MAX_RANGES as u64 {
        let place = if index < MAX_RANGES as u64 { PAGES } else { PAGES + 0x1000 };
        let more = if index < MAX_RANGES as u64 { NEXT } else { 0 };
        driver.put(table + 16 * index, &place.to_le_bytes());
        driver.put(table + 16 * index + 8, &0x1000u32.to_le_bytes());
        driver.put(table + 16 * index + 12, &((WRITE | more) as u16).to_le_bytes());
        driver.put(table + 16 * index + 14, &(index as u16 + 1).to_le_bytes());
    }
    driver.chain(&[(table, 16 * (MAX_RANGES as u32 + 1), 4, 0)]);
    report(&driver.ring, &driver.now());
    assert_eq!(given(&driver), [0x40, 0x50]);
}

#[test]
fn chains_that_lie() {
    for work in WORKS {
        for parts in lies(PAGES) {
            let mut driver = driver();
            driver.chain(&parts);
            work(&driver.ring, &driver.now());
            assert!(driver.used().len() <= 1, "{parts:?}");
        }
    }
}

/// Pages that a chain names, whole.
fn named(parts: &[Part]) -> Vec<u64> {
    parts
        .iter()
        .filter(|(addr, len, ..)| addr % PAGE == 0 && u64::from(*len) % PAGE == 0)
        .flat_map(|(addr, len, ..)| (addr / PAGE..).take(*len as usize / PAGE as usize))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
    #[test]
    fn any_chain_does_no_harm(parts in any_parts(), which in 0usize..3) {
        let mut driver = driver();
        driver.chain(&parts);
        WORKS[which](&driver.ring, &driver.now());
        let named = named(&parts);
        // Without tables elsewhere nothing is lost but whole pages that were reported.
        if which == 0 && parts.iter().all(|part| part.2 < 4) {
            for page in given(&driver) {
                prop_assert!(named.contains(&page), "{page:x}");
            }
        }
        prop_assert!(driver.used().len() <= usize::from(SIZE));
    }
}
