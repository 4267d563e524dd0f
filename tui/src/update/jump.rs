//! From one screen to another, and back.

use super::part::{self, open_sprite};
use super::{Effect, console, dashboard, timeline};
use crate::action::Part;
use crate::model::{Load, Model, Screen, Spot};

/// Goes back to where somebody was before, or forward again.
pub(super) fn walk(model: &mut Model, forward: bool) -> Vec<Effect> {
    let mut trail = std::mem::take(&mut model.trail);
    let spot = trail.walk(forward, |spot| model.has_spot(spot));
    model.trail = trail;
    spot.map_or_else(Vec::new, |spot| go(model, spot))
}

/// Goes to a place.
pub(super) fn go(model: &mut Model, spot: Spot) -> Vec<Effect> {
    match spot {
        Spot::List => {
            model.screen = Screen::List;
            Vec::new()
        }
        Spot::Sprite(name, part) => {
            model.selected = Some(name);
            show_part(model, part)
        }
        Spot::Console(id) => console::show(model, id),
        Spot::Across(screen) => across(model, screen),
        Spot::Text(screen, name) => {
            model.selected = name.or(model.selected.take());
            open_text(model, screen)
        }
    }
}

/// Opens a part of the selected sprite's screen.
pub(super) fn show_part(model: &mut Model, part: Part) -> Vec<Effect> {
    let open = model.screen == Screen::Sprite
        && model.tree.as_ref().is_some_and(|(name, _)| Some(name) == model.selected.as_ref());
    if open {
        return part::open(model, part);
    }
    model.part = part;
    open_sprite(model)
}

/// Opens a screen over all sprites.
pub(super) fn across(model: &mut Model, screen: Screen) -> Vec<Effect> {
    if screen == Screen::Timeline {
        return timeline::open(model);
    }
    dashboard::open(model);
    Vec::new()
}

/// Opens a screen of text, and asks for what it shows.
pub(super) fn open_text(model: &mut Model, screen: Screen) -> Vec<Effect> {
    if !model.screen.is_text() {
        model.before = model.screen;
    }
    model.screen = screen;
    // The log is read from its end.
    model.scroll = 0;
    model.search.clear();
    match screen {
        Screen::Costs => {
            model.bill.1 = Load::Waiting;
            vec![Effect::LoadCosts(model.bill.0)]
        }
        Screen::Storage => {
            model.storage = Load::Waiting;
            vec![Effect::LoadStorage]
        }
        Screen::Events => {
            let Some(name) = model.selected.clone() else { return Vec::new() };
            model.events = Some((name.clone(), Load::Waiting));
            vec![Effect::LoadEvents(name)]
        }
        _ => Vec::new(),
    }
}

/// Leaves a screen.
pub(super) fn back(model: &mut Model) {
    model.scroll = 0;
    model.screen = match model.screen {
        screen if screen.is_searched() && !model.search.is_empty() => {
            model.search.clear();
            screen
        }
        screen if screen.is_text() => model.before,
        Screen::List if !model.marked.is_empty() => {
            model.marked.clear();
            Screen::List
        }
        Screen::List if !model.filter.is_empty() => {
            model.filter.clear();
            model.arrange();
            Screen::List
        }
        // What is aside of the present was opened from the tree.
        Screen::Sprite if model.part == Part::Files && model.files.is_aside() => {
            model.files.go_home();
            model.part = Part::Checkpoints;
            Screen::Sprite
        }
        _ => Screen::List,
    };
}
