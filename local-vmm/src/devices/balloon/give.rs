//! Giving a piece of the guest's memory back to the host.

use super::{MAX_RANGE, PAGE};
use crate::Memory;
use std::io;
use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileSlice};

/// Gives whole pages back. False when they are none of the guest's, not whole, too many, or the host does not take them: then nothing happens.
pub(super) fn back(memory: &Memory, address: GuestAddress, len: u64) -> bool {
    if len == 0 || len > MAX_RANGE || !address.0.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
        return false;
    }
    // All of it within one piece of memory.
    let Ok(slice) = memory.get_slice(address, len as usize) else { return false };
    drop_pages(&slice).inspect_err(|error| tracing::debug!("memory stays with the guest: {error}")).is_ok()
}

/// Lets go of the pages of a slice. They are the file's again, or zeros, as soon as somebody looks.
///
/// A device may be at work on the very same pages. A thread of ours that reads or writes there finds them mapped at any moment, with other contents
/// at worst. The kernel holds the pages that it copies to or from, whether or not they are still the guest's when it is done: what a disk read puts
/// into such a page may be lost. Both spoil only what the guest reads, and only when it reports pages that it uses.
fn drop_pages(slice: &VolatileSlice<'_>) -> io::Result<()> {
    let pointer = slice.ptr_guard_mut();
    // SAFETY: the slice is a part of the guest's memory, which is mapped as long as the slice lives, and this call changes neither the mapping nor
    // its rights. Of the contents nothing is assumed anywhere: the guest may change them at any moment, so there are no references to them
    // but those that are handed to the kernel or copied from once. A slice that does not begin with a page is refused by the kernel, and its end
    // is a page's end: callers give whole pages.
    let done = unsafe { libc::madvise(pointer.as_ptr().cast(), slice.len(), libc::MADV_DONTNEED) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
