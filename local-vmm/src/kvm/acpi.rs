//! The tables that describe the machine to its kernel (ACPI 6.5): CPUs, interrupt controllers, virtio devices, its
//! generation, and how to turn it off.
//!
//! Distributions' kernels do not read virtio-mmio devices from the command line, but find them here under the hardware id `LNRO0005`. The
//! machine is of the "hardware-reduced" kind: none of the old timers and registers are there.

use super::generation;
use super::layout::{
    ACPI, DEVICE_SIZE, DEVICES, FIRST_LINE, GENERATION, GENERATION_LINE, IO_APIC, LOCAL_APIC, SERIAL_LINE,
    SERIAL_PORT, SLEEP_PORT, SLEEP_TYPE,
};
use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, Path, ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::GAS;
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use vm_memory::{Bytes, GuestAddress};

const MAKER: [u8; 6] = *b"SPRITE";
/// Most devices: each has a line of its own, and the last one of the interrupt controller's is the generation's.
pub(super) const MOST_DEVICES: u32 = GENERATION_LINE - FIRST_LINE;
const MODEL: [u8; 8] = *b"MICROVM ";

/// What of a PC's old parts is not there (ACPI 6.5, table 5.10): no screen, no clock that runs without power. That the keyboard controller is not
/// there either says a bit that is not set. A kernel that is not told looks for them, and waits for seconds.
const WITHOUT: u16 = 1 << 2 | 1 << 5;

/// Writes the tables of a machine with so many CPUs and virtio devices. False when they do not fit, which never happens for sane numbers.
pub(super) fn write(memory: &crate::Memory, cpus: u8, devices: u32) -> bool {
    if devices > MOST_DEVICES {
        return false;
    }
    let mut place = Place { memory, next: ACPI + Rsdp::len() as u64, fits: true };
    let dsdt = place.put(&dsdt(devices));
    let mut fadt = FADTBuilder::new(MAKER, MODEL, 1).dsdt_64(dsdt).flag(Flags::HwReducedAcpi);
    fadt.iapc_boot_arch = WITHOUT.into();
    fadt.sleep_control_reg = port(SLEEP_PORT);
    fadt.sleep_status_reg = port(SLEEP_PORT + 1);
    let fadt = place.put(&bytes(&fadt.finalize()));
    let mut madt = MADT::new(MAKER, MODEL, 1, LocalInterruptController::Address(LOCAL_APIC));
    madt.add_structure(IoApic::new(0, IO_APIC, 0));
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    let madt = place.put(&bytes(&madt));
    let mut xsdt = XSDT::new(MAKER, MODEL, 1);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = place.put(&bytes(&xsdt));
    let root = bytes(&Rsdp::new(MAKER, xsdt));
    place.fits && generation::renew(memory) && memory.write_slice(&root, GuestAddress(ACPI)).is_ok()
}

/// Tables one after the other.
struct Place<'m> {
    memory: &'m crate::Memory,
    next: u64,
    fits: bool,
}

impl Place<'_> {
    /// Puts a table; gives its address.
    fn put(&mut self, table: &[u8]) -> u64 {
        let at = self.next.next_multiple_of(16);
        self.next = at + table.len() as u64;
        self.fits &= self.next <= GENERATION && self.memory.write_slice(table, GuestAddress(at)).is_ok();
        at
    }
}

fn port(number: u16) -> GAS {
    use acpi_tables::gas::{AccessSize, AddressSpace};
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, u64::from(number))
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut out = Vec::new();
    table.to_aml_bytes(&mut out);
    out
}

/// The table of devices.
fn dsdt(devices: u32) -> Vec<u8> {
    let mut code = Vec::new();
    for number in 0..devices {
        let at = (DEVICES + u64::from(number) * DEVICE_SIZE) as u32;
        let (id, uid, coherent) = (
            Name::new("_HID".into(), &"LNRO0005"),
            Name::new("_UID".into(), &number),
            Name::new("_CCA".into(), &1u8),
        );
        let window = Memory32Fixed::new(true, at, DEVICE_SIZE as u32);
        let line = Interrupt::new(true, true, false, false, FIRST_LINE + number);
        let resources = ResourceTemplate::new(vec![&window, &line]);
        let resources = Name::new("_CRS".into(), &resources);
        let name = Path::new(&format!("V{number:03}"));
        let device = Device::new(name, vec![&id, &uid, &coherent, &resources]);
        Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(&mut code);
    }
    // On a machine without the old interrupt lines the serial port's is known only from here.
    let (id, uid) = (Name::new("_HID".into(), &EISAName::new("PNP0501")), Name::new("_UID".into(), &0u8));
    let window = IO::new(SERIAL_PORT, SERIAL_PORT, 1, 8);
    let line = Interrupt::new(true, true, false, false, SERIAL_LINE);
    let resources = ResourceTemplate::new(vec![&window, &line]);
    let resources = Name::new("_CRS".into(), &resources);
    let serial = Device::new("COM1".into(), vec![&id, &uid, &resources]);
    Scope::new("_SB_".into(), vec![&serial]).to_aml_bytes(&mut code);
    generation::describe(&mut code);
    let kind = SLEEP_TYPE;
    Name::new("_S5_".into(), &Package::new(vec![&kind])).to_aml_bytes(&mut code);
    let mut table = Sdt::new(*b"DSDT", 36, 2, MAKER, MODEL, 1);
    table.append_slice(&code);
    table.as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::layout::HIGH_BEGIN;
    use super::*;

    /// A length as the language has it: the number of bytes, and how many it takes itself (ACPI 6.5, section 20.2.4).
    fn length(code: &[u8]) -> (usize, usize) {
        let more = usize::from(code[0] >> 6);
        let first = usize::from(code[0] & if more == 0 { 0x3f } else { 0xf });
        let rest = (1..=more).map(|at| usize::from(code[at]) << (8 * at - 4)).sum::<usize>();
        (first + rest, 1 + more)
    }

    /// A name, and how many bytes it takes.
    fn name(code: &[u8]) -> (String, usize) {
        let root = usize::from(code[0] == b'\\');
        let (skip, parts) = if code[root] == 0x2e { (root + 1, 2) } else { (root, 1) };
        let end = skip + 4 * parts;
        (String::from_utf8(code[skip..end].to_vec()).unwrap(), end)
    }

    /// How many bytes a value takes.
    fn value(code: &[u8]) -> usize {
        match code[0] {
            0 | 1 => 1,
            0x0a => 2,
            0x0b => 3,
            0x0c => 5,
            0x0e => 9,
            0x0d => 1 + code.iter().skip(1).position(|byte| *byte == 0).unwrap() + 1,
            0x11 | 0x12 => 1 + length(&code[1..]).0,
            other => panic!("{other:#x} is no value"),
        }
    }

    /// What is named in a table, by its whole name: values and bodies. All of the code must make sense.
    fn named(code: &[u8], at: &str, out: &mut Vec<(String, Vec<u8>)>) {
        let mut rest = code;
        while !rest.is_empty() {
            let (skip, kind) = match rest {
                [0x5b, 0x82, ..] => (2, "device"),
                [0x10, ..] => (1, "scope"),
                [0x14, ..] => (1, "method"),
                [0x08, ..] => (1, "name"),
                other => panic!("{:x?} is not known", &other[..other.len().min(8)]),
            };
            rest = &rest[skip..];
            let end = if kind == "name" {
                let (word, len) = name(rest);
                let end = len + value(&rest[len..]);
                out.push((format!("{at}.{word}"), rest[len..end].to_vec()));
                end
            } else {
                let (end, len) = length(rest);
                let (word, skip) = name(&rest[len..]);
                let body = &rest[len + skip..end];
                if kind == "method" {
                    out.push((format!("{at}.{word}"), body.to_vec()));
                } else {
                    named(body, &format!("{at}.{word}"), out);
                }
                end
            };
            rest = &rest[end..];
        }
    }

    #[test]
    fn the_table_of_devices_tells_of_the_generation() {
        let table = dsdt(5);
        assert_eq!(&table[..4], b"DSDT");
        assert_eq!(table[4..8], (table.len() as u32).to_le_bytes());
        assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        let mut found = Vec::new();
        named(&table[36..], "", &mut found);
        let get =
            |name: &str| &found.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("{name}")).1;
        assert!((0..5).all(|number| get(&format!("._SB_.V{number:03}._HID")) == b"\x0dLNRO0005\0"));
        assert_eq!(get("._SB_.VGEN._HID"), b"\x0dVMGENCTR\0");
        assert_eq!(get("._SB_.VGEN._CID"), b"\x0dVM_Gen_Counter\0");
        // A package of two numbers, the lower half of the address first.
        assert_eq!(get("._SB_.VGEN.ADDR")[2..], [2, 0x0c, 0x00, 0xf0, 0x0f, 0x00, 0x00]);
        assert_eq!(GENERATION, 0xf_f000);
        assert_eq!(get("._SB_.GEDV._HID"), b"\x0dACPI0013\0");
        // An extended interrupt: consumer, edge, active high, one of them, line 23; then the end of the list.
        assert_eq!(get("._SB_.GEDV._CRS")[4..], [0x89, 6, 0, 3, 1, 23, 0, 0, 0, 0x79, 0]);
        // One argument, serialized; if it is the line, notify the generation device of 0x80.
        let method = get("._SB_.GEDV._EVT");
        assert_eq!(method[..2], [0x09, 0xa0]);
        assert_eq!(method[3..], *b"\x93\x68\x0a\x17\x86\\\x2e_SB_VGEN\x0a\x80");
        assert_eq!(usize::from(method[2]), method.len() - 2);
    }

    #[test]
    fn all_tables_fit_below_the_generation_which_is_another_each_time() {
        let memory = crate::Memory::from_ranges(&[(GuestAddress(0), HIGH_BEGIN as usize)]).unwrap();
        let number = || memory.read_obj::<u128>(GuestAddress(GENERATION)).unwrap();
        assert!(write(&memory, 64, MOST_DEVICES));
        // One more would share the generation's line.
        assert!(!write(&memory, 1, GENERATION_LINE - FIRST_LINE + 1));
        let first = number();
        assert!(generation::renew(&memory) && number() != first && first != 0);
        // A table that would reach into it is refused.
        let mut place = Place { memory: &memory, next: GENERATION - 16, fits: true };
        place.put(&[1; 16]);
        assert!(place.fits);
        place.put(&[1]);
        assert!(!place.fits);
    }
}
