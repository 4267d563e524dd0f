//! Consoles: open, look at, type, detach.

use super::{Effect, UNSEEN};
use crate::model::{Attachment, Model, Screen, Tab};
use crate::view::geometry;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use sprites_api::exec::Session;
use sprites_backend::client::ExecEvent;
use sprites_console::Console;
use std::time::Instant;

/// Lines kept above the screen.
const SCROLLBACK: usize = 10_000;
/// Lines the wheel moves.
const WHEEL: i32 = 3;
/// Most bytes that may be typed before a console is connected.
const TYPED: usize = 4096;
/// Most consoles at once.
const MAX: usize = 50;

/// Shows the sprite's last console, or a new one.
pub(super) fn open(model: &mut Model, name: &str, fresh: bool) -> Vec<Effect> {
    let usable = |tab: &&Tab| {
        tab.sprite == name && !matches!(tab.attachment, Attachment::Ended(_) | Attachment::Failed(_))
    };
    if !fresh
        && let Some(id) = model.consoles.iter().filter(usable).max_by_key(|tab| tab.seen).map(|tab| tab.id)
    {
        return show(model, id);
    }
    // Consoles whose programs ended have been seen by now.
    model.consoles.retain(|tab| {
        !matches!(tab.attachment, Attachment::Ended(_) | Attachment::Failed(_)) || tab.sprite != name
    });
    if model.consoles.len() >= MAX {
        model.say(crate::model::Weight::Bad, format!("There are {MAX} consoles already; detach some first."));
        return Vec::new();
    }
    let id = model.number();
    let area = geometry::console(model.size);
    let (rows, cols) = (area.height, area.width);
    model.consoles.push(Tab {
        id,
        sprite: name.to_owned(),
        session: None,
        attachment: Attachment::Connecting,
        typed: Vec::new(),
        terminal: Console::new(rows, cols, SCROLLBACK),
        seen: Instant::now(),
    });
    enter(model, id);
    vec![Effect::OpenConsole { id, name: name.to_owned(), session: None, rows, cols, fresh }]
}

/// Looks at a console, connecting it again if needed.
pub(super) fn show(model: &mut Model, id: u64) -> Vec<Effect> {
    let area = geometry::console(model.size);
    let Some(tab) = model.console(id) else { return Vec::new() };
    tab.seen = Instant::now();
    let effect = if tab.attachment == Attachment::Detached {
        tab.attachment = Attachment::Connecting;
        let session = tab.session.clone();
        Some(Effect::OpenConsole {
            id,
            name: tab.sprite.clone(),
            session,
            rows: area.height,
            cols: area.width,
            fresh: false,
        })
    } else {
        None
    };
    enter(model, id);
    let mut effects = resize(model);
    effects.extend(effect);
    effects
}

/// Puts a console on the screen and remembers what it covers.
fn enter(model: &mut Model, id: u64) {
    model.under = match model.screen {
        Screen::Console(_) => model.under,
        screen if screen.is_text() => model.before,
        covered => covered,
    };
    model.screen = Screen::Console(id);
}

/// Back to where the console was opened; it stays.
pub(super) fn leave(model: &mut Model) -> Vec<Effect> {
    let Screen::Console(id) = model.screen else { return Vec::new() };
    let mut of = None;
    if let Some(tab) = model.console(id) {
        tab.seen = Instant::now();
        of = Some(tab.sprite.clone());
    }
    model.consoles.retain(|tab| {
        tab.id != id || !matches!(tab.attachment, Attachment::Ended(_) | Attachment::Failed(_))
    });
    let opened = model.tree.as_ref().map(|(name, _)| name.clone());
    match opened.filter(|name| model.under == Screen::Sprite && model.order.contains(name)) {
        Some(name) => {
            model.screen = Screen::Sprite;
            model.selected = Some(name.clone());
            // What was done in the console shows in the bytes.
            vec![Effect::LoadTree(name)]
        }
        None => {
            model.screen = Screen::List;
            model.selected = of.or(model.selected.take());
            Vec::new()
        }
    }
}

/// Sessions of a sprite: those with a terminal that nobody is connected to become consoles, so that what an earlier run of the app or
/// another program left behind can be seen and entered.
pub(super) fn found(model: &mut Model, name: &str, sessions: Vec<Session>) {
    let area = geometry::console(model.size);
    for session in sessions.into_iter().filter(|session| session.tty && session.attached == 0) {
        let held = |tab: &Tab| tab.sprite == name && tab.session.as_ref() == Some(&session.id);
        if model.consoles.len() >= MAX || model.consoles.iter().any(held) {
            continue;
        }
        let id = model.number();
        model.consoles.push(Tab {
            id,
            sprite: name.to_owned(),
            session: Some(session.id),
            attachment: Attachment::Detached,
            typed: Vec::new(),
            terminal: Console::new(area.height, area.width, SCROLLBACK),
            seen: Instant::now(),
        });
    }
}

/// Detaches all consoles of a sprite.
pub(super) fn detach(model: &mut Model, name: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for tab in
        model.consoles.iter_mut().filter(|tab| tab.sprite == name && tab.attachment == Attachment::Attached)
    {
        tab.attachment = Attachment::Detached;
        effects.push(Effect::ConsoleDetach(tab.id));
    }
    if !effects.is_empty() {
        model.say(
            crate::model::Weight::Good,
            format!("Consoles of {name} are detached; their programs go on."),
        );
    }
    effects
}

/// Detaches consoles that nobody has looked at for a while.
pub(super) fn detach_unseen(model: &mut Model, now: Instant) -> Vec<Effect> {
    let looked = match model.screen {
        Screen::Console(id) => Some(id),
        _ => None,
    };
    let mut effects = Vec::new();
    for tab in &mut model.consoles {
        if Some(tab.id) == looked {
            tab.seen = now;
        } else if tab.attachment == Attachment::Attached
            && now.saturating_duration_since(tab.seen) >= UNSEEN
            && tab.session.is_some()
        {
            tab.attachment = Attachment::Detached;
            effects.push(Effect::ConsoleDetach(tab.id));
        }
    }
    effects
}

/// Something came from a console's session.
pub(super) fn happened(model: &mut Model, id: u64, event: ExecEvent) -> Vec<Effect> {
    let Some(tab) = model.console(id) else { return Vec::new() };
    match event {
        ExecEvent::Info(info) => {
            tab.attachment = Attachment::Attached;
            let (rows, cols) = tab.terminal.dimensions();
            let typed = std::mem::take(&mut tab.typed);
            let session = Some(info.session_id).filter(|id| !id.is_empty());
            let name = tab.sprite.clone();
            tab.session.clone_from(&session);
            // It may have been found at the same time as one left behind.
            model.consoles.retain(|tab| {
                tab.id == id
                    || session.is_none()
                    || tab.sprite != name
                    || tab.session != session
                    || tab.attachment != Attachment::Detached
            });
            let mut effects = vec![Effect::ConsoleResize(id, rows, cols)];
            if !typed.is_empty() {
                effects.push(Effect::ConsoleInput(id, typed.into()));
            }
            effects
        }
        ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => {
            let mut answers = Vec::new();
            for piece in bytes.chunks(16 << 10) {
                answers.extend(tab.terminal.feed(piece));
            }
            if answers.is_empty() { Vec::new() } else { vec![Effect::ConsoleInput(id, answers.into())] }
        }
        ExecEvent::Exit(code) => {
            tab.attachment = Attachment::Ended(code);
            Vec::new()
        }
        ExecEvent::Error(why) => {
            model.say(crate::model::Weight::Bad, why);
            Vec::new()
        }
        ExecEvent::Closed => {
            if matches!(tab.attachment, Attachment::Attached | Attachment::Connecting) {
                tab.attachment = Attachment::Detached;
            }
            Vec::new()
        }
        ExecEvent::Port { .. } => Vec::new(),
    }
}

pub(super) fn key(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
    let Some(tab) = model.console(id) else { return Vec::new() };
    let page = i32::from(tab.terminal.dimensions().0).max(2) - 1;
    match (&tab.attachment, key.modifiers, key.code) {
        (_, KeyModifiers::SHIFT, KeyCode::PageUp) => tab.terminal.scroll(page),
        (_, KeyModifiers::SHIFT, KeyCode::PageDown) => tab.terminal.scroll(-page),
        (Attachment::Detached, ..) => return show(model, id),
        // Only on purpose: what was typed for the program must not become the app's commands.
        (Attachment::Ended(_) | Attachment::Failed(_), _, code) => {
            return if code == KeyCode::Esc { leave(model) } else { Vec::new() };
        }
        _ => {
            let bytes = tab.terminal.key(key);
            tab.terminal.scroll_to_bottom();
            return send(tab, bytes);
        }
    }
    Vec::new()
}

/// Input for a console. One that is on its way is given it when it is there: who types ahead knows what for.
fn send(tab: &mut Tab, bytes: Vec<u8>) -> Vec<Effect> {
    if tab.attachment == Attachment::Connecting {
        let room = TYPED.saturating_sub(tab.typed.len());
        tab.typed.extend(bytes.into_iter().take(room));
        return Vec::new();
    }
    if bytes.is_empty() { Vec::new() } else { vec![Effect::ConsoleInput(tab.id, bytes.into())] }
}

pub(super) fn paste(model: &mut Model, id: u64, text: &str) -> Vec<Effect> {
    match model.console(id) {
        Some(tab) => {
            let bytes = tab.terminal.paste(text);
            send(tab, bytes)
        }
        None => Vec::new(),
    }
}

pub(super) fn mouse(model: &mut Model, id: u64, mouse: MouseEvent) -> Vec<Effect> {
    let area = geometry::console(model.size);
    let Some(tab) = model.console(id) else { return Vec::new() };
    if let Some(bytes) = tab.terminal.mouse(mouse, area) {
        return vec![Effect::ConsoleInput(id, bytes.into())];
    }
    match mouse.kind {
        MouseEventKind::ScrollUp => tab.terminal.scroll(WHEEL),
        MouseEventKind::ScrollDown => tab.terminal.scroll(-WHEEL),
        _ => {}
    }
    Vec::new()
}

/// Gives the console on the screen the size it has there.
pub(super) fn resize(model: &mut Model) -> Vec<Effect> {
    let Screen::Console(id) = model.screen else { return Vec::new() };
    let area = geometry::console(model.size);
    let Some(tab) = model.console(id) else { return Vec::new() };
    if tab.terminal.dimensions() == (area.height, area.width) {
        return Vec::new();
    }
    tab.terminal.resize(area.height, area.width);
    vec![Effect::ConsoleResize(id, area.height, area.width)]
}
