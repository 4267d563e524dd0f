//! A kernel, put into the guest's memory.
//!
//! It comes unpacked, as an image keeps it (`vmm_image`), and goes from its file into the guest's memory without a stop in ours. One that is
//! packed, of an older image, is unpacked first.

use super::KvmError;
use super::layout::HIGH_BEGIN;
use crate::Memory;
use linux_loader::loader::elf::Elf;
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use vm_memory::{GuestAddress, ReadVolatile};

/// How an unpacked kernel begins.
const ELF: [u8; 4] = *b"\x7fELF";

/// Puts the kernel of a file into its place.
pub(super) fn load(memory: &Memory, path: &Path) -> Result<KernelLoaderResult, KvmError> {
    let failed = |why: String| KvmError::Kernel(path.display().to_string(), why);
    let mut file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let size = file.metadata().map_err(|error| failed(error.to_string()))?.len();
    if size > vmm_image::MAX_KERNEL {
        return Err(failed(format!("it has {size} bytes, which no kernel has")));
    }
    let mut begin = [0; ELF.len()];
    file.read_exact(&mut begin).map_err(|error| failed(error.to_string()))?;
    if begin == ELF {
        return put(memory, &mut file).map_err(failed);
    }
    file.rewind().map_err(|error| failed(error.to_string()))?;
    let mut packed = Vec::new();
    file.take(size).read_to_end(&mut packed).map_err(|error| failed(error.to_string()))?;
    put_bytes(memory, &packed, vmm_image::MAX_KERNEL).map_err(failed)
}

/// Puts a kernel that is in our memory, packed or not, into its place. Unpacked it may have at most `most` bytes.
pub(super) fn put_bytes(memory: &Memory, kernel: &[u8], most: u64) -> Result<KernelLoaderResult, String> {
    put(memory, &mut Cursor::new(vmm_image::unpack(kernel, most)?))
}

/// Puts an ELF file's segments where they belong.
fn put(
    memory: &Memory,
    kernel: &mut (impl Read + ReadVolatile + Seek),
) -> Result<KernelLoaderResult, String> {
    Elf::load(memory, None, kernel, Some(GuestAddress(HIGH_BEGIN))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use vm_memory::Bytes;

    /// An ELF file with one segment of that many bytes at 2 MiB, its entry.
    fn kernel(size: u64) -> Vec<u8> {
        let mut elf = vec![0; 120];
        let mut put = |at: usize, value: u64, len: usize| {
            elf[at..at + len].copy_from_slice(&value.to_le_bytes()[..len])
        };
        // Class, byte order, entry, place, size and number of program headers; then the one: loadable, place, address, sizes.
        for (at, value, len) in [
            (4, 2, 1),
            (5, 1, 1),
            (24, 2 << 20, 8),
            (32, 64, 8),
            (54, 56, 2),
            (56, 1, 2),
            (64, 1, 4),
            (72, 120, 8),
        ] {
            put(at, value, len);
        }
        for (at, value) in [(88, 2 << 20), (96, size), (104, size)] {
            put(at, value, 8);
        }
        elf[..4].copy_from_slice(&ELF);
        elf.extend((0..size).map(|at| at as u8));
        elf
    }

    #[test]
    fn a_kernel_goes_from_its_file_into_memory() {
        let memory = Memory::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinux");
        fs::write(&path, kernel(5000)).unwrap();
        let loaded = load(&memory, &path).unwrap();
        assert_eq!((loaded.kernel_load.0, loaded.kernel_end), (2 << 20, (2 << 20) + 5000));
        let mut found = vec![0; 5000];
        memory.read_slice(&mut found, loaded.kernel_load).unwrap();
        assert_eq!(found, &kernel(5000)[120..]);
        // Cut off, larger than the guest, no kernel, nothing: each ends in a sentence.
        for bad in [&kernel(5000)[..5000], &kernel(3 << 20), b"not a kernel at all", b"", &ELF] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(load(&memory, &path), Err(KvmError::Kernel(..))));
        }
    }

    /// The distribution's own, where the tests have an image.
    #[test]
    fn packed_and_unpacked_are_the_same_kernel() {
        let Some(images) = std::env::var_os("SPRITES_TEST_IMAGES") else {
            println!("skipped: SPRITES_TEST_IMAGES names no folder of images");
            return;
        };
        let image = vmm_image::ImageStore::open(Path::new(&images)).unwrap().latest().unwrap();
        let unpacked = image.unpacked().unwrap();
        assert_eq!(vmm_image::boot_kernel(image.dir()), unpacked);
        let loaded = [image.kernel(), unpacked].map(|path| {
            let memory = Memory::from_ranges(&[(GuestAddress(0), 256 << 20)]).unwrap();
            let begun = std::time::Instant::now();
            let loaded = load(&memory, &path).unwrap();
            println!("{}: {} ms", path.display(), begun.elapsed().as_millis());
            assert!(loaded.kernel_end < 256 << 20);
            let mut bytes = vec![0; (loaded.kernel_end - HIGH_BEGIN) as usize];
            memory.read_slice(&mut bytes, GuestAddress(HIGH_BEGIN)).unwrap();
            (loaded.kernel_load, loaded.kernel_end, bytes)
        });
        assert!(loaded[0] == loaded[1]);
    }
}
