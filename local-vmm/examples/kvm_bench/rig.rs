//! Machines of ours and of QEMU's, started and driven alike.

use crate::measure::plain::Plain;
use crate::measure::{LONG, Raw, exec};
use local_vmm::emulated::Accel;
use local_vmm::{Kind, MachineHandle, MachineSpec};
use std::cell::{Cell, OnceCell, RefCell};
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use vmm_disk::Store;
use vmm_image::{Image, ImageStore};

/// Size of every machine.
pub const CPUS: u32 = 1;
pub const MEMORY_MB: u32 = 512;
/// How long a machine may take to go down in order.
const STOP: Duration = Duration::from_secs(30);

/// What all machines are made of.
///
/// In the order in which they can go.
pub struct Bench {
    pair: RefCell<Option<Pair>>,
    raw: OnceCell<Raw>,
    pub image: Image,
    pub store: Store,
    /// Milliseconds of a boot of ours to the first command, once that is known.
    pub boot: OnceCell<f64>,
    exe: PathBuf,
    dir: tempfile::TempDir,
    names: Cell<u32>,
    pub runtime: Runtime,
}

/// One of each, both up.
pub struct Pair {
    pub ours: Ours,
    pub plain: Plain,
}

impl Bench {
    pub fn new(exe: PathBuf) -> Self {
        let images = std::env::var_os("SPRITES_TEST_IMAGES").expect("SPRITES_TEST_IMAGES names the images");
        let image = ImageStore::open(PathBuf::from(images)).and_then(|images| images.latest());
        let dir = tempfile::Builder::new().prefix("kvm-").tempdir().expect("a folder can be made");
        Self {
            pair: RefCell::new(None),
            raw: OnceCell::new(),
            image: image.expect("there is an image"),
            store: Store::open(&dir.path().join("sprites")).expect("the disks can be opened"),
            boot: OnceCell::new(),
            exe,
            dir,
            names: Cell::new(0),
            runtime: Runtime::new().expect("a runtime can be made"),
        }
    }

    /// A name that no machine has had: a part that is tried again must not find what it left.
    pub fn name(&self, kind: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{kind}-{}", self.names.get())
    }

    /// Folder of a machine's disk and memory.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join("sprites").join(name)
    }

    pub fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec {
            kind: Kind::Kvm,
            id: format!("sprite-{name}"),
            name: name.into(),
            url: format!("http://{name}.localhost:1/"),
            cpus: CPUS,
            memory_mb: MEMORY_MB,
            kernel: self.image.unpacked().expect("the kernel can be unpacked"),
            modules: self.image.modules(),
            volume: self.place(name).join("volume"),
            memory: self.place(name).join("memory"),
            run_dir: self.dir.path().join("run").join(name),
            net: None,
        }
    }

    /// A disk for a machine of that kind; gives its name.
    pub fn create(&self, kind: &str) -> String {
        let name = self.name(kind);
        let volume = self.spec(&name).volume;
        self.store.create(&volume, &self.image.rootfs(), vmm_disk::DEFAULT_SIZE).expect("a disk can be made");
        name
    }

    /// Starts the machine of a specification, and waits until its agent has answered.
    pub fn start(&self, spec: &MachineSpec) -> Ours {
        let started = Instant::now();
        let handle = self.runtime.block_on(MachineHandle::spawn(&self.exe, spec)).unwrap_or_else(|error| {
            panic!("{error}{}", words(&spec.run_dir));
        });
        let ours = Ours { handle, runtime: self.runtime.handle().clone(), started };
        if let Err(error) = self.runtime.block_on(ours.handle.wait_ready(LONG)) {
            panic!("{error}{}", words(&spec.run_dir));
        }
        ours
    }

    /// What QEMU's machines start from. They all have the same disk, because a copy of the image takes long.
    pub fn raw(&self) -> &Raw {
        self.raw.get_or_init(|| Raw::new(&self.image, Accel::Kvm, CPUS, MEMORY_MB))
    }

    /// Does something with one of each, which are booted only once: they stay unless it fails.
    pub fn with_pair(&self, work: impl FnOnce(&Pair)) {
        let pair = self.pair.take().unwrap_or_else(|| {
            let ours = self.start(&self.spec(&self.create("pair")));
            let plain = self.raw().start();
            plain.first(|| plain.health());
            Pair { ours, plain }
        });
        work(&pair);
        self.pair.replace(Some(pair));
    }
}

/// A running machine of ours. It ends with this.
pub struct Ours {
    pub handle: MachineHandle,
    runtime: tokio::runtime::Handle,
    started: Instant,
}

impl Ours {
    /// Time since its process was started.
    pub fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes it down in order.
    pub fn stop(self) {
        self.runtime.block_on(self.handle.stop(STOP)).expect("it can be stopped");
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", words(self.handle.run_dir()));
        }
        self.handle.kill();
        let ended = async { tokio::time::timeout(STOP, self.handle.wait_exit()).await };
        if self.runtime.block_on(ended).is_err() {
            eprintln!("the machine in {} does not end", self.handle.run_dir().display());
        }
    }
}

/// What a machine has to say about its end.
fn words(run_dir: &Path) -> String {
    let read = |file: &str| fs::read_to_string(run_dir.join(file)).unwrap_or_default();
    let (exit, console, log) = (read("exit.json"), read("in/console.log"), read("machine.log"));
    format!("\n--- exit\n{exit}\n--- console\n{console}\n--- log\n{log}")
}

/// What is measured alike on both.
pub trait Machine {
    /// A connection to the agent inside.
    fn agent(&self) -> io::Result<UnixStream>;

    /// Runs a command; gives what it says.
    fn run(&self, command: &[&str], input: &str) -> String {
        let answer = self.agent().and_then(|stream| exec(stream, "/v1/exec", command, input));
        answer.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
    }
}

impl Machine for Ours {
    fn agent(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.handle.run_dir().join("in/agent.sock"))
    }
}

impl Machine for Plain {
    fn agent(&self) -> io::Result<UnixStream> {
        self.connect()
    }
}

impl Plain {
    /// Asks the agent whether it is there.
    pub fn health(&self) -> io::Result<()> {
        crate::http::Kept::new(self.connect()?)?.health()
    }

    /// Takes it down in order.
    pub fn stop(self) {
        let asked = self.connect().and_then(|stream| crate::http::Kept::new(stream)?.shutdown());
        asked.expect("it can be told to stop");
        assert!(self.monitor.wait(Some(STOP)).is_some(), "plain QEMU goes down");
    }
}
