//! What happened to all sprites of the context.

use super::{Effect, dashboard};
use crate::model::timeline::{id, safe};
use crate::model::{Load, Model, Screen};
use sprites_api::Time;
use sprites_api::extension::Happened;

/// Opens it.
pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    model.search.clear();
    model.screen = Screen::Timeline;
    // What is known is shown until all is here anew.
    vec![Effect::LoadTimeline(None)]
}

/// What happened after that time is here, or all.
pub(super) fn came(model: &mut Model, since: Option<Time>, outcome: Result<Vec<Happened>, String>) {
    let known: Vec<Happened> = match (&model.timeline.events, since) {
        (Load::Ready(known), Some(since)) => {
            known.iter().filter(|happened| happened.event.time <= since).cloned().collect()
        }
        _ => Vec::new(),
    };
    let all = |fresh: Vec<Happened>| safe(fresh.into_iter().chain(known).collect());
    model.timeline.events.renew(outcome.map(all));
}

/// Moves the selection.
pub(super) fn step(model: &mut Model, by: isize) {
    let shown = model.shown_events();
    let to = model.timeline_place(&shown).saturating_add_signed(by).min(shown.len().saturating_sub(1));
    // At the newest it stays there, whatever comes.
    let chosen = shown.get(to).filter(|_| to > 0).map(|happened| id(happened));
    model.timeline.chosen = chosen;
}

/// Selects the line of that place.
pub(super) fn pick(model: &mut Model, place: usize) {
    let chosen = model.shown_events().get(place).map(|happened| id(happened));
    model.timeline.chosen = chosen;
}

/// Goes to the sprite of the selected event.
pub(super) fn visit(model: &mut Model) -> Vec<Effect> {
    let shown = model.shown_events();
    let sprite = shown.get(model.timeline_place(&shown)).map(|happened| happened.sprite.clone());
    sprite.map_or_else(Vec::new, |sprite| dashboard::to_sprite(model, sprite))
}
