//! Kernel, initramfs, and what the kernel is told, put into the guest's memory.
//!
//! The kernel is entered in 64-bit mode with the "zero page" that the x86 boot protocol describes
//! (`Documentation/arch/x86/boot.rst` and `zero-page.rst` of Linux).

use super::layout::{COMMAND_LINE, COMMAND_LINE_MAX, GAP_BEGIN, HIGH_BEGIN, LOW_END, ZERO_PAGE, ranges};
use super::{KvmError, kernel};
use crate::{MachineSpec, Memory};
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use std::fs::File;
use std::path::Path;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, ReadVolatile};

/// Memory that may be used, in the zero page's words.
const USABLE: u32 = 1;
/// Marks of the boot protocol.
const BOOT_FLAG: u16 = 0xaa55;
const HEADER: u32 = 0x5372_6448;
/// No registered boot loader.
const LOADER: u8 = 0xff;
/// The kernel's own alignment.
const KERNEL_ALIGN: u32 = 0x100_0000;
/// Pages.
const PAGE: u64 = 4096;

/// What the kernel is told so that it does not look for what the machine has not, or check what is known.
pub(crate) const KERNEL_WORDS: &str =
    "tsc=reliable no_timer_check i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd random.trust_cpu=on";

/// The kernel's command line. All words come from a checked specification.
pub(super) fn command_line(spec: &MachineSpec) -> String {
    format!(
        "console=ttyS0 quiet loglevel=3 panic=-1 reboot=k mitigations=off {KERNEL_WORDS} {}",
        spec.command_line()
    )
}

/// Puts all of it in its place; gives the kernel's entry.
pub(super) fn load(memory: &Memory, spec: &MachineSpec, initramfs: &Path) -> Result<GuestAddress, KvmError> {
    let failed = |why: String| KvmError::Kernel(spec.kernel.display().to_string(), why);
    let loaded = kernel::load(memory, &spec.kernel)?;
    let (ramdisk, size) = load_initramfs(memory, initramfs, loaded.kernel_end).map_err(failed)?;
    let line = command_line(spec);
    if line.len() >= COMMAND_LINE_MAX {
        return Err(failed("its command line is too long".into()));
    }
    let mut line = line.into_bytes();
    line.push(0);
    memory.write_slice(&line, GuestAddress(COMMAND_LINE)).map_err(|error| failed(error.to_string()))?;

    let mut params = boot_params::default();
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = HEADER;
    params.hdr.type_of_loader = LOADER;
    params.hdr.kernel_alignment = KERNEL_ALIGN;
    params.hdr.cmd_line_ptr = COMMAND_LINE as u32;
    params.hdr.cmdline_size = line.len() as u32;
    params.hdr.ramdisk_image = ramdisk as u32;
    params.hdr.ramdisk_size = size;
    params.acpi_rsdp_addr = super::layout::ACPI;
    let total: u64 = memory.iter().map(GuestMemoryRegion::len).sum();
    let mut usable = vec![(0, LOW_END)];
    usable.extend(ranges(total).into_iter().map(|(at, len)| match at {
        0 => (HIGH_BEGIN, len - HIGH_BEGIN),
        at => (at, len),
    }));
    for (entry, (addr, size)) in params.e820_table.iter_mut().zip(&usable) {
        *entry = boot_e820_entry { addr: *addr, size: *size, r#type: USABLE };
    }
    params.e820_entries = usable.len() as u8;
    let told = BootParams::new(&params, GuestAddress(ZERO_PAGE));
    LinuxBootConfigurator::write_bootparams(&told, memory).map_err(|error| failed(error.to_string()))?;
    Ok(loaded.kernel_load)
}

/// Puts the initramfs at the end of low memory; gives its place and size.
fn load_initramfs(memory: &Memory, path: &Path, kernel_end: u64) -> Result<(u64, u32), String> {
    let told =
        |error: &dyn std::fmt::Display| format!("its initramfs {} cannot be read: {error}", path.display());
    let mut file = File::open(path).map_err(|error| told(&error))?;
    let size = file.metadata().map_err(|error| told(&error))?.len();
    let low = memory.iter().next().map_or(0, GuestMemoryRegion::len).min(GAP_BEGIN);
    let at = low.checked_sub(size).map(|at| at & !(PAGE - 1)).filter(|at| *at > kernel_end);
    let (Some(at), Ok(short)) = (at, u32::try_from(size)) else {
        return Err("there is no room for its initramfs beside it; give the sprite more memory".into());
    };
    let slice = memory.get_slice(GuestAddress(at), short as usize).map_err(|error| told(&error))?;
    let mut rest = slice;
    while !rest.is_empty() {
        let read = file.read_volatile(&mut rest).map_err(|error| told(&error))?;
        if read == 0 {
            return Err(told(&"it is shorter than it was"));
        }
        rest = rest.offset(read).map_err(|error| told(&error))?;
    }
    debug_assert!(GuestAddress(at).raw_value() + size <= low);
    Ok((at, short))
}
