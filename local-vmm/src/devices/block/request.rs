//! One request: header, data, status (VIRTIO 1.2, section 5.2.6).

use super::data::Data;
use super::{Block, ID, MAX_DATA, MAX_RANGE, MAX_RANGES, SECTOR};
use crate::{Chain, Memory};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use vm_memory::{Bytes, Permissions};

/// Bytes of a request's header.
const HEADER: usize = 16;
/// Bytes of a range in a discard or write-zeroes request.
const RANGE: usize = 16;
/// The range's data may be given back.
const UNMAP: u32 = 1;

/// Does one request; gives the bytes written into its chain. None when the chain has no room for a status.
pub(super) fn handle(block: &Block, memory: &Memory, chain: Chain) -> Option<u32> {
    let readable = Data::of(memory, chain.clone().readable(), Permissions::Read, HEADER + MAX_DATA)?;
    let writable = Data::of(memory, chain.writable(), Permissions::Write, MAX_DATA + 1)?;
    let room = writable.len().checked_sub(1)?;
    let (into, status) = writable.split(room)?;
    let (code, written) = match perform(block, readable, &into) {
        Ok(written) => (VIRTIO_BLK_S_OK, written),
        Err(Refusal::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        Err(Refusal::Malformed) => (VIRTIO_BLK_S_IOERR, 0),
        Err(Refusal::Disk(error)) => {
            tracing::error!("the disk fails a request of the guest: {error}");
            (VIRTIO_BLK_S_IOERR, 0)
        }
    };
    status.write(&[code as u8]);
    u32::try_from(written + 1).ok()
}

/// Whether the chain's header asks for a flush. One whose header is in pieces is none, which costs time and nothing else.
pub(super) fn is_flush(memory: &Memory, chain: &Chain) -> bool {
    let first = chain.clone().next();
    first.is_some_and(|header| {
        memory.read_obj::<u32>(header.addr()).is_ok_and(|kind| u32::from_le(kind) == VIRTIO_BLK_T_FLUSH)
    })
}

/// Why a request is not done.
enum Refusal {
    Unsupported,
    Malformed,
    Disk(vmm_disk::Error),
}

impl From<vmm_disk::Error> for Refusal {
    fn from(error: vmm_disk::Error) -> Self {
        Self::Disk(error)
    }
}

/// Gives the bytes written.
fn perform(block: &Block, readable: Data<'_>, into: &Data<'_>) -> Result<usize, Refusal> {
    let Block { volume, bell, id, .. } = block;
    let (first, from) = readable.split(HEADER).ok_or(Refusal::Malformed)?;
    let mut header = [0; HEADER];
    first.read(&mut header);
    let kind = u32_at(&header, 0);
    let sector = u64_at(&header, 8);
    let offset = sector.checked_mul(SECTOR).ok_or(Refusal::Malformed)?;
    match kind {
        VIRTIO_BLK_T_IN => {
            whole_sectors(into)?;
            volume.read_vectored_at(&mut into.for_reading(), offset)?;
            Ok(into.len())
        }
        VIRTIO_BLK_T_OUT => {
            whole_sectors(&from)?;
            volume.write_vectored_at(&from.for_writing(), offset)?;
            Ok(0)
        }
        VIRTIO_BLK_T_FLUSH => {
            volume.flush_writes()?;
            Ok(0)
        }
        VIRTIO_BLK_T_GET_ID => {
            into.write(&bell.ring().unwrap_or(*id));
            Ok(into.len().min(ID))
        }
        VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => {
            let count = from.len() / RANGE;
            if count == 0 || count > MAX_RANGES as usize || !from.len().is_multiple_of(RANGE) {
                return Err(Refusal::Malformed);
            }
            let mut ranges = vec![0; from.len()];
            from.read(&mut ranges);
            for range in ranges.chunks_exact(RANGE) {
                let (from, sectors, flags) = (u64_at(range, 0), u32_at(range, 8), u32_at(range, 12));
                let discard = kind == VIRTIO_BLK_T_DISCARD;
                if flags & !UNMAP != 0 || discard && flags != 0 {
                    return Err(Refusal::Unsupported);
                }
                let from =
                    from.checked_mul(SECTOR).filter(|_| sectors <= MAX_RANGE).ok_or(Refusal::Malformed)?;
                let len = u64::from(sectors) * SECTOR;
                if discard { volume.discard(from, len)? } else { volume.write_zeroes(from, len)? }
            }
            Ok(0)
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// Data comes in whole sectors, and not too many of them.
fn whole_sectors(data: &Data<'_>) -> Result<(), Refusal> {
    let whole = data.len() <= MAX_DATA && data.len().is_multiple_of(SECTOR as usize);
    if whole { Ok(()) } else { Err(Refusal::Malformed) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}
