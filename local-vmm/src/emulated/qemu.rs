//! QEMU itself: where it is, what it is told, and its confinement.

use super::clock::tsc_khz;
use super::{Accel, Attach, DiskAt, EmulatedError};
use crate::MachineSpec;
use crate::devices::net::MTU;
use crate::jail::{self, Role};
use crate::kvm::KERNEL_WORDS;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BINARY: &str = "qemu-system-x86_64";

/// An installed QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// Its executable.
    pub path: PathBuf,
    /// What it says about its version, one line.
    pub version: String,
}

/// Its executable on the search path.
pub(super) fn executable() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(BINARY)).find(|path| path.is_file())
}

/// Looks for QEMU on the search path.
pub fn find() -> Option<Qemu> {
    let path = executable()?;
    let told = Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok()?;
    let version = String::from_utf8_lossy(&told.stdout).lines().next().unwrap_or_default().to_owned();
    Some(Qemu { path, version })
}

/// The kernel's command line. All words come from a checked specification.
fn command_line(spec: &MachineSpec, accel: Accel) -> String {
    let clock = match accel {
        Accel::Software => format!("tsc=reliable tsc_early_khz={}", tsc_khz()),
        // Those of our own monitor, so that the kernel has nothing else to do on either.
        Accel::Kvm => KERNEL_WORDS.into(),
    };
    format!(
        "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t mitigations=off {clock} {}",
        spec.command_line()
    )
}

/// Starts QEMU. Gives the process, its control connection and its console.
pub(super) fn spawn(
    qemu: &Path,
    spec: &MachineSpec,
    initramfs: &Path,
    cable: Option<&UnixStream>,
    attach: &Attach,
) -> Result<(Child, UnixStream, UnixStream), EmulatedError> {
    let pair = || UnixStream::pair().map_err(EmulatedError::host("make a socket"));
    let (control, its_control) = pair()?;
    let (screen, its_screen) = pair()?;
    let its_cable = cable.map(UnixStream::try_clone).transpose();
    let its_cable = its_cable.map_err(EmulatedError::host("hand the machine's network on"))?;
    for socket in [&its_control, &its_screen].into_iter().chain(&its_cable) {
        fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| EmulatedError::host("hand a socket over")(errno.into()))?;
    }
    let mut command = Command::new(qemu);
    let sockets = Sockets {
        control: its_control.as_raw_fd(),
        screen: its_screen.as_raw_fd(),
        cable: its_cable.as_ref().map(AsRawFd::as_raw_fd),
    };
    command.args(arguments(spec, initramfs, attach, &sockets));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).current_dir("/");
    let memory = u64::from(spec.memory_mb) << 20;
    // The largest file it may write.
    let file_size = match &attach.disk {
        DiskAt::Socket(_) => memory,
        DiskAt::Raw(file, _) => memory.max(std::fs::metadata(file).map_or(0, |found| found.len())),
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(move || confine(file_size)) };
    let child = command.spawn().map_err(EmulatedError::host("start QEMU"))?;
    Ok((child, control, screen))
}

/// Runs in the child, which is behind the machine process's walls already.
fn confine(file_size: u64) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = setrlimit(Resource::RLIMIT_FSIZE, file_size, file_size);
    Ok(())
}

/// Numbers of the sockets that are QEMU's.
struct Sockets {
    control: i32,
    screen: i32,
    /// The cable of the network card.
    cable: Option<i32>,
}

fn arguments(spec: &MachineSpec, initramfs: &Path, attach: &Attach, sockets: &Sockets) -> Vec<OsString> {
    let Sockets { control, screen, cable } = sockets;
    let mut out: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| out.extend(words.iter().map(OsString::from));
    add(&["-name", &spec.name, "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"]);
    // The interrupt and timer chips of old stay: without them the kernel hangs on this machine model.
    add(&["-machine", "microvm,acpi=on,rtc=on,pcie=off,usb=off,memory-backend=memory"]);
    add(match attach.disk.accel() {
        Accel::Software => &["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"],
        Accel::Kvm => &["-accel", "kvm", "-cpu", "host"],
    });
    add(&["-smp", &spec.cpus.to_string(), "-m", &format!("{}M", spec.memory_mb)]);
    add(&["-object", &format!("memory-backend-memfd,id=memory,share=on,size={}M", spec.memory_mb)]);
    // vhost-user speaks the modern interface only.
    add(&["-global", "virtio-mmio.force-legacy=false"]);
    add(&["-kernel", &spec.kernel.to_string_lossy(), "-initrd", &initramfs.to_string_lossy()]);
    add(&["-append", &command_line(spec, attach.disk.accel())]);
    match &attach.disk {
        DiskAt::Socket(socket) => {
            add(&["-chardev", &format!("socket,id=block,path={}", socket.display())]);
            add(&["-device", "vhost-user-blk,chardev=block,num-queues=1,queue-size=256"]);
        }
        DiskAt::Raw(file, _) => {
            add(&["-drive", &format!("id=disk,if=none,format=raw,discard=unmap,file={}", file.display())]);
            add(&["-device", "virtio-blk-device,drive=disk,num-queues=1,queue-size=256"]);
        }
    }
    add(&["-chardev", &format!("socket,id=vsock,path={}", attach.vsock.display())]);
    add(&["-device", "vhost-user-vsock-device,chardev=vsock"]);
    if let (Some(net), Some(cable)) = (&spec.net, cable) {
        let stream = format!("stream,id=net,server=off,addr.type=fd,addr.str={cable}");
        add(&["-netdev", &stream]);
        let mac: Vec<String> = net.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        // Packets as large as our own card's, and nothing that it does not do.
        add(&["-device", &format!("virtio-net-device,netdev=net,host_mtu={MTU},mac={}", mac.join(":"))]);
    }
    add(&["-device", "virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on"]);
    add(&["-object", "rng-random,id=random,filename=/dev/urandom"]);
    add(&["-device", "virtio-rng-device,rng=random,max-bytes=65536,period=1000"]);
    add(&["-chardev", &format!("socket,id=screen,fd={screen}"), "-serial", "chardev:screen"]);
    add(&["-chardev", &format!("socket,id=control,fd={control}"), "-mon", "chardev=control,mode=control"]);
    add(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    out
}

/// Reads the console for as long as there is one.
pub(super) fn watch_console(
    mut screen: UnixStream,
    mut console: impl FnMut(&[u8]) + Send + 'static,
) -> Result<(), EmulatedError> {
    let body = move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = screen.read(&mut buffer) {
            console(&buffer[..read]);
        }
    };
    jail::spawn(Role::Console, "console", body).map(drop).map_err(EmulatedError::host("watch the console"))
}
