//! What does not come by itself is asked for again and again, where it is looked at.

use super::{Effect, part};
use crate::model::{Group, Model, Screen};
use std::time::{Duration, Instant};

/// Between two looks at the bill of the month.
const COSTS: Duration = Duration::from_secs(30);
/// Between two looks at who uses the sprite on the screen, or at what the screen tells else.
const USES: Duration = Duration::from_secs(3);

/// Asks for what does not come by itself, where it is looked at.
pub(super) fn ask_again(model: &mut Model, now: Instant) -> Vec<Effect> {
    let due = |asked: Option<Instant>, pause| asked.is_none_or(|at| now.duration_since(at) >= pause);
    let mut effects = Vec::new();
    if !model.connected {
        return effects;
    }
    effects.extend(part::ask_again(model, now));
    // Elsewhere only a server of ours tells these.
    if !model.here.local && !model.metered {
        return effects;
    }
    if due(model.asked.costs, COSTS) {
        model.asked.costs = Some(now);
        effects.push(Effect::LoadCosts(Group::Sprite));
    }
    if due(model.asked.sprite, USES) {
        let looked_at = match model.screen {
            Screen::Sprite => model.selected.clone().map(Effect::LoadSprite),
            Screen::Events => model.events.as_ref().map(|(name, _)| Effect::LoadEvents(name.clone())),
            Screen::Timeline => Some(Effect::LoadTimeline(model.timeline.since())),
            Screen::Costs => Some(Effect::LoadCosts(model.bill.0)),
            _ => None,
        };
        model.asked.sprite = Some(now);
        effects.extend(looked_at);
    }
    effects
}
