//! The guest's memory: fresh, kept in a file, and back from there.
//!
//! A memory that comes from a file is mapped privately: pages are read when they are touched, several machines share what they do not change,
//! and what a guest changes stays in its process. So the kernel knows which pages differ from the file, and only those are written when
//! the memory is kept again (`Documentation/admin-guide/mm/pagemap.rst` of Linux).

use super::kept::{Target, refused};
use super::{KvmError, layout};
use crate::Memory;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap};

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages looked at at once.
const BATCH: usize = 4096;
/// Bits of a page's word: it is in memory, it is in swap, it is the file's.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// Memory of that many MiB, given to the virtual machine. Pages cost something once the guest has touched them.
pub(super) fn fresh(vm: &VmFd, mib: u32) -> Result<Memory, KvmError> {
    make(vm, mib, None)
}

/// Memory of that many MiB with the contents of a file, which must not change as long as the memory lives, except by [`keep`].
pub(super) fn from_file(vm: &VmFd, mib: u32, path: &Path) -> Result<(Memory, File), KvmError> {
    let file = File::open(path).map_err(|error| refused(path, error))?;
    let size = file.metadata().map_err(|error| refused(path, error))?.len();
    if size != u64::from(mib) << 20 {
        return Err(refused(path, format!("it has {size} bytes, and the machine's memory {mib} MiB")));
    }
    read_ahead(&file);
    Ok((make(vm, mib, Some(&file))?, file))
}

fn make(vm: &VmFd, mib: u32, file: Option<&File>) -> Result<Memory, KvmError> {
    let mib = u64::from(mib);
    let failed = |why: String| KvmError::Memory(mib, why);
    let mut regions = Vec::new();
    let mut offset = 0;
    for (at, len) in layout::ranges(mib << 20) {
        let size = usize::try_from(len).map_err(|error| failed(error.to_string()))?;
        let mut region =
            MmapRegionBuilder::new(size).with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE).with_mmap_flags(
                libc::MAP_PRIVATE
                    | libc::MAP_NORESERVE
                    | if file.is_some() { 0 } else { libc::MAP_ANONYMOUS },
            );
        if let Some(file) = file {
            let file = file.try_clone().map_err(|error| failed(error.to_string()))?;
            region = region.with_file_offset(FileOffset::new(file, offset));
        }
        let region = region.build().map_err(|error| failed(error.to_string()))?;
        let region =
            GuestRegionMmap::new(region, GuestAddress(at)).ok_or_else(|| failed("it is too much".into()))?;
        regions.push(region);
        offset += len;
    }
    let memory = Memory::from_regions(regions).map_err(|error| failed(error.to_string()))?;
    give(vm, &memory).map_err(|error| failed(io::Error::from(error).to_string()))?;
    Ok(memory)
}

/// Tells KVM where the guest's memory lies.
fn give(vm: &VmFd, memory: &Memory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped for as long as `memory` or a clone of it lives, and the machine keeps one until its end.
        unsafe { vm.set_user_memory_region(region) }?;
    }
    Ok(())
}

/// Writes the memory of a machine that stands still into a folder: all that is not zero, or what has changed when `base` is the file that it was
/// mapped from. Gives the number of bytes written.
///
/// `pages` is this process's own page map.
pub(super) fn keep(memory: &Memory, base: Option<&File>, pages: &File, dir: &Path) -> io::Result<u64> {
    let target = Target::of(base, dir)?;
    let (file, again) = (target.file(), target.has_the_rest());
    let total: u64 = memory.iter().map(GuestMemoryRegion::len).sum();
    file.set_len(total)?;
    let (mut offset, mut written) = (0u64, 0u64);
    let mut words = vec![0u8; BATCH * 8];
    for region in memory.iter() {
        let begin = region.as_ptr() as u64;
        let count = region.len() / PAGE as u64;
        let mut page = 0;
        while page < count {
            let batch = (count - page).min(BATCH as u64);
            let words = &mut words[..batch as usize * 8];
            pages.read_exact_at(words, (begin / PAGE as u64 + page) * 8)?;
            for run in runs(words, again) {
                let from = page + run.start as u64;
                let len = run.len() * PAGE;
                let place = begin + from * PAGE as u64;
                // SAFETY: these pages lie within the region, which is mapped as long as `memory` lives. Nobody writes there now: the CPUs
                // stand at the gate and the devices are at rest.
                let bytes = unsafe { std::slice::from_raw_parts(place as *const u8, len) };
                written += put(file, bytes, offset + from * PAGE as u64, again)?;
            }
            page += batch;
        }
        offset += region.len();
    }
    target.finish(dir)?;
    Ok(written)
}

/// Runs of pages that must be written: those that were touched, or with `changed` those that are no longer the file's.
fn runs(words: &[u8], changed: bool) -> Vec<std::ops::Range<usize>> {
    let mut out: Vec<std::ops::Range<usize>> = Vec::new();
    for (page, word) in words.chunks_exact(8).enumerate() {
        let word = word.iter().rev().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let there = word & (PRESENT | SWAPPED) != 0;
        if !there || changed && word & OF_FILE != 0 {
            continue;
        }
        match out.last_mut() {
            Some(run) if run.end == page => run.end += 1,
            _ => out.push(page..page + 1),
        }
    }
    out
}

/// Writes pages. In a new file zeros need no place; in one that is there they overwrite what was.
fn put(file: &File, bytes: &[u8], at: u64, again: bool) -> io::Result<u64> {
    if again {
        file.write_all_at(bytes, at)?;
        return Ok(bytes.len() as u64);
    }
    let mut written = 0;
    let zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut begin = 0;
    while begin < bytes.len() {
        let kind = zero(&bytes[begin..begin + PAGE]);
        let mut end = begin + PAGE;
        while end < bytes.len() && zero(&bytes[end..end + PAGE]) == kind {
            end += PAGE;
        }
        if !kind {
            file.write_all_at(&bytes[begin..end], at + begin as u64)?;
            written += (end - begin) as u64;
        }
        begin = end;
    }
    Ok(written)
}

/// Tells the kernel that a file's pages are wanted soon.
fn read_ahead(file: &File) {
    // SAFETY: a call without pointers. It is advice: that it fails changes nothing.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_WILLNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_pages() {
        let words: Vec<u8> = [PRESENT, PRESENT, 0, SWAPPED, PRESENT | OF_FILE, PRESENT]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(runs(&words, false), [0..2, 3..6]);
        assert_eq!(runs(&words, true), [0..2, 3..4, 5..6]);
    }

    #[test]
    fn zeros_take_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        let file = File::create_new(&path).unwrap();
        let bytes = [vec![0; PAGE], vec![7; 2 * PAGE], vec![0; 3 * PAGE]].concat();
        assert_eq!(put(&file, &bytes, 0, false).unwrap(), 2 * PAGE as u64);
        file.set_len(bytes.len() as u64).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // In place zeros count.
        assert_eq!(put(&file, &vec![0; 2 * PAGE], PAGE as u64, true).unwrap(), 2 * PAGE as u64);
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
    }
}
