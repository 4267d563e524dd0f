//! The server's database: names and settings of sprites, and what they used. Disks and checkpoints are not in it, so that a lost
//! database loses no data: each sprite's folder holds a copy of its record, from which it is made anew.

pub(crate) mod bills;
mod events;
mod migrations;
pub(crate) mod usage;

use crate::lock::locked;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sprites_api::Time;
use sprites_api::policy::Policies;
use sprites_api::sprite::{Config, UrlSettings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long a write waits for another program that has the database open.
const BUSY: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or is damaged.
    #[error(
        "the database {path} cannot be used ({why}); move it away and start again: sprites and checkpoints are not in it and stay, only past usage is lost"
    )]
    Damaged {
        /// Its place.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// A call failed.
    #[error("the database does not take it: {0}{advice}", advice = advice(.0))]
    Call(#[from] rusqlite::Error),
    /// A record makes no sense.
    #[error("a record in the database makes no sense: {0}")]
    Record(#[from] serde_json::Error),
}

/// What can be done about it, as the rest of a sentence.
fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program has it open for writing, and has to end or let go of it"
        }
        Some(ErrorCode::DiskFull) => "; make room on the host's disk",
        Some(ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => "; look after the host's disk",
        _ => "",
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// What is known about a sprite beside its disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub url_settings: UrlSettings,
    #[serde(default)]
    pub config: Config,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    pub created_at: Time,
    pub updated_at: Time,
    #[serde(default)]
    pub last_running_at: Option<Time>,
    #[serde(default)]
    pub last_warming_at: Option<Time>,
    /// Id of the image it was made from; of its origin's for a fork.
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Policies::is_unset")]
    pub policy: Policies,
}

/// The database. Calls take well under a millisecond, except after a long time of heavy use of the host's disk.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the database, making or upgrading it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
        let mut connection = Connection::open(path).map_err(|error| damaged(error.to_string()))?;
        let prepare = |connection: &mut Connection| -> std::result::Result<(), String> {
            let told = |error: rusqlite::Error| error.to_string();
            connection.busy_timeout(BUSY).map_err(told)?;
            connection.pragma_update(None, "journal_mode", "wal").map_err(told)?;
            // A power cut may cost the last seconds of usage, never the file.
            connection.pragma_update(None, "synchronous", "normal").map_err(told)?;
            connection.pragma_update(None, "foreign_keys", true).map_err(told)?;
            let sound: String =
                connection.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(told)?;
            if sound != "ok" {
                return Err(sound);
            }
            migrations::all().to_latest(connection).map_err(|error| error.to_string())
        };
        prepare(&mut connection).map_err(damaged)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// All sprites, by name.
    pub(crate) fn sprites(&self) -> Result<Vec<Record>> {
        let connection = self.lock();
        let mut query = connection.prepare_cached("select record from sprite order by name")?;
        let rows = query.query_map([], |row| row.get::<_, String>(0))?;
        rows.map(|text| Ok(serde_json::from_str(&text?)?)).collect()
    }

    /// Writes a sprite's record, new or changed.
    pub(crate) fn put(&self, record: &Record) -> Result<()> {
        self.lock()
            .prepare_cached(
                "insert into sprite (id, name, record) values (?1, ?2, ?3)
             on conflict (id) do update set name = excluded.name, record = excluded.record",
            )?
            .execute(params![record.id, record.name, serde_json::to_string(record)?])?;
        Ok(())
    }

    /// Removes a sprite and its usage.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        self.lock().execute("delete from sprite where id = ?1", [id])?;
        Ok(())
    }

    /// A value of the server's own.
    pub(crate) fn setting(&self, key: &str) -> Result<Option<String>> {
        Ok(self
            .lock()
            .query_row("select value from setting where key = ?1", [key], |row| row.get(0))
            .optional()?)
    }

    /// Writes a value of the server's own.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<()> {
        self.lock().execute("insert or replace into setting (key, value) values (?1, ?2)", [key, value])?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A statement is whole or not at all, whatever happened to its caller.
        locked(&self.connection)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(id: &str, name: &str) -> Record {
        Record {
            id: id.into(),
            name: name.into(),
            labels: vec!["ci".into()],
            url_settings: UrlSettings::default(),
            config: Config::default(),
            environment: BTreeMap::new(),
            created_at: Time::now(),
            updated_at: Time::now(),
            last_running_at: None,
            last_warming_at: None,
            image: None,
            policy: Policies::default(),
        }
    }

    #[test]
    fn records_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.db");
        let mut one = record("1", "box");
        {
            let store = Store::open(&path).unwrap();
            store.put(&one).unwrap();
            store.put(&record("2", "a")).unwrap();
            assert!(store.put(&record("3", "box")).is_err(), "names are unique");
            one.labels.clear();
            store.put(&one).unwrap();
            store.set("k", "v").unwrap();
        }
        let store = Store::open(&path).unwrap();
        let names: Vec<_> = store.sprites().unwrap().into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["a", "box"]);
        assert_eq!(store.sprites().unwrap()[1], one);
        assert_eq!(store.setting("k").unwrap().as_deref(), Some("v"));
        store.remove("2").unwrap();
        assert_eq!(store.sprites().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.db");
        std::fs::write(&path, "this is no database, and long enough to be looked at as one").unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
    }
}
