//! Bills: what each sprite used in each hour (UTC). They stay when the sprite is gone.

use super::usage::Tick;
use super::{Result, Store};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use sprites_api::Time;
use sprites_api::cost::CostRow;
use sprites_api::extension::UsageTotals;

const HOUR: i64 = 3600 * 1_000_000;
/// Hours with bills that are kept: a year's.
pub(super) const HOURS_KEPT: i64 = 366 * 24;
/// Longest time that storage is spread over.
const LONGEST: i64 = 31 * 24 * HOUR;

/// Adds what a tick adds. Running is of the hour in which it was read; storage is spread over the time that it was kept for.
pub(super) fn add(transaction: &Transaction<'_>, tick: &Tick) -> Result<()> {
    let labels = serde_json::to_string(&tick.labels)?;
    transaction
        .prepare_cached(
            "insert into customer (id, name, labels) values (?1, ?2, ?3)
             on conflict (id) do update set name = excluded.name, labels = excluded.labels
             where name <> excluded.name or labels <> excluded.labels",
        )?
        .execute(params![tick.sprite, tick.name, labels])?;
    let (used, end) = (tick.entry.used, tick.account.kept_until.wall.as_micros());
    // A clock that was set would make it any number of hours.
    let begin = tick.entry.since.wall.as_micros().max(end - LONGEST);
    let last = hour(end);
    if begin < end && hour(begin) < last && used.stored_gb_hours > 0.0 {
        let whole = (end - begin) as f64;
        let storage_usd = crate::rates::storage_usd(used.stored_gb_hours);
        let running = UsageTotals { stored_gb_hours: 0.0, cost_usd: used.cost_usd - storage_usd, ..used };
        put(transaction, &tick.sprite, last, running)?;
        let mut from = begin;
        while from < end {
            let to = (hour(from) + HOUR).min(end);
            let share = (to - from) as f64 / whole;
            let part = UsageTotals {
                stored_gb_hours: used.stored_gb_hours * share,
                cost_usd: storage_usd * share,
                ..UsageTotals::default()
            };
            put(transaction, &tick.sprite, hour(from), part)?;
            from = to;
        }
        return Ok(());
    }
    put(transaction, &tick.sprite, last, used)
}

/// The hour that a moment is in.
fn hour(micros: i64) -> i64 {
    micros.div_euclid(HOUR) * HOUR
}

fn put(transaction: &Transaction<'_>, sprite: &str, hour: i64, used: UsageTotals) -> Result<()> {
    transaction
        .prepare_cached(
            "insert into ledger (hour, sprite, cpu_hours, memory_gb_hours, hot_gb_hours, stored_gb_hours, running_seconds, cost_usd,
                 sent_bytes, received_bytes)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             on conflict (hour, sprite) do update set
                 cpu_hours = cpu_hours + excluded.cpu_hours,
                 memory_gb_hours = memory_gb_hours + excluded.memory_gb_hours,
                 hot_gb_hours = hot_gb_hours + excluded.hot_gb_hours,
                 stored_gb_hours = stored_gb_hours + excluded.stored_gb_hours,
                 running_seconds = running_seconds + excluded.running_seconds,
                 cost_usd = cost_usd + excluded.cost_usd,
                 sent_bytes = sent_bytes + excluded.sent_bytes,
                 received_bytes = received_bytes + excluded.received_bytes",
        )?
        .execute(params![
            hour,
            sprite,
            used.cpu_hours,
            used.memory_gb_hours,
            used.hot_gb_hours,
            used.stored_gb_hours,
            used.running_seconds,
            used.cost_usd,
            i64::try_from(used.sent_bytes).unwrap_or(i64::MAX),
            i64::try_from(used.received_bytes).unwrap_or(i64::MAX),
        ])?;
    Ok(())
}

/// What is before this is forgotten: more than a year of hours with bills lies behind it. The clock is not asked, for one that was wrong for a moment
/// would cost everything.
pub(super) fn horizon(transaction: &Transaction<'_>) -> Result<Option<Time>> {
    // Within fewer hours there cannot be more, and that is found out at once.
    let span: Option<i64> = transaction
        .prepare_cached("select (select max(hour) from ledger) - (select min(hour) from ledger)")?
        .query_row([], |row| row.get(0))?;
    if span.is_none_or(|span| span < HOURS_KEPT * HOUR) {
        return Ok(None);
    }
    let mut query = transaction
        .prepare_cached("select distinct hour from ledger order by hour desc limit 1 offset ?1")?;
    let hour: Option<i64> = query.query_row([HOURS_KEPT - 1], |row| row.get(0)).optional()?;
    Ok(hour.map(Time::from_micros))
}

/// Drops bills from before `before`, and sprites without any.
pub(super) fn forget(transaction: &Transaction<'_>, before: Time) -> Result<()> {
    let dropped =
        transaction.prepare_cached("delete from ledger where hour < ?1")?.execute([before.as_micros()])?;
    if dropped > 0 {
        transaction.execute("delete from customer where id not in (select sprite from ledger)", [])?;
    }
    Ok(())
}

/// How bills are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Sprite,
    /// A sprite counts for each of its labels.
    Label,
    Day,
}

impl Store {
    /// What was used from `from` until before `until`, the dearest first, or in order of time.
    pub(crate) fn costs(&self, from: Time, until: Time, by: By) -> Result<Vec<CostRow>> {
        const SUMS: &str = "sum(cpu_hours), sum(memory_gb_hours), sum(hot_gb_hours), sum(stored_gb_hours), sum(running_seconds), sum(cost_usd),
            sum(sent_bytes), sum(received_bytes)";
        let (what, tables, group) = match by {
            By::Sprite => (
                "name, not exists (select 1 from sprite where sprite.id = ledger.sprite)",
                "ledger join customer on customer.id = ledger.sprite",
                "ledger.sprite order by 8 desc, name",
            ),
            By::Label => (
                "value, 0",
                "ledger join customer on customer.id = ledger.sprite, json_each(customer.labels)",
                "value order by 8 desc, value",
            ),
            By::Day => ("date(hour / 1000000, 'unixepoch'), 0", "ledger", "1 order by 1"),
        };
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!(
            "select {what}, {SUMS} from {tables} where hour >= ?1 and hour < ?2 group by {group}"
        ))?;
        let rows = query.query_map([from.as_micros(), until.as_micros()], |row| {
            Ok(CostRow { name: row.get(0)?, gone: row.get(1)?, used: sums(row, 2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// When the first bill begins.
    pub(crate) fn first_bill(&self) -> Result<Option<Time>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached("select min(hour) from ledger")?;
        let first: Option<i64> = query.query_row([], |row| row.get(0))?;
        Ok(first.map(Time::from_micros))
    }

    /// All that was used from `from` until before `until`.
    pub(crate) fn cost(&self, from: Time, until: Time) -> Result<UsageTotals> {
        let rows = self.costs(from, until, By::Day)?;
        let mut all = UsageTotals::default();
        rows.into_iter().for_each(|row| all += row.used);
        Ok(all)
    }
}

fn sums(row: &Row<'_>, first: usize) -> rusqlite::Result<UsageTotals> {
    Ok(UsageTotals {
        cpu_hours: row.get(first)?,
        memory_gb_hours: row.get(first + 1)?,
        hot_gb_hours: row.get(first + 2)?,
        stored_gb_hours: row.get(first + 3)?,
        running_seconds: row.get(first + 4)?,
        cost_usd: row.get(first + 5)?,
        sent_bytes: row.get::<_, i64>(first + 6)?.unsigned_abs(),
        received_bytes: row.get::<_, i64>(first + 7)?.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use crate::meter::account::{Account, Entry};
    use crate::meter::clock::Moment;

    fn tick(sprite: &str, labels: &[&str], from: &str, to: &str, used: UsageTotals) -> Tick {
        let moment = |text: &str| Moment::written(text.parse().unwrap());
        Tick {
            sprite: sprite.into(),
            name: format!("box-{sprite}"),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            account: Account { totals: used, ..Account::new(moment(to)) },
            entry: Entry { sample: None, used, since: moment(from) },
        }
    }

    #[test]
    fn bills_by_sprite_label_and_day_outlive_the_sprite() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box-1")).unwrap();
        store.put(&record("2", "box-2")).unwrap();
        let running = UsageTotals { cost_usd: 0.5, running_seconds: 10.0, ..UsageTotals::default() };
        let storage_usd = crate::rates::storage_usd(4.0);
        let kept = UsageTotals { stored_gb_hours: 4.0, cost_usd: storage_usd, ..UsageTotals::default() };
        store
            .record(&[
                tick("1", &["ci", "web"], "2026-11-03T10:00:00Z", "2026-11-03T10:00:10Z", running),
                tick("2", &["ci"], "2026-11-04T10:00:00Z", "2026-11-04T10:00:10Z", running),
                // Kept over midnight, half an hour of it on the day before.
                tick("2", &["ci"], "2026-11-04T23:30:00Z", "2026-11-05T01:30:00Z", kept),
            ])
            .unwrap();
        store.remove("2").unwrap();
        let (from, until) =
            ("2026-11-01T00:00:00Z".parse().unwrap(), "2026-12-01T00:00:00Z".parse().unwrap());
        let shown = |by| -> Vec<(String, bool, f64)> {
            let rows = store.costs(from, until, by).unwrap();
            rows.into_iter().map(|row| (row.name, row.gone, row.used.cost_usd)).collect()
        };
        let near = |found: &[(String, bool, f64)], wanted: &[(&str, bool, f64)]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (one, two) in found.iter().zip(wanted) {
                assert!(one.0 == two.0 && one.1 == two.1 && (one.2 - two.2).abs() < 1e-9, "{found:?}");
            }
        };
        near(&shown(By::Sprite), &[("box-2", true, 0.5 + storage_usd), ("box-1", false, 0.5)]);
        near(&shown(By::Label), &[("ci", false, 1.0 + storage_usd), ("web", false, 0.5)]);
        let quarter = storage_usd / 4.0;
        near(
            &shown(By::Day),
            &[
                ("2026-11-03", false, 0.5),
                ("2026-11-04", false, 0.5 + quarter),
                ("2026-11-05", false, 3.0 * quarter),
            ],
        );
        let all = store.cost(from, until).unwrap();
        assert!((all.cost_usd - 1.0 - storage_usd).abs() < 1e-9 && (all.stored_gb_hours - 4.0).abs() < 1e-9);
        assert_eq!(
            store.cost(until, "2027-01-01T00:00:00Z".parse().unwrap()).unwrap(),
            UsageTotals::default()
        );
        // However late it seems to be: only a year of bills makes room for itself.
        let late: Time = "2099-01-01T00:00:00Z".parse().unwrap();
        store.roll_up(late).unwrap();
        assert!(!shown(By::Sprite).is_empty());
        let mut connection = store.lock();
        let transaction = connection.transaction().unwrap();
        for number in 0..HOURS_KEPT {
            put(&transaction, "1", late.as_micros() + number * HOUR, running).unwrap();
        }
        transaction.commit().unwrap();
        drop(connection);
        store.roll_up(late).unwrap();
        assert!(shown(By::Sprite).is_empty());
        assert_eq!(store.first_bill().unwrap(), Some(late));
    }
}
