//! Usage in the database: accounts, and samples for graphs.

use super::{Result, Store, bills};
use crate::meter::account::{Account, Entry};
use crate::meter::clock::{self, Moment};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};
use sprites_api::Time;
use sprites_api::extension::UsageSample;
use std::time::Duration;

const MINUTE: i64 = 60 * 1_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Most samples that are rolled up at a time.
const AT_ONCE: i64 = 200_000;

/// Samples of one level become one of the next.
struct RollUp {
    from: i64,
    /// Those that are older than this, microseconds.
    after: i64,
    /// What the new one stands for, microseconds.
    length: i64,
}

/// Readings are kept for an hour, minutes for thirty days, hours for a year.
const ROLL_UPS: [RollUp; 2] =
    [RollUp { from: 0, after: HOUR, length: MINUTE }, RollUp { from: 1, after: 30 * DAY, length: HOUR }];

/// One sprite's part of a tick.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    pub sprite: String,
    pub name: String,
    pub labels: Vec<String>,
    /// As it is after the entry.
    pub account: Account,
    pub entry: Entry,
}

impl Tick {
    /// Both in one, where the first could not be written.
    pub(crate) fn then(self, later: Self) -> Self {
        let samples: Vec<UsageSample> =
            [self.entry.sample, later.entry.sample].into_iter().flatten().collect();
        let mut used = self.entry.used;
        used += later.entry.used;
        Self { entry: Entry { sample: join(&samples), used, since: self.entry.since }, ..later }
    }
}

/// The host's steady clock at the moments of an account, and in which of the host's starts that was.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Clocks {
    boot: String,
    kept: Option<Duration>,
    read: Option<Duration>,
}

impl Clocks {
    fn of(account: &Account) -> Self {
        let read = account.read.as_ref().and_then(|(_, at)| at.steady);
        Self { boot: clock::boot().to_owned(), kept: account.kept_until.steady, read }
    }

    fn of_this_boot(self) -> Option<Self> {
        Some(self).filter(|clocks| !clocks.boot.is_empty() && clocks.boot == clock::boot())
    }
}

impl Store {
    /// Writes a tick of the meter, all or nothing, so that accounts, bills and samples never disagree.
    pub(crate) fn record(&self, ticks: &[Tick]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for tick in ticks {
            let (counters, read_at) = match &tick.account.read {
                Some((counters, at)) => (Some(serde_json::to_string(counters)?), Some(at.wall.as_micros())),
                None => (None, None),
            };
            let totals = serde_json::to_string(&tick.account.totals)?;
            let carried = tick.account.carried.map(|carried| serde_json::to_string(&carried)).transpose()?;
            let kept_until = tick.account.kept_until.wall.as_micros();
            let clocks = serde_json::to_string(&Clocks::of(&tick.account))?;
            let written = transaction
                .prepare_cached(
                    "insert into total (sprite, totals, kept_until, counters, read_at, carried, clocks)
                     select ?1, ?2, ?3, ?4, ?5, ?6, ?7 where exists (select 1 from sprite where id = ?1)
                     on conflict (sprite) do update set totals = excluded.totals, kept_until = excluded.kept_until,
                         counters = excluded.counters, read_at = excluded.read_at, carried = excluded.carried,
                         clocks = excluded.clocks",
                )?
                .execute(params![tick.sprite, totals, kept_until, counters, read_at, carried, clocks])?;
            // One that is gone meanwhile has been paid up to its end.
            if written == 0 {
                continue;
            }
            if let Some(sample) = &tick.entry.sample {
                insert(&transaction, &tick.sprite, sample, 0)?;
            }
            bills::add(&transaction, tick)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The account of a sprite.
    pub(crate) fn account(&self, sprite: &str) -> Result<Option<Account>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "select totals, kept_until, counters, read_at, carried, clocks from total where sprite = ?1",
        )?;
        let mut rows = query.query([sprite])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        // Of another start of the host its clock says nothing.
        let clocks = match row.get::<_, Option<String>>(5)? {
            Some(text) => serde_json::from_str::<Clocks>(&text)?.of_this_boot(),
            None => None,
        };
        let clocks = clocks.unwrap_or_default();
        let moment = |micros: i64, steady| Moment { wall: Time::from_micros(micros), steady };
        let read = match (row.get::<_, Option<String>>(2)?, row.get::<_, Option<i64>>(3)?) {
            (Some(counters), Some(at)) => Some((serde_json::from_str(&counters)?, moment(at, clocks.read))),
            _ => None,
        };
        let carried = match row.get::<_, Option<String>>(4)? {
            Some(text) => serde_json::from_str(&text)?,
            None => None,
        };
        let totals = serde_json::from_str(&row.get::<_, String>(0)?)?;
        Ok(Some(Account::written(totals, moment(row.get(1)?, clocks.kept), read, carried)))
    }

    /// Samples since `from`, oldest first, thinned to at most `most` by joining neighbours.
    pub(crate) fn samples(&self, sprite: &str, from: Time, most: usize) -> Result<Vec<UsageSample>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!(
            "select {COLUMNS} from sample where sprite = ?1 and time > ?2 order by time"
        ))?;
        let rows = query.query_map(params![sprite, from.as_micros()], read)?;
        let all: Vec<UsageSample> = rows.collect::<rusqlite::Result<_>>()?;
        let group = all.len().div_ceil(most.max(1)).max(1);
        Ok(all.chunks(group).filter_map(join).collect())
    }

    /// Makes minutes of old readings and hours of old minutes, and drops what is older than a year.
    pub(crate) fn roll_up(&self, now: Time) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for step in ROLL_UPS {
            roll_up(&transaction, &step, now)?;
        }
        if let Some(horizon) = bills::horizon(&transaction)? {
            transaction
                .prepare_cached("delete from sample where time < ?1")?
                .execute([horizon.as_micros()])?;
            bills::forget(&transaction, horizon)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn roll_up(transaction: &Transaction<'_>, step: &RollUp, now: Time) -> Result<()> {
    let before = (now.as_micros() - step.after) / step.length * step.length;
    let old: Vec<(String, UsageSample)> = {
        let mut query = transaction.prepare_cached(&format!(
            "select {COLUMNS}, sprite from sample
             where level = ?1 and time <= ?2 order by sprite, time limit ?3",
        ))?;
        let rows = query.query_map([step.from, before, AT_ONCE], |row| {
            Ok((row.get::<_, String>("sprite")?, read(row)?))
        })?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    // A sample's time is its end, so the last one of a minute has the minute's end.
    let part = |sample: &UsageSample| (sample.time.as_micros() - 1).div_euclid(step.length);
    for group in old.chunk_by(|one, two| one.0 == two.0 && part(&one.1) == part(&two.1)) {
        let samples: Vec<UsageSample> = group.iter().map(|(_, sample)| *sample).collect();
        for (sprite, sample) in group {
            transaction
                .prepare_cached("delete from sample where sprite = ?1 and time = ?2")?
                .execute(params![sprite, sample.time.as_micros()])?;
        }
        if let (Some(joined), Some((sprite, _))) = (join(&samples), group.first()) {
            insert(transaction, sprite, &joined, step.from + 1)?;
        }
    }
    Ok(())
}

/// What a sample is made of.
const COLUMNS: &str = "time, seconds, cpus, memory_bytes, processes, cost_usd, sent_bytes, received_bytes, read_bytes, written_bytes";

fn insert(transaction: &Transaction<'_>, sprite: &str, sample: &UsageSample, level: i64) -> Result<()> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(&format!(
            "insert or replace into sample (sprite, level, {COLUMNS})
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        ))?
        .execute(params![
            sprite,
            level,
            sample.time.as_micros(),
            sample.seconds,
            sample.cpus,
            whole(sample.memory_bytes),
            whole(sample.processes),
            sample.cost_usd,
            whole(sample.sent_bytes),
            whole(sample.received_bytes),
            whole(sample.read_bytes),
            whole(sample.written_bytes),
        ])?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<UsageSample> {
    let whole = |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, i64>(name)?.unsigned_abs());
    Ok(UsageSample {
        time: Time::from_micros(row.get("time")?),
        seconds: row.get("seconds")?,
        cpus: row.get("cpus")?,
        memory_bytes: whole("memory_bytes")?,
        processes: whole("processes")?,
        sent_bytes: whole("sent_bytes")?,
        received_bytes: whole("received_bytes")?,
        read_bytes: whole("read_bytes")?,
        written_bytes: whole("written_bytes")?,
        cost_usd: row.get("cost_usd")?,
    })
}

/// One sample that stands for several neighbours: times, bytes that went somewhere and costs add up, the rest is averaged by time.
fn join(samples: &[UsageSample]) -> Option<UsageSample> {
    let last = samples.last()?;
    let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
    let mean = |value: fn(&UsageSample) -> f64| {
        samples.iter().map(|sample| value(sample) * sample.seconds).sum::<f64>()
            / seconds.max(f64::MIN_POSITIVE)
    };
    let sum = |value: fn(&UsageSample) -> u64| samples.iter().map(value).fold(0, u64::saturating_add);
    Some(UsageSample {
        time: last.time,
        seconds,
        cpus: mean(|sample| sample.cpus),
        memory_bytes: mean(|sample| sample.memory_bytes as f64) as u64,
        processes: last.processes,
        sent_bytes: sum(|sample| sample.sent_bytes),
        received_bytes: sum(|sample| sample.received_bytes),
        read_bytes: sum(|sample| sample.read_bytes),
        written_bytes: sum(|sample| sample.written_bytes),
        cost_usd: samples.iter().map(|sample| sample.cost_usd).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use sprites_api::extension::UsageTotals;

    fn tick(sprite: &str, second: i64) -> Tick {
        let now = Moment::written(Time::from_micros(second * 1_000_000));
        let sample = UsageSample {
            time: now.wall,
            seconds: 1.0,
            cpus: if second % 2 == 0 { 1.0 } else { 0.0 },
            memory_bytes: 1000,
            processes: 3,
            sent_bytes: 10,
            received_bytes: 1000,
            read_bytes: 4096,
            written_bytes: 0,
            cost_usd: 0.001,
        };
        let used = UsageTotals { cost_usd: 0.001, ..UsageTotals::default() };
        Tick {
            sprite: sprite.into(),
            name: "box".into(),
            labels: Vec::new(),
            account: Account { totals: used, ..Account::new(now) },
            entry: Entry { sample: Some(sample), used, since: now },
        }
    }

    #[test]
    fn a_database_that_is_locked_or_full_says_so_and_goes_on_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path).unwrap();
        store.put(&record("1", "box")).unwrap();
        let told = |second| store.record(&[tick("1", second)]).unwrap_err().to_string();
        store.lock().busy_timeout(std::time::Duration::from_millis(10)).unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("begin immediate").unwrap();
        assert!(told(1).ends_with("another program has it open for writing, and has to end or let go of it"));
        other.execute_batch("rollback").unwrap();
        store.record(&[tick("1", 1)]).unwrap();
        let most = |pages: i64| store.lock().pragma_update(None, "max_page_count", pages).unwrap();
        most(1);
        // What pages there are may still have room.
        let why =
            (2..20_000).find_map(|second| store.record(&[tick("1", second)]).err()).unwrap().to_string();
        assert!(why.ends_with("; make room on the host's disk"), "{why}");
        let before = store.account("1").unwrap().unwrap();
        most(i64::from(u32::MAX) - 2);
        store.record(&[tick("1", 30_000)]).unwrap();
        let after = store.account("1").unwrap().unwrap();
        assert!(after.kept_until.wall > before.kept_until.wall);
    }

    #[test]
    fn a_calendar_that_jumps_between_two_servers_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path).unwrap();
        store.put(&record("1", "box")).unwrap();
        let at = |wall: i64, steady: u64| Moment {
            wall: Time::from_micros(wall * 1_000_000),
            steady: Some(Duration::from_secs(steady)),
        };
        let mut written = tick("1", 1);
        written.account = Account::new(at(1_000_000, 50));
        store.record(std::slice::from_ref(&written)).unwrap();
        drop(store);
        let read = Store::open(&path).unwrap().account("1").unwrap().unwrap();
        for wall in [900_000, 1_000_007, 90_000_000] {
            assert_eq!(at(wall, 57).since(read.kept_until), 7.0);
        }
        // Of another start of the host there is the calendar alone.
        let store = Store::open(&path).unwrap();
        store.lock().execute("update total set clocks = replace(clocks, '-', '+')", []).unwrap();
        assert_eq!(store.account("1").unwrap().unwrap().kept_until.steady, None);
    }

    #[test]
    fn what_could_not_be_written_comes_with_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        let all = (2..=9).fold(tick("1", 1), |earlier, second| earlier.then(tick("1", second)));
        store.record(&[all]).unwrap();
        let samples = store.samples("1", Time::from_micros(0), 10).unwrap();
        assert_eq!(samples.len(), 1);
        assert!((samples[0].seconds - 9.0).abs() < 1e-9 && (samples[0].cost_usd - 0.009).abs() < 1e-9);
        let bill = store.cost(Time::from_micros(0), Time::from_micros(3_600_000_000)).unwrap();
        assert!((bill.cost_usd - 0.009).abs() < 1e-9, "{bill:?}");
    }

    #[test]
    fn readings_become_minutes_and_hours_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        for second in 1..=600 {
            store.record(&[tick("1", second)]).unwrap();
        }
        // A sprite that is gone meanwhile is passed over.
        store.record(&[tick("9", 1)]).unwrap();
        let account = store.account("1").unwrap().unwrap();
        assert_eq!(account.kept_until.wall, Time::from_micros(600_000_000));
        assert!(store.account("9").unwrap().is_none());
        let samples = |most| store.samples("1", Time::from_micros(0), most).unwrap();
        assert_eq!(samples(100).len(), 100);
        for (later, count, seconds) in [(HOUR, 10, 60.0), (HOUR, 10, 60.0), (30 * DAY + HOUR, 1, 600.0)] {
            store.roll_up(Time::from_micros(600 * 1_000_000 + later)).unwrap();
            let rolled = samples(1000);
            assert_eq!(rolled.len(), count);
            assert!((rolled.iter().map(|sample| sample.cost_usd).sum::<f64>() - 0.6).abs() < 1e-9);
            assert_eq!(rolled.iter().map(|sample| sample.received_bytes).sum::<u64>(), 600_000);
            assert!(
                rolled.iter().all(|sample| (sample.cpus - 0.5).abs() < 1e-9 && sample.seconds == seconds)
            );
        }
        // A clock that is wrong for a moment costs nothing.
        store.roll_up(Time::from_micros(4000 * DAY)).unwrap();
        assert_eq!(samples(1000).len(), 1);
        store.remove("1").unwrap();
        assert!(store.account("1").unwrap().is_none());
    }
}
