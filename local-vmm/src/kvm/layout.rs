//! Where things lie in the guest's address space.
//!
//! ```text
//! 0x0000_0500   the boot CPU's descriptor table
//! 0x0000_7000   what the kernel is told (the "zero page")
//! 0x0000_9000   the boot CPU's page tables
//! 0x0002_0000   the kernel's command line
//! 0x000e_0000   ACPI tables, the root pointer first
//! 0x000f_f000   the machine's generation
//! 0x0100_0000   the kernel
//! below 3 GiB   the initramfs, at the end of low memory
//! 0xd000_0000   devices, a page each
//! 0xfec0_0000   interrupt controllers, the kernel's (KVM's) own
//! 4 GiB         the rest of the memory
//! ```

/// Descriptor table of the boot CPU.
pub(super) const GDT: u64 = 0x500;
/// The zero page.
pub(super) const ZERO_PAGE: u64 = 0x7000;
/// Page tables of the boot CPU: three pages.
pub(super) const PAGE_TABLES: u64 = 0x9000;
/// The command line.
pub(super) const COMMAND_LINE: u64 = 0x2_0000;
/// Most bytes of a command line, its end included.
pub(super) const COMMAND_LINE_MAX: usize = 2048;
/// End of the memory below the first megabyte that the kernel may use.
pub(super) const LOW_END: u64 = 0x9_fc00;
/// ACPI tables, up to the machine's generation.
pub(super) const ACPI: u64 = 0xe_0000;
/// The machine's generation, sixteen bytes in a page of their own, which is no memory that the kernel uses.
pub(super) const GENERATION: u64 = 0xf_f000;
/// The first megabyte's end.
pub(super) const HIGH_BEGIN: u64 = 0x10_0000;
/// End of the memory below the gap for devices.
pub(super) const GAP_BEGIN: u64 = 0xc000_0000;
/// End of the gap.
pub(super) const GAP_END: u64 = 0x1_0000_0000;
/// First device.
pub(super) const DEVICES: u64 = 0xd000_0000;
/// Bytes a device takes.
pub(super) const DEVICE_SIZE: u64 = 0x1000;
/// Interrupt line of the first device; those below are the old chips' own.
pub(super) const FIRST_LINE: u32 = 5;
/// Interrupt line that tells of a new generation: the last one.
pub(super) const GENERATION_LINE: u32 = 23;
/// Interrupt controllers.
pub(super) const IO_APIC: u32 = 0xfec0_0000;
/// As above, each CPU's own.
pub(super) const LOCAL_APIC: u32 = 0xfee0_0000;
/// Where KVM keeps the task segment it needs on Intel: three pages in the gap.
pub(super) const TASK_SEGMENT: usize = 0xfffb_d000;

/// Serial port.
pub(super) const SERIAL_PORT: u16 = 0x3f8;
/// Its interrupt line.
pub(super) const SERIAL_LINE: u32 = 4;
/// Keyboard controller, of which only the reset is there.
pub(super) const KEYBOARD_PORT: u16 = 0x60;
/// ACPI's sleep control register, with which a guest turns its machine off.
pub(super) const SLEEP_PORT: u16 = 0x600;
/// Bits of that register that mean: off, now.
pub(super) const SLEEP_OFF: u8 = (SLEEP_TYPE << 2) | (1 << 5);
/// What `\_S5` tells the kernel to write there.
pub(super) const SLEEP_TYPE: u8 = 5;

/// Parts of the guest's memory: their beginnings and lengths, for that many bytes in all.
pub(super) fn ranges(bytes: u64) -> Vec<(u64, u64)> {
    let low = bytes.min(GAP_BEGIN);
    let mut ranges = vec![(0, low)];
    if bytes > low {
        ranges.push((GAP_END, bytes - low));
    }
    ranges
}
