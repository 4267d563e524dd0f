//! The inside part of a sprite's screen, and ports that lead into sprites.

use super::{Effect, dialog};
use crate::action::Part;
use crate::browser;
use crate::model::{Ask, Dialog, Forward, Inside, Item, Load, Log, Model, Screen, Weight};
use sprites_api::inside::Inside as Seen;
use sprites_api::services::Event;
use sprites_api::sprite::Status;
use sprites_backend::client::ServiceAction;

pub(super) fn open(model: &mut Model, name: String) -> Vec<Effect> {
    if model.inside.name != name {
        model.inside = Inside::of(name.clone());
    }
    load(&name)
}

pub(super) fn load(name: &str) -> Vec<Effect> {
    vec![Effect::LoadInside(name.to_owned())]
}

/// What is known of it.
pub(super) fn came(model: &mut Model, name: &str, outcome: Result<Seen, String>) {
    if model.inside.name == name {
        model.inside.seen.renew(outcome);
        model.inside.again = true;
        model.inside.settle(&model.forwards);
    }
}

/// Moves the selection.
pub(super) fn step(model: &mut Model, by: isize) {
    let items: Vec<Item> = model.inside.items(&model.forwards).collect();
    let place = items.iter().position(|item| Some(item) == model.inside.chosen.as_ref()).unwrap_or(0);
    let to = place.saturating_add_signed(by).min(items.len().saturating_sub(1));
    model.inside.chosen = items.into_iter().nth(to);
    model.inside.place = to;
}

/// Scrolls the log; positive is towards older lines.
pub(super) fn scroll(model: &mut Model, by: isize) {
    if let Some(log) = &mut model.inside.log {
        log.scroll(by, &model.inside.search);
    }
}

/// Lines of a log came.
pub(super) fn told(model: &mut Model, id: u64, events: Vec<Event>) {
    if let Some(log) = model.inside.log.as_mut().filter(|log| log.id == id) {
        log.add(events, &model.inside.search);
    }
}

/// No more lines of it come, for this reason.
pub(super) fn ended(model: &mut Model, id: u64, why: String) {
    if let Some(log) = model.inside.log.as_mut().filter(|log| log.id == id) {
        log.ended = Some(why);
    }
}

/// What follows from any event: the log that is looked at is followed and no other, and no port leads to a sprite that is gone.
pub(super) fn settle(model: &mut Model) -> Vec<Effect> {
    let mut effects = follow(model);
    if let Load::Ready(sprites) = &model.sprites {
        let (kept, lost): (Vec<_>, Vec<_>) =
            model.forwards.drain(..).partition(|forward| sprites.contains_key(&forward.sprite));
        model.forwards = kept;
        effects.extend(lost.into_iter().map(|forward| Effect::CloseForward(forward.sprite, forward.port)));
    }
    effects
}

fn follow(model: &mut Model) -> Vec<Effect> {
    let again = std::mem::take(&mut model.inside.again);
    let wanted = wanted(model);
    let is_live = model.inside.known().is_some_and(|seen| seen.live);
    let open = model.inside.log.as_ref().is_some_and(|log| log.ended.is_none());
    let same = wanted.is_some() && model.inside.log.as_ref().map(|log| &log.service) == wanted.as_ref();
    let Some(service) = wanted.filter(|_| !(same && open)) else {
        return match &mut model.inside.log {
            Some(log) if open && !same => {
                log.ended = Some("it is not looked at".to_owned());
                vec![Effect::UnfollowLog]
            }
            _ => Vec::new(),
        };
    };
    let id = model.number();
    let name = model.inside.name.clone();
    match &mut model.inside.log {
        Some(_) if same && !(again && is_live) => return Vec::new(),
        Some(log) if same => {
            (log.id, log.ended, log.stale) = (id, None, true);
        }
        log if is_live => *log = Some(Log::new(id, service.clone())),
        log => {
            *log = None;
            return if open { vec![Effect::UnfollowLog] } else { Vec::new() };
        }
    }
    vec![Effect::FollowLog { id, name, service }]
}

/// The service whose log is looked at: the selected one, or when something else is selected the one before.
fn wanted(model: &Model) -> Option<String> {
    let inside = &model.inside;
    let looked = model.screen == Screen::Sprite && model.part == Part::Inside;
    if !looked || model.selected.as_ref() != Some(&inside.name) {
        return None;
    }
    let services = &inside.known()?.interior.services;
    let before =
        || services.iter().find(|one| inside.log.as_ref().is_some_and(|log| log.service == one.name));
    let chosen = inside.service().or_else(before).or(services.first())?;
    Some(chosen.name.clone())
}

/// Starts, stops or restarts the selected service. One of a sprite that sleeps would wake it, so that is asked first.
pub(super) fn service(model: &mut Model, name: String, action: ServiceAction) -> Vec<Effect> {
    let Some(service) = model.inside.service().map(|service| service.name.clone()) else {
        model.say(Weight::Bad, "Select a service first.");
        return Vec::new();
    };
    if is_awake(model) {
        return vec![dialog::service(model, name, service, action)];
    }
    model.dialog = Some(Dialog::new(Ask::Service(name, service, action), ""));
    Vec::new()
}

fn is_awake(model: &Model) -> bool {
    model.current().is_some_and(|row| row.sprite.status == Status::Running)
}

/// Lets a port of this machine lead to the selected one, or ends that.
pub(super) fn forward(model: &mut Model, name: String) -> Vec<Effect> {
    let port = match &model.inside.chosen {
        Some(Item::Port(port)) => Some(*port),
        _ => model.inside.service().and_then(|service| service.http_port),
    };
    let Some(port) = port else {
        model.say(Weight::Bad, "Select a port first, or a service that has one.");
        return Vec::new();
    };
    let leads = |one: &Forward| one.sprite == name && one.port == port;
    if model.forwards.iter().any(leads) {
        model.forwards.retain(|one| !leads(one));
        model.inside.settle(&model.forwards);
        model.say(Weight::Good, format!("No port of this machine leads to port {port} of {name} any more."));
        return vec![Effect::CloseForward(name, port)];
    }
    begin_forward(model, name, port, false)
}

fn begin_forward(model: &mut Model, sprite: String, port: u16, browse: bool) -> Vec<Effect> {
    model.forwards.push(Forward { sprite: sprite.clone(), port, local: None, browse });
    vec![Effect::OpenForward(sprite, port)]
}

/// A port of this machine leads to one of a sprite, or cannot.
pub(super) fn forwarded(
    model: &mut Model,
    name: String,
    port: u16,
    outcome: Result<u16, String>,
) -> Vec<Effect> {
    let leads = |one: &Forward| one.sprite == name && one.port == port;
    let Some(forward) = model.forwards.iter_mut().find(|one| leads(one)) else {
        // It was ended before it began.
        return vec![Effect::CloseForward(name, port)];
    };
    match outcome {
        Ok(local) => {
            forward.local = Some(local);
            let browse = std::mem::take(&mut forward.browse);
            let text = format!("127.0.0.1:{local} leads to port {port} of {name}; who connects wakes it.");
            model.say(Weight::Good, text);
            if browse { vec![Effect::Browse(local_url(&name, local))] } else { Vec::new() }
        }
        Err(why) => {
            model.forwards.retain(|one| !leads(one));
            model.inside.settle(&model.forwards);
            model.say(
                Weight::Bad,
                format!("no port of this machine can lead to port {port} of {name}: {why}"),
            );
            Vec::new()
        }
    }
}

/// A connection through one of them failed. A browser makes many; each reason is told once at a time.
pub(super) fn trouble(model: &mut Model, why: String) {
    if !model.toasts.iter().any(|toast| toast.text.contains(&why)) {
        model.say(Weight::Bad, why);
    }
}

/// Opens the selected port in the browser, or the sprite's URL where none is selected.
pub(super) fn browse(model: &mut Model, name: String) -> Vec<Effect> {
    if let Some(Item::Port(port)) = model.inside.chosen {
        let forward = model.forwards.iter_mut().find(|one| one.sprite == name && one.port == port);
        return match forward {
            Some(Forward { local: Some(local), .. }) => vec![Effect::Browse(local_url(&name, *local))],
            Some(forward) => {
                forward.browse = true;
                Vec::new()
            }
            None => begin_forward(model, name, port, true),
        };
    }
    // It is an endpoint's word, and programs do more than show pages for other kinds of addresses.
    match model.current().and_then(|row| row.sprite.url.clone()).filter(|url| browser::is_page(url)) {
        Some(url) => vec![Effect::Browse(url)],
        None => {
            model.say(Weight::Bad, format!("the endpoint tells no web address of {name}"));
            Vec::new()
        }
    }
}

/// A host name of its own for each sprite (RFC 6761, section 6.3): cookies do not know ports, and those for 127.0.0.1 are no guest's.
fn local_url(name: &str, port: u16) -> String {
    format!("http://{name}.localhost:{port}/")
}

/// No browser could be opened: the address is shown instead, until it is read.
pub(super) fn not_browsed(model: &mut Model, address: String, why: String) {
    if model.dialog.is_none() {
        model.dialog = Some(Dialog::new(Ask::Address(address, why), ""));
    } else {
        model.say(Weight::Bad, format!("{address} is to be opened by hand: {why}"));
    }
}
