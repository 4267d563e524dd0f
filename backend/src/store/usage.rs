//! Usage in the database.

use super::{Result, Store};
use rusqlite::{Transaction, params};
use sprites_api::Time;
use sprites_api::extension::{UsageSample, UsageTotals};

/// Single seconds are kept that long, microseconds.
const SECONDS_KEPT: i64 = 3600 * 1_000_000;
/// Minutes are kept that long, microseconds (30 days).
const MINUTES_KEPT: i64 = 30 * 24 * SECONDS_KEPT;
const MINUTE: i64 = 60 * 1_000_000;

/// One sprite's part of a tick.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    pub sprite: String,
    pub sample: Option<UsageSample>,
    pub totals: UsageTotals,
    pub kept_until: Time,
}

impl Store {
    /// Writes a tick of the meter, all or nothing, so that totals and samples never disagree.
    pub(crate) fn record(&self, ticks: &[Tick]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for tick in ticks {
            transaction
                .prepare_cached(
                    "insert into total (sprite, totals, kept_until) select ?1, ?2, ?3 where exists (select 1 from sprite where id = ?1)
                     on conflict (sprite) do update set totals = excluded.totals, kept_until = excluded.kept_until",
                )?
                .execute(params![tick.sprite, serde_json::to_string(&tick.totals)?, tick.kept_until.as_micros()])?;
            if let Some(sample) = &tick.sample {
                insert(&transaction, &tick.sprite, sample)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Totals of a sprite, and until when its storage is paid.
    pub(crate) fn totals(&self, sprite: &str) -> Result<Option<(UsageTotals, Time)>> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached("select totals, kept_until from total where sprite = ?1")?;
        let mut rows = query.query([sprite])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((serde_json::from_str(&row.get::<_, String>(0)?)?, Time::from_micros(row.get(1)?))))
    }

    /// Samples since `from`, oldest first, thinned to at most `most` by joining neighbours.
    pub(crate) fn samples(&self, sprite: &str, from: Time, most: usize) -> Result<Vec<UsageSample>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "select time, seconds, cpus, memory_bytes, processes, cost_usd from sample where sprite = ?1 and time > ?2 order by time",
        )?;
        let rows = query.query_map(params![sprite, from.as_micros()], read)?;
        let all: Vec<UsageSample> = rows.collect::<rusqlite::Result<_>>()?;
        let group = all.len().div_ceil(most.max(1)).max(1);
        Ok(all.chunks(group).filter_map(join).collect())
    }

    /// Makes minutes of the seconds that are older than an hour, and drops what is older than a month.
    pub(crate) fn roll_up(&self, now: Time) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let before = (now.as_micros() - SECONDS_KEPT) / MINUTE * MINUTE;
        let old: Vec<(String, UsageSample)> = {
            let mut query = transaction.prepare_cached(
                "select time, seconds, cpus, memory_bytes, processes, cost_usd, sprite from sample
                 where time <= ?1 and seconds < 30 order by sprite, time limit 200000",
            )?;
            let rows = query.query_map([before], |row| Ok((row.get(6)?, read(row)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        // A minute's samples have times after its begin, up to and including its end.
        let minute = |sample: &UsageSample| (sample.time.as_micros() - 1).div_euclid(MINUTE);
        for group in old.chunk_by(|one, two| one.0 == two.0 && minute(&one.1) == minute(&two.1)) {
            let samples: Vec<UsageSample> = group.iter().map(|(_, sample)| *sample).collect();
            for (sprite, sample) in group {
                transaction
                    .prepare_cached("delete from sample where sprite = ?1 and time = ?2")?
                    .execute(params![sprite, sample.time.as_micros()])?;
            }
            if let (Some(mut joined), Some((sprite, _))) = (join(&samples), group.first()) {
                // So that it is not taken for a second again.
                joined.seconds = joined.seconds.max(30.0);
                insert(&transaction, sprite, &joined)?;
            }
        }
        transaction.execute("delete from sample where time < ?1", [now.as_micros() - MINUTES_KEPT])?;
        transaction.commit()?;
        Ok(())
    }
}

fn insert(transaction: &Transaction<'_>, sprite: &str, sample: &UsageSample) -> Result<()> {
    transaction
        .prepare_cached(
            "insert or replace into sample (sprite, time, seconds, cpus, memory_bytes, processes, cost_usd)
             select ?1, ?2, ?3, ?4, ?5, ?6, ?7 where exists (select 1 from sprite where id = ?1)",
        )?
        .execute(params![
            sprite,
            sample.time.as_micros(),
            sample.seconds,
            sample.cpus,
            i64::try_from(sample.memory_bytes).unwrap_or(i64::MAX),
            i64::try_from(sample.processes).unwrap_or(i64::MAX),
            sample.cost_usd
        ])?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<UsageSample> {
    Ok(UsageSample {
        time: Time::from_micros(row.get(0)?),
        seconds: row.get(1)?,
        cpus: row.get(2)?,
        memory_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
        processes: row.get::<_, i64>(4)?.unsigned_abs(),
        cost_usd: row.get(5)?,
    })
}

/// One sample that stands for several neighbours: times and costs add up, the rest is averaged by time.
fn join(samples: &[UsageSample]) -> Option<UsageSample> {
    let last = samples.last()?;
    let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
    let mean = |value: fn(&UsageSample) -> f64| {
        samples.iter().map(|sample| value(sample) * sample.seconds).sum::<f64>()
            / seconds.max(f64::MIN_POSITIVE)
    };
    Some(UsageSample {
        time: last.time,
        seconds,
        cpus: mean(|sample| sample.cpus),
        memory_bytes: mean(|sample| sample.memory_bytes as f64) as u64,
        processes: last.processes,
        cost_usd: samples.iter().map(|sample| sample.cost_usd).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn sample(second: i64) -> UsageSample {
        UsageSample {
            time: Time::from_micros(second * 1_000_000),
            seconds: 1.0,
            cpus: if second % 2 == 0 { 1.0 } else { 0.0 },
            memory_bytes: 1000,
            processes: 3,
            cost_usd: 0.001,
        }
    }

    #[test]
    fn seconds_become_minutes_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        let totals = UsageTotals { cost_usd: 0.6, ..UsageTotals::default() };
        for second in 1..=600 {
            let tick = Tick {
                sprite: "1".into(),
                sample: Some(sample(second)),
                totals,
                kept_until: Time::from_micros(second),
            };
            store.record(&[tick]).unwrap();
        }
        // A sprite that is gone meanwhile is passed over.
        let gone =
            Tick { sprite: "9".into(), sample: Some(sample(1)), totals, kept_until: Time::from_micros(1) };
        store.record(&[gone]).unwrap();
        assert_eq!(store.totals("1").unwrap().unwrap().1, Time::from_micros(600));
        assert!(store.totals("9").unwrap().is_none());
        assert_eq!(store.samples("1", Time::from_micros(0), 100).unwrap().len(), 100);
        for _ in 0..2 {
            store.roll_up(Time::from_micros((600 + 3600) * 1_000_000)).unwrap();
            let rolled = store.samples("1", Time::from_micros(0), 1000).unwrap();
            assert_eq!(rolled.len(), 10);
            assert!((rolled.iter().map(|sample| sample.cost_usd).sum::<f64>() - 0.6).abs() < 1e-9);
            assert!(rolled.iter().all(|sample| (sample.cpus - 0.5).abs() < 1e-9 && sample.seconds == 60.0));
        }
        store.roll_up(Time::from_micros(MINUTES_KEPT + 700 * 1_000_000)).unwrap();
        assert!(store.samples("1", Time::from_micros(0), 1000).unwrap().is_empty());
        store.remove("1").unwrap();
        assert!(store.totals("1").unwrap().is_none());
    }
}
