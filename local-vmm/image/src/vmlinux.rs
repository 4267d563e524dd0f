//! A distribution's kernel, unpacked.
//!
//! Distributions ship a bzImage: a small program that unpacks the kernel proper inside the machine. Doing that once on the host instead of in
//! each start saves the guest's time, and keeping what came out (`vmlinux`, beside `vmlinuz`) saves the host's. Source: the x86 boot
//! protocol, `Documentation/arch/x86/boot.rst` of Linux.

use crate::build::KERNEL;
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// File name of the unpacked kernel; made from [`KERNEL`] whenever it is missing.
const UNPACKED: &str = "vmlinux";
/// Most bytes of a kernel, packed or not.
pub const MAX_KERNEL: u64 = 512 << 20;
/// Offset of the number of sectors before the packed part.
const SETUP_SECTORS: usize = 0x1f1;
/// Offset of the mark of a bzImage.
const MARK: usize = 0x202;
/// Offset of the place of the packed kernel, from the end of the set-up sectors.
const PAYLOAD_OFFSET: usize = 0x248;
/// Offset of its length.
const PAYLOAD_LENGTH: usize = 0x24c;
/// How an ELF file begins.
const ELF: &[u8] = b"\x7fELF";
/// Bytes of an ELF file's header, and of each of its program headers.
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Most program headers; Linux has five.
const MAX_HEADERS: u16 = 64;
/// How lz4's old format begins, which the kernel uses.
const LZ4: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// Most bytes of a block in it.
const LZ4_BLOCK: usize = 8 << 20;

/// The kernel in a folder that has `vmlinuz`, for a monitor that takes it unpacked: `vmlinux` where it is whole, else the packed one, which
/// then has to be unpacked with each start.
pub fn boot_kernel(dir: &Path) -> PathBuf {
    let unpacked = dir.join(UNPACKED);
    if is_whole(&unpacked) { unpacked } else { dir.join(KERNEL) }
}

/// Unpacks the kernel of a folder into `vmlinux`, unless that is there and whole. Gives its place.
pub(crate) fn unpacked(dir: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (packed, made) = (dir.join(KERNEL), dir.join(UNPACKED));
    if is_whole(&made) {
        return Ok(made);
    }
    let size = fs::metadata(&packed).map_err(Error::io("read", &packed))?.len();
    if size > MAX_KERNEL {
        return Err(Error::Packing { path: packed, why: "no kernel is so large" });
    }
    let bytes = fs::read(&packed).map_err(Error::io("read", &packed))?;
    let kernel = unpack(&bytes, MAX_KERNEL).map_err(|why| Error::Packing { path: packed, why })?;
    // Others may do the same now; each has a file of its own until it is whole.
    let unfinished =
        dir.join(format!(".{UNPACKED}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let put = || {
        let mut file = File::create_new(&unfinished)?;
        file.write_all(&kernel)?;
        file.sync_all()?;
        fs::rename(&unfinished, &made)
    };
    if let Err(error) = put() {
        // It may not be there.
        let _ = fs::remove_file(&unfinished);
        return Err(Error::io("write", &made)(error));
    }
    if is_whole(&made) {
        Ok(made)
    } else {
        Err(Error::Packing { path: dir.join(KERNEL), why: "what is packed in it is cut off" })
    }
}

/// Whether a file is an ELF file with all that its program headers promise. It is renamed into place when it is whole; this finds what was cut
/// off or overwritten since, without reading it all.
fn is_whole(path: &Path) -> bool {
    let look = || {
        let file = File::open(path).ok()?;
        let size = file.metadata().ok().filter(|facts| facts.is_file())?.len();
        let mut header = [0; ELF_HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        let (place, count) = (number(&header, 32, 8), number(&header, 56, 2));
        if !header.starts_with(ELF) || count == 0 || count > u64::from(MAX_HEADERS) {
            return None;
        }
        let mut headers = vec![0; count as usize * PROGRAM_HEADER];
        file.read_exact_at(&mut headers, place).ok()?;
        let inside =
            |one: &[u8]| number(one, 8, 8).checked_add(number(one, 32, 8)).is_some_and(|end| end <= size);
        Some(size <= MAX_KERNEL && headers.chunks_exact(PROGRAM_HEADER).all(inside))
    };
    look().unwrap_or(false)
}

/// A number of so many bytes, little-endian.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// The kernel proper, an ELF file of at most `most` bytes, of a bzImage. A kernel that is one already is given back as it is.
pub fn unpack(image: &[u8], most: u64) -> std::result::Result<Vec<u8>, &'static str> {
    if image.starts_with(ELF) {
        return Ok(image.to_vec());
    }
    let word = |at: usize| {
        let bytes = image.get(at..at + 4).ok_or("it is cut off")?;
        Ok::<usize, &'static str>(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    };
    if image.get(MARK..MARK + 4) != Some(b"HdrS".as_slice()) {
        return Err("it is no Linux kernel for x86-64");
    }
    let sectors = match image[SETUP_SECTORS] {
        // The protocol's word for four.
        0 => 4,
        some => usize::from(some),
    };
    let begin = (sectors + 1) * 512 + word(PAYLOAD_OFFSET)?;
    let packed = image.get(begin..begin + word(PAYLOAD_LENGTH)?).ok_or("it is cut off")?;
    let kernel = if packed.starts_with(LZ4) {
        lz4(&packed[LZ4.len()..], most)?
    } else if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let reader = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|_| "its packing is damaged")?;
        all(reader, most)?
    } else if packed.starts_with(&[0x1f, 0x8b]) {
        all(flate2::read::GzDecoder::new(packed), most)?
    } else {
        return Err("it is packed in a way this program does not know (lz4, zstd and gzip are known)");
    };
    if kernel.starts_with(ELF) { Ok(kernel) } else { Err("what is packed in it is no kernel") }
}

fn all(reader: impl Read, most: u64) -> std::result::Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let read =
        reader.take(most + 1).read_to_end(&mut out).map_err(|_: io::Error| "its packing is damaged")?;
    if read as u64 > most { Err("it is far too large when unpacked") } else { Ok(out) }
}

/// Blocks of lz4, each after its length. The last length may be the whole's, which the kernel's build appends.
fn lz4(mut packed: &[u8], most: u64) -> std::result::Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some((length, rest)) = packed.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((this, rest)) = rest.split_at_checked(length) else { break };
        let size =
            lz4_flex::block::decompress_into(this, &mut block).map_err(|_| "its packing is damaged")?;
        out.extend_from_slice(&block[..size]);
        if out.len() as u64 > most {
            return Err("it is far too large when unpacked");
        }
        packed = rest;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 5 * 512];
        image[SETUP_SECTORS] = 4;
        image[MARK..MARK + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn lz4_packed(kernel: &[u8]) -> Vec<u8> {
        let block = lz4_flex::block::compress(kernel);
        [LZ4, &(block.len() as u32).to_le_bytes(), &block, &(kernel.len() as u32).to_le_bytes()].concat()
    }

    #[test]
    fn packed_kernels_are_unpacked() {
        let kernel = [ELF, &[7; 5000]].concat();
        assert_eq!(unpack(&bzimage(&lz4_packed(&kernel)), MAX_KERNEL).unwrap(), kernel);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, &kernel).unwrap();
        assert_eq!(unpack(&bzimage(&gzip.finish().unwrap()), MAX_KERNEL).unwrap(), kernel);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let whole = bzimage(&lz4_packed(&[ELF, &[7; 5000]].concat()));
        for cut in [0, 600, whole.len() - 40] {
            assert!(unpack(&whole[..cut], MAX_KERNEL).is_err(), "{cut}");
        }
        assert!(unpack(&bzimage(&lz4_packed(b"MZ no kernel at all")), MAX_KERNEL).is_err());
        assert!(unpack(&bzimage(b"something else"), MAX_KERNEL).unwrap_err().contains("lz4"));
    }

    /// An ELF file with one segment.
    fn kernel() -> Vec<u8> {
        let mut kernel = vec![7; 9000];
        kernel[..ELF_HEADER].fill(0);
        kernel[..4].copy_from_slice(ELF);
        kernel[32..40].copy_from_slice(&64u64.to_le_bytes());
        kernel[56..58].copy_from_slice(&1u16.to_le_bytes());
        kernel[64 + 8..64 + 16].copy_from_slice(&4096u64.to_le_bytes());
        kernel[64 + 32..64 + 40].copy_from_slice(&4904u64.to_le_bytes());
        kernel
    }

    #[test]
    fn it_is_unpacked_once_and_again_when_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, made) = (dir.path(), dir.path().join(UNPACKED));
        fs::write(dir.join(KERNEL), bzimage(&lz4_packed(&kernel()))).unwrap();
        assert_eq!(boot_kernel(dir), dir.join(KERNEL));
        assert_eq!(unpacked(dir).unwrap(), made);
        assert_eq!((fs::read(&made).unwrap(), boot_kernel(dir)), (kernel(), made.clone()));
        let first = fs::metadata(&made).unwrap().modified().unwrap();
        unpacked(dir).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().modified().unwrap(), first, "it is unpacked twice");
        let mut wild = kernel();
        wild[32..40].fill(0xff);
        for damaged in [&kernel()[..8999], &kernel()[..70], b"", b"MZ", &[0; 9000], &wild] {
            fs::write(&made, damaged).unwrap();
            assert_eq!(boot_kernel(dir), dir.join(KERNEL));
            unpacked(dir).unwrap();
            assert_eq!(fs::read(&made).unwrap(), kernel());
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), 2, "something was left behind");
    }

    #[test]
    fn what_cannot_be_unpacked_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(matches!(unpacked(dir), Err(Error::Io { .. })));
        for bad in [b"data".to_vec(), bzimage(b"")] {
            fs::write(dir.join(KERNEL), bad).unwrap();
            let error = unpacked(dir).unwrap_err();
            assert!(matches!(error, Error::Packing { .. }), "{error}");
            assert_eq!((boot_kernel(dir), fs::read_dir(dir).unwrap().count()), (dir.join(KERNEL), 1));
        }
    }

    proptest! {
        #[test]
        fn anything_is_taken_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0x260..4096)) {
            bytes[MARK..MARK + 4].copy_from_slice(b"HdrS");
            let _ = unpack(&bytes, MAX_KERNEL);
        }
    }
}
