//! What a file system lies on.

use std::io;
use vmm_disk::CheckpointReader;

/// A disk that changes no more while it is read.
pub trait Device {
    /// Bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// When that is not all within the disk, or the host cannot read it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Who holds the byte at `offset`, and for how many bytes from there on, of `most`. What the same holder holds at the same offset is the same; what
    /// nobody holds is zeros.
    fn holder(&self, offset: u64, most: u64) -> (Option<u128>, u64);

    /// Whether all that was read is of one state. Asked when an answer is complete.
    ///
    /// # Errors
    /// When the host cannot tell.
    fn is_still(&self) -> io::Result<bool>;
}

impl Device for CheckpointReader {
    fn size(&self) -> u64 {
        self.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Ok(self.read_at(buffer, offset)?)
    }

    fn holder(&self, offset: u64, most: u64) -> (Option<u128>, u64) {
        let (layer, bytes) = self.holder(offset, most);
        (layer.map(|id| id.as_u128()), bytes)
    }

    fn is_still(&self) -> io::Result<bool> {
        Ok(self.is_still()?)
    }
}

/// Whether `length` bytes are the same on both disks without looking at them.
pub(crate) fn is_same(one: &impl Device, at: u64, other: &impl Device, there: u64, length: u64) -> bool {
    let mut done = 0;
    while done < length {
        let ((held, run), (held_there, run_there)) =
            (one.holder(at + done, length - done), other.holder(there + done, length - done));
        let same = held == held_there && (held.is_none() || at == there);
        if !same || run == 0 || run_there == 0 {
            return false;
        }
        done += run.min(run_there);
    }
    true
}

/// Bytes of the disks that different holders hold.
pub(crate) fn differing(one: &impl Device, other: &impl Device) -> u64 {
    let size = one.size().min(other.size());
    let (mut at, mut bytes) = (0, one.size().abs_diff(other.size()));
    while at < size {
        let ((held, run), (held_there, run_there)) = (one.holder(at, size - at), other.holder(at, size - at));
        let step = run.min(run_there).clamp(1, size - at);
        if held != held_there {
            bytes += step;
        }
        at += step;
    }
    bytes
}
