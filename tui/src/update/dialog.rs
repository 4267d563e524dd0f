//! Keys in a dialog, and what follows when it is confirmed.

use super::{Effect, list, network, settings};
use crate::model::{Ask, Dialog, Load, Many, Model, Screen, destroying};
use crossterm::event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers};
use sprites_api::cost::Budget;
use sprites_api::extension::BuildLine;
use sprites_api::policy::NetworkPolicy;
use sprites_backend::client::ServiceAction;
use sprites_backend::depot::Place;
use tui_input::backend::crossterm::EventHandler;

/// Longest text typed, characters.
const MAX: usize = 400;

pub(super) fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if key.code == KeyCode::Esc || ctrl_c {
        dialog.input = dialog.first.clone().into();
        // What shows at once what is typed shows what was there before.
        typed(model);
        model.dialog = None;
        return Vec::new();
    }
    if let Ask::Context(names) = &dialog.ask {
        let KeyCode::Char(digit @ '1'..='9') = key.code else { return Vec::new() };
        let index = digit as usize - '1' as usize;
        if index >= names.len() {
            return Vec::new();
        }
        model.dialog = None;
        return enter(model, index);
    }
    if let Ask::Address(..) = dialog.ask {
        model.dialog = None;
        return Vec::new();
    }
    if let (KeyCode::Tab, Some(on)) = (key.code, &mut dialog.switch) {
        *on = !*on;
        typed(model);
        return Vec::new();
    }
    if let Some(wanted) = dialog.key() {
        // Any other key is no.
        let sure = key.code == KeyCode::Char(wanted)
            || key.code == KeyCode::Char(wanted.to_ascii_lowercase()) && key.modifiers == KeyModifiers::SHIFT;
        return if sure {
            confirm(model)
        } else {
            model.dialog = None;
            Vec::new()
        };
    }
    if key.code == KeyCode::Enter {
        return confirm(model);
    }
    if dialog.input.value().chars().count() < MAX || !matches!(key.code, KeyCode::Char(_)) {
        dialog.input.handle_event(&Terminal::Key(key));
        dialog.error = None;
    }
    typed(model);
    Vec::new()
}

/// Something was typed, or is to begin with: what shows at once what would come of it does so.
pub(super) fn typed(model: &mut Model) {
    network::note(model);
    let Some(dialog) = &model.dialog else { return };
    let text = dialog.input.value().trim().to_owned();
    match dialog.ask {
        Ask::Filter => {
            let note = list::filter(model, &text).err().map(Err);
            if let Some(dialog) = &mut model.dialog {
                dialog.note = note;
            }
        }
        Ask::Search if model.screen == Screen::Sprite => {
            model.inside.search = text;
            if let Some(log) = &mut model.inside.log {
                log.back = 0;
            }
        }
        Ask::Search => model.search = text,
        _ => {}
    }
}

/// Goes to another context.
pub(super) fn enter(model: &mut Model, index: usize) -> Vec<Effect> {
    let name = model.contexts.get(index).cloned().unwrap_or_default();
    model.dashboard.going = None;
    model.begin(format!("Going to {name}"));
    vec![Effect::Enter(index)]
}

/// Builds a base image.
pub(super) fn build_image(model: &mut Model) -> Vec<Effect> {
    model.build = Some(BuildLine { step: "Preparing".into(), ..BuildLine::default() });
    vec![Effect::BuildImage]
}

/// Makes a sprite.
pub(super) fn create(model: &mut Model, name: String) -> Vec<Effect> {
    model.selected = Some(name.clone());
    let job = model.begin(format!("Making {name}"));
    vec![Effect::Create { job, name }]
}

/// Makes a checkpoint.
pub(super) fn checkpoint(
    model: &mut Model,
    name: String,
    comment: Option<String>,
    memory: bool,
) -> Vec<Effect> {
    let job = model.begin(format!("Checkpoint of {name}"));
    let comment = comment.filter(|text| !text.is_empty());
    vec![Effect::Checkpoint { job, name, comment, memory }]
}

/// Makes a sprite from another.
pub(super) fn fork(
    model: &mut Model,
    name: String,
    to: String,
    checkpoint: Option<String>,
    memory: bool,
) -> Vec<Effect> {
    let job = model.begin(format!("Forking {name} as {to}"));
    vec![Effect::Fork { job, name, to, checkpoint, memory }]
}

/// Writes a sprite into a file or object store.
fn export(model: &mut Model, name: String, checkpoint: Option<String>, to: Place) -> Vec<Effect> {
    let job = model.begin_lasting(format!("Exporting {name}"));
    vec![Effect::Export { job, name, checkpoint, to }]
}

/// Makes a sprite from an export: `PLACE`, or `PLACE as NAME`.
fn import(model: &mut Model, typed: &str) -> Result<Vec<Effect>, String> {
    let (from, name) = match typed.rsplit_once(" as ") {
        Some((from, name)) if sprites_api::name::check(name).is_ok() => (from.trim(), Some(name.to_owned())),
        _ => (typed, None),
    };
    let from = Place::parse(from)?;
    let job = model.begin_lasting(format!("Importing {from}"));
    Ok(vec![Effect::Import { job, from, name }])
}

/// Stops a sprite.
fn stop(model: &mut Model, name: String) -> Vec<Effect> {
    let job = model.begin(format!("Stopping {name}"));
    vec![Effect::Stop { job, name }]
}

/// Destroys a sprite.
fn destroy(model: &mut Model, name: String) -> Vec<Effect> {
    let job = model.begin(format!("Destroying {name}"));
    model.consoles.retain(|tab| tab.sprite != name);
    if model.screen == Screen::Sprite {
        model.screen = Screen::List;
    }
    vec![Effect::Destroy { job, name }]
}

/// Does something to many sprites, of which some may be gone meanwhile.
fn many(model: &mut Model, what: Many, names: Vec<String>, comment: Option<&String>) -> Vec<Effect> {
    model.marked.clear();
    let known = |name: &String| matches!(&model.sprites, Load::Ready(sprites) if sprites.contains_key(name));
    let names: Vec<String> = names.into_iter().filter(known).collect();
    let one = |name| match what {
        Many::Checkpoint => checkpoint(model, name, comment.cloned(), false),
        Many::Stop => stop(model, name),
        Many::Destroy => destroy(model, name),
    };
    names.into_iter().flat_map(one).collect()
}

fn confirm(model: &mut Model) -> Vec<Effect> {
    let Some(dialog) = model.dialog.clone() else { return Vec::new() };
    let typed = dialog.input.value().trim().to_owned();
    let refuse = |model: &mut Model, why: String| {
        if let Some(dialog) = &mut model.dialog {
            dialog.error = Some(why);
        }
        Vec::new()
    };
    let taken =
        |model: &Model| matches!(&model.sprites, Load::Ready(sprites) if sprites.contains_key(&typed));
    if matches!(dialog.ask, Ask::New | Ask::Fork(..)) {
        if let Err(why) = sprites_api::name::check(&typed) {
            return refuse(model, why.to_string());
        }
        if taken(model) {
            return refuse(model, format!("a sprite named {typed} exists"));
        }
    }
    if let Ask::Destroy(name) = &dialog.ask
        && *name != typed
    {
        return refuse(model, format!("type {name} to destroy it, or press esc"));
    }
    if let Ask::Many(Many::Destroy, names) = &dialog.ask
        && destroying(names.len()) != typed
    {
        return refuse(model, format!("type {} to destroy them, or press esc", destroying(names.len())));
    }
    if let (Ask::Rule(_) | Ask::Filter, Some(Err(_))) = (&dialog.ask, &dialog.note) {
        // It is told already.
        return Vec::new();
    }
    // What is a mistake stays, to be mended.
    let read = match &dialog.ask {
        Ask::Import => import(model, &typed),
        Ask::Export(name, checkpoint) => {
            Place::parse(&typed).map(|to| export(model, name.clone(), checkpoint.clone(), to))
        }
        Ask::Rule(_) => network::typed(model, &typed, dialog.switch.unwrap_or(true)).map(|()| Vec::new()),
        Ask::Setting(..) => settings::typed(model, &typed).map(|effect| vec![effect]),
        Ask::Budget => budget(&typed, dialog.switch.unwrap_or(false)).map(|budget| {
            let job = model.begin("Changing the budget".to_owned());
            vec![Effect::SetBudget { job, budget }]
        }),
        _ => return confirmed(model, dialog, typed),
    };
    match read {
        Ok(effects) => {
            model.dialog = None;
            effects
        }
        Err(why) => refuse(model, why),
    }
}

/// What follows when a dialog is confirmed in which nothing is wrong.
fn confirmed(model: &mut Model, dialog: Dialog, typed: String) -> Vec<Effect> {
    model.dialog = None;
    let memory = dialog.switch.unwrap_or(false);
    let comment = Some(typed.clone()).filter(|text| !text.is_empty());
    match dialog.ask {
        Ask::Import
        | Ask::Export(..)
        | Ask::Setting(..)
        | Ask::Budget
        | Ask::Filter
        | Ask::Search
        | Ask::Context(_)
        | Ask::Address(..)
        | Ask::Rule(_)
        | Ask::TryName(_) => Vec::new(),
        Ask::Many(what, names) => many(model, what, names, comment.as_ref()),
        Ask::Service(name, service, action) => vec![self::service(model, name, service, action)],
        Ask::SaveRules { name, rules, .. } => {
            let job = model.begin(format!("Changing the rules of {name}"));
            vec![Effect::SetNetworkPolicy { job, name, policy: NetworkPolicy { rules } }]
        }
        Ask::ForgetRules(name) => {
            network::forget(model, &name);
            Vec::new()
        }
        Ask::Quit { .. } => {
            model.quit = true;
            Vec::new()
        }
        Ask::BuildImage => build_image(model),
        Ask::New => create(model, typed),
        Ask::Checkpoint(name) => checkpoint(model, name, comment, memory),
        Ask::Fork(name, from) => fork(model, name, typed, from, memory),
        Ask::Destroy(name) => destroy(model, name),
        Ask::Restore(name, id) => {
            let job = model.begin(format!("Restoring {name} to {id}"));
            vec![Effect::Restore { job, name, id, undo: false, memory }]
        }
        Ask::Undo(name, id, _) => {
            let job = model.begin(format!("Undoing the last restore of {name}"));
            vec![Effect::Restore { job, name, id, undo: true, memory }]
        }
        Ask::Stop(name) => stop(model, name),
        Ask::Delete(name, id, _) => {
            let job = model.begin(format!("Deleting checkpoint {id}"));
            vec![Effect::DeleteCheckpoint { job, name, id }]
        }
    }
}

/// A budget as it was typed.
fn budget(typed: &str, sleep: bool) -> Result<Budget, String> {
    let amount = typed.trim_start_matches('$').trim();
    let month_usd = match amount {
        "" => None,
        amount => {
            let amount = amount.parse().map_err(|_| "write an amount such as 20 or 4.50".to_owned())?;
            Some(amount)
        }
    };
    // Without one there is nothing to be used up.
    let budget = Budget { month_usd, sleep: sleep && month_usd.is_some() };
    budget.check().map(|()| budget)
}

/// Does something with a service.
pub(super) fn service(model: &mut Model, name: String, service: String, action: ServiceAction) -> Effect {
    let doing = match action {
        ServiceAction::Start => "Starting",
        ServiceAction::Stop => "Stopping",
        ServiceAction::Restart => "Restarting",
    };
    let job = model.begin(format!("{doing} {service} of {name}"));
    Effect::Service { job, name, service, action }
}
