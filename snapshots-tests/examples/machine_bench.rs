//! A sprite against plain QEMU: the same kernel, initramfs, CPU and sockets, but QEMU's own disk on a raw file. Prints one JSON object a
//! figure; `cargo xtask bench` makes a table of them.

#[path = "../../local-vmm/examples/measure/mod.rs"]
mod measure;

use local_vmm::MachineHandle;
use local_vmm::emulated::Accel;
use measure::{Blocks, Raw, exec, figure, median, millis, numbers, take_turns};
use snapshots_tests::harness::Home;
use sprites_api::sprite::CreateSprite;
use sprites_backend::client::Client;
use std::os::unix::net::UnixStream;
use std::time::Instant;
use vmm_image::{Image, ImageStore};

/// Rounds of each measurement; their median counts.
const ROUNDS: usize = 5;
/// Rounds where each is quick and the noise is as large as the figure.
const PAUSES: usize = 15;
/// Memory of a sprite that asks for none, MiB, as the server gives it.
const MEMORY: u32 = 1024;

/// What is written and read, inside.
const BLOCKS: Blocks = Blocks { mib: 256, small: 4000 };

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

    /// What plain QEMU starts from.
    fn raw(&self) -> Raw {
        let cpus = std::thread::available_parallelism().map_or(2, |count| count.get().min(8) as u32);
        Raw::new(&self.image, Accel::Software, cpus, MEMORY)
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
            let raw = self.raw();
            let machine = raw.start();
            plain.push(millis(machine.first(|| machine.exec(&["true"], ""))));
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
        let raw = self.raw();
        let plain = raw.start();
        plain.first(|| plain.exec(&["true"], ""));
        let (python, script) = (["sudo", "python3", "-"], BLOCKS.script());
        // Nobody has to share the host's disk with what was written before.
        let ours = || {
            nix::unistd::sync();
            numbers(&self.exec("blocks", &python, &script))
        };
        let theirs = || {
            nix::unistd::sync();
            numbers(&plain.exec(&python, &script).expect("the script runs"))
        };
        let clean = || {
            self.exec("blocks", &Blocks::CLEAN, "");
            plain.exec(&Blocks::CLEAN, "").expect("the file can be removed");
        };
        let times = take_turns(2 * ROUNDS, ours, theirs, clean);
        assert_eq!(times.len(), BLOCKS.parts().len(), "each part tells its time");
        for ((name, megabytes), (ours, theirs)) in BLOCKS.parts().into_iter().zip(times) {
            let what = format!("disk inside: {name}, against a raw file");
            figure(&what, megabytes / ours, "MB/s", Some(theirs / ours), Some(">= 0.9"));
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
