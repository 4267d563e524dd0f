//! What a process may do beyond its user: capabilities (`man 7 capabilities`), and gaining more. One of the modules with `unsafe`.

use nix::errno::Errno;
use sprites_api::policy::PrivilegesPolicy;
use std::ptr;

/// Rights of a program that is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    capabilities: Capabilities,
    /// No program that it runs gives it more (`man 2 PR_SET_NO_NEW_PRIVS`).
    gains_none: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Capabilities {
    /// As its user has them: all for root, none for others, who can gain them.
    #[default]
    Usual,
    /// None, for ever.
    None,
    /// All, whoever its user is.
    All,
}

impl Rights {
    /// As a policy wants them.
    pub(crate) fn new(policy: &PrivilegesPolicy) -> Self {
        let capabilities = match policy.profile.as_str() {
            "minimal" => Capabilities::None,
            "privileged" => Capabilities::All,
            _ => Capabilities::Usual,
        };
        let gains_none = policy.no_new_privileges || capabilities == Capabilities::None;
        Self { capabilities, gains_none }
    }
}

/// A capability beyond the last one that any kernel knows.
const END: libc::c_ulong = 64;

/// What has to be done as root. False if it could not be; the reason is in `errno`.
///
/// # Safety
///
/// Only async-signal-safe calls are made, as is right between `fork` and `exec`. The process must have one thread.
pub(super) unsafe fn before_user(rights: Rights) -> bool {
    // SAFETY: `prctl` with numbers only.
    unsafe {
        match rights.capabilities {
            Capabilities::Usual => true,
            Capabilities::None => {
                (0..END).all(|capability| dropped(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0)))
            }
            Capabilities::All => libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0,
        }
    }
}

/// What has to be done as the user that the process runs as. As above.
///
/// # Safety
///
/// As above.
pub(super) unsafe fn after_user(rights: Rights) -> bool {
    // SAFETY: `prctl` with numbers only; `capset` reads two structures of the size that this version has.
    unsafe {
        let taken = rights.capabilities != Capabilities::All
            || set_all()
                && (0..END).all(|capability| {
                    let ambient = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
                    dropped(libc::prctl(libc::PR_CAP_AMBIENT, ambient, capability, 0, 0))
                });
        taken && (!rights.gains_none || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
    }
}

/// Whether a call about one capability has done what it should; those beyond the kernel's last one are none.
fn dropped(result: libc::c_int) -> bool {
    result == 0 || Errno::last() == Errno::EINVAL
}

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Head {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes all permitted capabilities effective and inheritable ones too.
unsafe fn set_all() -> bool {
    let head = Head { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both calls get a head and the two parts of the sets that version 3 has.
    unsafe {
        if libc::syscall(libc::SYS_capget, ptr::from_ref(&head), sets.as_mut_ptr()) < 0 {
            return false;
        }
        for part in &mut sets {
            part.effective = part.permitted;
            part.inheritable = part.permitted;
        }
        libc::syscall(libc::SYS_capset, ptr::from_ref(&head), sets.as_ptr()) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles() {
        let rights = |profile: &str, no_new_privileges| {
            Rights::new(&PrivilegesPolicy {
                profile: profile.into(),
                no_new_privileges,
                ..PrivilegesPolicy::default()
            })
        };
        assert_eq!(rights("", false), Rights::default());
        assert_eq!(rights("standard", false), Rights::default());
        assert!(rights("standard", true).gains_none);
        assert!(rights("minimal", false).gains_none);
        assert_eq!(rights("privileged", true).capabilities, Capabilities::All);
    }
}
