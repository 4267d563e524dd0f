//! The mouse on the screen of consoles: focus, lines between panes, selection, links; the rest is the program's.

use super::{command, copy, fit};
use crate::browser;
use crate::model::{Drag, Model, Weight};
use crate::update::Effect;
use crate::view::geometry;
use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};
use std::time::{Duration, Instant};

/// Lines the wheel moves.
const WHEEL: i32 = 3;
/// Longest time between two clicks that are one.
const DOUBLE: Duration = Duration::from_millis(400);
/// Between two lines while the pointer is held above or below a console.
const SCROLL: Duration = Duration::from_millis(50);

pub(in crate::update) fn mouse(model: &mut Model, id: u64, mouse: MouseEvent) -> Vec<Effect> {
    let at = Position::new(mouse.column, mouse.row);
    match (mouse.kind, model.mux.drag.clone()) {
        (MouseEventKind::Drag(_) | MouseEventKind::Up(_), Some(drag)) => dragged(model, drag, mouse),
        (MouseEventKind::Down(button), _) => {
            let body = geometry::body(model);
            let line = model.mux.layout(id).and_then(|layout| layout.line_at(at, body));
            if let Some(way) = line.filter(|_| button == MouseButton::Left) {
                model.mux.drag = Some(Drag::Line(way));
                return Vec::new();
            }
            let Some((pane, place)) = pane_at(model, at) else { return Vec::new() };
            let mut effects = command::focus(model, id, pane);
            let inside = geometry::inner(place);
            if inside.contains(at) {
                effects.extend(pressed(model, pane, inside, mouse));
            }
            effects
        }
        _ => {
            let Some((pane, place)) = pane_at(model, at) else { return Vec::new() };
            let wheel = matches!(mouse.kind, MouseEventKind::ScrollUp | MouseEventKind::ScrollDown);
            // The pointer that passes over a pane is nothing to its program until it is typed to.
            if wheel || pane == id { passed(model, pane, geometry::inner(place), mouse) } else { Vec::new() }
        }
    }
}

/// Scrolls on where the pointer is held above or below a console.
pub(super) fn scroll_on(model: &mut Model, now: Instant) {
    if let Some(Drag::Select { id, to, again: Some(again), .. }) = model.mux.drag.clone()
        && again <= now
    {
        if let Some(tab) = model.console(id) {
            tab.terminal.copy_drag(to);
        }
        if let Some(Drag::Select { again, .. }) = &mut model.mux.drag {
            *again = Some(now + SCROLL);
        }
    }
}

fn pane_at(model: &Model, at: Position) -> Option<(u64, Rect)> {
    model.panes().into_iter().find(|(_, place)| place.contains(at))
}

/// A button went down in a console.
fn pressed(model: &mut Model, id: u64, inside: Rect, mouse: MouseEvent) -> Vec<Effect> {
    let at = (mouse.column - inside.x, mouse.row - inside.y);
    let now = Instant::now();
    let times = match model.mux.clicked {
        Some((when, place, times)) if place == (mouse.column, mouse.row) && now - when < DOUBLE => {
            times % 3 + 1
        }
        _ => 1,
    };
    model.mux.clicked = Some((now, (mouse.column, mouse.row), times));
    let Some(tab) = model.console(id) else { return Vec::new() };
    let left = mouse.kind == MouseEventKind::Down(MouseButton::Left);
    let opens = mouse.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if left
        && opens
        && let Some(address) = tab.terminal.link(at)
    {
        if browser::is_page(&address) {
            return vec![Effect::Browse(address)];
        }
        model.say(Weight::Bad, format!("{address} is no web page and is not opened"));
        return Vec::new();
    }
    let copying = tab.terminal.copying().is_some();
    if !copying && let Some(bytes) = tab.terminal.mouse(mouse, inside) {
        model.mux.drag = Some(Drag::Program(id));
        return vec![Effect::ConsoleInput(id, bytes.into())];
    }
    if left {
        if copying || times > 1 {
            tab.terminal.copy_press(at, times);
        }
        let to = (i32::from(at.0), i32::from(at.1));
        model.mux.drag = Some(Drag::Select { id, at, to, again: None });
    }
    Vec::new()
}

/// The pointer was moved with the button down, or the button was let go.
fn dragged(model: &mut Model, drag: Drag, mouse: MouseEvent) -> Vec<Effect> {
    let up = matches!(mouse.kind, MouseEventKind::Up(_));
    if up {
        model.mux.drag = None;
    }
    match drag {
        Drag::Line(way) => {
            let body = geometry::body(model);
            let focus = model.panes().first().map(|(id, _)| *id);
            if let Some(layout) = focus.and_then(|id| model.mux.layout_mut(id)) {
                layout.move_line(&way, Position::new(mouse.column, mouse.row), body);
            }
            fit(model)
        }
        Drag::Program(id) => match model.panes().into_iter().find(|(shown, _)| *shown == id) {
            Some((_, place)) => passed(model, id, geometry::inner(place), mouse),
            None => Vec::new(),
        },
        Drag::Select { id, at, .. } => {
            let Some((_, place)) = model.panes().into_iter().find(|(shown, _)| *shown == id) else {
                return Vec::new();
            };
            let inside = geometry::inner(place);
            let to =
                (i32::from(mouse.column) - i32::from(inside.x), i32::from(mouse.row) - i32::from(inside.y));
            let Some(tab) = model.console(id) else { return Vec::new() };
            let moved = to != (i32::from(at.0), i32::from(at.1));
            if tab.terminal.copying().is_none() {
                if !moved {
                    return Vec::new();
                }
                tab.terminal.copy_press(at, 1);
            }
            if up {
                let outcome = tab.terminal.copy_release();
                return copy::done(model, outcome);
            }
            tab.terminal.copy_drag(to);
            let outside = to.1 < 0 || to.1 >= i32::from(inside.height);
            let again = outside.then(|| Instant::now() + SCROLL);
            model.mux.drag = Some(Drag::Select { id, at, to, again });
            Vec::new()
        }
    }
}

/// What the program may want, and the wheel where it does not.
fn passed(model: &mut Model, id: u64, inside: Rect, mouse: MouseEvent) -> Vec<Effect> {
    let Some(tab) = model.console(id) else { return Vec::new() };
    if tab.terminal.copying().is_none()
        && let Some(bytes) = tab.terminal.mouse(mouse, inside)
    {
        return vec![Effect::ConsoleInput(id, bytes.into())];
    }
    match mouse.kind {
        MouseEventKind::ScrollUp => tab.terminal.scroll(WHEEL),
        MouseEventKind::ScrollDown => tab.terminal.scroll(-WHEEL),
        _ => {}
    }
    Vec::new()
}
