//! The lab: a machine with real KVM inside, on any host.
//!
//! QEMU's software CPU has AMD's virtualisation extensions, so a kernel that runs on it finds a KVM that is real, only slow. `lab IMAGE INIT
//! DISK LIST` boots the image's kernel there with the modules for it, `INIT` as the first program, the image's file system as `/`, `DISK` as `/lab`
//! and `LIST` as `/dev/vdc`; then runs `/lab/run`. None of the files is changed. Ends with that script's exit code. Driven by `cargo xtask lab`.

use local_vmm::emulated::{find, tsc_khz};
use local_vmm::initramfs;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Memory of the machine, MiB.
const MEMORY: u32 = 6144;
/// Its virtual CPUs. With more than one the software CPU delivers far more interrupts twice (`docs/vmm.md`), and is no faster.
const CPUS: usize = 1;
/// Longest that anything in the lab may take.
const DEADLINE: Duration = Duration::from_secs(40 * 60);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    stay_on_one_core()?;
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(image), Some(init), Some(disk), Some(list)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("usage: lab IMAGE INIT DISK LIST".into());
    };
    let qemu = find().ok_or("QEMU is not installed; `cargo xtask lab` does it")?;
    let dir = tempfile::tempdir()?;
    let archive = dir.path().join("initramfs");
    initramfs::write_with(&image.join("nested.cpio"), &std::fs::read(&init)?, &archive)?;
    let mut child = Command::new(qemu.path)
        .args(arguments(&image, &archive, [&disk, &list]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let console = child.stdout.take().ok_or("QEMU has no console")?;
    let child = Arc::new(Mutex::new(child));
    watch(&child);
    let mut code = None;
    for line in BufReader::new(console).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        match text.split_once("LAB EXIT ") {
            Some((_, told)) => code = told.trim().parse::<u8>().ok(),
            None => println!("{text}"),
        }
    }
    child.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
    code.map(ExitCode::from).ok_or_else(|| "the lab's machine ended before its work did".into())
}

/// Keeps this process and QEMU on one core of the host.
///
/// On the way into an inner machine QEMU's virtual CPU marks a pending virtual interrupt with a plain "or" on a word that its main thread
/// changes as well, to ask for attention. When both happen at once on two cores, the request is lost, which hangs the outer kernel, or leaves half
/// of itself behind, which delivers an injected interrupt twice and kills one of the kernels. On one core the instruction cannot be cut.
fn stay_on_one_core() -> Result<(), Box<dyn Error>> {
    let myself = Pid::from_raw(0);
    let allowed = sched_getaffinity(myself)?;
    let last = (0..CpuSet::count()).rev().find(|core| allowed.is_set(*core).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.ok_or("no core is allowed")?)?;
    Ok(sched_setaffinity(myself, &one)?)
}

/// Ends the machine at the deadline.
fn watch(child: &Arc<Mutex<Child>>) {
    let child = Arc::downgrade(child);
    thread::spawn(move || {
        thread::sleep(DEADLINE);
        if let Some(child) = child.upgrade() {
            eprintln!("the lab takes longer than {} minutes and is ended", DEADLINE.as_secs() / 60);
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    });
}

fn arguments(image: &Path, archive: &Path, [disk, list]: [&Path; 2]) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| out.extend(words.iter().map(OsString::from));
    add(&["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"]);
    add(&["-machine", "microvm,acpi=on,rtc=on,pcie=off,usb=off"]);
    add(&["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", &CPUS.to_string()]);
    add(&["-m", &format!("{MEMORY}M"), "-global", "virtio-mmio.force-legacy=false"]);
    add(&["-kernel", &image.join("vmlinuz").to_string_lossy(), "-initrd", &archive.to_string_lossy()]);
    let line = format!(
        "console=ttyS0 loglevel=3 panic=-1 reboot=t mitigations=off tsc=reliable tsc_early_khz={} kvm.ignore_msrs=1 \
         kvm.report_ignored_msrs=0",
        tsc_khz()
    );
    add(&["-append", &line]);
    for (id, file) in
        [("root", image.join("rootfs.ext4")), ("lab", disk.to_owned()), ("list", list.to_owned())]
    {
        add(&["-drive", &format!("id={id},if=none,format=raw,snapshot=on,file={}", file.display())]);
        add(&["-device", &format!("virtio-blk-device,drive={id}")]);
    }
    add(&["-serial", "stdio"]);
    out
}
