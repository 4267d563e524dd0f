//! Fresh randomness for a machine that may share its past with another. One of the modules with `unsafe`: two ioctls.

use nix::errno::Errno;
use sprites_api::agent::SEED;
use std::fs::File;
use std::os::fd::AsRawFd;

/// `RNDADDENTROPY` and `RNDRESEEDCRNG` of `linux/random.h`: `_IOW('R', 3, int[2])` and `_IO('R', 7)`.
const ADD: libc::Ioctl = 0x4008_5203_u32 as libc::Ioctl;
const RESEED: libc::Ioctl = 0x5207_u32 as libc::Ioctl;

/// Why the kernel did not take it.
#[derive(Debug, thiserror::Error)]
#[error("the sprite's randomness could not be renewed: {0}")]
pub(crate) struct SeedError(&'static str);

/// `struct rand_pool_info` of `linux/random.h`.
#[repr(C)]
struct Pool {
    /// Bits that count as random.
    bits: i32,
    bytes: i32,
    seed: [u8; SEED],
}

/// The bytes behind hexadecimal digits.
pub(crate) fn parse(digits: &str) -> Option<[u8; SEED]> {
    let digits = digits.as_bytes();
    let mut seed = [0; SEED];
    if digits.len() != 2 * SEED {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(seed)
}

/// Gives the kernel fresh randomness and has it used at once.
pub(crate) fn sow(seed: &[u8; SEED]) -> Result<(), SeedError> {
    let device = File::open("/dev/urandom").map_err(|_| SeedError("there is no /dev/urandom"))?;
    let pool = Pool { bits: 8 * SEED as i32, bytes: SEED as i32, seed: *seed };
    // SAFETY: the request reads a `rand_pool_info` with as many bytes behind it as it says; `pool` is one.
    let added = unsafe { libc::ioctl(device.as_raw_fd(), ADD, &raw const pool) };
    Errno::result(added).map_err(|error| SeedError(error.desc()))?;
    // SAFETY: the request has no argument.
    let reseeded = unsafe { libc::ioctl(device.as_raw_fd(), RESEED) };
    Errno::result(reseeded).map(drop).map_err(|error| SeedError(error.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        let seed = parse(&"0f".repeat(SEED)).unwrap();
        assert_eq!(seed, [15; SEED]);
        for bad in [String::new(), "0".repeat(2 * SEED - 1), "0g".repeat(SEED), "é".repeat(SEED)] {
            assert!(parse(&bad).is_none(), "{bad}");
        }
    }
}
