//! What is written and read inside to measure a disk.

/// The whole of it; `SIZE` and `SMALL` are put in.
const SCRIPT: &str = "
import os, time, mmap
size, small, name = SIZE << 20, SMALL, '/root/bench'
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
print(timed(os.O_WRONLY | os.O_CREAT, 1 << 20, size >> 20, True))
print(timed(os.O_WRONLY, 1 << 20, size >> 20, True))
print(sum(timed(os.O_RDONLY, 1 << 20, size >> 20, False) for i in range(4)) / 4)
print(timed(os.O_RDONLY, 4096, small, False))
";

/// One after the other, past the guest's cache: a file written for the first time, written again, and read, in large and in small pieces.
pub struct Blocks {
    /// Size of the file, MiB.
    pub mib: u32,
    /// Number of small pieces.
    pub small: u32,
}

impl Blocks {
    /// Removes the file, so that the next one is new again; what is freed can be used only when the journal says so.
    pub const CLEAN: [&str; 4] = ["sudo", "sh", "-c", "rm%20/root/bench;sync"];

    /// For Python, inside: tells the seconds of each, one a line.
    pub fn script(&self) -> String {
        SCRIPT.replace("SIZE", &self.mib.to_string()).replace("SMALL", &self.small.to_string())
    }

    /// What the seconds are those of, and its megabytes.
    pub fn parts(&self) -> [(&'static str, f64); 4] {
        let large = f64::from(self.mib) * 1.048_576;
        [
            ("write of new blocks, 1 MiB pieces", large),
            ("write again, 1 MiB pieces", large),
            ("read, 1 MiB pieces", large),
            ("read, 4 KiB pieces", f64::from(self.small) * 0.004_096),
        ]
    }
}
