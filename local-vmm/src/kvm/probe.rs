//! What KVM is on this host.
//!
//! That `/dev/kvm` opens says nothing: there are software stand-ins behind which a kernel takes minutes. So a tiny guest counts down, and
//! the clock decides.

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};
use std::fs::OpenOptions;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// What KVM is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvmState {
    /// Hardware runs guests.
    Usable,
    /// The device is there, but software runs guests, far too slowly.
    Emulated,
    /// The device is there, but this user may not open it.
    NoPermission,
    /// There is no such device.
    Absent,
}

/// Rounds of the guest's loop; two instructions each.
const ROUNDS: u32 = 400_000;
/// Hardware needs about a millisecond, software stand-ins half a second and more.
const LIMIT: Duration = Duration::from_millis(100);
/// After this the guest is taken for stuck and left behind.
const DEADLINE: Duration = Duration::from_secs(5);

/// Finds out what KVM is here. Takes milliseconds on real KVM, up to [`DEADLINE`] elsewhere.
pub fn probe() -> KvmState {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return KvmState::NoPermission,
        Err(_) => return KvmState::Absent,
    }
    let (sender, receiver) = mpsc::channel();
    let guest = thread::Builder::new().name("kvm-probe".into()).spawn(move || {
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(count_down());
    });
    if guest.is_err() {
        return KvmState::Emulated;
    }
    match receiver.recv_timeout(DEADLINE) {
        Ok(Some(took)) if took <= LIMIT => KvmState::Usable,
        _ => KvmState::Emulated,
    }
}

/// Runs the guest once; none when it did not reach its end.
fn count_down() -> Option<Duration> {
    let vm = Kvm::new().ok()?.create_vm().ok()?;
    let memory: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)]).ok()?;
    let [a, b, c, d] = ROUNDS.to_le_bytes();
    // Real mode: mov ecx, ROUNDS; dec ecx; jnz -4; hlt.
    let code = [0x66, 0xb9, a, b, c, d, 0x66, 0x49, 0x75, 0xfc, 0xf4];
    memory.write_slice(&code, GuestAddress(0x1000)).ok()?;
    let region = memory.iter().next()?;
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: region.start_addr().raw_value(),
        memory_size: region.len(),
        userspace_addr: memory.get_host_address(GuestAddress(0)).ok()? as u64,
    };
    // SAFETY: the region is mapped memory of that size, and outlives the machine: both are dropped at the end of this function.
    unsafe { vm.set_user_memory_region(slot) }.ok()?;
    let mut vcpu = vm.create_vcpu(0).ok()?;
    let mut sregs = vcpu.get_sregs().ok()?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.set_sregs(&sregs).ok()?;
    let mut regs = vcpu.get_regs().ok()?;
    regs.rip = 0x1000;
    regs.rflags = 2;
    vcpu.set_regs(&regs).ok()?;
    let start = Instant::now();
    matches!(vcpu.run().ok()?, VcpuExit::Hlt).then(|| start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_ends_and_agrees_with_itself() {
        let state = probe();
        println!("KVM here: {state:?}");
        assert_eq!(state == KvmState::Absent, !std::path::Path::new("/dev/kvm").exists());
    }
}
