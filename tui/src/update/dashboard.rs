//! The dashboard: what comes of glances, and ways from it.

use super::{Effect, dialog, jump};
use crate::model::dashboard::{Chosen, Glance};
use crate::model::{Load, Model, Screen, Spot, Weight};
use sprites_api::Time;
use std::time::Instant;

/// Opens it.
pub(super) fn open(model: &mut Model) {
    model.search.clear();
    model.screen = Screen::Dashboard;
}

/// Contexts are looked at as long as the dashboard is on the screen.
pub(super) fn settle(model: &mut Model) -> Vec<Effect> {
    let on = model.screen == Screen::Dashboard && !model.quit;
    if on == model.dashboard.looking {
        return Vec::new();
    }
    model.dashboard.look(on, Instant::now());
    vec![Effect::Glance(on)]
}

/// Something was seen of a context.
pub(super) fn came(model: &mut Model, context: String, mut glance: Glance) {
    // One that nobody looks at any more may be late, and would pass for fresh.
    if !model.dashboard.looking || !model.contexts.contains(&context) {
        return;
    }
    if let Ok(known) = &mut glance.known
        && known.money.least
        && context == model.here.context
    {
        // More of it was seen than from the dashboard alone.
        known.money.month = known.money.month.max(model.least_usd);
    }
    let lines = model.dashboard_lines();
    let place = model.dashboard_place(&lines);
    let was_there = model.dashboard.chosen.as_ref() == lines.get(place);
    model.dashboard.glances.insert(context, glance);
    if was_there {
        let lines = model.dashboard_lines();
        if !lines.iter().any(|line| Some(line) == model.dashboard.chosen.as_ref()) {
            // What was selected is gone: its neighbour is next.
            model.dashboard.chosen = lines.into_iter().take(place + 1).next_back();
        }
    }
}

/// A moment passes.
pub(super) fn pass(model: &mut Model) {
    if model.dashboard.looking {
        model.dashboard.pass(Time::now());
    }
}

/// Moves the selection.
pub(super) fn step(model: &mut Model, by: isize) {
    let lines = model.dashboard_lines();
    let to = model.dashboard_place(&lines).saturating_add_signed(by).min(lines.len().saturating_sub(1));
    model.dashboard.chosen = lines.get(to).cloned();
}

/// Goes to what the selected line is of, into its context where that is another.
pub(super) fn visit(model: &mut Model) -> Vec<Effect> {
    let lines = model.dashboard_lines();
    let place = model.dashboard_place(&lines);
    let Some(chosen) = lines.into_iter().nth(place) else { return Vec::new() };
    model.dashboard.chosen = Some(chosen.clone());
    let (context, sprite) = match chosen {
        Chosen::Context(context) => (context, None),
        Chosen::Sprite(context, sprite) => (context, Some(sprite)),
    };
    if context == model.here.context {
        return match sprite {
            Some(sprite) => to_sprite(model, sprite),
            None => jump::go(model, Spot::List),
        };
    }
    let Some(index) = model.contexts.iter().position(|name| *name == context) else { return Vec::new() };
    let effects = dialog::enter(model, index);
    model.dashboard.going = Some((context, sprite.unwrap_or_default()));
    effects
}

/// The list of the context is here: whoever was on the way to a sprite of it goes there.
pub(super) fn arrived(model: &mut Model) -> Vec<Effect> {
    if !model.is_arriving() {
        return Vec::new();
    }
    match model.dashboard.going.take() {
        // Somebody has gone elsewhere meanwhile.
        Some((_, sprite)) if !sprite.is_empty() && model.screen == Screen::List => to_sprite(model, sprite),
        _ => Vec::new(),
    }
}

/// To a sprite of this context, if it is still there.
pub(super) fn to_sprite(model: &mut Model, sprite: String) -> Vec<Effect> {
    match &model.sprites {
        Load::Ready(sprites) if !sprites.contains_key(&sprite) => {
            model.say(Weight::Bad, format!("{sprite} is gone."));
            Vec::new()
        }
        _ => {
            if !model.order.contains(&sprite) {
                model.filter.clear();
                model.arrange();
            }
            let part = model.part;
            jump::go(model, Spot::Sprite(sprite, part))
        }
    }
}
