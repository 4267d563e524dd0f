//! The list of sprites: who there is, what each is and uses.

use super::Effect;
use crate::model::{Column, Load, Model, Row, Screen, Weight};
use crate::number;
use sprites_api::extension::UsageLine;
use sprites_api::sprite::{Sprite, Status, WatchLine};
use sprites_backend::client::is_name;
use std::collections::BTreeMap;
use std::time::Instant;

/// Most sprites whose sessions are looked at when the app starts.
const MAX_LOOKED: usize = 50;
/// Most samples of a graph; far more than any screen has columns.
const MAX_SAMPLES: usize = 2000;

/// The whole list. Of those that are awake sessions are asked for when it comes first.
pub(super) fn listed(model: &mut Model, sprites: Vec<Sprite>) -> Vec<Effect> {
    let first = !matches!(model.sprites, Load::Ready(_));
    let (sprites, odd): (Vec<_>, Vec<_>) = sprites.into_iter().partition(|sprite| is_name(&sprite.name));
    if let (true, Some(one)) = (first, odd.first()) {
        let name: String = one.name.chars().take(40).collect();
        let text = format!(
            "the server lists {} with a name that cannot be used, such as {name:?}; left out",
            number::count(odd.len() as u64, "sprite", "sprites")
        );
        model.say(Weight::Bad, text);
    }
    let mut rows: BTreeMap<String, Row> =
        sprites.into_iter().map(|sprite| (sprite.name.clone(), Row::new(sprite))).collect();
    if let Load::Ready(before) = &mut model.sprites {
        for (name, row) in &mut rows {
            if let Some(known) = before.remove(name) {
                row.recent = known.recent;
                (row.stored, row.shared) = (known.stored, known.shared);
                row.totals = known.totals;
            }
        }
    }
    let awake = |row: &&Row| row.sprite.status == Status::Running;
    let awake = rows.values().filter(awake).map(|row| row.sprite.name.clone()).take(MAX_LOOKED);
    let looked =
        if first && model.here.local { awake.map(Effect::LoadSessions).collect() } else { Vec::new() };
    model.sprites = Load::Ready(rows);
    model.arrange();
    looked
}

/// A sprite as it is now; none when it is gone.
pub(super) fn changed(model: &mut Model, name: String, sprite: Option<Box<Sprite>>) {
    let mut failure = None;
    if let Load::Ready(sprites) = &mut model.sprites {
        match sprite {
            Some(sprite) => {
                let fresh = Row::new(*sprite);
                let row = sprites.entry(name.clone()).or_default();
                let known = row.sprite.failure.take();
                row.sprite = fresh.sprite;
                if row.sprite.status != Status::Running {
                    row.recent.clear();
                }
                failure = row.sprite.failure.clone().filter(|why| known.as_ref() != Some(why));
            }
            None => drop(sprites.remove(&name)),
        }
    }
    if let Some(why) = failure {
        model.say(Weight::Bad, format!("{name} does not run: {why}."));
    }
    model.arrange();
    leave_lost(model);
}

/// A sprite used something. Its row changes at once, its place in the list with the next tick.
pub(super) fn used(model: &mut Model, line: UsageLine) -> Vec<Effect> {
    model.metered = true;
    let window = model.window();
    let Load::Ready(sprites) = &mut model.sprites else { return Vec::new() };
    let Some(row) = sprites.get_mut(&line.name) else { return Vec::new() };
    (row.stored, row.shared) = (line.stored_bytes, line.shared_bytes);
    row.totals = line.totals;
    model.stale_order |= matches!(model.sort, Column::Cpu | Column::Memory | Column::Storage | Column::Cost);
    let Some(sample) = line.sample else { return Vec::new() };
    row.add(sample);
    if model.history.name != line.name {
        return Vec::new();
    }
    let oldest = sample.time.as_micros() - i64::try_from(window).unwrap_or(i64::MAX) * 1_000_000;
    let samples = &mut model.history.samples;
    samples.push(sample);
    samples.retain(|sample| sample.time.as_micros() >= oldest);
    if samples.len() <= MAX_SAMPLES {
        return Vec::new();
    }
    // The server thins what it gives, so asking again is how the rest becomes few.
    samples.drain(..samples.len() / 2);
    vec![Effect::LoadHistory(line.name, window)]
}

/// Prices what is seen, where the server tells no use.
pub(super) fn estimated(model: &mut Model, now: Instant) {
    if !model.is_estimated() {
        return;
    }
    let Load::Ready(sprites) = &mut model.sprites else { return };
    // What cannot be seen is not taken for running.
    let runs = |row: &&Row| model.connected && row.sprite.status == Status::Running;
    model.estimate.look(sprites.values().filter(runs).map(|row| row.sprite.name.as_str()), now);
    for row in sprites.values_mut() {
        row.totals = model.estimate.least(&row.sprite.name, now);
    }
    model.least_usd = model.estimate.least_usd(now);
    model.stale_order |= model.sort == Column::Cost;
}

/// A sprite took on another state, or came or went.
pub(super) fn watched(model: &mut Model, line: WatchLine) -> Vec<Effect> {
    let Some(name) = line.name else { return Vec::new() };
    let Load::Ready(sprites) = &mut model.sprites else { return Vec::new() };
    match sprites.get_mut(&name) {
        Some(row) if line.kind != "deleted" => {
            let Some(status) = line.status.filter(|status| *status != row.sprite.status) else {
                return Vec::new();
            };
            row.sprite.status = status;
            if status != Status::Running {
                row.recent.clear();
            }
            model.arrange();
            // A reason for the change may have come with it, and what it ran when it fell asleep is to be seen again.
            let woken = model.here.local && status == Status::Running;
            let sessions = woken.then(|| Effect::LoadSessions(name.clone()));
            std::iter::once(Effect::LoadSprite(name)).chain(sessions).collect()
        }
        _ => vec![Effect::LoadSprite(name)],
    }
}

/// The screen of a sprite that is gone is left.
fn leave_lost(model: &mut Model) {
    if model.screen == Screen::Sprite
        && !model.tree.as_ref().is_some_and(|(name, _)| model.order.contains(name))
    {
        model.screen = Screen::List;
    }
}

/// Shows only those that fulfil terms; the error is a sentence, and what was shown before is shown still.
pub(super) fn filter(model: &mut Model, terms: &str) -> Result<(), String> {
    terms.parse::<crate::filter::Filter>()?;
    terms.trim().clone_into(&mut model.filter);
    model.arrange();
    Ok(())
}

/// Marks a sprite, or takes its mark away, and goes on to the next.
pub(super) fn mark(model: &mut Model, name: &str) {
    if !model.marked.remove(name) {
        model.marked.insert(name.to_owned());
    }
    model.last_marked = Some(name.to_owned());
    model.select(1);
}

/// Marks all from the one that was marked last to this one.
pub(super) fn mark_range(model: &mut Model, name: &str) {
    let place = |name: &str| model.order.iter().position(|other| other == name);
    let Some(here) = place(name) else { return };
    let from = model.last_marked.as_deref().and_then(place).unwrap_or(here);
    let range = from.min(here)..=from.max(here);
    model.marked.extend(model.order[range].iter().cloned());
    model.last_marked = Some(name.to_owned());
}

/// Marks all that are shown; those that are marked already, no longer.
pub(super) fn mark_all(model: &mut Model) {
    let all = model.order.iter().all(|name| model.marked.contains(name));
    if all {
        model.marked.retain(|name| !model.order.contains(name));
    } else {
        model.marked.extend(model.order.iter().cloned());
    }
}
