//! Resource limits, and no privileges.

use super::JailError;
use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Guest memory has no business in a core file; message queues and locked memory nobody needs.
const NOTHING: [(Resource, &str); 3] = [
    (Resource::RLIMIT_CORE, "core files"),
    (Resource::RLIMIT_MSGQUEUE, "message queues"),
    (Resource::RLIMIT_MEMLOCK, "locked memory"),
];

/// Sets the limits that are the same for all machines.
pub(crate) fn set() -> Result<(), JailError> {
    for (resource, what) in NOTHING {
        setrlimit(resource, 0, 0)
            .map_err(|errno| JailError::of("limit what it may use")(&format!("{what}: {errno}")))?;
    }
    Ok(())
}

/// Limits the size of any file that is written, bytes.
pub fn largest_file(bytes: u64) -> Result<(), JailError> {
    setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)
        .map_err(|errno| JailError::of("limit the size of its files")(&errno))
}

/// Gives up all privileges, and the ways to new ones.
pub(crate) fn give_up_privileges() -> Result<(), JailError> {
    let failed = JailError::of("give up privileges");
    prctl::set_no_new_privs().map_err(|errno| failed(&errno))?;
    // Who has none cannot shrink this set, and need not.
    let _ = caps::clear(None, CapSet::Bounding);
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| failed(&error))?;
    }
    // Nobody of the same user reads its memory or drives it.
    prctl::set_dumpable(false).map_err(|errno| failed(&errno))
}
