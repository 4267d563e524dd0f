//! A real machine for a test: image, disk, process, and commands inside.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use local_vmm::{Kind, MachineHandle, MachineSpec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vmm_disk::Store;
use vmm_image::{Image, ImageStore};

/// Far more than a machine needs on a slow host.
pub const BOOT: Duration = Duration::from_secs(180);

/// A folder with a sprite's disk in it.
pub struct Rig {
    // The path of a socket is short by nature, so the folder is not deep.
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub image: Image,
}

impl Rig {
    pub fn new() -> Self {
        let images = std::env::var_os("SPRITES_TEST_IMAGES").expect(
            "SPRITES_TEST_IMAGES names no folder of images; `cargo xtask test` builds one and sets it",
        );
        let image = ImageStore::open(Path::new(&images)).unwrap().latest().unwrap();
        let dir = tempfile::Builder::new().prefix("vmm-").tempdir().unwrap();
        let store = Store::open(&dir.path().join("sprites")).unwrap();
        let rig = Self { dir, store, image };
        rig.store.create(&rig.volume("box"), &rig.image.rootfs(), vmm_disk::DEFAULT_SIZE).unwrap();
        rig
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.dir.path().join("sprites").join(name).join("volume")
    }

    pub fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec {
            kind: Kind::of_this_host(),
            id: format!("sprite-{name}"),
            name: name.into(),
            url: format!("http://{name}.localhost:1/"),
            cpus: 2,
            memory_mb: 512,
            kernel: match Kind::of_this_host() {
                Kind::Kvm => self.image.unpacked().unwrap(),
                Kind::Emulated => self.image.kernel(),
            },
            modules: self.image.modules(),
            volume: self.volume(name),
            memory: self.dir.path().join("sprites").join(name).join("memory"),
            run_dir: self.dir.path().join("run").join(name),
            net: None,
        }
    }

    pub async fn start(&self, name: &str) -> MachineHandle {
        let handle = MachineHandle::spawn(exe(), &self.spec(name)).await.unwrap();
        if let Err(error) = handle.wait_ready(BOOT).await {
            panic!("{error}{}", words(&handle));
        }
        handle
    }
}

/// What a machine has to say about its end.
pub fn words(handle: &MachineHandle) -> String {
    let read = |file: &str| std::fs::read_to_string(handle.run_dir().join(file)).unwrap_or_default();
    let (exit, console, log) = (read("exit.json"), read("in/console.log"), read("machine.log"));
    let pid = read("pid");
    // It waits for another process, and that one for QEMU where there is one.
    let mut pids = vec![pid.trim().to_owned()];
    let mut next = 0;
    while let Some(pid) = pids.get(next).cloned() {
        next += 1;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_ascii_whitespace().map(str::to_owned));
        }
    }
    let threads: Vec<String> = pids
        .iter()
        .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flatten()
        .flatten()
        .filter_map(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.split_ascii_whitespace().collect();
            // Name, state, and time in user and system, in ticks (`man 5 proc`).
            let mut said =
                format!("{} {} {} {}", fields.get(1)?, fields.get(2)?, fields.get(13)?, fields.get(14)?);
            // Where it is in the kernel; for root only.
            for file in ["syscall", "stack"] {
                let text = std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
                said.push_str(&format!(" {}", text.trim().replace('\n', " ")));
            }
            Some(said)
        })
        .collect();
    let dir = handle.run_dir().display();
    format!("\n--- {dir}\n{threads:?}\n--- exit\n{exit}\n--- console\n{console}\n--- log\n{log}")
}

impl Drop for Rig {
    /// A test that failed must not leave its machines running.
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.dir.path().join("run")).into_iter().flatten().flatten() {
            if std::thread::panicking() {
                println!("{}", words(&MachineHandle::at(&entry.path())));
            }
            let pid = std::fs::read_to_string(entry.path().join("pid")).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

pub fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_local-vmm"))
}

/// Runs a shell command inside as root; gives its output and exit code.
pub async fn sh(handle: &MachineHandle, command: &str) -> (String, i32) {
    let run = async {
        let stream = handle.connect().await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let pump = tokio::spawn(connection);
        let quoted: String = command.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = hyper::Request::post(format!("/v1/exec?cmd=sudo&cmd=sh&cmd=-c&cmd={quoted}"))
            .header("host", "agent")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let (mut text, mut code) = (Vec::new(), -1);
        while let Some(frame) = answer.frame().await {
            // The machine may go down under the command.
            let Ok(frame) = frame else { break };
            let Ok(data) = frame.into_data() else { continue };
            match data.first() {
                Some(3) => code = i32::from(data[1]),
                Some(_) => text.extend_from_slice(&data[1..]),
                None => {}
            }
        }
        pump.abort();
        (String::from_utf8_lossy(&text).into_owned(), code)
    };
    tokio::time::timeout(BOOT, run).await.unwrap_or_else(|_| panic!("{command} does not end"))
}
