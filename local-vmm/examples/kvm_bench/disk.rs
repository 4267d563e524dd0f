//! The disk, from inside, against QEMU's own on a raw file.

use crate::measure::{Blocks, figure, numbers, take_turns};
use crate::rig::{Bench, Machine};

/// Small enough for the lab.
const BLOCKS: Blocks = Blocks { mib: 64, small: 500 };
/// Rounds of the whole.
const ROUNDS: usize = 3;
/// Small pieces of each measurement at random places.
const COUNT: u32 = 600;
/// Threads that have a request each.
const MANY: u32 = 4;

/// Small pieces at random places of the file that [`Blocks`] left: the seconds of reads and writes, one at a time, then several.
const RANDOM: &str = "
import os, time, mmap, random, threading
size, total, name = SIZE << 20, COUNT, '/root/bench'
def timed(workers, write):
    ready, go = [threading.Barrier(workers + 1, timeout=60) for i in range(2)]
    done = []
    def work(seed):
        pick = random.Random(seed)
        places = [pick.randrange(size >> 12) << 12 for i in range(total // workers)]
        page = mmap.mmap(-1, 4096); page.write(os.urandom(4096))
        view = memoryview(page)
        fd = os.open(name, (os.O_WRONLY if write else os.O_RDONLY) | os.O_DIRECT)
        ready.wait(); go.wait()
        for place in places:
            done.append(os.pwrite(fd, view, place) if write else os.preadv(fd, [view], place))
        os.close(fd)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads: thread.start()
    ready.wait()
    start = time.monotonic()
    go.wait()
    for thread in threads: thread.join()
    seconds = time.monotonic() - start
    assert done == [4096] * total
    return seconds
for workers in (1, MANY):
    print(timed(workers, False))
    print(timed(workers, True))
";

pub fn measure(bench: &Bench) {
    bench.with_pair(|pair| {
        let random = RANDOM
            .replace("SIZE", &BLOCKS.mib.to_string())
            .replace("COUNT", &COUNT.to_string())
            .replace("MANY", &MANY.to_string());
        let scripts = [BLOCKS.script(), random];
        let both = |machine: &dyn Machine| -> Vec<f64> {
            nix::unistd::sync();
            scripts
                .iter()
                .flat_map(|script| {
                    let told = machine.run(&["sudo", "python3", "-"], script);
                    let times = numbers(&told);
                    assert_eq!(times.len(), 4, "each part tells its time: {told}");
                    times
                })
                .collect()
        };
        let clean = || {
            for machine in [&pair.ours as &dyn Machine, &pair.plain] {
                machine.run(&Blocks::CLEAN, "");
            }
        };
        let times = take_turns(ROUNDS, || both(&pair.ours), || both(&pair.plain), clean);
        let (rows, random) = times.split_at(BLOCKS.parts().len());
        for ((name, megabytes), (ours, theirs)) in BLOCKS.parts().into_iter().zip(rows) {
            tell(name, megabytes / ours, "MB/s", theirs / ours);
        }
        let names = [1, MANY].map(|threads| ["read", "write"].map(|what| (what, threads)));
        for ((what, threads), (ours, theirs)) in names.into_iter().flatten().zip(random) {
            let what = format!("{what} 4 KiB at random, {threads} threads");
            tell(&what, f64::from(COUNT) / ours, "1/s", theirs / ours);
        }
    });
}

fn tell(name: &str, value: f64, unit: &str, ratio: f64) {
    let what = format!("disk: {name}, against a raw file");
    figure(&what, value, unit, Some(ratio), Some(">= 0.9"));
}
