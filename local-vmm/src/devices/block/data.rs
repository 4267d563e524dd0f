//! The parts of a request, where they lie in the guest's memory. Data goes from there to the host's kernel and back without a stop in ours.

use crate::Memory;
use std::io::{IoSlice, IoSliceMut};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestMemory, Permissions, VolatileSlice};

/// Pieces of a guest's memory, one after the other. The guest may change them at any moment: what is made of them must only be handed to
/// the kernel, filled, or copied as a whole, and never be looked at twice.
pub(super) struct Data<'m> {
    pieces: Vec<VolatileSlice<'m>>,
    len: usize,
}

impl<'m> Data<'m> {
    /// What these descriptors point to. None when some of it lies outside the guest's memory, or it is far too much.
    pub(super) fn of(
        memory: &'m Memory,
        descriptors: impl Iterator<Item = Descriptor>,
        access: Permissions,
        most: usize,
    ) -> Option<Self> {
        let (mut pieces, mut len) = (Vec::new(), 0usize);
        for descriptor in descriptors {
            len = len.checked_add(descriptor.len() as usize).filter(|len| *len <= most)?;
            for piece in memory.get_slices(descriptor.addr(), descriptor.len() as usize, access).ok()? {
                pieces.push(piece.ok()?);
            }
        }
        Some(Self { pieces, len })
    }

    /// Number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first `at` bytes, and the rest. None when there are fewer.
    pub(super) fn split(mut self, at: usize) -> Option<(Self, Self)> {
        let rest = self.len.checked_sub(at)?;
        let mut left = at;
        let mut index = 0;
        while left > 0 && self.pieces[index].len() <= left {
            left -= self.pieces[index].len();
            index += 1;
        }
        let mut after = self.pieces.split_off(index);
        if left > 0 {
            let cut = after.first_mut()?;
            self.pieces.push(cut.subslice(0, left).ok()?);
            *cut = cut.offset(left).ok()?;
        }
        Some((Self { pieces: self.pieces, len: at }, Self { pieces: after, len: rest }))
    }

    /// A copy of the first bytes, as many as there are and `to` takes.
    pub(super) fn read(&self, to: &mut [u8]) {
        let mut at = 0;
        for piece in &self.pieces {
            at += piece.copy_to(&mut to[at..]);
        }
    }

    /// Writes the first bytes, as many as there are in `from` and in this.
    pub(super) fn write(&self, from: &[u8]) {
        let mut at = 0;
        for piece in &self.pieces {
            let take = piece.len().min(from.len() - at);
            piece.copy_from(&from[at..at + take]);
            at += take;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::VolatileMemory;

    #[test]
    fn splitting_reading_writing() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7];
        let all = VolatileSlice::from(&mut bytes[..]);
        let pieces = vec![all.get_slice(0, 3).unwrap(), all.get_slice(3, 4).unwrap()];
        let data = || Data { pieces: pieces.clone(), len: 7 };
        for at in 0..=7 {
            let (one, two) = data().split(at).unwrap();
            let (mut left, mut right) = ([0; 7], [0; 7]);
            one.read(&mut left);
            two.read(&mut right);
            assert_eq!((one.len(), two.len()), (at, 7 - at));
            assert_eq!([&left[..at], &right[..7 - at]].concat(), [1, 2, 3, 4, 5, 6, 7]);
        }
        assert!(data().split(8).is_none());
        data().split(2).unwrap().1.write(&[9, 9]);
        let mut found = [0; 9];
        data().read(&mut found);
        assert_eq!(found, [1, 2, 9, 9, 5, 6, 7, 0, 0]);
    }
}
