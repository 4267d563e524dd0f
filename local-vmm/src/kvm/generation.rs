//! The machine's generation: a number in the guest's memory that is another one whenever the machine goes on from what was kept, and an interrupt
//! that says so. Several machines may go on from one memory, and each of them must draw its own randomness from its first step on.
//!
//! The format is Microsoft's "Virtual Machine Generation ID" of 2012; the interrupt comes as a Generic Event Device (ACPI 6.5, section 5.6.9).
//! Linux has a driver since 5.18 where the distribution builds it: Debian 13 does, Debian 12 does not, and ignores the device.

use super::layout::{GENERATION, GENERATION_LINE};
use crate::{Memory, random};
use acpi_tables::Aml;
use acpi_tables::aml::{
    Arg, Device, Equal, If, Interrupt, Method, Name, Notify, Package, Path, ResourceTemplate, Scope,
};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of the number.
const SIZE: usize = 16;
/// What an event of the device means: the number is another one.
const CHANGED: u8 = 0x80;

/// Writes a new number. False when that cannot be done.
pub(super) fn renew(memory: &Memory) -> bool {
    let mut number = [0; SIZE];
    random::fill(&mut number) == SIZE && memory.write_slice(&number, GuestAddress(GENERATION)).is_ok()
}

/// Adds both devices to the table of devices.
pub(super) fn describe(code: &mut Vec<u8>) {
    let id = Name::new("_HID".into(), &"VMGENCTR");
    // What other systems know it by.
    let kin = Name::new("_CID".into(), &"VM_Gen_Counter");
    let shown = Name::new("_DDN".into(), &"VM_Gen_Counter");
    let (low, high) = (GENERATION as u32, (GENERATION >> 32) as u32);
    let place = Name::new("ADDR".into(), &Package::new(vec![&low, &high]));
    let device = Device::new("VGEN".into(), vec![&id, &kin, &shown, &place]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(code);

    let id = Name::new("_HID".into(), &"ACPI0013");
    let uid = Name::new("_UID".into(), &0u8);
    let line = Interrupt::new(true, true, false, false, GENERATION_LINE);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&line]));
    let target = Path::new("\\_SB_.VGEN");
    let tell = Notify::new(&target, &CHANGED);
    let ours = Equal::new(&Arg(0), &GENERATION_LINE);
    let tell = If::new(&ours, vec![&tell]);
    let event = Method::new("_EVT".into(), 1, true, vec![&tell]);
    let device = Device::new("GEDV".into(), vec![&id, &uid, &resources, &event]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(code);
}
