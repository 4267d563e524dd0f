//! Consoles: open, look at, type, detach.

mod command;
mod copy;
mod mouse;
mod told;

#[cfg(test)]
mod tests;

pub(super) use command::key;
pub(super) use mouse::mouse;

use super::{Effect, UNSEEN};
use crate::keep::Consoles;
use crate::model::{Attachment, Load, Model, Screen, Tab};
use crate::view::geometry;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::Color;
use sprites_api::exec::Session;
use sprites_backend::client::ExecEvent;
use sprites_console::Console;
use std::time::Instant;

/// Most bytes that may be typed before a console is connected.
const TYPED: usize = 4096;
/// Most consoles at once.
const MAX: usize = 50;
/// Most cells of all scrollbacks together: 144 MiB for plain text, six times what one may hold.
const CELLS: usize = 6 << 20;

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
    let id = add(model, name, None, None);
    enter(model, id);
    vec![connect(model, id, fresh)].into_iter().flatten().collect()
}

/// Adds a console that is not connected.
fn add(model: &mut Model, sprite: &str, session: Option<String>, name: Option<String>) -> u64 {
    let id = model.number();
    let area = geometry::console(model);
    let mut terminal = Console::new(area.height, area.width, model.mux.scrollback);
    terminal.set_key_releases(model.mux.key_releases);
    let (foreground, background) = colors(model);
    terminal.set_default_colors(foreground, background);
    model.consoles.push(Tab {
        id,
        sprite: sprite.to_owned(),
        name,
        session,
        attachment: Attachment::Detached,
        typed: Vec::new(),
        terminal,
        seen: Instant::now(),
        rang: false,
        told: None,
    });
    id
}

/// Connects a console that is not, with the size it has on the screen.
fn connect(model: &mut Model, id: u64, fresh: bool) -> Option<Effect> {
    fit(model);
    let tab = model.console(id)?;
    if tab.attachment != Attachment::Detached {
        return None;
    }
    tab.attachment = Attachment::Connecting;
    let (rows, cols) = tab.terminal.dimensions();
    let (name, session) = (tab.sprite.clone(), tab.session.clone());
    Some(Effect::OpenConsole { id, name, session, rows, cols, fresh })
}

/// What programs are told that "no colour" looks like: that of the theme, or what is usual for its kind.
fn colors(model: &Model) -> ((u8, u8, u8), (u8, u8, u8)) {
    let theme = model.colors();
    let of = |color: Option<Color>, usual| match color {
        Some(Color::Rgb(r, g, b)) => (r, g, b),
        _ => usual,
    };
    let (black, white) = ((0x00, 0x00, 0x00), (0xe5, 0xe5, 0xe5));
    let (ink, paper) = if theme.dark { (white, black) } else { (black, (0xff, 0xff, 0xff)) };
    (of(theme.base().fg, ink), of(theme.base().bg, paper))
}

/// Looks at a console, connecting it again if needed, and what is on the screen beside it.
pub(super) fn show(model: &mut Model, id: u64) -> Vec<Effect> {
    let Some(tab) = model.console(id) else { return Vec::new() };
    tab.seen = Instant::now();
    enter(model, id);
    let mut effects = fit(model);
    for (id, _) in model.panes() {
        effects.extend(connect(model, id, false));
    }
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
    if let Some(layout) = model.mux.layout_mut(id) {
        layout.focus = id;
    }
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
    for session in sessions.into_iter().filter(|session| session.tty && session.attached == 0) {
        let held = |tab: &Tab| tab.sprite == name && tab.session.as_ref() == Some(&session.id);
        if model.consoles.len() < MAX && !model.consoles.iter().any(held) {
            add(model, name, Some(session.id), None);
        }
    }
}

/// The consoles of the last time, once it is known which sprites there are. They connect when they are looked at.
pub(super) fn restore(model: &mut Model) {
    let Load::Ready(sprites) = &model.sprites else { return };
    if std::mem::replace(&mut model.mux.restored, true) {
        return;
    }
    let known: Vec<String> = sprites.keys().cloned().collect();
    let Some(Consoles { consoles, layouts }) = model.mux.kept.0.get(&model.here.context).cloned() else {
        return;
    };
    let mut ids = Vec::new();
    for kept in consoles {
        let held = |tab: &&Tab| tab.sprite == kept.sprite && tab.session.as_ref() == Some(&kept.session);
        let id = match model.consoles.iter().find(held).map(|tab| tab.id) {
            Some(id) => Some(id),
            None if known.contains(&kept.sprite) && model.consoles.len() < MAX => {
                Some(add(model, &kept.sprite, Some(kept.session), kept.name))
            }
            None => None,
        };
        ids.push(id);
    }
    for layout in layouts.iter().filter_map(|kept| kept.layout(&ids)) {
        if !layout.ids().iter().any(|id| model.mux.layout(*id).is_some()) {
            model.mux.layouts.push(layout);
        }
    }
}

/// What is to be kept for the next time, when that changed.
pub(super) fn keep(model: &mut Model) -> Vec<Effect> {
    let keep = model.mux.kept.with(model);
    if keep == model.mux.kept {
        return Vec::new();
    }
    model.mux.kept = keep.clone();
    vec![Effect::Keep(keep)]
}

/// After every event: consoles that are gone leave the screen, and those that are on it have the size they have there.
pub(super) fn settle(model: &mut Model) -> Vec<Effect> {
    let ids: Vec<u64> = model.consoles.iter().map(|tab| tab.id).collect();
    for layout in &mut model.mux.layouts {
        for id in layout.ids() {
            // The last one goes with its layout.
            if !ids.contains(&id) {
                layout.remove(id);
            }
        }
    }
    model.mux.layouts.retain(|layout| layout.ids().len() > 1);
    if !matches!(model.screen, Screen::Console(_)) {
        (model.mux.task, model.mux.drag, model.mux.hint) = Default::default();
        return Vec::new();
    }
    let theme = model.colors().name.clone();
    if model.mux.themed.as_ref() != Some(&theme) {
        model.mux.themed = Some(theme);
        let (foreground, background) = colors(model);
        for tab in &mut model.consoles {
            tab.terminal.set_default_colors(foreground, background);
        }
    }
    fit(model)
}

/// Gives the consoles on the screen the sizes they have there, and tells their sessions.
fn fit(model: &mut Model) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (id, place) in model.panes() {
        let inside = geometry::inner(place);
        let Some(tab) = model.console(id) else { continue };
        let before = tab.terminal.dimensions();
        if before == (inside.height, inside.width) {
            continue;
        }
        tab.terminal.resize(inside.height, inside.width);
        let (rows, cols) = tab.terminal.dimensions();
        if (rows, cols) != before && tab.attachment == Attachment::Attached {
            effects.push(Effect::ConsoleResize(id, rows, cols));
        }
    }
    effects
}

/// The time came at which something was to change by itself.
pub(super) fn woken(model: &mut Model) -> Vec<Effect> {
    let now = Instant::now();
    for tab in &mut model.consoles {
        if tab.terminal.changes_at().is_some_and(|at| at <= now) {
            tab.terminal.change();
        }
    }
    command::hint(model, now);
    mouse::scroll_on(model, now);
    told::copied(model, now)
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
    let looked: Vec<u64> = model.panes().into_iter().map(|(id, _)| id).collect();
    let mut effects = Vec::new();
    for tab in &mut model.consoles {
        if looked.contains(&tab.id) {
            tab.seen = now;
            tab.rang = false;
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

/// Where scrollbacks are too large together, those lose their oldest lines first that nobody has looked at for longest; each keeps its share.
fn bound(model: &mut Model) {
    let all: usize = model.consoles.iter().map(|tab| tab.terminal.scrollback_cells()).sum();
    let mut over = all.saturating_sub(CELLS);
    if over == 0 {
        return;
    }
    let share = CELLS / model.consoles.len();
    // Where somebody copies, lines stay what they are.
    let idle = |tab: &&mut Tab| tab.terminal.copying().is_none();
    let mut tabs: Vec<&mut Tab> = model.consoles.iter_mut().filter(idle).collect();
    tabs.sort_by_key(|tab| tab.seen);
    for tab in tabs {
        let has = tab.terminal.scrollback_cells();
        let gone = over.min(has.saturating_sub(share));
        if gone > 0 {
            tab.terminal.forget(has - gone);
            over = over.saturating_sub(has - tab.terminal.scrollback_cells());
        }
    }
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
            // Now and not later: memory that was taken once is not given back.
            bound(model);
            let mut effects = told::told(model, id);
            if !answers.is_empty() {
                effects.push(Effect::ConsoleInput(id, answers.into()));
            }
            effects
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

/// A key for the program, or one that scrolls.
fn typed(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
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

/// A key was let go.
pub(super) fn released(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
    match model.console(id) {
        Some(tab)
            if key.kind == KeyEventKind::Release
                && tab.attachment == Attachment::Attached
                && tab.terminal.copying().is_none() =>
        {
            let bytes = tab.terminal.key(key);
            send(tab, bytes)
        }
        _ => Vec::new(),
    }
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
    if command::pasted(model, text) {
        return Vec::new();
    }
    match model.console(id) {
        Some(tab) if tab.terminal.copying().is_some() => {
            tab.terminal.copy_paste(text);
            Vec::new()
        }
        Some(tab) => {
            let bytes = tab.terminal.paste(text);
            send(tab, bytes)
        }
        None => Vec::new(),
    }
}

/// The window has the focus, or has it no longer.
pub(super) fn focus(model: &mut Model, gained: bool) -> Vec<Effect> {
    let Screen::Console(id) = model.screen else { return Vec::new() };
    match model.console(id) {
        Some(tab) if tab.attachment == Attachment::Attached => {
            let bytes = tab.terminal.focus(gained).unwrap_or_default().to_vec();
            send(tab, bytes)
        }
        _ => Vec::new(),
    }
}

/// Gives the consoles on the screen the sizes they have there.
pub(super) fn resize(model: &mut Model) -> Vec<Effect> {
    fit(model)
}
