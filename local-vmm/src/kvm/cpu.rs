//! What a virtual CPU is, and how the first one begins.

use super::KvmError;
use super::layout::{GDT, PAGE_TABLES, ZERO_PAGE};
use crate::Memory;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::{Kvm, VcpuFd};
use vm_memory::{Bytes, GuestAddress};

/// Bits of control registers and of the register of extended features (AMD64 manual, volume 2, chapter 3).
const CR0_PROTECTED: u64 = 1;
const CR0_PAGING: u64 = 1 << 31;
const CR4_LARGE_ADDRESSES: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
/// Page table bits: present, writable, and for the last level: large.
const TABLE: u64 = 0b11;
const LARGE: u64 = 0b1000_0011;
/// Bytes of a large page.
const LARGE_PAGE: u64 = 2 << 20;

/// What the CPUs of this host can do and a guest may know of.
pub(super) fn features(kvm: &Kvm) -> Result<CpuId, KvmError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(KvmError::kvm("tell what its CPUs can do"))
}

/// The same, as CPU number `id` of `count` sees it.
pub(super) fn features_of(all: &CpuId, id: u32, count: u32) -> CpuId {
    let mut cpuid = all.clone();
    let bits = count.next_power_of_two().trailing_zeros();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            0x1 => {
                // No virtualisation within virtualisation: it is the largest hole a monitor can have.
                entry.ecx &= !(1 << 5);
                // The timer that fires at a value of the time stamp counter, which KVM has with its own interrupt controllers.
                entry.ecx |= 1 << 24;
                // There is a monitor.
                entry.ecx |= 1 << 31;
                entry.ebx = (entry.ebx & 0xffff) | (count << 16) | (id << 24);
                entry.edx = if count > 1 { entry.edx | 1 << 28 } else { entry.edx & !(1 << 28) };
            }
            // Cores that share caches, as few as can be told.
            0x4 => entry.eax = (entry.eax & 0x3fff) | if count > 1 { (count - 1) << 26 } else { 0 },
            // One thread a core, all cores in one package.
            0xb | 0x1f => {
                entry.edx = id;
                (entry.eax, entry.ebx, entry.ecx) = match entry.index {
                    0 => (0, 1, 1 << 8),
                    1 => (bits, count, 2 << 8 | 1),
                    index => (0, 0, index),
                };
            }
            0x8000_0001 => entry.ecx &= !(1 << 2),
            0x8000_0008 => entry.ecx = (entry.ecx & !0xf0ff) | (bits << 12) | (count - 1),
            0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (id, id, 0),
            _ => {}
        }
    }
    cpuid
}

/// Makes the first CPU stand at the kernel's entry in 64-bit mode; gives it page tables for the first gigabyte.
pub(super) fn begin(vcpu: &VcpuFd, memory: &Memory, entry: GuestAddress) -> Result<(), KvmError> {
    write_tables(memory).map_err(|error| KvmError::Host {
        doing: "write the boot CPU's tables",
        source: std::io::Error::other(error),
    })?;
    let regs =
        kvm_regs { rip: entry.0, rsi: ZERO_PAGE, rsp: ZERO_PAGE - 16, rflags: 2, ..kvm_regs::default() };
    vcpu.set_regs(&regs).map_err(KvmError::kvm("set a CPU's registers"))?;
    let mut sregs = vcpu.get_sregs().map_err(KvmError::kvm("read a CPU's registers"))?;
    let segment = |selector: u16, type_: u8, l: u8| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1 - l,
        s: 1,
        l,
        g: 1,
        ..kvm_segment::default()
    };
    sregs.cs = segment(0x10, 11, 1);
    let data = segment(0x18, 3, 0);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 4 * 8 - 1);
    (sregs.idt.base, sregs.idt.limit) = (0, 0);
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 |= CR4_LARGE_ADDRESSES;
    sregs.cr0 |= CR0_PROTECTED | CR0_PAGING;
    sregs.efer |= EFER_LONG_MODE | EFER_LONG_MODE_ACTIVE;
    vcpu.set_sregs(&sregs).map_err(KvmError::kvm("set a CPU's registers"))
}

/// What every CPU begins with.
pub(super) fn prepare(vcpu: &VcpuFd) -> Result<(), KvmError> {
    let fpu = kvm_fpu { fcw: 0x37f, mxcsr: 0x1f80, ..kvm_fpu::default() };
    vcpu.set_fpu(&fpu).map_err(KvmError::kvm("set a CPU's registers"))?;
    // Fast string instructions. The rest is as after a reset.
    let entry = kvm_msr_entry { index: 0x1a0, data: 1, ..kvm_msr_entry::default() };
    if let Ok(msrs) = Msrs::from_entries(&[entry]) {
        // Not every CPU has this switch.
        let _ = vcpu.set_msrs(&msrs);
    }
    // The old interrupt controller's line, and the line that cannot be masked.
    let mut apic = vcpu.get_lapic().map_err(KvmError::kvm("read an interrupt controller"))?;
    for (at, mode) in [(0x350, 0x700u32), (0x360, 0x400)] {
        for (byte, value) in apic.regs[at..at + 4].iter_mut().zip(mode.to_le_bytes()) {
            *byte = value as _;
        }
    }
    vcpu.set_lapic(&apic).map_err(KvmError::kvm("set an interrupt controller"))
}

fn write_tables(memory: &Memory) -> Result<(), vm_memory::GuestMemoryError> {
    // Empty, unused, 64-bit code, data.
    let gdt = [0u64, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    for (at, value) in (0u64..).zip(gdt) {
        memory.write_obj(value, GuestAddress(GDT + at * 8))?;
    }
    let (middle, last) = (PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2000);
    memory.write_obj(middle | TABLE, GuestAddress(PAGE_TABLES))?;
    memory.write_obj(last | TABLE, GuestAddress(middle))?;
    for page in 0..512 {
        memory.write_obj((page * LARGE_PAGE) | LARGE, GuestAddress(last + page * 8))?;
    }
    Ok(())
}
