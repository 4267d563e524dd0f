//! What happened to all sprites of the demo.

use crate::actor::Actor;
use crate::world::World;
use sprites_api::Time;
use sprites_api::extension::{Event, EventKind, Happened};
use sprites_api::sprite::Status;
use std::cmp::Reverse;

/// Denials are told as of whole minutes, microseconds: those of the demo come again and again.
const MINUTE: i64 = 60_000_000;

/// The last ones after `since`, microseconds since 1970, newest first; of one kind, or of all.
pub fn timeline(world: &World, since: i64, kind: Option<&str>, most: usize) -> Vec<Happened> {
    let mut events: Vec<Happened> = world.actors.iter().flat_map(|(name, actor)| of(name, actor)).collect();
    events.retain(|one| {
        one.event.time.as_micros() > since && kind.is_none_or(|kind| one.event.kind.as_str() == kind)
    });
    events.sort_by_key(|one| Reverse(one.event.time));
    events.truncate(most);
    events
}

fn of(name: &str, actor: &Actor) -> Vec<Happened> {
    let denied = actor.network().events.into_iter().filter(|event| event.verdict == "denied");
    let denied = denied.map(|event| Event {
        time: Time::from_micros(event.at.as_micros() / MINUTE * MINUTE),
        kind: EventKind::Denied,
        status: Status::Running,
        reason: format!("{} {}", event.kind, event.place()),
    });
    let all = actor.events.iter().cloned().chain(denied);
    all.map(|event| Happened { sprite: name.to_owned(), event }).collect()
}
