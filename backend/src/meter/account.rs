//! What one sprite used: from a reading of its counters to what is written down. No clock, machine or database is touched here.
//!
//! Counters come from within, from somebody who may lie: they are held against the host's clock and the machine's size.

use super::clock::Moment;
use crate::rates::{self, Running};
use serde::{Deserialize, Serialize};
use sprites_api::agent::Counters;
use sprites_api::extension::{UsageSample, UsageTotals};

/// Seconds by which a guest's clock may be ahead of the host's, all readings together: granted anew with each it would be a way to use up the
/// budget of all.
const SLACK: f64 = 1.0;
/// Counters of CPU time may be this much ahead of the clock.
const ROUNDING: f64 = 1.1;
/// Seconds that a machine may be awake without counters that tell of it. After that it pays by the host's clock: code inside can keep the agent
/// from answering, and have it answer that no time goes by.
const SILENCE: f64 = 60.0;
/// Most seconds that a machine is taken to have been awake between two looks: the host itself may have slept.
const LOOK: f64 = 3.0;
/// Most processes of a machine (`man 5 proc`, `pid_max`).
const MOST_PROCESSES: u64 = 1 << 22;

/// How large a machine is, and so what it can use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub cpus: u32,
    pub memory_bytes: u64,
}

impl Size {
    fn bound(self, counters: Counters) -> Counters {
        Counters {
            memory_bytes: counters.memory_bytes.min(self.memory_bytes),
            processes: counters.processes.min(MOST_PROCESSES),
            ..counters
        }
    }
}

/// Bytes that a gateway has carried since it began. They come from the host's side of the cable, so nobody inside can lie about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    /// When it began, microseconds since 1970: the sums of another gateway have nothing to do with these.
    pub began: i64,
    pub sent: u64,
    pub received: u64,
}

impl Carried {
    /// What was carried since `before`, sent and received.
    fn since(self, before: Option<Self>) -> (u64, u64) {
        let before = before.filter(|before| before.began == self.began);
        let (sent, received) = before.map_or((0, 0), |before| (before.sent, before.received));
        (self.sent.saturating_sub(sent), self.received.saturating_sub(received))
    }
}

/// What a sprite's counters say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Of its machine; none when it sleeps, or did not answer in time: the next reading then covers that time too.
    pub counters: Option<Counters>,
    /// Of its network; none when it has none, or has not been heard of yet.
    pub carried: Option<Carried>,
    /// Whether it was awake at the last look and is now, as the host sees it.
    pub awake: bool,
}

/// The account of a sprite.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    /// All it used so far.
    pub totals: UsageTotals,
    /// Storage is paid up to here.
    pub kept_until: Moment,
    /// The last counters, and when they were read. They outlive the server, so that what is used while it is away is counted, once.
    pub read: Option<(Counters, Moment)>,
    /// The same of its network.
    pub carried: Option<Carried>,
    /// Seconds by which the guest's clock may still get ahead. Not written down either.
    pub credit: f64,
    /// Seconds awake by the host's clock that no counters have told of. They are not written down: few are lost with a server.
    pub untold: f64,
}

/// What a reading adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Use by running; nothing while it sleeps.
    pub sample: Option<UsageSample>,
    /// Running and storage together.
    pub used: UsageTotals,
    /// When the time began that `used` is for.
    pub since: Moment,
}

impl Account {
    /// One that begins now.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            totals: UsageTotals::default(),
            kept_until: now,
            read: None,
            carried: None,
            credit: SLACK,
            untold: 0.0,
        }
    }

    /// One that was written down.
    pub(crate) fn written(
        totals: UsageTotals,
        kept_until: Moment,
        read: Option<(Counters, Moment)>,
        carried: Option<Carried>,
    ) -> Self {
        Self { totals, read, carried, ..Self::new(kept_until) }
    }

    /// Takes a reading in.
    pub(crate) fn advance(&mut self, reading: Reading, stored_bytes: u64, size: Size, now: Moment) -> Entry {
        let since = self.kept_until;
        let mut used = UsageTotals::default();
        let keeping = rates::keep(&mut used, now.since(since), stored_bytes as f64);
        self.kept_until = now;
        if let Some(carried) = reading.carried {
            (used.sent_bytes, used.received_bytes) = carried.since(self.carried);
            self.carried = Some(carried);
        }
        let sample = match reading.counters.map(|counters| size.bound(counters)) {
            Some(counters) => {
                let sample = self.ran(counters, stored_bytes, size, now, &mut used);
                self.read = Some((counters, now));
                sample
            }
            None => None,
        };
        if reading.awake {
            self.untold += now.since(since).min(LOOK);
        }
        self.untold = (self.untold - sample.map_or(0.0, |sample| sample.seconds)).max(0.0);
        let sample = if self.untold > SILENCE { Some(self.silent(now, sample, &mut used)) } else { sample };
        self.totals += used;
        let sample = sample.map(|sample| UsageSample { cost_usd: sample.cost_usd + keeping, ..sample });
        Entry { sample, used, since }
    }

    /// Pays for the time that no counters have told of, with what little is known of it; what they tell later begins anew.
    fn silent(&mut self, now: Moment, sample: Option<UsageSample>, used: &mut UsageTotals) -> UsageSample {
        let seconds = std::mem::take(&mut self.untold);
        let memory_bytes = self.read.take().map_or(0, |(counters, _)| counters.memory_bytes);
        let use_ = Running { seconds, cpu_seconds: 0.0, memory_bytes: memory_bytes as f64, hot_bytes: 0.0 };
        let cost_usd = rates::run(used, use_);
        let empty = UsageSample {
            time: now.wall,
            seconds: 0.0,
            cpus: 0.0,
            memory_bytes,
            processes: 0,
            sent_bytes: used.sent_bytes,
            received_bytes: used.received_bytes,
            read_bytes: 0,
            written_bytes: 0,
            cost_usd: 0.0,
        };
        let sample = sample.unwrap_or(empty);
        UsageSample { seconds: sample.seconds + seconds, cost_usd: sample.cost_usd + cost_usd, ..sample }
    }

    fn ran(
        &mut self,
        counters: Counters,
        stored_bytes: u64,
        size: Size,
        now: Moment,
        used: &mut UsageTotals,
    ) -> Option<UsageSample> {
        // A machine that started anew began its counters anew, and one that went back to a checkpoint has older ones.
        let (before, read_at) = self
            .read
            .filter(|(before, _)| before.boot == counters.boot && before.uptime_ms < counters.uptime_ms)?;
        // The guest's own clock stands still while it sleeps, so a pause is never counted.
        let passed = now.since(read_at);
        let seconds = ((counters.uptime_ms - before.uptime_ms) as f64 / 1e3).min(passed + self.credit);
        self.credit = (self.credit + passed - seconds).clamp(0.0, SLACK);
        let cpu_seconds = counters.cpu_usec.saturating_sub(before.cpu_usec) as f64 / 1e6;
        let cpu_seconds = cpu_seconds.min(seconds * f64::from(size.cpus) * ROUNDING);
        let use_ = Running {
            seconds,
            cpu_seconds,
            memory_bytes: counters.memory_bytes as f64,
            hot_bytes: stored_bytes as f64,
        };
        let cost_usd = rates::run(used, use_);
        Some(UsageSample {
            time: now.wall,
            seconds,
            cpus: cpu_seconds / seconds,
            memory_bytes: counters.memory_bytes,
            processes: counters.processes,
            sent_bytes: used.sent_bytes,
            received_bytes: used.received_bytes,
            read_bytes: counters.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: counters.written_bytes.saturating_sub(before.written_bytes),
            cost_usd,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sprites_api::Time;
    use std::time::Duration;

    const SIZE: Size = Size { cpus: 1, memory_bytes: 1 << 30 };

    fn at(second: u64) -> Moment {
        Moment {
            wall: Time::from_micros(second as i64 * 1_000_000),
            steady: Some(Duration::from_secs(second)),
        }
    }

    fn counters(boot: u64, uptime_ms: u64, cpu_usec: u64) -> Counters {
        Counters {
            boot,
            cpu_usec,
            memory_bytes: 500_000_000,
            processes: 4,
            read_bytes: cpu_usec / 10,
            written_bytes: 0,
            uptime_ms,
            attached_sessions: 0,
            session_idle_ms: None,
        }
    }

    fn running(counters: Option<Counters>) -> Reading {
        Reading { counters, ..Reading::default() }
    }

    #[test]
    fn counters_become_samples_and_a_new_machine_begins_anew() {
        let mut account = Account::new(at(0));
        let mut read = |second, counters| account.advance(running(counters), 0, SIZE, at(second)).sample;
        assert!(read(5, Some(counters(1, 5_000, 100_000))).is_none(), "there is nothing to compare with");
        let sample = read(7, Some(counters(1, 7_000, 1_100_000))).unwrap();
        assert_eq!((sample.seconds, sample.cpus, sample.processes), (2.0, 0.5, 4));
        assert_eq!((sample.read_bytes, sample.written_bytes), (100_000, 0));
        // A second that could not be read is covered by the next reading.
        assert!(read(8, None).is_none());
        assert_eq!(read(9, Some(counters(1, 9_000, 1_100_000))).unwrap().seconds, 2.0);
        // It slept for a while; its clock stood still.
        assert!(read(60, None).is_none());
        assert_eq!(read(99, Some(counters(1, 10_000, 1_100_000))).unwrap().seconds, 1.0);
        // It went back to a checkpoint with its memory, and then began anew, and that ran on for longer than the first.
        assert!(read(100, Some(counters(1, 6_000, 600_000))).is_none());
        assert!(read(120, Some(counters(2, 20_000, 1_200_000))).is_none());
        let sample = read(121, Some(counters(2, 21_000, 1_700_000))).unwrap();
        assert_eq!((sample.seconds, sample.cpus), (1.0, 0.5));
    }

    #[test]
    fn bytes_of_the_network_are_counted_once_whatever_gateway_carried_them() {
        let mut account = Account::new(at(0));
        let mut carry = |began, sent, received| {
            let carried = Some(Carried { began, sent, received });
            let used = account.advance(Reading { carried, ..Reading::default() }, 0, SIZE, at(1)).used;
            (used.sent_bytes, used.received_bytes)
        };
        assert_eq!(carry(1, 100, 0), (100, 0));
        assert_eq!(carry(1, 100, 0), (0, 0));
        assert_eq!(carry(1, 150, 7), (50, 7));
        // The machine was stopped and started; its new gateway has already carried more than the last.
        assert_eq!(carry(2, 400, 7), (400, 7));
        assert_eq!((account.totals.sent_bytes, account.totals.received_bytes), (550, 14));
        // Without a word from the gateway nothing is forgotten.
        account.advance(Reading::default(), 0, SIZE, at(2));
        assert_eq!(account.carried, Some(Carried { began: 2, sent: 400, received: 7 }));
    }

    #[test]
    fn lies_are_held_against_the_clock_and_the_size() {
        let mut account = Account::new(at(0));
        account.advance(running(Some(counters(1, 1_000, 0))), 0, SIZE, at(1));
        let lie = Counters { memory_bytes: u64::MAX, processes: u64::MAX, ..counters(1, u64::MAX, u64::MAX) };
        let sample = account.advance(running(Some(lie)), 0, SIZE, at(2)).sample.unwrap();
        assert!(sample.seconds <= 2.0 && sample.cpus <= ROUNDING + 1e-9, "{sample:?}");
        assert_eq!(sample.memory_bytes, SIZE.memory_bytes);
        assert_eq!(sample.processes, MOST_PROCESSES);
    }

    #[test]
    fn who_tells_too_much_is_believed_once() {
        let mut account = Account::new(at(0));
        for second in 1..=100 {
            account.advance(running(Some(counters(1, second * 2000, 0))), 0, SIZE, at(second));
        }
        assert!((99.0..=100.0).contains(&account.totals.running_seconds), "{:?}", account.totals);
    }

    #[test]
    fn who_tells_nothing_pays_by_the_hosts_clock() {
        let minutes = |tell: &dyn Fn(u64) -> Option<Counters>| {
            let mut account = Account::new(at(0));
            let mut seconds = 0.0;
            for second in 1..=600 {
                let reading = Reading { counters: tell(second), carried: None, awake: true };
                let sample = account.advance(reading, 0, SIZE, at(second)).sample;
                seconds += sample.map_or(0.0, |sample| sample.seconds);
            }
            assert!((account.totals.running_seconds - seconds).abs() < 1e-6);
            seconds
        };
        let honest = minutes(&|second| Some(counters(1, second * 1000, 0)));
        assert_eq!(honest, 599.0);
        let slow = minutes(&|second| second.is_multiple_of(20).then(|| counters(1, second * 1000, 0)));
        assert_eq!(slow, 580.0);
        let silent = minutes(&|_| None);
        let still = minutes(&|second| Some(counters(1, 1000 + second, 0)));
        let another = minutes(&|second| Some(counters(second, 1000, 0)));
        for told in [silent, still, another] {
            assert!((540.0..=601.0).contains(&told), "{told}");
        }
        // The night that the host slept through is nobody's.
        let mut account = Account::new(at(0));
        let night = Reading { awake: true, ..Reading::default() };
        assert!(account.advance(night, 0, SIZE, at(30_000)).sample.is_none());
    }

    #[test]
    fn storage_is_paid_always_and_once() {
        let mut account = Account::new(at(0));
        let gb = 1_000_000_000;
        for second in [1800, 1800, 3600] {
            account.advance(Reading::default(), gb, SIZE, at(second));
        }
        assert!((account.totals.stored_gb_hours - 1.0).abs() < 1e-9, "{:?}", account.totals);
        assert_eq!(account.totals.running_seconds, 0.0);
    }
}
