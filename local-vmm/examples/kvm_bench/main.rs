//! Our monitor against QEMU's `microvm` on the same KVM: the same kernel, initramfs, agent, size and kind of sockets, and a disk of QEMU's own
//! on a raw file. Prints one JSON object a figure; `cargo xtask bench --lab` runs it in the lab and makes a table of them.
//!
//! `kvm_bench EXE [PART]`: `EXE` is the program of the machine process, `PART` a word of the parts to measure.
//!
//! | file | what it is |
//! |---|---|
//! | `rig` | machines of ours and of QEMU's, started and driven alike |
//! | `http` | what is said over a connection to an agent |
//! | `starts` | boots, wakes, and machines from a template |
//! | `memory` | what a monitor needs beside the guest's memory |
//! | `talk` | round trips and streams |
//! | `disk` | the disk, from inside |

#[path = "../measure/mod.rs"]
mod measure;

mod disk;
mod http;
mod memory;
mod rig;
mod starts;
mod talk;

use local_vmm::Kind;
use rig::Bench;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Longest that all of it may take.
const DEADLINE: Duration = Duration::from_secs(25 * 60);
/// Times a part may be tried: the lab's software CPU now and then kills a kernel (`docs/vmm.md`). A part tells its figures at its end, so one that
/// was tried again tells nothing twice.
const ATTEMPTS: usize = 2;

/// Measures something.
type Part = fn(&Bench);

const PARTS: [(&str, Part); 8] = [
    ("boot", starts::boot),
    ("warm", starts::warm),
    ("cold", starts::cold),
    ("template", starts::template),
    ("memory", memory::measure),
    ("exec", talk::round_trips),
    ("stream", talk::streams),
    ("disk", disk::measure),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(exe) = words.next().map(PathBuf::from) else {
        eprintln!("usage: kvm_bench EXE [PART]");
        return ExitCode::from(2);
    };
    let wanted = words.next().unwrap_or_default();
    if Kind::of_this_host() != Kind::Kvm {
        eprintln!("KVM is not real here; `cargo xtask bench --lab` has one that is");
        return ExitCode::FAILURE;
    }
    thread::spawn(|| {
        thread::sleep(DEADLINE);
        eprintln!("measuring takes longer than {} minutes and is ended", DEADLINE.as_secs() / 60);
        std::process::exit(3);
    });
    let bench = Bench::new(exe);
    let mut failed = Vec::new();
    for (name, part) in PARTS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let done = (1..=ATTEMPTS).any(|attempt| {
            println!("{name}, attempt {attempt}");
            catch_unwind(AssertUnwindSafe(|| part(&bench))).is_ok()
        });
        if !done {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("could not be measured: {}", failed.join(", "));
    ExitCode::FAILURE
}
