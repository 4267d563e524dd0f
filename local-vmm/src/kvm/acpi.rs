//! The tables that describe the machine to its kernel (ACPI 6.5): CPUs, interrupt controllers, virtio devices, and how to turn it off.
//!
//! Distributions' kernels do not read virtio-mmio devices from the command line, but find them here under the hardware id `LNRO0005`. The
//! machine is of the "hardware-reduced" kind: none of the old timers and registers are there.

use super::layout::{
    ACPI, DEVICE_SIZE, DEVICES, FIRST_LINE, HIGH_BEGIN, IO_APIC, LOCAL_APIC, SERIAL_LINE, SERIAL_PORT,
    SLEEP_PORT, SLEEP_TYPE,
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
/// Most devices: the interrupt controller has 24 lines.
pub(super) const MOST_DEVICES: u32 = 24 - FIRST_LINE;
const MODEL: [u8; 8] = *b"MICROVM ";

/// Writes the tables of a machine with so many CPUs and virtio devices. False when they do not fit, which never happens for sane numbers.
pub(super) fn write(memory: &crate::Memory, cpus: u8, devices: u32) -> bool {
    if devices > MOST_DEVICES {
        return false;
    }
    let mut place = Place { memory, next: ACPI + Rsdp::len() as u64, fits: true };
    let dsdt = place.put(&dsdt(devices));
    let mut fadt = FADTBuilder::new(MAKER, MODEL, 1).dsdt_64(dsdt).flag(Flags::HwReducedAcpi);
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
    place.fits && memory.write_slice(&root, GuestAddress(ACPI)).is_ok()
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
        self.fits &= self.next <= HIGH_BEGIN && self.memory.write_slice(table, GuestAddress(at)).is_ok();
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
    let kind = SLEEP_TYPE;
    Name::new("_S5_".into(), &Package::new(vec![&kind])).to_aml_bytes(&mut code);
    let mut table = Sdt::new(*b"DSDT", 36, 2, MAKER, MODEL, 1);
    table.append_slice(&code);
    table.as_slice().to_vec()
}
