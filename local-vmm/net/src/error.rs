//! What ends a gateway.

use std::io;

/// Why the network of a sprite ended before one of its two sides closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream of frames has lost its beat, and there is no way back into it.
    #[error(
        "the network card sent a frame of {0} bytes, so what it sends are no frames; start the sprite again"
    )]
    NotFrames(usize),
    /// The cable.
    #[error("the cable to the network card failed; start the sprite again")]
    Cable(#[source] io::Error),
    /// The line on which the owner speaks.
    #[error("the line to the owner of the network failed")]
    Control(#[source] io::Error),
    /// The owner sent more than any request has, without an end of line.
    #[error("a request to the network is longer than {0} bytes; a policy has at most 10,000 rules")]
    LongLine(usize),
    /// What it was started with.
    #[error("the network cannot be started: {0}")]
    Settings(String),
    /// No randomness, without which nobody could be told from who only pretends.
    #[error("the host gives no random numbers")]
    Random(#[source] io::Error),
}

/// Of this crate.
pub type Result<T> = std::result::Result<T, Error>;
