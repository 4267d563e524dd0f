//! The database's shape, version by version. A version that was released is never changed; a new one is added below it.

use rusqlite_migration::{M, Migrations};

pub(super) fn all() -> Migrations<'static> {
    Migrations::new(vec![
        M::up(
            "create table sprite (
                 id text primary key,
                 name text not null unique,
                 record text not null
             ) strict;
             create table setting (key text primary key, value text not null) strict;
             -- What a sprite used in all.
             create table total (
                 sprite text primary key references sprite (id) on delete cascade,
                 totals text not null,
                 -- Storage is paid up to here, microseconds since 1970.
                 kept_until integer not null
             ) strict;
             -- What it used when: one row a second for an hour, then one a minute.
             create table sample (
                 sprite text not null references sprite (id) on delete cascade,
                 time integer not null,
                 seconds real not null,
                 cpus real not null,
                 memory_bytes integer not null,
                 processes integer not null,
                 cost_usd real not null,
                 primary key (sprite, time)
             ) strict, without rowid;",
        ),
        M::up(
            "-- The counters that were read last, and when, so that nothing is counted twice or never.
             alter table total add column counters text;
             alter table total add column read_at integer;
             -- What a sample stands for: 0 a reading, 1 a minute, 2 an hour.
             alter table sample add column level integer not null default 0;
             update sample set level = 1 where seconds >= 30;
             create index sample_age on sample (level, time);
             -- Bills: what each sprite used in each hour (UTC), kept when the sprite is gone.
             create table customer (id text primary key, name text not null, labels text not null) strict, without rowid;
             create table ledger (
                 hour integer not null,
                 sprite text not null references customer (id) on delete cascade,
                 cpu_hours real not null,
                 memory_gb_hours real not null,
                 hot_gb_hours real not null,
                 stored_gb_hours real not null,
                 running_seconds real not null,
                 cost_usd real not null,
                 primary key (hour, sprite)
             ) strict, without rowid;",
        ),
        M::up(
            "-- When a sprite took on which state, and why.
             create table event (
                 number integer primary key autoincrement,
                 sprite text not null references sprite (id) on delete cascade,
                 time integer not null,
                 status text not null,
                 reason text not null
             ) strict;
             create index event_sprite on event (sprite, number);",
        ),
        M::up(
            "-- What the last gateway had carried when it was asked.
             alter table total add column carried text;
             alter table sample add column sent_bytes integer not null default 0;
             alter table sample add column received_bytes integer not null default 0;
             alter table sample add column read_bytes integer not null default 0;
             alter table sample add column written_bytes integer not null default 0;
             alter table ledger add column sent_bytes integer not null default 0;
             alter table ledger add column received_bytes integer not null default 0;",
        ),
        M::up(
            "-- Moments by a clock that nobody sets, beside those of the calendar.
             alter table total add column clocks text;",
        ),
        M::up(
            "-- Of which kind an event is, and those of all sprites by time.
             alter table event add column kind text not null default 'state';
             create index event_time on event (time);",
        ),
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_sound() {
        super::all().validate().unwrap();
    }
}
