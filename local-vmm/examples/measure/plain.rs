//! A machine without any of our disk: plain QEMU with the same kernel, initramfs and sockets, and its own disk on a raw file.

use super::{LONG, exec};
use local_vmm::devices::vsock::Vsock;
use local_vmm::emulated::{Accel, Disk, Emulated};
use local_vmm::{Kind, MachineSpec, initramfs};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vmm_image::Image;

/// Between two attempts to have something answered.
const LOOK: Duration = Duration::from_millis(10);
/// How much of the console is told when a machine does not come up.
const WORDS: usize = 4096;

/// What such machines start from, one after the other: a copy of the image, and an initramfs.
pub struct Raw {
    dir: tempfile::TempDir,
    spec: MachineSpec,
    accel: Accel,
}

impl Raw {
    pub fn new(image: &Image, accel: Accel, cpus: u32, memory_mb: u32) -> Self {
        let dir = tempfile::Builder::new().prefix("plain-").tempdir().expect("a folder can be made");
        let spec = MachineSpec {
            kind: Kind::Emulated,
            id: "plain".into(),
            name: "plain".into(),
            url: "http://plain.localhost:1/".into(),
            cpus,
            memory_mb,
            kernel: image.kernel(),
            modules: image.modules(),
            memory: dir.path().join("no-memory"),
            volume: dir.path().to_owned(),
            run_dir: dir.path().to_owned(),
            net: None,
        };
        fs::create_dir_all(spec.inside()).expect("a folder can be made");
        let raw = Self { dir, spec, accel };
        let disk = raw.file("disk.raw");
        let copied = Command::new("cp").arg("--sparse=always").arg(image.rootfs()).arg(&disk).status();
        assert!(copied.is_ok_and(|status| status.success()), "the image can be copied");
        let grown = OpenOptions::new().write(true).open(&disk);
        grown.and_then(|file| file.set_len(vmm_disk::DEFAULT_SIZE)).expect("the disk can be grown");
        initramfs::write(&image.modules(), &raw.file("initramfs")).expect("the initramfs can be written");
        raw
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts one; the one before must have ended.
    pub fn start(&self) -> Plain {
        let started = Instant::now();
        let socket = self.file("agent.sock");
        // That of the machine before.
        let _ = fs::remove_file(&socket);
        let sockets =
            Vsock::start(UnixListener::bind(socket).expect("a socket can be made")).expect("sockets start");
        let console = Arc::new(Mutex::new(Vec::new()));
        let screen = Arc::clone(&console);
        let disk = Disk::Raw(self.file("disk.raw"), self.accel);
        let print = move |bytes: &[u8]| {
            screen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        };
        let monitor = Emulated::start(&self.spec, &self.file("initramfs"), None, disk, &sockets, print)
            .expect("QEMU starts");
        Plain { started, monitor, sockets, console }
    }
}

/// A running one. It ends with this.
pub struct Plain {
    started: Instant,
    pub monitor: Emulated,
    sockets: Arc<Vsock>,
    console: Arc<Mutex<Vec<u8>>>,
}

impl Plain {
    /// Waits until an attempt succeeds; the time from the machine's start to there.
    pub fn first<T>(&self, attempt: impl Fn() -> io::Result<T>) -> Duration {
        loop {
            let Err(error) = attempt() else { return self.started.elapsed() };
            let ended = self.monitor.ended();
            if ended.is_some() || self.started.elapsed() > LONG {
                let words = self.console.lock().unwrap_or_else(PoisonError::into_inner);
                let words = String::from_utf8_lossy(&words[words.len().saturating_sub(WORDS)..]);
                panic!("plain QEMU does not come up ({ended:?}): {error}\n--- console\n{words}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A connection to the agent inside.
    pub fn connect(&self) -> io::Result<UnixStream> {
        self.sockets.connect()
    }

    pub fn exec(&self, command: &[&str], input: &str) -> io::Result<String> {
        exec(self.connect()?, "/v1/exec", command, input)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.monitor.kill();
        self.monitor.wait(Some(LONG));
    }
}
