//! What a sprite of the demo uses: a function of time and nothing else, so that the past of any sprite can be told for any span.

use sprites_api::Time;
use sprites_api::extension::UsageSample;

/// US dollars for an hour of one CPU, and of a gigabyte of memory, as the vendor's price list has them.
const CPU_HOUR: f64 = 0.07;
const MEMORY_HOUR: f64 = 0.04375;
/// Most samples of one past.
const POINTS: i64 = 300;

/// How a sprite behaves.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Tells sprites apart.
    pub seed: u64,
    /// CPUs, on average while it runs.
    pub cpus: f64,
    /// Memory, bytes.
    pub memory: f64,
    /// Bytes a second, received and sent.
    pub traffic: (f64, f64),
    /// Seconds of a round of work and rest, and the part of it that is work.
    pub round: (i64, f64),
}

impl Load {
    /// Whether it works at that second, if nobody asks otherwise.
    pub fn is_busy(&self, second: i64) -> bool {
        let (round, part) = self.round;
        let phase = (second + (self.seed * 37) as i64).rem_euclid(round) as f64 / round as f64;
        phase < part
    }

    /// What it uses in an interval that ends at that second, while it runs.
    pub fn sample(&self, second: i64, seconds: i64) -> UsageSample {
        let wave = |period: f64, shift: f64| ((second as f64 / period + shift) * std::f64::consts::TAU).sin();
        let noise = |salt: u64| noise(self.seed ^ salt, (second / seconds.max(1)) as u64);
        let shift = self.seed as f64 / 7.0;
        let cpus = (self.cpus * (1.0 + 0.5 * wave(47.0, shift) + 0.6 * (noise(1) - 0.5))).max(0.01);
        let memory = self.memory * (1.0 + 0.12 * wave(180.0, shift) + 0.03 * (noise(2) - 0.5));
        // Traffic comes in bursts.
        let burst = |salt| if noise(salt) > 0.6 { noise(salt + 1) * 2.5 } else { 0.05 };
        let bytes = |rate: f64, salt: u64| (rate * burst(salt) * seconds as f64) as u64;
        let hours = seconds as f64 / 3600.0;
        UsageSample {
            time: Time::from_micros(second * 1_000_000),
            seconds: seconds as f64,
            cpus,
            memory_bytes: memory as u64,
            processes: 3 + (noise(3) * 6.0) as u64,
            received_bytes: bytes(self.traffic.0, 10),
            sent_bytes: bytes(self.traffic.1, 20),
            read_bytes: bytes(self.traffic.0 / 4.0, 30),
            written_bytes: bytes(self.traffic.1 / 2.0, 40),
            cost_usd: hours * (cpus * CPU_HOUR + memory / 1e9 * MEMORY_HOUR),
        }
    }

    /// The last so many seconds, oldest first; nothing where it rested.
    pub fn past(&self, now: i64, window: i64) -> Vec<UsageSample> {
        let step = (window / POINTS).max(1);
        let first = now - window;
        let seconds = (1..=window / step).map(|index| first + index * step);
        seconds.filter(|second| self.is_busy(*second)).map(|second| self.sample(second, step)).collect()
    }
}

/// From 0 to 1, always the same for the same step (splitmix64).
fn noise(seed: u64, step: u64) -> f64 {
    let mut z =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_time_has_the_same_use() {
        let load = Load { seed: 3, cpus: 0.5, memory: 2e8, traffic: (1e5, 1e4), round: (100, 0.5) };
        assert_eq!(load.past(10_000, 3600), load.past(10_000, 3600));
        assert!(load.past(10_000, 86_400).len() <= 300);
        let all = load.past(10_000, 100);
        assert!((40..60).contains(&all.len()), "{}", all.len());
        assert!(all.iter().all(|sample| sample.cpus > 0.0 && sample.cost_usd > 0.0));
    }
}
