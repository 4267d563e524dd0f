//! The balloon, virtio device 5 (VIRTIO 1.2, section 5.5): a guest gives memory that it does not use back to the host.
//!
//! Two ways lead there. A guest *reports* pages that are free at the moment and takes them again when it likes, without a word. It *inflates* when
//! the host asks for pages; nobody asks today, so the target is none, and a driver that inflates all the same is served.
//!
//! What is in such a page afterwards is left open by the standard as long as nothing is agreed on poison, which is not offered: Linux offers no
//! reports where it counts on the contents of free pages. In a memory that came from a file a page given back shows the file's contents again,
//! elsewhere zeros. Both are the guest's own.

mod give;
mod serve;
#[cfg(test)]
mod tests;

pub use serve::{inflate, report, take_back};

/// Its number in the standard.
pub const KIND: u32 = 5;
/// What the log calls it.
pub const NAME: &str = "balloon";
/// A guest short of memory may take pages out of the balloon (VIRTIO 1.2, section 5.5.3).
const DEFLATE_ON_OOM: u64 = 1 << 2;
/// A guest may report free pages.
const REPORTING: u64 = 1 << 5;
/// Feature bits offered.
pub const FEATURES: u64 = DEFLATE_ON_OOM | REPORTING;
/// Number of its queues. The standard numbers those for statistics and hints even where they are not offered, so that reports come in the
/// fifth; Linux and QEMU leave them out, so that reports come in the third. Both are taken, and the fourth with them.
pub const QUEUES: usize = 5;

/// Bytes of a page of the balloon, whatever the guest's pages are.
const PAGE: u64 = 4096;
/// Most pages of one chain that are given back when inflating; what is more stays. Linux sends 256.
const MAX_PAGES: usize = 1024;
/// Most ranges of one chain that are given back when reporting. Linux sends 32.
const MAX_RANGES: usize = 64;
/// Longest range that is given back, bytes. Linux sends 4 MiB.
const MAX_RANGE: u64 = 16 << 20;

/// The configuration space: pages wanted, which is none, and pages that the driver gave, which only the driver knows and nobody asks for.
pub fn config() -> [u8; 8] {
    [0; 8]
}
