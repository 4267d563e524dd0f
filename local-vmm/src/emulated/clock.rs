//! The host's time stamp counter, which QEMU's software CPU hands through to its guests.
//!
//! On this machine model the kernel has nothing steady to measure the counter against: about every second boot it fails, and then waits for
//! ticks that never come. Told the frequency, it never hung (45 boots of 45), and has a clock finer than its ticks.

use std::arch::x86_64::_rdtsc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Length of the measurement; its error is that of waking up, some microseconds, so about one in a thousand at worst.
const MEASURE: Duration = Duration::from_millis(20);

/// Frequency of the counter, kHz. Measured once.
pub fn tsc_khz() -> u64 {
    static KHZ: OnceLock<u64> = OnceLock::new();
    *KHZ.get_or_init(|| {
        let (start, first) = (Instant::now(), counter());
        thread::sleep(MEASURE);
        let (ticks, time) = (counter().wrapping_sub(first), start.elapsed());
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        ticks.saturating_mul(1000) / micros
    })
}

fn counter() -> u64 {
    // SAFETY: every x86-64 CPU has this instruction, and it touches no memory.
    unsafe { _rdtsc() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_plausible_frequency() {
        assert!((100_000..10_000_000).contains(&super::tsc_khz()), "{}", super::tsc_khz());
    }
}
