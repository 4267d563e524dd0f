//! A sprite against plain QEMU: the same kernel, initramfs, CPU and sockets, but QEMU's own disk on a raw file. Prints one JSON object a
//! figure; `cargo xtask bench` makes a table of them.

use local_vmm::devices::vsock::Vsock;
use local_vmm::emulated::{Disk, Emulated};
use local_vmm::{MachineHandle, MachineSpec, initramfs};
use serde_json::json;
use snapshots_tests::harness::Home;
use sprites_api::sprite::CreateSprite;
use sprites_backend::client::Client;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vmm_image::{Image, ImageStore};

/// Longest any step may take.
const LONG: Duration = Duration::from_secs(120);
/// Rounds of each measurement; their median counts.
const ROUNDS: usize = 5;
/// Rounds where each is quick and the noise is as large as the figure.
const PAUSES: usize = 15;
/// Memory of a sprite that asks for none, MiB, as the server gives it.
const MEMORY: u32 = 1024;

/// What is written and read, inside: the seconds of each, one a line.
const BLOCKS: &str = "
import os, time, mmap
size, name = 256 << 20, '/root/bench'
page = mmap.mmap(-1, 1 << 20); page.write(os.urandom(1 << 20))
def timed(flags, piece, count, write):
    fd = os.open(name, flags | os.O_DIRECT, 0o600)
    if flags & os.O_CREAT: os.posix_fallocate(fd, 0, size); os.fsync(fd)
    view = memoryview(page)[:piece]
    start = time.monotonic()
    for i in range(count):
        os.pwrite(fd, view, i * piece) if write else os.preadv(fd, [view], i * piece)
    os.fsync(fd)
    os.close(fd)
    return time.monotonic() - start
print(timed(os.O_WRONLY | os.O_CREAT, 1 << 20, 256, True))
print(timed(os.O_WRONLY, 1 << 20, 256, True))
print(sum(timed(os.O_RDONLY, 1 << 20, 256, False) for i in range(4)) / 4)
print(timed(os.O_RDONLY, 4096, 4000, False))
";
const BLOCK_NAMES: [(&str, f64); 4] = [
    ("write of new blocks, 1 MiB pieces", 256.0 * 1.048_576),
    ("write again, 1 MiB pieces", 256.0 * 1.048_576),
    ("read, 1 MiB pieces", 256.0 * 1.048_576),
    ("read, 4 KiB pieces", 4000.0 * 0.004_096),
];

/// `true` many times by the agent's own socket, inside: the median in seconds.
const INSIDE: &str = "
import socket, time
times = []
for i in range(40):
    start = time.monotonic()
    s = socket.socket(socket.AF_UNIX); s.connect('/.sprite/api.sock')
    s.sendall(b'POST /v1/exec?cmd=true HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')
    while s.recv(4096): pass
    times.append(time.monotonic() - start)
print(sorted(times)[20])
";

fn main() {
    let home = Home::new();
    home.serve();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let images = ImageStore::open(home.paths().images()).expect("the images open");
    let image = images.latest().expect("there is an image");
    let bench = Bench { client: home.client(), home, runtime, image };
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let parts = [
        ("first", Bench::first_exec as fn(&Bench)),
        ("exec", Bench::exec_true),
        ("blocks", Bench::blocks),
        ("pauses", Bench::pauses),
    ];
    for (name, part) in parts.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        if name != "first" {
            bench.make(name);
        }
        part(&bench);
    }
}

fn figure(name: &str, value: f64, unit: &str, ratio: Option<f64>, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Runs a command over a connection to the agent or the server; its output, without the frame bytes.
fn exec(stream: UnixStream, path: &str, command: &[&str], input: &str) -> io::Result<String> {
    let mut stream = stream;
    stream.set_read_timeout(Some(LONG))?;
    let words: String = command.iter().map(|word| format!("cmd={word}&")).collect();
    write!(
        stream,
        "POST {path}?{words}stdin=true HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{input}",
        input.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text: String =
        String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if text.starts_with("HTTP/1.1 200") { Ok(text) } else { Err(io::Error::other(text)) }
}

/// Numbers that stand alone on a line.
fn numbers(text: &str) -> Vec<f64> {
    text.lines().filter(|line| line.contains('.')).filter_map(|line| line.trim().parse().ok()).collect()
}

/// A machine without any of our disk.
struct Plain {
    dir: tempfile::TempDir,
    monitor: Emulated,
    sockets: Arc<Vsock>,
}

impl Plain {
    /// Prepares everything, then starts the machine; gives the time from there to its first answered command.
    fn start(image: &Image) -> (Self, Duration) {
        let dir = tempfile::Builder::new().prefix("plain-").tempdir().expect("a folder can be made");
        let file = |name: &str| dir.path().join(name);
        let disk: PathBuf = file("disk.raw");
        let copied = Command::new("cp").arg("--sparse=always").arg(image.rootfs()).arg(&disk).status();
        assert!(copied.is_ok_and(|status| status.success()), "the image can be copied");
        let grown = std::fs::OpenOptions::new().write(true).open(&disk);
        grown.and_then(|file| file.set_len(vmm_disk::DEFAULT_SIZE)).expect("the disk can be grown");
        let archive = file("initramfs");
        initramfs::write(&image.modules(), &archive).expect("the initramfs can be written");
        let spec = MachineSpec {
            kind: local_vmm::Kind::Emulated,
            id: "plain".into(),
            name: "plain".into(),
            url: "http://plain.localhost:1/".into(),
            cpus: std::thread::available_parallelism().map_or(2, |count| count.get().min(8) as u32),
            memory_mb: MEMORY,
            kernel: image.kernel(),
            modules: image.modules(),
            memory: std::env::temp_dir().join("no-memory"),
            volume: dir.path().to_owned(),
            run_dir: dir.path().to_owned(),
            net: None,
        };
        let start = Instant::now();
        let listener = UnixListener::bind(file("agent.sock")).expect("a socket can be made");
        let sockets = Vsock::start(listener).expect("the socket device starts");
        let monitor =
            Emulated::start(&spec, &archive, Disk::Raw(disk), &sockets, |_| {}).expect("QEMU starts");
        let plain = Self { dir, monitor, sockets };
        loop {
            match plain.exec(&["true"], "") {
                Ok(_) => return (plain, start.elapsed()),
                Err(_) if start.elapsed() < LONG => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("plain QEMU does not come up: {error}"),
            }
        }
    }

    fn exec(&self, command: &[&str], input: &str) -> io::Result<String> {
        exec(self.sockets.connect()?, "/v1/exec", command, input)
    }

    fn stop(self) {
        self.monitor.kill();
        self.monitor.wait(Some(LONG));
        drop(self.dir);
    }
}

struct Bench {
    client: Client,
    home: Home,
    runtime: tokio::runtime::Runtime,
    image: Image,
}

impl Bench {
    fn make(&self, name: &str) {
        let wish = CreateSprite { name: name.into(), ..CreateSprite::default() };
        self.runtime.block_on(self.client.create(&wish)).expect("a sprite can be made");
    }

    fn exec(&self, name: &str, command: &[&str], input: &str) -> String {
        let stream = UnixStream::connect(self.home.paths().server_socket()).expect("the server answers");
        exec(stream, &format!("/v1/sprites/{name}/exec"), command, input).expect("the command runs")
    }

    /// From the wish for a new sprite to its first output, against plain QEMU from its start.
    fn first_exec(&self) {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let name = format!("first-{round}");
            let start = Instant::now();
            self.make(&name);
            self.exec(&name, &["true"], "");
            ours.push(millis(start.elapsed()));
            self.runtime.block_on(self.client.delete(&name)).expect("it can be destroyed");
            let (machine, time) = Plain::start(&self.image);
            machine.stop();
            plain.push(millis(time));
        }
        let (ours, plain) = (median(ours), median(plain));
        figure("plain QEMU: start to first command", plain, "ms", None, None);
        figure(
            "sprite: create to first command, against it",
            ours,
            "ms",
            Some(ours / plain),
            Some("<= 1.15"),
        );
    }

    fn machine(&self, name: &str) -> MachineHandle {
        let found = self.runtime.block_on(async {
            let sprite = self.client.get(name).await.expect("it is there");
            MachineHandle::adopt(&self.home.paths().machine(&sprite.id)).await
        });
        found.expect("its machine answers").expect("it runs")
    }

    /// Checkpoints right after 1 GB was written, and with nothing to write.
    fn pauses(&self) {
        let (mut journals, mut pauses, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        let (mut still, mut short) = (Vec::new(), Vec::new());
        for _ in 0..PAUSES {
            self.exec("pauses", &["dd", "if=/dev/zero", "of=big", "bs=1M", "count=1024", "status=none"], "");
            let machine = self.machine("pauses");
            let [full, idle] = [(), ()].map(|()| {
                let done =
                    self.runtime.block_on(machine.checkpoint(None, true, false)).expect("it can be made");
                assert!(done.froze, "the file system was not at rest");
                done
            });
            journals.push(full.journal_us as f64 / 1e3);
            pauses.push(full.pause_us as f64 / 1e3);
            calls.push(full.call_us as f64 / 1e3);
            still.push(idle.pause_us as f64 / 1e3);
            short.push(idle.call_us as f64 / 1e3);
        }
        let after = "checkpoint after 1 GB of writes";
        figure(&format!("{after}: journal emptied"), median(journals), "ms", None, None);
        figure(&format!("{after}: then writers held"), median(pauses), "ms", None, Some("<= 5"));
        figure(&format!("{after}: whole call"), median(calls), "ms", None, None);
        figure("checkpoint with nothing to write: writers held", median(still), "ms", None, Some("<= 5"));
        figure("checkpoint with nothing to write: whole call", median(short), "ms", None, Some("<= 20"));
    }

    /// The disk inside, against QEMU's own on a raw file.
    fn blocks(&self) {
        let (plain, _) = Plain::start(&self.image);
        let mut speeds = vec![(Vec::new(), Vec::new()); BLOCK_NAMES.len()];
        // The first round, in which the guest's file system begins to use its groups of blocks, is for warming up. Who goes first takes turns,
        // and nobody has to share the host's disk with what was written before.
        for round in 0..=2 * ROUNDS {
            let script = ["sudo", "python3", "-"];
            let ours = || {
                nix::unistd::sync();
                numbers(&self.exec("blocks", &script, BLOCKS))
            };
            let theirs = || {
                nix::unistd::sync();
                numbers(&plain.exec(&script, BLOCKS).expect("the script runs"))
            };
            let (ours, theirs) = if round % 2 == 0 {
                let ours = ours();
                (ours, theirs())
            } else {
                let theirs = theirs();
                (ours(), theirs)
            };
            assert_eq!((ours.len(), theirs.len()), (BLOCK_NAMES.len(), BLOCK_NAMES.len()));
            for (index, (_, megabytes)) in BLOCK_NAMES.iter().enumerate().filter(|_| round > 0) {
                speeds[index].0.push(megabytes / ours[index]);
                speeds[index].1.push(megabytes / theirs[index]);
            }
            // What is freed can be used again only when the journal says so.
            let clean = ["sudo", "sh", "-c", "rm%20/root/bench;sync"];
            self.exec("blocks", &clean, "");
            plain.exec(&clean, "").expect("the file can be removed");
        }
        plain.stop();
        for ((name, _), (ours, theirs)) in BLOCK_NAMES.iter().zip(speeds) {
            let (ours, theirs) = (median(ours), median(theirs));
            let what = format!("disk inside: {name}, against a raw file");
            figure(&what, ours, "MB/s", Some(ours / theirs), Some(">= 0.9"));
        }
    }

    /// The smallest command over the API, against the same inside.
    fn exec_true(&self) {
        let mut times = Vec::new();
        for _ in 0..40 {
            let start = Instant::now();
            self.exec("exec", &["true"], "");
            times.push(millis(start.elapsed()));
        }
        let ours = median(times);
        let inside = numbers(&self.exec("exec", &["python3", "-"], INSIDE))[0] * 1e3;
        figure("exec of true inside, by the agent's socket", inside, "ms", None, None);
        figure("exec of true over the API, against it", ours, "ms", Some(ours / inside), None);
    }
}
