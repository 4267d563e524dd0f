//! Boots, wakes, and machines from a template.

use crate::measure::{figure, median, millis, take_turns};
use crate::rig::{Bench, Machine, Ours};
use local_vmm::{MachineSpec, kvm};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds of what takes seconds.
const STARTS: usize = 3;
/// Rounds of what takes moments.
const WAKES: usize = 9;
/// How long a machine sleeps before it is woken.
const SLEEP: Duration = Duration::from_millis(200);

/// From the start of the process to the agent's first answer, and on to the first command. Both have a disk that was booted from and shut down
/// before.
pub fn boot(bench: &Bench) {
    let name = bench.create("boot");
    let ours = || {
        let machine = bench.start(&bench.spec(&name));
        let up = millis(machine.since_start());
        machine.run(&["true"], "");
        let first = millis(machine.since_start());
        machine.stop();
        vec![up, first]
    };
    let raw = bench.raw();
    // The copy of the image that QEMU gets is not written back while the first is measured.
    nix::unistd::sync();
    let theirs = || {
        let machine = raw.start();
        let up = millis(machine.first(|| machine.health()));
        let first = millis(machine.first(|| machine.exec(&["true"], "")));
        machine.stop();
        vec![up, first]
    };
    let times = take_turns(STARTS, ours, theirs, || {});
    // Who measured it alone before, because this part was tried again, has measured the same.
    let _ = bench.boot.set(times[1].0);
    for ((ours, theirs), (what, limit)) in
        times.into_iter().zip([("user space", Some("<= 0.8")), ("first command", None)])
    {
        figure(&format!("QEMU microvm: start to {what}"), theirs, "ms", None, None);
        figure(&format!("ours: start to {what}, against it"), ours, "ms", Some(ours / theirs), limit);
    }
}

/// Milliseconds of a boot to the first command: what the other ways to start are held against.
fn first_command(bench: &Bench) -> f64 {
    *bench.boot.get_or_init(|| {
        let machine = bench.start(&bench.spec(&bench.create("first")));
        until_command(&machine)
    })
}

/// Milliseconds since its start when it has run its first command.
fn until_command(machine: &Ours) -> f64 {
    machine.run(&["true"], "");
    millis(machine.since_start())
}

/// Stopped in memory, until the first command after it.
pub fn warm(bench: &Bench) {
    let boot = first_command(bench);
    let machine = bench.start(&bench.spec(&bench.create("warm")));
    let mut times = Vec::new();
    // The first is for warming up.
    for round in 0..=WAKES {
        bench.runtime.block_on(machine.handle.pause()).expect("it can be paused");
        std::thread::sleep(SLEEP);
        let start = Instant::now();
        bench.runtime.block_on(machine.handle.resume()).expect("it can be resumed");
        machine.run(&["true"], "");
        if round > 0 {
            times.push(millis(start.elapsed()));
        }
    }
    let time = median(times);
    figure("wake from memory to a command, against a boot", time, "ms", Some(time / boot), Some("<= 0.05"));
}

/// Kept on disk without a process, until the first command after it.
pub fn cold(bench: &Bench) {
    let boot = first_command(bench);
    let spec = bench.spec(&bench.create("cold"));
    let mut machine = bench.start(&spec);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        bench.runtime.block_on(machine.handle.suspend()).expect("it can be suspended");
        drop(machine);
        assert!(kvm::is_kept(&spec.memory), "it was kept");
        machine = bench.start(&spec);
        times.push(until_command(&machine));
        assert!(!kvm::is_kept(&spec.memory), "it went on from there");
    }
    let time = median(times);
    figure("wake from disk to a command, against a boot", time, "ms", Some(time / boot), Some("<= 0.3"));
}

/// A new machine from one that was kept, as the server makes it, until its first command.
pub fn template(bench: &Bench) {
    let boot = first_command(bench);
    let template = bench.spec(&bench.create("template"));
    let machine = bench.start(&template);
    let kept = bench.runtime.block_on(machine.handle.checkpoint(None, true, true)).expect("it can be kept");
    drop(machine);
    let id = kept.checkpoint.id;
    let memory = MachineSpec::memory_of(&template.memory, &id);
    let mut times = Vec::new();
    // The first is for warming up.
    for round in 0..=STARTS {
        let start = Instant::now();
        let name = bench.name("made");
        let place = bench.place(&name);
        fs::create_dir_all(&place).expect("a folder can be made");
        let mut spec = bench.spec(&name);
        for (path, own) in [(&mut spec.kernel, "vmlinux"), (&mut spec.modules, "modules.cpio")] {
            let own = place.join(own);
            link(path, &own);
            *path = own;
        }
        bench.store.fork(&template.volume, &id, &spec.volume).expect("the disk can be forked");
        kvm::share(&memory, &spec.memory).expect("the memory can be shared");
        let before = start.elapsed();
        let machine = bench.start(&spec);
        let whole = millis(before) + until_command(&machine);
        assert!(!kvm::is_kept(&spec.memory), "it went on from there");
        if round > 0 {
            times.push(whole);
        }
    }
    let time = median(times);
    figure(
        "create from the template to a command, against a boot",
        time,
        "ms",
        Some(time / boot),
        Some("<= 0.3"),
    );
}

/// A link, or a copy where there can be none.
fn link(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).expect("a file of the image can be copied");
    }
}
