//! A distribution's kernel, unpacked.
//!
//! Distributions ship a bzImage: a small program that unpacks the kernel proper inside the machine. Doing that once on the host instead of in
//! each start saves the guest's time. Source: the x86 boot protocol, `Documentation/arch/x86/boot.rst` of Linux.

use super::KvmError;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of a kernel, packed or not.
const MAX: u64 = 512 << 20;
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
/// How lz4's old format begins, which the kernel uses.
const LZ4: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// Most bytes of a block in it.
const LZ4_BLOCK: usize = 8 << 20;

/// The kernel proper, an ELF file, of a kernel as it is or packed.
pub(super) fn load(path: &Path) -> Result<Vec<u8>, KvmError> {
    let failed = |why: String| KvmError::Kernel(path.display().to_string(), why);
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX {
        return Err(failed(format!("it has {size} bytes, which no kernel has")));
    }
    let file = fs::read(path).map_err(|error| failed(error.to_string()))?;
    if file.starts_with(ELF) {
        return Ok(file);
    }
    unpack(&file).map_err(|why| failed(why.to_owned()))
}

/// Takes the kernel out of a bzImage.
fn unpack(image: &[u8]) -> Result<Vec<u8>, &'static str> {
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
        lz4(&packed[LZ4.len()..])?
    } else if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let reader = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|_| "its packing is damaged")?;
        all(reader)?
    } else if packed.starts_with(&[0x1f, 0x8b]) {
        all(flate2::read::GzDecoder::new(packed))?
    } else {
        return Err("it is packed in a way this program does not know (lz4, zstd and gzip are known)");
    };
    if kernel.starts_with(ELF) { Ok(kernel) } else { Err("what is packed in it is no kernel") }
}

fn all(reader: impl Read) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let read = reader.take(MAX + 1).read_to_end(&mut out).map_err(|_: io::Error| "its packing is damaged")?;
    if read as u64 > MAX { Err("it is far too large when unpacked") } else { Ok(out) }
}

/// Blocks of lz4, each after its length. The last length may be the whole's, which the kernel's build appends.
fn lz4(mut packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some((length, rest)) = packed.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((this, rest)) = rest.split_at_checked(length) else { break };
        let size =
            lz4_flex::block::decompress_into(this, &mut block).map_err(|_| "its packing is damaged")?;
        out.extend_from_slice(&block[..size]);
        if out.len() as u64 > MAX {
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
        assert_eq!(unpack(&bzimage(&lz4_packed(&kernel))).unwrap(), kernel);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, &kernel).unwrap();
        assert_eq!(unpack(&bzimage(&gzip.finish().unwrap())).unwrap(), kernel);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let whole = bzimage(&lz4_packed(&[ELF, &[7; 5000]].concat()));
        for cut in [0, 600, whole.len() - 40] {
            assert!(unpack(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(unpack(&bzimage(&lz4_packed(b"MZ no kernel at all"))).is_err());
        assert!(unpack(&bzimage(b"something else")).unwrap_err().contains("lz4"));
    }

    proptest! {
        #[test]
        fn anything_is_taken_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0x260..4096)) {
            bytes[MARK..MARK + 4].copy_from_slice(b"HdrS");
            let _ = unpack(&bytes);
        }
    }
}
