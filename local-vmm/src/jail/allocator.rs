//! The C library's allocator, told how to behave in processes that live behind walls.

#[cfg(target_env = "gnu")]
use libc::c_int;

/// Most arenas of a machine's process. No thread of a machine lives from allocating.
#[cfg(target_env = "gnu")]
const ARENAS: c_int = 2;
/// From this size on each piece of a gateway is mapped by itself, bytes: the smallest buffer of a connection.
#[cfg(target_env = "gnu")]
const MAPPED: c_int = 8 << 10;

/// Keeps the allocator from opening files, in whichever thread comes first: one to count CPUs when all arenas are taken, unless it is told how many to
/// have; and one to see how memory may be given back when an arena is cut, which it is not below this size. What is large is mapped by itself, and
/// given back all the same. To be called before there are other threads.
pub(super) fn opens_no_files() {
    #[cfg(target_env = "gnu")]
    // SAFETY: calls with two numbers, made before there are other threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, c_int::MAX);
    }
}

/// Has buffers given back to the host with the connections that they were for. Otherwise the allocator keeps them, between what lives on. To be
/// called before there are other threads.
pub(crate) fn gives_buffers_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call with two numbers, made before there are other threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
