//! The guest's memory.

use super::{KvmError, layout};
use crate::Memory;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

/// Memory of that many MiB, given to the virtual machine. Pages cost something once the guest has touched them.
pub(super) fn fresh(vm: &VmFd, mib: u32) -> Result<Memory, KvmError> {
    let mib = u64::from(mib);
    let failed = |why: String| KvmError::Memory(mib, why);
    let ranges: Vec<(GuestAddress, usize)> = layout::ranges(mib << 20)
        .into_iter()
        .map(|(at, len)| {
            Ok((GuestAddress(at), usize::try_from(len).map_err(|error| failed(error.to_string()))?))
        })
        .collect::<Result<_, KvmError>>()?;
    let memory = Memory::from_ranges(&ranges).map_err(|error| failed(error.to_string()))?;
    give(vm, &memory).map_err(|error| failed(std::io::Error::from(error).to_string()))?;
    Ok(memory)
}

/// Tells KVM where the guest's memory lies.
fn give(vm: &VmFd, memory: &Memory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped for as long as `memory` or a clone of it lives, and the machine keeps one until its end.
        unsafe { vm.set_user_memory_region(region) }?;
    }
    Ok(())
}
