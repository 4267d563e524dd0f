//! One request: header, data, status (VIRTIO 1.2, section 5.2.6).

use super::data::Data;
use super::{Block, ID, MAX_DATA, MAX_RANGE, MAX_RANGES, SECTOR};
use crate::{Chain, Memory};
use std::io::{self, Read, Write};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use virtio_queue::{Reader, Writer};
use vm_memory::Permissions;

/// Bytes of a request's header.
const HEADER: usize = 16;
/// Bytes of a range in a discard or write-zeroes request.
const RANGE: usize = 16;
/// The range's data may be given back.
const UNMAP: u32 = 1;

/// Does one request. None when the chain has no room for a status.
pub(super) fn handle(block: &Block, memory: &Memory, chain: Chain) -> Option<u32> {
    // Both check the whole chain: loops, lengths, places outside memory.
    let mut reader = chain.clone().reader(memory).ok()?;
    let mut writer = chain.clone().writer(memory).ok()?;
    let room = writer.available_bytes().checked_sub(1)?;
    let mut status = writer.split_at(room).ok()?;
    let (code, written) = match perform(block, memory, &chain, &mut reader, &mut writer) {
        Ok(written) => (VIRTIO_BLK_S_OK, written),
        Err(Refusal::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        Err(Refusal::Malformed) => (VIRTIO_BLK_S_IOERR, 0),
        Err(Refusal::Disk(error)) => {
            tracing::error!("the disk fails a request of the guest: {error}");
            (VIRTIO_BLK_S_IOERR, 0)
        }
    };
    status.write_all(&[code as u8]).ok()?;
    u32::try_from(written + 1).ok()
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

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Malformed
    }
}

/// Gives the bytes written into the chain.
fn perform(
    block: &Block,
    memory: &Memory,
    chain: &Chain,
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
) -> Result<usize, Refusal> {
    let Block { volume, bell, id } = block;
    let mut header = [0; HEADER];
    reader.read_exact(&mut header)?;
    let kind = u32_at(&header, 0);
    let sector = u64_at(&header, 8);
    let offset = sector.checked_mul(SECTOR).ok_or(Refusal::Malformed)?;
    match kind {
        VIRTIO_BLK_T_IN => {
            let len = whole_sectors(writer.available_bytes())?;
            let data = Data::of(memory, chain.clone().writable(), Permissions::Write, 0..len)
                .ok_or(Refusal::Malformed)?;
            volume.read_vectored_at(&mut data.for_reading(), offset)?;
            Ok(len)
        }
        VIRTIO_BLK_T_OUT => {
            let len = whole_sectors(reader.available_bytes())?;
            let data = Data::of(memory, chain.clone().readable(), Permissions::Read, HEADER..HEADER + len)
                .ok_or(Refusal::Malformed)?;
            volume.write_vectored_at(&data.for_writing(), offset)?;
            Ok(0)
        }
        VIRTIO_BLK_T_FLUSH => {
            volume.flush()?;
            Ok(0)
        }
        VIRTIO_BLK_T_GET_ID => {
            let name = bell.ring().unwrap_or(*id);
            let len = writer.available_bytes().min(ID);
            writer.write_all(&name[..len])?;
            Ok(len)
        }
        VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => {
            let count = reader.available_bytes() / RANGE;
            if count == 0 || count > MAX_RANGES as usize || !reader.available_bytes().is_multiple_of(RANGE) {
                return Err(Refusal::Malformed);
            }
            for _ in 0..count {
                let mut range = [0; RANGE];
                reader.read_exact(&mut range)?;
                let (from, sectors, flags) = (u64_at(&range, 0), u32_at(&range, 8), u32_at(&range, 12));
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

/// Data comes in whole sectors, and not too many.
fn whole_sectors(len: usize) -> Result<usize, Refusal> {
    if len > MAX_DATA || !len.is_multiple_of(SECTOR as usize) {
        return Err(Refusal::Malformed);
    }
    Ok(len)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}
