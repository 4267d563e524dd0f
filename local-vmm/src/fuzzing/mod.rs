//! Entrances for fuzzing: each takes any bytes, makes a case of them, and asserts what must hold whatever the case is.
//!
//! Compiled for this crate's tests and with the feature `fuzzing`, in no other build. The programs that feed them are in the folder `fuzz/` of
//! the checkout; what these saved is replayed here by an ordinary test, without any of that machinery. How to add one: `docs/vmm.md`.
//!
//! | file | what it is |
//! |---|---|
//! | `guest` | a guest's memory and queues, filled from bytes, and what a device may do there |
//! | `memory` | where that memory lies |
//! | `devices` | the devices behind their queues |
//! | `net` | the network card and its peer |
//! | `balloon` | pages that a guest gives away |
//! | `packets` | connections between host and guest, packet by packet |
//! | `words` | what the server says: calls and specifications |
//! | `kvm::fuzzing` | registers, kernels, tables, kept states |

mod balloon;
mod devices;
mod guest;
mod memory;
mod net;
mod packets;
mod words;

pub use crate::kvm::fuzzing::{acpi, kernel, registers, state};
pub use balloon::balloon;
pub use devices::{block, rng, vsock_queues};
pub(crate) use devices::{fresh_disk, scratch};
pub use net::net;
pub use packets::vsock_packets;
pub use words::{control, spec};

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name; that of its program and of its folder of saved cases.
    pub name: &'static str,
    /// Does one case. It panics when something does not hold.
    pub run: fn(&[u8]),
    /// Most bytes that one case may have allocated at once; a guest must not be able to make a monitor use more.
    pub most_bytes: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "block", run: block, most_bytes: 16 << 20 },
    Target { name: "rng", run: rng, most_bytes: 2 << 20 },
    Target { name: "balloon", run: balloon, most_bytes: 8 << 20 },
    Target { name: "net", run: net, most_bytes: 4 << 20 },
    Target { name: "vsock_queues", run: vsock_queues, most_bytes: 4 << 20 },
    Target { name: "vsock_packets", run: vsock_packets, most_bytes: 8 << 20 },
    Target { name: "registers", run: registers, most_bytes: 4 << 20 },
    Target { name: "kernel", run: kernel, most_bytes: 64 << 20 },
    Target { name: "acpi", run: acpi, most_bytes: 8 << 20 },
    Target { name: "state", run: state, most_bytes: 8 << 20 },
    Target { name: "control", run: control, most_bytes: 4 << 20 },
    Target { name: "spec", run: spec, most_bytes: 4 << 20 },
];

/// That of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Saved cases and cases that once failed. Names of failed ones begin with what they showed.
    #[test]
    fn everything_saved_still_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        for target in TARGETS {
            let dir = corpus.join(target.name);
            let mut cases: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            cases.sort();
            assert!(!cases.is_empty(), "{} has no cases", target.name);
            for case in cases {
                println!("{}", case.display());
                (target.run)(&fs::read(&case).unwrap());
            }
        }
        // Nothing is saved for a target that is gone.
        for entry in fs::read_dir(&corpus).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(target(&name).is_some(), "nothing takes the cases of {name}");
        }
    }

    #[test]
    fn nothing_and_noise_are_cases_too() {
        let mut noise: u64 = 1;
        for target in TARGETS {
            (target.run)(&[]);
            for len in (0..300).step_by(20) {
                let case: Vec<u8> = (0..len)
                    .map(|_| {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (noise >> 56) as u8
                    })
                    .collect();
                (target.run)(&case);
            }
        }
    }
}
