//! Keys, mouse, paste, resize.

use super::act::{act, step, turn};
use super::part::{self, open_sprite};
use super::{Effect, console, dashboard, dialog, network, palette, timeline};
use crate::action::Action;
use crate::keys::{Step, normal};
use crate::model::{Model, Screen};
use crate::view::geometry;
use crossterm::event::{
    Event as Terminal, KeyCode, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind,
};

/// Lines the wheel moves.
const WHEEL: isize = 3;

pub(super) fn terminal(model: &mut Model, event: Terminal) -> Vec<Effect> {
    match event {
        Terminal::Key(key) if key.kind != KeyEventKind::Release => {
            model.read();
            pressed(model, key)
        }
        Terminal::Resize(columns, rows) => {
            model.size = (columns, rows);
            console::resize(model)
        }
        Terminal::Paste(text) if model.palette.is_some() => {
            palette::paste(model, &text);
            Vec::new()
        }
        Terminal::Paste(text) => match (model.screen, &mut model.dialog) {
            (_, Some(open)) => {
                let line: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                let joined = format!("{}{line}", open.input.value());
                open.input = tui_input::Input::new(joined);
                dialog::typed(model);
                Vec::new()
            }
            (Screen::Console(id), None) => console::paste(model, id, &text),
            _ => Vec::new(),
        },
        Terminal::Mouse(mouse) => moused(model, mouse),
        Terminal::Key(key) => match model.screen {
            Screen::Console(id) if model.dialog.is_none() => console::released(model, id, key),
            _ => Vec::new(),
        },
        Terminal::FocusGained => console::focus(model, true),
        Terminal::FocusLost => console::focus(model, false),
    }
}

fn pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if model.palette.is_some() {
        return palette::key(model, key);
    }
    if model.dialog.is_some() {
        return dialog::key(model, key);
    }
    if let Screen::Console(id) = model.screen {
        return console::key(model, id, key);
    }
    let waiting = std::mem::take(&mut model.waiting);
    if waiting.is_empty()
        && let KeyCode::Char(digit @ '1'..='9') = key.code
        && key.modifiers.is_empty()
    {
        let place = digit as usize - '1' as usize;
        return match model.consoles.get(place).map(|tab| tab.id) {
            Some(id) => console::show(model, id),
            None => Vec::new(),
        };
    }
    match model.keys.step(&waiting, key, model.place()) {
        Step::Act(action) => act(model, action),
        Step::More => {
            model.waiting = waiting;
            model.waiting.push(normal(key.into()));
            Vec::new()
        }
        Step::Nothing => Vec::new(),
    }
}

fn wheel(model: &mut Model, mouse: MouseEvent, lines: isize) -> Vec<Effect> {
    match geometry::hit(model, mouse.column, mouse.row) {
        Some(geometry::Hit::Log) => turn(model, lines),
        _ => step(model, lines),
    }
}

fn moused(model: &mut Model, mouse: MouseEvent) -> Vec<Effect> {
    if let Some(palette) = &mut model.palette {
        match (mouse.kind, geometry::palette_entry(palette, model.size, mouse.column, mouse.row)) {
            (MouseEventKind::ScrollUp, _) => palette.step(-1),
            (MouseEventKind::ScrollDown, _) => palette.step(1),
            (MouseEventKind::Down(MouseButton::Left), Some(place)) => {
                palette.chosen = place;
                return palette::key(model, KeyEvent::from(KeyCode::Enter));
            }
            (MouseEventKind::Down(_), None) => model.palette = None,
            _ => {}
        }
        return Vec::new();
    }
    if model.dialog.is_some() {
        return Vec::new();
    }
    model.waiting.clear();
    if let Screen::Console(id) = model.screen {
        return console::mouse(model, id, mouse);
    }
    match mouse.kind {
        MouseEventKind::ScrollUp => wheel(model, mouse, -WHEEL),
        MouseEventKind::ScrollDown => wheel(model, mouse, WHEEL),
        MouseEventKind::Down(MouseButton::Left) => match geometry::hit(model, mouse.column, mouse.row) {
            Some(geometry::Hit::Sprite(name)) if model.selected.as_ref() == Some(&name) => open_sprite(model),
            Some(geometry::Hit::Sprite(name)) => {
                model.selected = Some(name);
                Vec::new()
            }
            Some(geometry::Hit::Checkpoint(id)) => {
                model.checkpoint = Some(id);
                Vec::new()
            }
            Some(geometry::Hit::Inside(item)) => {
                model.inside.chosen = Some(item);
                Vec::new()
            }
            Some(geometry::Hit::File(place)) if model.files.place == place => act(model, Action::OpenFile),
            Some(geometry::Hit::File(place)) => {
                model.files.place = place;
                Vec::new()
            }
            Some(geometry::Hit::Part(part)) => part::open(model, part),
            Some(geometry::Hit::LogLine(place)) => {
                network::pick_line(model, place);
                Vec::new()
            }
            Some(geometry::Hit::Rule(place)) => {
                network::pick_rule(model, place);
                Vec::new()
            }
            Some(geometry::Hit::Across(chosen)) if model.dashboard.chosen.as_ref() == Some(&chosen) => {
                dashboard::visit(model)
            }
            Some(geometry::Hit::Across(chosen)) => {
                model.dashboard.chosen = Some(chosen);
                Vec::new()
            }
            Some(geometry::Hit::Happened(place, true)) => {
                timeline::pick(model, place);
                timeline::visit(model)
            }
            Some(geometry::Hit::Happened(place, false)) => {
                timeline::pick(model, place);
                Vec::new()
            }
            Some(geometry::Hit::Log) => Vec::new(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}
