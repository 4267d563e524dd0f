//! What happened to sprites.

use super::{Result, Store};
use rusqlite::{OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use sprites_api::Time;
use sprites_api::extension::{Event, EventKind, Happened};

/// Events that are kept of a sprite.
const KEPT: i64 = 500;

impl Store {
    /// Writes one down.
    pub(crate) fn happened(&self, sprite: &str, event: &Event) -> Result<()> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "insert into event (sprite, time, status, reason, kind)
                 select ?1, ?2, ?3, ?4, ?5 where exists (select 1 from sprite where id = ?1)",
            )?
            .execute(params![
                sprite,
                event.time.as_micros(),
                event.status.as_str(),
                event.reason,
                event.kind.as_str()
            ])?;
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
            "select time, kind, status, reason from event where sprite = ?1 order by number desc limit ?2",
        )?;
        let rows = query.query_map(params![sprite, i64::try_from(most).unwrap_or(i64::MAX)], event)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// When it took on the state that it was in last.
    pub(crate) fn turned(&self, sprite: &str) -> Result<Option<Event>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "select time, kind, status, reason from event
             where sprite = ?1 and kind in ('state', 'failure') order by number desc limit 1",
        )?;
        Ok(query.query_row([sprite], event).optional()?)
    }

    /// The last ones of all sprites after `since`, newest first; of one kind, or of all.
    pub(crate) fn timeline(
        &self,
        since: Time,
        kind: Option<EventKind>,
        most: usize,
    ) -> Result<Vec<Happened>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "select event.time, event.kind, event.status, event.reason, sprite.name
             from event join sprite on sprite.id = event.sprite
             where event.time > ?1 and (?2 is null or event.kind = ?2)
             order by event.time desc, event.number desc limit ?3",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = query.query_map(params![since.as_micros(), kind.map(EventKind::as_str), most], |row| {
            Ok(Happened { sprite: row.get(4)?, event: event(row)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let time = Time::from_micros(row.get(0)?);
    Ok(Event { time, kind: word(row.get(1)?), status: word(row.get(2)?), reason: row.get(3)? })
}

/// A word as what it stands for; one of a newer version is none that is known here.
fn word<T: DeserializeOwned + Default>(word: String) -> T {
    serde_json::from_value(word.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use sprites_api::sprite::Status;

    #[test]
    fn the_last_ones_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        store.put(&record("2", "other")).unwrap();
        let event = |number: i64| Event {
            // The clock may be set back.
            time: Time::from_micros(1_000_000 - number),
            kind: EventKind::State,
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

    #[test]
    fn those_of_all_are_told_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&record("1", "box")).unwrap();
        store.put(&record("2", "other")).unwrap();
        let event = |time: i64, kind| Event {
            time: Time::from_micros(time),
            kind,
            status: Status::Running,
            reason: format!("at {time}"),
        };
        let all = [
            ("1", event(10, EventKind::State)),
            ("2", event(30, EventKind::Checkpoint)),
            ("1", event(20, EventKind::Restore)),
            ("2", event(20, EventKind::State)),
        ];
        for (sprite, event) in &all {
            store.happened(sprite, event).unwrap();
        }
        let told = |since, kind, most| {
            let told = store.timeline(Time::from_micros(since), kind, most).unwrap();
            told.into_iter()
                .map(|one| (one.sprite, one.event.time.as_micros(), one.event.kind))
                .collect::<Vec<_>>()
        };
        let (box_, other) = ("box".to_owned(), "other".to_owned());
        assert_eq!(
            told(0, None, 3),
            [
                (other.clone(), 30, EventKind::Checkpoint),
                (other.clone(), 20, EventKind::State),
                (box_.clone(), 20, EventKind::Restore)
            ]
        );
        assert_eq!(store.turned("1").unwrap().map(|event| event.reason).as_deref(), Some("at 10"));
        assert_eq!(told(20, None, 9), [(other, 30, EventKind::Checkpoint)]);
        assert_eq!(told(0, Some(EventKind::Restore), 9), [(box_, 20, EventKind::Restore)]);
    }
}
