//! Frames on the cable, in both directions.

use super::{ETHERNET, HELD, MAX_FRAME, NAME};
use std::io::{self, Read, Write};

/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// Longest frame that is passed over. A longer one means that the stream has lost its beat.
const MAX_PASSED: usize = 128 << 10;

/// See the module. The stream it works on is the same each time.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Frames with their lengths, for the peer, and how much of them it has already.
    out: Vec<u8>,
    gone: usize,
    /// A frame of the peer's with its length, as far as it has come, and perhaps the next one's length.
    coming: Vec<u8>,
    /// Bytes of a frame that is passed over.
    pass: usize,
    /// The peer is gone.
    dead: bool,
}

impl Link {
    /// One without a peer.
    pub(super) fn dead() -> Self {
        Self { dead: true, ..Self::default() }
    }

    /// Whether there is room for another frame to the peer. There always is when it is gone.
    pub(super) fn has_room(&mut self, stream: &mut impl Write) -> bool {
        if self.out.len() + LENGTH + MAX_FRAME > HELD {
            self.flush(stream);
        }
        self.dead || self.out.len() + LENGTH + MAX_FRAME <= HELD
    }

    /// Takes a frame for the peer, as long as there is [room](Self::has_room). `fill` writes all of its `len` bytes.
    pub(super) fn take(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) {
        if self.dead || !(ETHERNET..=MAX_FRAME).contains(&len) {
            return;
        }
        let before = self.out.len();
        self.out.extend((len as u32).to_be_bytes());
        self.out.resize(before + LENGTH + len, 0);
        if fill(&mut self.out[before + LENGTH..]).is_err() {
            self.out.truncate(before);
        }
    }

    /// Hands the peer what it takes; the rest follows when it takes more.
    pub(super) fn flush(&mut self, stream: &mut impl Write) {
        while !self.dead && self.gone < self.out.len() {
            match stream.write(&self.out[self.gone..]) {
                Ok(0) => self.end("it takes nothing more"),
                Ok(written) => self.gone += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end(&error.to_string()),
            }
        }
        self.out.drain(..self.gone);
        self.gone = 0;
    }

    /// The next frame of the peer's, if it has come. Nothing beyond it is read before it is [dropped](Self::drop_frame), but the length of the
    /// one after it.
    pub(super) fn frame(&mut self, stream: &mut impl Read) -> Option<&[u8]> {
        loop {
            let len = self.coming.first_chunk::<LENGTH>().map(|len| u32::from_be_bytes(*len) as usize);
            let wanted = match len {
                _ if self.dead => return None,
                _ if self.pass > 0 => 0,
                None => LENGTH,
                Some(len) if len > MAX_PASSED => {
                    self.end("it sends no frames");
                    return None;
                }
                Some(len) if !(ETHERNET..=MAX_FRAME).contains(&len) => {
                    // Nothing of it has come yet: no more than its length was asked for.
                    self.coming.clear();
                    self.pass = len;
                    continue;
                }
                Some(len) if self.coming.len() >= LENGTH + len => break,
                Some(len) => LENGTH + len + LENGTH,
            };
            if !self.read(stream, wanted) {
                return None;
            }
        }
        let len = self.coming.first_chunk::<LENGTH>().map(|len| u32::from_be_bytes(*len) as usize)?;
        self.coming.get(LENGTH..LENGTH + len)
    }

    /// The frame that was there is done with.
    pub(super) fn drop_frame(&mut self) {
        if let Some(len) = self.coming.first_chunk::<LENGTH>() {
            let len = u32::from_be_bytes(*len) as usize;
            self.coming.drain(..(LENGTH + len).min(self.coming.len()));
        }
    }

    /// Reads until that many bytes are there, or some that are passed over. False when there are none now.
    fn read(&mut self, stream: &mut impl Read, wanted: usize) -> bool {
        let mut waste = [0; 4096];
        let before = self.coming.len();
        let read = if self.pass > 0 {
            let most = self.pass.min(waste.len());
            stream.read(&mut waste[..most])
        } else {
            self.coming.resize(wanted.max(before), 0);
            stream.read(&mut self.coming[before..])
        };
        let count = *read.as_ref().unwrap_or(&0);
        if self.pass > 0 {
            self.pass -= count;
        } else {
            self.coming.truncate(before + count);
        }
        match read {
            Ok(0) => self.end("it has hung up"),
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) => self.end(&error.to_string()),
        }
        false
    }

    /// Bytes that are kept for the peer.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn held(&self) -> usize {
        self.out.len()
    }

    /// Bytes that are kept for the guest.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn waiting(&self) -> usize {
        self.coming.len()
    }

    /// The cable is cut: once, and for good.
    fn end(&mut self, why: &str) {
        if !self.dead {
            tracing::warn!(
                "the {NAME} has lost its network, and all frames with it: {why}; start the sprite again"
            );
        }
        *self = Self::dead();
    }
}
