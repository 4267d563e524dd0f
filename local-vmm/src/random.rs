//! The host's randomness.

use std::io;

/// Fills the bytes; gives how many were filled, which on any kernel of this age is all.
pub(crate) fn fill(bytes: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < bytes.len() {
        // SAFETY: the pointer and the length are those of the rest of `bytes`.
        let got = unsafe { libc::getrandom(bytes[filled..].as_mut_ptr().cast(), bytes.len() - filled, 0) };
        match usize::try_from(got) {
            Ok(got @ 1..) => filled += got,
            // Interrupted; anything else cannot happen with these arguments, and ends in fewer bytes.
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    filled
}
