//! What a monitor needs beside the guest's memory, as the kernel counts it (`man 5 proc_pid_smaps`).
//!
//! The guest's memory is the one mapping that is as large as it. Of pages that several processes have, each is counted its share (Pss), or all (Rss).

use crate::measure::figure;
use crate::rig::{Bench, MEMORY_MB, Machine};
use std::fs;

/// KiB.
#[derive(Default)]
struct Sizes {
    resident: u64,
    shared_out: u64,
}

/// Our two processes, the machine's and the one that waits for it, and QEMU. QEMU's sockets are served by this program, which is not counted.
pub fn measure(bench: &Bench) {
    bench.with_pair(|pair| {
        for machine in [&pair.ours as &dyn Machine, &pair.plain] {
            machine.run(&["true"], "");
        }
        let guest = u64::from(MEMORY_MB) << 10;
        let status = bench.runtime.block_on(pair.ours.handle.status()).expect("it tells its state");
        let machine = sizes(status.pid, Some(guest));
        let waiting = sizes(parent(status.pid), None);
        let qemu = sizes(pair.plain.monitor.pid(), Some(guest));
        let mib = |kib: u64| kib as f64 / 1024.0;
        figure("QEMU microvm: memory beside the guest's (Pss)", mib(qemu.shared_out), "MiB", None, None);
        let ours = machine.shared_out + waiting.shared_out;
        figure("ours: memory beside the guest's (Pss)", mib(ours), "MiB", None, Some("<= 8"));
        figure("of that the process that waits (Pss)", mib(waiting.shared_out), "MiB", None, None);
        figure("QEMU microvm: the same (Rss)", mib(qemu.resident), "MiB", None, None);
        figure("ours: machine process (Rss)", mib(machine.resident), "MiB", None, None);
    });
}

/// Sums of a process's mappings, without that of the guest's memory, which has to be there.
fn sizes(pid: u32, guest: Option<u64>) -> Sizes {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"));
    let (mut sum, mut found, mut is_guest) = (Sizes::default(), 0, false);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(Ok(value))) = (words.next(), words.next().map(str::parse::<u64>)) else {
            continue;
        };
        match key {
            "Size:" => {
                let more = guest.and_then(|guest| value.checked_sub(guest));
                is_guest = more.is_some();
                found += u32::from(is_guest);
                // The kernel may have joined something of the monitor's to it, which is counted as if all of it were there.
                sum.resident += more.unwrap_or(0);
                sum.shared_out += more.unwrap_or(0);
            }
            "Rss:" if !is_guest => sum.resident += value,
            "Pss:" if !is_guest => sum.shared_out += value,
            _ => {}
        }
    }
    assert_eq!(found, u32::from(guest.is_some()), "the guest's memory is one mapping of {path}:\n{text}");
    sum
}

fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let told = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    told.and_then(|pid| pid.trim().parse().ok()).expect("it has a parent")
}
