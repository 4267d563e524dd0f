//! The walls around a machine process and everything it starts.
//!
//! A guest that took over a device would find: no new privileges, no core dumps, and of the file system only its own disk, its run folder, the
//! kernel files, and what QEMU needs to start. The rest of the walls (namespaces, system call filters) is QEMU's own and `emulated::qemu`'s.

use crate::{Kind, MachineSpec};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use std::path::Path;

/// Folders from which executables and libraries come.
const SYSTEM: [&str; 8] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/nix/store",
];
/// What programs read to learn about the machine they are on.
const FACTS: [&str; 2] = ["/proc", "/sys/devices/system"];
/// Harmless devices.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// Runs guests, where we do.
const KVM: &str = "/dev/kvm";

/// Puts the calling thread and all it will start behind the walls. Call it before there are other threads.
pub(super) fn confine(spec: &MachineSpec) -> Result<(), String> {
    prctl::set_no_new_privs().map_err(|error| format!("new privileges cannot be given up: {error}"))?;
    // Guest memory has no business in a core file.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
        .map_err(|error| format!("core files cannot be turned off: {error}"))?;
    match restrict(spec) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(status) => {
            tracing::warn!("this kernel's Landlock does not know all rules ({status:?}); other walls hold")
        }
        Err(error) => return Err(format!("the file system cannot be shut off: {error}")),
    }
    Ok(())
}

fn restrict(spec: &MachineSpec) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V3;
    let (all, read) = (AccessFs::from_all(abi), AccessFs::from_read(abi));
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    let files = [spec.kernel.as_path(), spec.modules.as_path()].map(|path| (path, AccessFs::ReadFile.into()));
    let own = [spec.volume.as_path(), spec.memory.as_path(), spec.run_dir.as_path()].map(|path| (path, all));
    let system = SYSTEM.into_iter().chain(FACTS).map(|path| (Path::new(path), read));
    let kvm = (spec.kind == Kind::Kvm).then_some(KVM);
    let devices = DEVICES.into_iter().chain(kvm).map(|path| (Path::new(path), device));
    for (path, access) in files.into_iter().chain(own).chain(system).chain(devices) {
        // What does not exist needs no rule.
        if let Ok(fd) = PathFd::new(path) {
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}
