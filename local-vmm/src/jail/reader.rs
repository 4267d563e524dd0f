//! The walls around a process that reads a disk which a guest wrote. It has one thread, starts nothing, writes nothing but its answer, and is soon over; so it
//! needs no namespaces: it may read the files of one volume and do nothing else.

use super::{JailError, calls, limits};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use std::path::Path;

/// What it may use: bytes of memory, seconds of a CPU, bytes of files that it writes, open files.
const MOST: [(Resource, u64); 4] = [
    (Resource::RLIMIT_DATA, 768 << 20),
    (Resource::RLIMIT_CPU, 40),
    (Resource::RLIMIT_FSIZE, 0),
    (Resource::RLIMIT_NOFILE, 64),
];

/// Puts them up around the calling process.
pub(crate) fn enter(volume: &Path) -> Result<(), JailError> {
    // Nobody waits for an answer when the one who asked is gone.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| JailError::of("end with who asked")(&errno))?;
    limits::set()?;
    for (resource, most) in MOST {
        setrlimit(resource, most, most).map_err(|errno| JailError::of("limit what it may use")(&errno))?;
    }
    limits::give_up_privileges()?;
    files(volume).map_err(|error| JailError::of("shut off the file system")(&error))?;
    let failed = JailError::of("filter system calls");
    let filter = calls::reader().map_err(|why| failed(&why))?;
    seccompiler::apply_filter(&filter).map_err(|error| failed(&error))
}

fn files(volume: &Path) -> Result<(), RulesetError> {
    let known = ABI::V6;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(known))?
        .handle_access(AccessNet::from_all(known))?
        .scope(Scope::from_all(known))?
        .create()?;
    let rules = match PathFd::new(volume) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, AccessFs::ReadFile | AccessFs::ReadDir))?,
        // What does not exist needs no rule.
        Err(_) => rules,
    };
    rules.restrict_self().map(drop)
}
