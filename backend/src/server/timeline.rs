//! `/v1/local/events`: what happened to all sprites. Only the database and what gateways have told is looked at.

use super::App;
use super::answer::ApiError;
use crate::sprites::blocking;
use axum::Json;
use axum::extract::{Query, State};
use sprites_api::Time;
use sprites_api::extension::{Event, EventKind, Happened, NetworkEvent, Timeline};
use sprites_api::sprite::Status;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Events that are told when nobody says how many, and the most.
const USUAL: usize = 200;
const MOST: usize = 1000;

pub(super) async fn timeline(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Timeline>, ApiError> {
    let Wanted { since, kind, most } = wanted(&query).map_err(|why| ApiError::new(400, "invalid", why))?;
    let store = Arc::clone(&app.sprites.store);
    // What was denied is not in the database: it may be much, and lasts as long as the server.
    let mut events = match kind {
        Some(EventKind::Denied) => Vec::new(),
        kind => blocking(move || Ok(store.timeline(since, kind, most)?)).await?,
    };
    if kind.is_none_or(|kind| kind == EventKind::Denied) {
        for sprite in app.sprites.all() {
            let denials = sprite.network.denials(since);
            if !denials.is_empty() {
                let name = sprite.record().name;
                events.extend(denials.iter().map(|denial| denied(&name, denial)));
            }
        }
        events.sort_by_key(|happened| Reverse(happened.event.time));
        events.truncate(most);
    }
    Ok(Json(Timeline { events }))
}

struct Wanted {
    since: Time,
    kind: Option<EventKind>,
    most: usize,
}

fn wanted(query: &HashMap<String, String>) -> Result<Wanted, &'static str> {
    let since = query.get("since").map(|text| text.parse().map_err(|_| "since takes a time as in RFC 3339"));
    let kind = query.get("kind").map(|word| match serde_json::from_value(word.as_str().into()) {
        Ok(EventKind::Unknown) | Err(_) => Err("kind is state, failure, checkpoint, restore or denied"),
        Ok(kind) => Ok(kind),
    });
    let most = query.get("limit").map(|text| match text.parse() {
        Ok(most @ 1..=MOST) => Ok(most),
        _ => Err("limit is 1 to 1000"),
    });
    Ok(Wanted {
        since: since.transpose()?.unwrap_or(Time::from_micros(0)),
        kind: kind.transpose()?,
        most: most.transpose()?.unwrap_or(USUAL),
    })
}

fn denied(sprite: &str, denial: &NetworkEvent) -> Happened {
    let why = denial.why().map(|why| format!(", {why}")).unwrap_or_default();
    let times = if denial.count > 1 { format!(", {} times", denial.count) } else { String::new() };
    let reason = format!("{} {}{why}{times}", denial.kind, denial.place());
    let event = Event { time: denial.at, kind: EventKind::Denied, status: Status::Running, reason };
    Happened { sprite: sprite.to_owned(), event }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_checked() {
        let ask = |pairs: &[(&str, &str)]| {
            wanted(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let usual = ask(&[]).unwrap();
        assert_eq!((usual.since.as_micros(), usual.kind, usual.most), (0, None, USUAL));
        let some = ask(&[("since", "2026-11-26T10:00:00Z"), ("kind", "denied"), ("limit", "7")]).unwrap();
        assert_eq!((some.kind, some.most), (Some(EventKind::Denied), 7));
        for wrong in
            [("since", "yesterday"), ("kind", "unknown"), ("kind", "x"), ("limit", "0"), ("limit", "1001")]
        {
            assert!(ask(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
