//! The one key of a console, and what follows it.

use super::{MAX, copy, enter, fit, leave, open, send, show, typed};
use crate::model::layout::{Layout, Side};
use crate::model::{Attachment, HINT, Model, Screen, Task, Weight};
use crate::prefix::Command;
use crate::update::Effect;
use crate::view::geometry;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use std::time::Instant;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// Cells that one key moves a line by: columns, rows.
const STEP: (u16, u16) = (4, 2);
/// Longest name, characters.
const MAX_NAME: usize = 40;

/// A key on the screen of a console.
pub(in crate::update) fn key(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
    let is_prefix = model.mux.prefix.is(key);
    model.mux.hint = false;
    match std::mem::take(&mut model.mux.task) {
        Task::Waiting(_) if is_prefix => {
            return match model.console(id) {
                Some(tab) => {
                    let bytes = tab.terminal.key(key);
                    send(tab, bytes)
                }
                None => Vec::new(),
            };
        }
        Task::Waiting(_) => return follow(model, id, key),
        Task::Rename(input) => return rename(model, id, input, key),
        Task::Resize => {
            if let Some(side) = side(key) {
                model.mux.task = Task::Resize;
                return resize(model, id, side);
            }
            if !is_prefix {
                return Vec::new();
            }
        }
        Task::Join => {
            if let KeyCode::Char(digit @ '1'..='9') = key.code {
                return join(model, id, digit as usize - '1' as usize);
            }
            if !is_prefix {
                return Vec::new();
            }
        }
        Task::None => {}
    }
    if is_prefix {
        model.mux.task = Task::Waiting(Instant::now());
        return Vec::new();
    }
    if model.console(id).is_some_and(|tab| tab.terminal.copying().is_some()) {
        return copy::key(model, id, key);
    }
    typed(model, id, key)
}

/// Shows what can follow when nothing has for a while.
pub(super) fn hint(model: &mut Model, now: Instant) {
    if let Task::Waiting(since) = model.mux.task {
        model.mux.hint |= now.saturating_duration_since(since) >= HINT;
    }
}

/// Text pasted while something is typed for the app; `false` when nothing is.
pub(super) fn pasted(model: &mut Model, text: &str) -> bool {
    let Task::Rename(input) = &mut model.mux.task else { return false };
    let joined: String =
        input.value().chars().chain(text.chars().filter(|c| !c.is_control())).take(MAX_NAME).collect();
    *input = Input::new(joined);
    true
}

fn follow(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
    if let KeyCode::Char(digit @ '1'..='9') = key.code
        && key.modifiers.is_empty()
    {
        let place = digit as usize - '1' as usize;
        return model.consoles.get(place).map(|tab| tab.id).map_or(Vec::new(), |id| show(model, id));
    }
    match model.mux.prefix.command(key) {
        Some(command) => act(model, id, command),
        None => {
            let name = model.mux.prefix.name();
            model.say(
                Weight::Bad,
                format!("Nothing follows {name} with that key; {name} alone shows what can"),
            );
            Vec::new()
        }
    }
}

/// Does what a person wants in a console.
fn act(model: &mut Model, id: u64, command: Command) -> Vec<Effect> {
    let Some(sprite) = model.console(id).map(|tab| tab.sprite.clone()) else { return Vec::new() };
    match command {
        Command::Leave => leave(model),
        Command::NextTab => turn(model, id, true),
        Command::PreviousTab => turn(model, id, false),
        Command::NewTab => open(model, &sprite, true),
        Command::Close => close(model, id),
        Command::SplitRight => split(model, id, &sprite, false),
        Command::SplitBelow => split(model, id, &sprite, true),
        Command::Join => {
            model.mux.task = Task::Join;
            Vec::new()
        }
        Command::Break => {
            if let Some(layout) = model.mux.layout_mut(id) {
                layout.remove(id);
            }
            enter(model, id);
            fit(model)
        }
        Command::FocusLeft => go(model, id, Side::Left),
        Command::FocusDown => go(model, id, Side::Down),
        Command::FocusUp => go(model, id, Side::Up),
        Command::FocusRight => go(model, id, Side::Right),
        Command::FocusNext => {
            let ids = model.mux.layout(id).map(Layout::ids).unwrap_or_default();
            let place = ids.iter().position(|other| *other == id).unwrap_or(0);
            ids.get((place + 1) % ids.len().max(1)).map_or(Vec::new(), |next| focus(model, id, *next))
        }
        Command::Zoom => {
            if let Some(layout) = model.mux.layout_mut(id) {
                layout.zoomed = !layout.zoomed;
            }
            // Those that were covered may have been detached meanwhile.
            show(model, id)
        }
        Command::Resize if model.mux.layout(id).is_some() => {
            model.mux.task = Task::Resize;
            Vec::new()
        }
        Command::Resize => {
            model.say(Weight::Bad, "There is nothing beside it to give it room or take some");
            Vec::new()
        }
        Command::Copy | Command::Search => {
            if let Some(tab) = model.console(id) {
                match command {
                    Command::Search => tab.terminal.search(true),
                    _ => tab.terminal.copy(),
                }
            }
            Vec::new()
        }
        Command::Paste => {
            match model.mux.copied.clone() {
                Some(text) => super::paste(model, id, &text),
                None => {
                    model.say(Weight::Bad, "Nothing was copied yet; what other programs copied is pasted by the terminal's own key");
                    Vec::new()
                }
            }
        }
        Command::Rename => {
            let name = model.console(id).and_then(|tab| tab.name.clone()).unwrap_or_default();
            model.mux.task = Task::Rename(Input::new(name));
            Vec::new()
        }
        Command::Repaint => {
            model.mux.repaint = true;
            Vec::new()
        }
    }
}

/// To the next tab, or the one before.
fn turn(model: &mut Model, id: u64, forward: bool) -> Vec<Effect> {
    let tabs = model.tabs();
    let here = model.mux.layout(id).map_or(id, |layout| layout.focus);
    let place = tabs.iter().position(|tab| *tab == here).unwrap_or(0);
    let step = if forward { 1 } else { tabs.len().saturating_sub(1) };
    match tabs.get((place + step) % tabs.len().max(1)) {
        Some(next) if *next != here => show(model, *next),
        _ => Vec::new(),
    }
}

/// A new console of the same sprite beside this one.
fn split(model: &mut Model, id: u64, sprite: &str, below: bool) -> Vec<Effect> {
    if model.consoles.len() >= MAX {
        model.say(Weight::Bad, format!("There are {MAX} consoles already; detach some first"));
        return Vec::new();
    }
    let new = super::add(model, sprite, None, None);
    if !beside(model, id, new, below) {
        model.consoles.retain(|tab| tab.id != new);
        return Vec::new();
    }
    let mut effects = fit(model);
    effects.extend(super::connect(model, new, true));
    effects
}

/// Puts a console beside another and gives it the focus; says so when there is no room.
fn beside(model: &mut Model, id: u64, new: u64, below: bool) -> bool {
    let body = geometry::body(model);
    if model.mux.layout(id).is_none() {
        model.mux.layouts.push(Layout::new(id));
    }
    let room = model.mux.layout_mut(id).is_some_and(|layout| layout.split(id, new, below, body));
    if room {
        enter(model, new);
    } else {
        model.say(Weight::Bad, "There is no room for another console here");
    }
    room
}

/// Puts the tab with that place beside this console.
fn join(model: &mut Model, id: u64, place: usize) -> Vec<Effect> {
    let Some(other) = model.consoles.get(place).map(|tab| tab.id) else {
        model.say(Weight::Bad, format!("There is no tab {}", place + 1));
        return Vec::new();
    };
    if model.mux.layout(id).is_some_and(|layout| layout.has(other)) || other == id {
        return focus(model, id, other);
    }
    let before = model.mux.layouts.clone();
    if let Some(layout) = model.mux.layout_mut(other) {
        layout.remove(other);
    }
    if !beside(model, id, other, false) {
        model.mux.layouts = before;
        return Vec::new();
    }
    show(model, other)
}

/// Takes a console off the screen. Its program goes on, unless it has ended.
fn close(model: &mut Model, id: u64) -> Vec<Effect> {
    let next = model.mux.layout_mut(id).and_then(|layout| {
        layout.remove(id);
        (!layout.has(id)).then_some(layout.focus)
    });
    let mut effects = Vec::new();
    let mut goes_on = None;
    if let Some(tab) = model.console(id)
        && tab.attachment == Attachment::Attached
        && tab.session.is_some()
    {
        tab.attachment = Attachment::Detached;
        effects.push(Effect::ConsoleDetach(id));
        goes_on = Some(tab.sprite.clone());
    }
    match next {
        Some(next) => {
            let over =
                |attachment: &Attachment| matches!(attachment, Attachment::Ended(_) | Attachment::Failed(_));
            model.consoles.retain(|tab| tab.id != id || !over(&tab.attachment));
            effects.extend(show(model, next));
        }
        None => effects.extend(leave(model)),
    }
    if let Some(sprite) = goes_on {
        model.say(
            Weight::Good,
            format!("The console of {sprite} is closed; its program goes on while the sprite is awake"),
        );
    }
    effects
}

fn go(model: &mut Model, id: u64, side: Side) -> Vec<Effect> {
    let body = geometry::body(model);
    match model.mux.layout(id).and_then(|layout| layout.neighbour(id, side, body)) {
        Some(next) => focus(model, id, next),
        None => Vec::new(),
    }
}

/// Gives another pane the focus; programs that want to know are told.
pub(super) fn focus(model: &mut Model, from: u64, to: u64) -> Vec<Effect> {
    if from == to {
        return Vec::new();
    }
    let mut effects = super::focus(model, false);
    effects.extend(show(model, to));
    effects.extend(super::focus(model, true));
    effects
}

fn resize(model: &mut Model, id: u64, side: Side) -> Vec<Effect> {
    let body = geometry::body(model);
    let cells = if matches!(side, Side::Left | Side::Right) { STEP.0 } else { STEP.1 };
    if let Some(layout) = model.mux.layout_mut(id) {
        layout.resize(id, side, cells, body);
    }
    fit(model)
}

fn side(key: KeyEvent) -> Option<Side> {
    Some(match key.code {
        KeyCode::Left | KeyCode::Char('h') => Side::Left,
        KeyCode::Down | KeyCode::Char('j') => Side::Down,
        KeyCode::Up | KeyCode::Char('k') => Side::Up,
        KeyCode::Right | KeyCode::Char('l') => Side::Right,
        _ => return None,
    })
}

fn rename(model: &mut Model, id: u64, mut input: Input, key: KeyEvent) -> Vec<Effect> {
    match (key.code, key.modifiers) {
        (KeyCode::Esc, _) | (KeyCode::Char('c'), KeyModifiers::CONTROL) => {}
        (KeyCode::Enter, _) => {
            let name: String = input.value().trim().chars().take(MAX_NAME).collect();
            if let Some(tab) = model.console(id) {
                tab.name = Some(name).filter(|name| !name.is_empty());
            }
        }
        _ => {
            input.handle_event(&Event::Key(key));
            model.mux.task = Task::Rename(input);
        }
    }
    // Only in consoles is there something to rename.
    debug_assert!(matches!(model.screen, Screen::Console(_)));
    Vec::new()
}
