//! The random device's queue at work.

use super::{MOST, NAME};
use crate::devices::ring::{self, Ring, Served};
use crate::{Chain, MemoryNow, random};
use std::io::Write;

/// Fills what the driver put into its queue.
pub fn serve(ring: &impl Ring, memory: &MemoryNow) {
    ring::forgive(NAME, ring::drain(ring, memory, || true, |chain| Served::Used(fill(memory, chain))));
}

/// Fills the buffers of one request; gives the number of bytes.
fn fill(memory: &MemoryNow, chain: Chain) -> u32 {
    let Ok(mut writer) = chain.writer(&**memory) else { return 0 };
    let mut bytes = vec![0; writer.available_bytes().min(MOST)];
    let filled = random::fill(&mut bytes);
    if writer.write_all(&bytes[..filled]).is_err() {
        return 0;
    }
    filled as u32
}
