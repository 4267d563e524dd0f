//! The network part of a sprite's screen: what it tried to reach, and a draft of its rules, which is kept until the server has it.

use super::Effect;
use crate::action::Action;
use crate::model::network::{self, Network, Pane};
use crate::model::{Ask, Dialog, Load, Model, Weight};
use crate::number;
use sprites_api::extension::{NetworkEvent, NetworkLog};
use sprites_api::policy::{self, DEFAULTS, Meaning, NetworkPolicy, Rule};
use std::collections::HashMap;

/// Most rules that are told one by one before they are saved.
const TOLD: usize = 8;

pub(super) fn open(model: &mut Model, name: String) -> Vec<Effect> {
    if model.network.name != name {
        // Elsewhere there is no log to begin with.
        let pane = if model.here.local { Pane::Log } else { Pane::Rules };
        model.network = Network::of(name.clone(), pane);
    }
    load(&name)
}

pub(super) fn load(name: &str) -> Vec<Effect> {
    vec![Effect::LoadNetwork(name.to_owned()), Effect::LoadNetworkPolicy(name.to_owned())]
}

/// What a sprite tried to reach.
pub(super) fn log_came(model: &mut Model, name: &str, outcome: Result<NetworkLog, String>) {
    if model.network.name == name {
        model.network.log.renew(outcome.map(network::safe));
    }
}

/// What it may reach. A draft that the server has by now is none any more.
pub(super) fn policy_came(model: &mut Model, name: &str, outcome: Result<NetworkPolicy, String>) {
    if let Ok(policy) = &outcome
        && model.draft(name) == Some(&policy.rules)
    {
        model.set_draft(name, None);
    }
    if model.network.name != name {
        return;
    }
    model.network.policy.renew(outcome);
    let Load::Ready(policy) = &model.network.policy else { return };
    let rules = model.draft(name).cloned().unwrap_or_else(|| policy.rules.clone());
    model.network.show(rules);
}

/// Moves the selection in the pane that is worked in.
pub(super) fn step(model: &mut Model, by: isize) {
    let network = &mut model.network;
    match network.pane {
        Pane::Log => {
            let lines = network.lines();
            let to = network.place(&lines).saturating_add_signed(by).min(lines.len().saturating_sub(1));
            select_line(network, &lines, to);
        }
        Pane::Rules => {
            let last = network.rules.len().saturating_sub(1);
            network.rule = network.rule.saturating_add_signed(by).min(last);
        }
    }
}

/// A click on a line of the log.
pub(super) fn pick_line(model: &mut Model, place: usize) {
    model.network.pane = Pane::Log;
    let lines = model.network.lines();
    select_line(&mut model.network, &lines, place);
}

/// A click on a rule.
pub(super) fn pick_rule(model: &mut Model, place: usize) {
    model.network.pane = Pane::Rules;
    model.network.rule = place.min(model.network.rules.len().saturating_sub(1));
}

fn select_line(network: &mut Network, lines: &[NetworkEvent], place: usize) {
    // The first line is whatever is the newest.
    network.line = lines.get(place).filter(|_| place > 0).cloned();
}

/// Does what a person wants here.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let network = &mut model.network;
    match action {
        Action::NextPane => {
            network.pane = if network.pane == Pane::Log { Pane::Rules } else { Pane::Log };
            return Vec::new();
        }
        Action::Only => {
            (network.pane, network.only, network.line) = (Pane::Log, network.only.next(), None);
            return Vec::new();
        }
        _ => {}
    }
    let Load::Ready(policy) = &network.policy else {
        model.say(Weight::Bad, "The rules are not here yet.");
        return Vec::new();
    };
    let (name, selected) = (network.name.clone(), network.rule);
    let served = policy.rules.clone();
    match action {
        Action::AddRule => add(model),
        Action::ToggleRule => edit(model, &served, |rules| {
            if let Some(Rule::Domain { action, .. }) = rules.get_mut(selected) {
                *action = match action {
                    policy::Action::Allow => policy::Action::Deny,
                    policy::Action::Deny => policy::Action::Allow,
                };
            }
        }),
        Action::DeleteRule if selected < model.network.rules.len() => {
            edit(model, &served, |rules| drop(rules.remove(selected)));
        }
        Action::IncludeDefaults => edit(model, &served, |rules| {
            let before = rules.len();
            rules.retain(|rule| !matches!(rule, Rule::Include { .. }));
            if rules.len() == before {
                rules.push(Rule::Include { include: DEFAULTS.into() });
            }
        }),
        Action::TryName => ask(model, Ask::TryName(name), "", None),
        Action::SaveRules => save(model, &served),
        Action::ForgetRules if model.draft(&name).is_some() => ask(model, Ask::ForgetRules(name), "", None),
        Action::ForgetRules => model.say(Weight::Bad, "No rule was changed here."),
        _ => {}
    }
    Vec::new()
}

/// The selected line of the log, where that is worked in.
fn aimed_at(model: &Model) -> Option<NetworkEvent> {
    let network = &model.network;
    let mut lines = network.lines();
    let place = network.place(&lines);
    (network.pane == Pane::Log && place < lines.len()).then(|| lines.swap_remove(place))
}

fn ask(model: &mut Model, ask: Ask, text: &str, switch: Option<bool>) {
    model.dialog = Some(Dialog { switch, ..Dialog::new(ask, text) });
    note(model);
}

/// A rule to be typed; of the selected line of the log its name, where a rule would help.
fn add(model: &mut Model) {
    let name = model.network.name.clone();
    let event = aimed_at(model);
    match event.as_ref().map(|event| allowed_by(event)) {
        Some(Err(why)) => model.say(Weight::Bad, why),
        Some(Ok(host)) => ask(model, Ask::Rule(name), host, Some(true)),
        None => ask(model, Ask::Rule(name), "", Some(true)),
    }
}

/// The name that a rule has to allow so that something would be reached, or why no rule helps.
fn allowed_by(event: &NetworkEvent) -> Result<&str, String> {
    let address = event.address.map(|address| address.to_string());
    let place = address.or_else(|| event.name.clone()).unwrap_or_else(|| "that".into());
    match (event.reason.as_deref(), event.name.as_deref()) {
        (Some("private" | "forbidden"), _) => Err(format!(
            "Rules do not open {place}, which is within this machine's networks; `reachable` in [network] of config.toml does."
        )),
        (Some("other_resolver"), _) => {
            Err("With rules only the sprite's own name server is asked; no rule opens others.".into())
        }
        (Some("record_type"), _) => {
            Err("With rules, records of that type are not asked for, of any name.".into())
        }
        (_, Some(name)) => Ok(name),
        (_, None) => Err(format!(
            "Rules are about names, and none is known for {place}; allow the name that leads to it."
        )),
    }
}

/// The rules with one more, or with another action in one about the same, and its place.
fn with(rules: &[Rule], domain: &str, allow: bool) -> (Vec<Rule>, usize, bool) {
    let action = if allow { policy::Action::Allow } else { policy::Action::Deny };
    let same = |rule: &Rule| matches!(rule, Rule::Domain { domain: other, .. } if policy::normal(other) == policy::normal(domain));
    let rule = Rule::Domain { domain: domain.to_owned(), action };
    let mut rules = rules.to_vec();
    // Of those about the same the last one counts.
    match rules.iter().rposition(same) {
        Some(place) => {
            rules[place] = rule;
            (rules, place, true)
        }
        None => {
            rules.push(rule);
            let place = rules.len() - 1;
            (rules, place, false)
        }
    }
}

/// What the rule that is being typed would do, or which rule decides about the name that is.
pub(super) fn note(model: &mut Model) {
    let Some(dialog) = &model.dialog else { return };
    let typed = dialog.input.value().trim();
    let network = &model.network;
    let note = match (&dialog.ask, dialog.switch) {
        _ if typed.is_empty() => None,
        (Ask::Rule(_), Some(allow)) => Some(foretell(&network.rules, typed, allow)),
        (Ask::TryName(_), _) => Some(
            network
                .meaning
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|meaning| meaning.decide(typed))
                .map(|(_, told)| told),
        ),
        _ => None,
    };
    if let Some(dialog) = &mut model.dialog {
        dialog.note = note;
    }
}

fn foretell(rules: &[Rule], domain: &str, allow: bool) -> Result<String, String> {
    policy::check_domain(domain)?;
    let (after, place, replaced) = with(rules, domain, allow);
    let told = Meaning::new(after)?.of(place).map(|meaning| meaning.sentence).unwrap_or_default();
    let more = match (replaced, rules.is_empty()) {
        (true, _) => format!("; takes the place of rule {}", place + 1),
        (_, true) => "; then only what a rule allows may be reached".to_owned(),
        _ => String::new(),
    };
    Ok(format!("{told}{more}"))
}

/// The rule that was typed becomes part of the draft.
pub(super) fn typed(model: &mut Model, domain: &str, allow: bool) -> Result<(), String> {
    foretell(&model.network.rules, domain, allow)?;
    let Load::Ready(policy) = &model.network.policy else { return Err("the rules are not here yet".into()) };
    let served = policy.rules.clone();
    let (after, place, _) = with(&model.network.rules, domain, allow);
    edit(model, &served, |rules| *rules = after);
    (model.network.pane, model.network.rule) = (Pane::Rules, place);
    Ok(())
}

/// Changes the draft. One that is what the server has is none.
fn edit(model: &mut Model, served: &[Rule], change: impl FnOnce(&mut Vec<Rule>)) {
    let network = &mut model.network;
    let mut rules = network.rules.clone();
    change(&mut rules);
    let place = network.rule.min(rules.len().saturating_sub(1));
    network.show(rules.clone());
    (network.pane, network.rule) = (Pane::Rules, place);
    let name = network.name.clone();
    model.set_draft(&name, (rules != served).then_some(rules));
}

/// What the server has is shown again.
pub(super) fn forget(model: &mut Model, name: &str) {
    model.set_draft(name, None);
    if let (true, Load::Ready(policy)) = (model.network.name == name, &model.network.policy) {
        let rules = policy.rules.clone();
        model.network.show(rules);
    }
}

/// Asks whether what was changed is to hold, and tells what that is.
fn save(model: &mut Model, served: &[Rule]) {
    let network = &model.network;
    let (name, rules) = (network.name.clone(), network.rules.clone());
    let meaning = match &network.meaning {
        Ok(meaning) => meaning,
        Err(why) => {
            let why = why.clone();
            return model.say(Weight::Bad, why);
        }
    };
    if model.draft(&name).is_none() {
        return model.say(Weight::Good, "The rules hold as they are shown; nothing was changed.");
    }
    let mut lines = difference(served, &rules);
    if let Load::Ready(log) = &network.log {
        lines.extend(cut(log, meaning));
    }
    lines.push(format!("Then: {}.", meaning.rest()));
    let told = lines.join("\n");
    ask(model, Ask::SaveRules { name, rules, told }, "", None);
}

/// Rules that are no more, and new ones, a line each.
fn difference(before: &[Rule], after: &[Rule]) -> Vec<String> {
    let gone = without(before, after).into_iter().map(|rule| format!("− {rule}"));
    let new = without(after, before).into_iter().map(|rule| format!("+ {rule}"));
    let mut lines: Vec<String> = gone.chain(new).collect();
    if lines.is_empty() {
        lines.push("The same rules in another order.".into());
    }
    if lines.len() > TOLD {
        let more = lines.len() - TOLD;
        lines.truncate(TOLD);
        lines.push(format!("and {}", number::count(more as u64, "other change", "other changes")));
    }
    lines
}

/// Rules that others have not, or have less often.
fn without<'r>(rules: &'r [Rule], others: &'r [Rule]) -> Vec<&'r Rule> {
    let mut left: HashMap<&Rule, usize> = HashMap::new();
    others.iter().for_each(|rule| *left.entry(rule).or_default() += 1);
    let has_none = |rule: &&'r Rule| match left.get_mut(*rule) {
        Some(count @ 1..) => {
            *count -= 1;
            false
        }
        _ => true,
    };
    rules.iter().filter(has_none).collect()
}

/// Open connections that rules would end.
fn cut(log: &NetworkLog, meaning: &Meaning) -> Option<String> {
    // Where there are rules, an address without an allowed name is closed.
    let allowed = |event: &NetworkEvent| match &event.name {
        Some(name) => meaning.decide(name).is_ok_and(|(allowed, _)| allowed),
        None => meaning.rules().is_empty(),
    };
    let lost: Vec<NetworkEvent> = network::open(log).into_iter().filter(|event| !allowed(event)).collect();
    let first = lost.first()?;
    let count = lost.iter().map(|event| event.count).sum();
    let many = number::count(count, "open connection is", "open connections are");
    Some(format!("{many} cut, such as that to {}.", first.place()))
}
