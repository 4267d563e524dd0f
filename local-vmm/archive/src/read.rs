//! Reading an export, which anybody may have made.

use crate::digest::Sum;
use crate::entry::{self, MANIFEST, SUMS};
use crate::{Error, MAX_BYTES, Manifest, Result};
use std::io::{BufReader, Read};
use vmm_disk::{BLOCK, Incoming};
use zstd::stream::read::Decoder;

/// Largest window of the stream, as a power of two: what the slowest usual level of zstd takes, 8 MiB.
const WINDOW: u32 = 23;
/// Bytes that are unpacked at once.
const STEP: u64 = 1 << 20;
/// Most zeros that may follow the archive's end: tools write archives in pieces of 10 KiB.
const TAIL: u64 = 64 << 10;

/// See the module.
pub struct Reader<R: Read> {
    input: Decoder<'static, BufReader<R>>,
    manifest: Manifest,
    sums: String,
}

impl<R: Read> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.manifest.name)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the manifest and holds its numbers against each other and against the limits. Whether its names, texts and settings make sense is
    /// for the caller to judge.
    ///
    /// # Errors
    /// When it is no export, a newer one, or contradicts itself.
    pub fn open(input: R) -> Result<Self> {
        let mut input = Decoder::new(input).map_err(Error::Read)?;
        input.window_log_max(WINDOW).map_err(Error::Read)?;
        // Until its first name is right it may be anything at all.
        let size = entry::expect(&mut input, MANIFEST).map_err(|error| match error {
            Error::Damaged(why) => Error::Foreign(why),
            other => other,
        })?;
        if size > MAX_BYTES as u64 {
            return Err(Error::TooMuch(format!("its manifest has {size} bytes")));
        }
        let mut text = Vec::new();
        (&mut input).take(size).read_to_end(&mut text).map_err(Error::read)?;
        if (text.len() as u64) < size {
            return Err(Error::Cut);
        }
        entry::skip(&mut input, size)?;
        let mut sum = Sum::new();
        sum.add(&text);
        let sums = format!("{}  {MANIFEST}\n", sum.hex());
        Ok(Self { input, manifest: Manifest::parse(&text)?, sums })
    }

    /// What it is of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Unpacks all blocks into a disk that is being made, and compares all sums. The caller puts the disk in its place when this is done. `goes_on` is asked
    /// now and then: little that came may be much to unpack, when nobody waits for it any more.
    ///
    /// # Errors
    /// When the export ends too early or is damaged, the disk does not take it, or it does not go on.
    pub fn unpack(mut self, disk: &mut Incoming, goes_on: impl Fn() -> bool) -> Result<()> {
        let manifest = std::mem::take(&mut self.manifest.steps);
        let mut buffer = vec![0; STEP as usize];
        for (place, step) in manifest.iter().enumerate() {
            if !goes_on() {
                return Err(Error::Cut);
            }
            let (name, size, mut sum) = (step.file(place), step.bytes(), Sum::new());
            if entry::expect(&mut self.input, &name)? != size {
                return Err(Error::damaged(format!("{name} has not the size that was told before")));
            }
            disk.begin(step.state, step.checkpoint())?;
            // First the marks: where both speak, data wins.
            for (first, count) in &step.zero {
                disk.zero(*first..first + count)?;
            }
            for (first, count) in &step.data {
                let (mut at, end) = (first * BLOCK, (first + count) * BLOCK);
                while at < end {
                    if !goes_on() {
                        return Err(Error::Cut);
                    }
                    let piece = &mut buffer[..(end - at).min(STEP) as usize];
                    self.input.read_exact(piece).map_err(Error::read)?;
                    sum.add(piece);
                    disk.write(piece, at)?;
                    at += piece.len() as u64;
                }
            }
            entry::skip(&mut self.input, size)?;
            self.sums.push_str(&format!("{}  {name}\n", sum.hex()));
        }
        self.compare()?;
        self.end()?;
        if goes_on() { Ok(()) } else { Err(Error::Cut) }
    }

    fn compare(&mut self) -> Result<()> {
        let wrong = || Error::damaged("its sums do not fit what is in it");
        let size = entry::expect(&mut self.input, SUMS)?;
        if size != self.sums.len() as u64 {
            return Err(wrong());
        }
        let mut told = vec![0; self.sums.len()];
        self.input.read_exact(&mut told).map_err(Error::read)?;
        entry::skip(&mut self.input, size)?;
        if told == self.sums.as_bytes() { Ok(()) } else { Err(wrong()) }
    }

    /// Nothing but zeros follow, and the stream's own sum is right, which it tells at its end.
    fn end(&mut self) -> Result<()> {
        let mut tail = Vec::new();
        (&mut self.input).take(TAIL + 1).read_to_end(&mut tail).map_err(Error::read)?;
        if (tail.len() as u64) < 2 * entry::UNIT {
            return Err(Error::Cut);
        }
        if tail.len() as u64 > TAIL || tail.iter().any(|byte| *byte != 0) {
            return Err(Error::damaged("something follows its end"));
        }
        Ok(())
    }
}
