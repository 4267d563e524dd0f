//! The data of a request, where it lies in the guest's memory. It goes from there to the host's kernel and back without a stop in ours.

use crate::Memory;
use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::ops::Range;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestMemory, Permissions, VolatileSlice};

/// Pieces of a guest's memory. The guest may change them at any moment: what is made of them must only be handed to the kernel, filled, or
/// copied as a whole, and never be looked at twice.
pub(super) struct Data<'m> {
    pieces: Vec<VolatileSlice<'m>>,
    memory: PhantomData<&'m Memory>,
}

impl<'m> Data<'m> {
    /// The bytes `range` of these descriptors. None when they lie outside the guest's memory, or are fewer.
    pub(super) fn of(
        memory: &'m Memory,
        descriptors: impl Iterator<Item = Descriptor>,
        access: Permissions,
        range: Range<usize>,
    ) -> Option<Self> {
        let (mut skip, mut left) = (range.start, range.len());
        let mut pieces = Vec::new();
        for descriptor in descriptors {
            for piece in memory.get_slices(descriptor.addr(), descriptor.len() as usize, access).ok()? {
                let piece = piece.ok()?;
                let passed = skip.min(piece.len());
                skip -= passed;
                let take = left.min(piece.len() - passed);
                if take > 0 {
                    pieces.push(piece.subslice(passed, take).ok()?);
                    left -= take;
                }
            }
            if left == 0 {
                break;
            }
        }
        (left == 0).then_some(Self { pieces, memory: PhantomData })
    }

    /// For a write to the disk, which reads these bytes.
    pub(super) fn for_writing(&self) -> Vec<IoSlice<'_>> {
        let piece = |piece: &VolatileSlice<'m>| {
            let pointer = piece.ptr_guard();
            // SAFETY: the memory stays mapped for as long as `'m`, which this borrow does not outlive. The disk hands the slice to
            // the kernel, or copies it once; whatever the guest does to the bytes meanwhile, each value is a valid one.
            IoSlice::new(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), piece.len()) })
        };
        self.pieces.iter().map(piece).collect()
    }

    /// For a read from the disk, which writes these bytes.
    pub(super) fn for_reading(&self) -> Vec<IoSliceMut<'_>> {
        let piece = |piece: &VolatileSlice<'m>| {
            let pointer = piece.ptr_guard_mut();
            // SAFETY: as above. That a guest's descriptors may overlap, or that it writes there itself, spoils only what the guest reads.
            IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), piece.len()) })
        };
        self.pieces.iter().map(piece).collect()
    }
}
