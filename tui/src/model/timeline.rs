//! What happened to all sprites of the context, newest first.

use super::{Load, Model};
use sprites_api::Time;
use sprites_api::extension::{EventKind, Happened};
use sprites_backend::client::{clean, is_name};

/// Most events that are kept.
pub const MOST: usize = 500;

/// How late an event may be told, microseconds.
const LATE: i64 = 60_000_000;

/// What tells an event from all others.
pub type Id = (Time, EventKind, String, String);

/// See the module.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Newest first.
    pub events: Load<Vec<Happened>>,
    /// The selected one; the newest, when there is none.
    pub chosen: Option<Id>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { events: Load::Waiting, chosen: None }
    }
}

impl Timeline {
    /// After which time to ask for more. Gateways tell what they denied a little later, and with a clock of their own.
    pub fn since(&self) -> Option<Time> {
        let Load::Ready(events) = &self.events else { return None };
        events.first().map(|newest| Time::from_micros(newest.event.time.as_micros() - LATE))
    }
}

/// The id of an event.
pub fn id(happened: &Happened) -> Id {
    let event = &happened.event;
    (event.time, event.kind, happened.sprite.clone(), event.reason.clone())
}

/// Events that may be shown.
pub fn safe(mut events: Vec<Happened>) -> Vec<Happened> {
    events.retain(|happened| is_name(&happened.sprite));
    events.truncate(MOST);
    for happened in &mut events {
        happened.event.reason = clean(&happened.event.reason);
    }
    events
}

impl Model {
    /// Events that are shown.
    pub fn shown_events(&self) -> Vec<&Happened> {
        let Load::Ready(events) = &self.timeline.events else { return Vec::new() };
        let fits = |happened: &&Happened| {
            let event = &happened.event;
            let words = [event.kind.as_str(), event.status.as_str(), &happened.sprite, &event.reason];
            self.finds(&words)
        };
        events.iter().filter(fits).collect()
    }

    /// Place of the selected event among those; the newest where it is gone.
    pub fn timeline_place(&self, shown: &[&Happened]) -> usize {
        let Some(chosen) = &self.timeline.chosen else { return 0 };
        shown.iter().position(|happened| id(happened) == *chosen).unwrap_or(0)
    }
}
