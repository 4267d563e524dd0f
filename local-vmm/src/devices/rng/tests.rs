//! Randomness against drivers.

use super::*;
use crate::devices::testing::{Driver, NEXT, WRITE, any_parts, lies, memory};
use proptest::prelude::*;

/// Where requests put their buffers.
const DATA: u64 = 0x2_0000;

#[test]
fn a_driver_that_keeps_the_rules() {
    let mut driver = Driver::new(&memory(), 0);
    driver.chain(&[(DATA, 32, WRITE | NEXT, 1), (DATA + 0x100, 32, WRITE, 0)]);
    serve(&driver.ring, &driver.now());
    assert_eq!((driver.used(), driver.signals()), (vec![(0, 64)], 1));
    let (one, two) = (driver.get(DATA, 32), driver.get(DATA + 0x100, 32));
    assert!(one != two && one != [0; 32] && two != [0; 32]);
    // Nothing beside the buffers.
    assert_eq!(driver.get(DATA + 32, 32), [0; 32]);
}

#[test]
fn a_request_is_bounded() {
    let mut driver = Driver::new(&memory(), 0);
    // The same buffer again and again.
    let parts = (1..=15).map(|next| (DATA, 0x8_0000, WRITE | if next < 15 { NEXT } else { 0 }, next));
    driver.chain(&parts.collect::<Vec<_>>());
    serve(&driver.ring, &driver.now());
    assert_eq!(driver.used(), [(0, MOST as u32)]);
    assert_eq!(driver.get(DATA + MOST as u64, 4096), [0; 4096]);
}

#[test]
fn chains_that_lie() {
    for parts in lies(DATA) {
        let mut driver = Driver::new(&memory(), 0);
        driver.chain(&parts);
        serve(&driver.ring, &driver.now());
        // Its own queue it may have overwritten; otherwise the chain comes back.
        if parts[0].0 != 0 {
            assert_eq!(driver.used().len(), 1, "{parts:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_chain_does_no_harm(parts in any_parts()) {
        let mut driver = Driver::new(&memory(), 0);
        driver.chain(&parts);
        serve(&driver.ring, &driver.now());
        // Bytes only go where the device may write.
        if parts.iter().all(|part| part.2 & WRITE == 0 && part.2 < 4) {
            prop_assert_eq!(driver.used(), [(0, 0)]);
        }
    }
}
