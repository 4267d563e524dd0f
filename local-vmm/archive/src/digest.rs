//! Sums.

use crate::{Error, Result};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmm_disk::BLOCK;

/// Bytes that are read at once.
const STEP: u64 = 1 << 20;

/// SHA-256, taken piece by piece.
pub(crate) struct Sum(Context);

impl Sum {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn hex(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Sum of an image's root file system: SHA-256, in hexadecimal digits, over each block that is not all zeros, as its number (8 bytes, little-endian) and its
/// bytes, the last one filled up with zeros. So it does not depend on which zeros are holes.
///
/// # Errors
/// When the file cannot be read.
pub fn image_digest(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(Error::Read)?;
    let mut parts = Vec::new();
    vmm_disk::extents(&file, |part| parts.push(part)).map_err(Error::Read)?;
    let length = file.metadata().map_err(Error::Read)?.len();
    let (mut sum, mut buffer) = (Sum::new(), vec![0; STEP as usize]);
    let mut next = 0;
    for part in parts {
        // Holes may be told by other units than blocks.
        let mut at = (part.start / BLOCK * BLOCK).max(next);
        let end = part.end.next_multiple_of(BLOCK);
        next = end.max(next);
        while at < end {
            let bytes = &mut buffer[..(end - at).min(STEP) as usize];
            let there = bytes.len().min(length.saturating_sub(at) as usize);
            bytes[there..].fill(0);
            file.read_exact_at(&mut bytes[..there], at).map_err(Error::Read)?;
            for (place, block) in bytes.chunks(BLOCK as usize).enumerate() {
                if block != [0; BLOCK as usize] {
                    sum.add(&(at / BLOCK + place as u64).to_le_bytes());
                    sum.add(block);
                }
            }
            at += bytes.len() as u64;
        }
    }
    Ok(sum.hex())
}
