//! What happened to sprites.

use super::{Result, Store};
use rusqlite::params;
use sprites_api::Time;
use sprites_api::extension::Event;
use sprites_api::sprite::Status;

/// Events that are kept of a sprite.
const KEPT: i64 = 500;

impl Store {
    /// Writes one down.
    pub(crate) fn happened(&self, sprite: &str, event: &Event) -> Result<()> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "insert into event (sprite, time, status, reason)
                 select ?1, ?2, ?3, ?4 where exists (select 1 from sprite where id = ?1)",
            )?
            .execute(params![sprite, event.time.as_micros(), event.status.as_str(), event.reason])?;
        connection
            .prepare_cached(
                "delete from event where sprite = ?1 and number <=
                 (select number from event where sprite = ?1 order by number desc limit 1 offset ?2)",
            )?
            .execute(params![sprite, KEPT])?;
        Ok(())
    }

    /// The last ones, newest first.
    pub(crate) fn events(&self, sprite: &str, most: usize) -> Result<Vec<Event>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "select time, status, reason from event where sprite = ?1 order by number desc limit ?2",
        )?;
        let rows = query.query_map(params![sprite, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let status: String = row.get(1)?;
            Ok(Event {
                time: Time::from_micros(row.get(0)?),
                // One of a newer version is none that is known here.
                status: serde_json::from_value(status.into()).unwrap_or(Status::Unknown),
                reason: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn the_last_ones_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        store.put(&record("2", "other")).unwrap();
        let event = |number: i64| Event {
            // The clock may be set back.
            time: Time::from_micros(1_000_000 - number),
            status: if number % 2 == 0 { Status::Running } else { Status::Warm },
            reason: format!("number {number}"),
        };
        store.happened("2", &event(7)).unwrap();
        store.happened("9", &event(7)).unwrap();
        for number in 0..KEPT + 20 {
            store.happened("1", &event(number)).unwrap();
        }
        let last = store.events("1", 2).unwrap();
        assert_eq!(last, [event(KEPT + 19), event(KEPT + 18)]);
        assert_eq!(store.events("1", usize::MAX).unwrap().len() as i64, KEPT);
        assert_eq!(store.events("2", 10).unwrap(), [event(7)]);
        store.remove("1").unwrap();
        assert!(store.events("1", 10).unwrap().is_empty());
    }
}
