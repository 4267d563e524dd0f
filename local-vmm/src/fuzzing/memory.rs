//! The memory that guests of cases have: a private mapping of a file, as that of a machine which goes on, between pages that are nobody's.

use super::guest::MEMORY;
use crate::Memory;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryAtomic, GuestRegionMmap};

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Bytes on either side that are not the guest's.
const AROUND: usize = 16 * PAGE;
/// What stands there.
const MARK: u8 = 0x77;

thread_local! {
    /// Mapping memory anew for each case would take most of the time.
    static MAPPED: RefCell<Option<Mapped>> = const { RefCell::new(None) };
}

struct Mapped {
    memory: GuestMemoryAtomic<Memory>,
    /// Where the pages before the memory begin.
    begin: *const u8,
}

/// The memory of all cases in this thread.
pub(super) fn mapped() -> GuestMemoryAtomic<Memory> {
    MAPPED.with_borrow_mut(|mapped| mapped.get_or_insert_with(map).memory.clone())
}

/// What a page holds in the file. Each of them is another, and the first is zeros.
pub(super) fn of_file(page: usize) -> [u8; PAGE] {
    [page as u8; PAGE]
}

/// That the pages around the memory are as they were.
pub(super) fn check_around() {
    MAPPED.with_borrow(|mapped| {
        let Some(mapped) = mapped else { return };
        for skip in [0, AROUND + MEMORY] {
            // SAFETY: the pages are mapped as long as the thread lives, and nobody is to write there.
            let bytes = unsafe { std::slice::from_raw_parts(mapped.begin.add(skip), AROUND) };
            assert!(bytes == [MARK; AROUND], "memory that is not the guest's was touched");
        }
    });
}

fn map() -> Mapped {
    let mut file = tempfile::tempfile_in(super::devices::scratch()).expect("a file can be made");
    for page in 0..MEMORY / PAGE {
        file.write_all(&of_file(page)).expect("a file can be written");
    }
    let begin = pages(std::ptr::null_mut(), 2 * AROUND + MEMORY, None);
    for skip in [0, AROUND + MEMORY] {
        // SAFETY: so many bytes are mapped there, and nobody else knows of them.
        unsafe { begin.add(skip).write_bytes(MARK, AROUND) };
    }
    // SAFETY: the place lies within what was mapped above.
    let place = pages(unsafe { begin.add(AROUND) }, MEMORY, Some(&file));
    let region = MmapRegionBuilder::new(MEMORY)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE);
    // SAFETY: the mapping is of that size and is never taken away.
    let region = unsafe { region.with_raw_mmap_pointer(place) }.build().expect("it is whole pages");
    let region = GuestRegionMmap::new(region, GuestAddress(0)).expect("it is small");
    let memory = Memory::from_regions(vec![region]).expect("it is one region");
    Mapped { memory: GuestMemoryAtomic::new(memory), begin }
}

/// Maps zeros anywhere, or a file's pages in the place of others.
fn pages(place: *mut u8, len: usize, file: Option<&File>) -> *mut u8 {
    let (more, fd) = file.map_or((libc::MAP_ANONYMOUS, -1), |file| (libc::MAP_FIXED, file.as_raw_fd()));
    let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | more;
    // SAFETY: what is replaced is a part of a mapping that was made for this, and nothing refers to it.
    let mapped = unsafe { libc::mmap(place.cast(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    assert_ne!(mapped, libc::MAP_FAILED, "memory is to be had");
    mapped.cast()
}
