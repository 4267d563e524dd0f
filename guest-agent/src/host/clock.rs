//! Time of the machine: since its start, and of the day.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use sprites_api::Time;

/// Why the clock was not set.
#[derive(Debug, thiserror::Error)]
#[error("the sprite's clock could not be set: {}", .0.desc())]
pub(crate) struct ClockError(Errno);

/// Milliseconds since the kernel started, sleep included.
pub(crate) fn uptime_ms() -> u64 {
    // The clock exists on every Linux since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |now| now.tv_sec().max(0) as u64 * 1000 + now.tv_nsec().max(0) as u64 / 1_000_000)
}

/// Steps the wall clock.
pub(crate) fn set(now: Time) -> Result<(), ClockError> {
    let micros = now.as_micros();
    let time = TimeSpec::new(micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) * 1000);
    clock_settime(ClockId::CLOCK_REALTIME, time).map_err(ClockError)
}
