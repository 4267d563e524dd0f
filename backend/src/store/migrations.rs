//! The database's shape, version by version. A version that was released is never changed; a new one is added below it.

use rusqlite_migration::{M, Migrations};

pub(super) fn all() -> Migrations<'static> {
    Migrations::new(vec![M::up(
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
    )])
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_sound() {
        super::all().validate().unwrap();
    }
}
