//! What a sprite reaches, and what it may reach: a part of its screen.

use super::Load;
use sprites_api::extension::{NetworkEvent, NetworkLog};
use sprites_api::policy::{Meaning, NetworkPolicy, Rule};
use sprites_backend::client::clean;
use std::collections::HashMap;
use strum::{EnumIter, IntoEnumIterator};

/// Events that are kept of what a server tells; ours has no more.
const KEPT: usize = 1000;

/// See the module.
#[derive(Debug)]
pub struct Network {
    /// Whose.
    pub name: String,
    /// What it tried to reach, made safe for the screen.
    pub log: Load<NetworkLog>,
    /// What the server lets it reach.
    pub policy: Load<NetworkPolicy>,
    /// Which of the two is worked in.
    pub pane: Pane,
    /// Which lines of the log are shown.
    pub only: Only,
    /// The selected line of the log; none: the newest.
    pub line: Option<NetworkEvent>,
    /// The rules as they are shown: the server's, or with what was changed here.
    pub rules: Vec<Rule>,
    /// What they mean, or why they cannot be meant.
    pub meaning: Result<Meaning, String>,
    /// Place of the selected rule.
    pub rule: usize,
}

/// A half of the network part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// What was tried.
    #[default]
    Log,
    /// What may be reached.
    Rules,
}

/// Which lines of the log are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumIter)]
pub enum Only {
    /// All of them.
    #[default]
    All,
    /// What was not to be, or was ended because it is allowed no more.
    Denied,
    /// Connections that are open now.
    Open,
}

impl Only {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self::iter().cycle().skip_while(|only| *only != self).nth(1).unwrap_or(self)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::of(String::new(), Pane::Log)
    }
}

impl Network {
    /// Of a sprite about whose network nothing is known yet.
    pub fn of(name: String, pane: Pane) -> Self {
        Self {
            name,
            log: Load::Waiting,
            policy: Load::Waiting,
            pane,
            only: Only::All,
            line: None,
            rules: Vec::new(),
            meaning: Ok(Meaning::default()),
            rule: 0,
        }
    }

    /// Shows these rules. The selected one stays selected, wherever it is.
    pub fn show(&mut self, rules: Vec<Rule>) {
        if rules == self.rules {
            return;
        }
        let selected = self.rules.get(self.rule);
        let place = selected.and_then(|rule| rules.iter().position(|other| other == rule));
        self.rule = place.unwrap_or(self.rule).min(rules.len().saturating_sub(1));
        self.meaning = Meaning::new(rules.clone());
        self.rules = rules;
    }

    /// The lines of the log that are shown, newest first.
    pub fn lines(&self) -> Vec<NetworkEvent> {
        let Load::Ready(log) = &self.log else { return Vec::new() };
        match self.only {
            Only::All => log.events.clone(),
            Only::Denied => log.events.iter().filter(|event| is_denied(event)).cloned().collect(),
            Only::Open => open(log),
        }
    }

    /// Place of the selected line among those that are shown.
    pub fn place(&self, lines: &[NetworkEvent]) -> usize {
        let Some(line) = &self.line else { return 0 };
        lines.iter().position(|other| is_same(line, other)).unwrap_or(0)
    }
}

/// Whether it was not to be.
pub fn is_denied(event: &NetworkEvent) -> bool {
    matches!(event.verdict.as_str(), "denied" | "cut")
}

/// Whether two are one, of which more may have been counted meanwhile.
fn is_same(one: &NetworkEvent, two: &NetworkEvent) -> bool {
    one.at == two.at && one.verdict == two.verdict && whereto(one) == whereto(two) && one.reason == two.reason
}

type Whereto<'a> = (&'a str, Option<&'a str>, Option<std::net::IpAddr>, Option<u16>);

fn whereto(event: &NetworkEvent) -> Whereto<'_> {
    (event.kind.as_str(), event.name.as_deref(), event.address, event.port)
}

/// Connections that are open now, newest first: those that were made and of which no end is told. A machine that stopped tells no ends, so
/// there are never more than the server says.
pub fn open(log: &NetworkLog) -> Vec<NetworkEvent> {
    let mut open: HashMap<Whereto<'_>, u64> = HashMap::new();
    for event in log.events.iter().rev().filter(|event| event.kind == "tcp") {
        let held = open.entry(whereto(event)).or_default();
        match event.verdict.as_str() {
            "allowed" => *held += event.count,
            "closed" | "cut" | "failed" => *held = held.saturating_sub(event.count),
            _ => {}
        }
    }
    let mut left = log.connections;
    let made = log.events.iter().filter(|event| event.verdict == "allowed");
    made.filter_map(|event| {
        // What is told of one place more than once is the newest of it.
        let count = open.remove(&whereto(event))?.min(left);
        left -= count;
        (count > 0).then(|| NetworkEvent { count, ..event.clone() })
    })
    .collect()
}

/// A log whose texts may be shown: code in a sprite chooses the names it asks for.
pub fn safe(mut log: NetworkLog) -> NetworkLog {
    log.events.truncate(KEPT);
    for event in &mut log.events {
        for text in [&mut event.kind, &mut event.verdict] {
            *text = clean(text);
        }
        for text in [&mut event.name, &mut event.reason, &mut event.rule].into_iter().flatten() {
            *text = clean(text);
        }
    }
    log
}
