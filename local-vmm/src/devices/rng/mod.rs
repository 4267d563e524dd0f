//! Randomness, virtio device 4 (VIRTIO 1.2, section 5.4). It has no feature bits of its own and no configuration space.

mod serve;
#[cfg(test)]
mod tests;

pub use serve::serve;

/// Its number in the standard.
pub const KIND: u32 = 4;
/// What the log calls it.
pub const NAME: &str = "random device";
/// Number of its queues.
pub const QUEUES: usize = 1;
/// Most bytes for one request: descriptors may overlap, and must not turn a small request into much work.
const MOST: usize = 64 << 10;
