//! Which rule decides about a name.
//!
//! The most specific one does: the name itself before a wildcard, a longer wildcard before a shorter one, any before `*`. Among rules for the
//! same domain a rule that was written out comes before one of an included list, because whoever wrote both meant the exception; otherwise the
//! last one counts. A policy with rules denies what none of them speaks of.
//!
//! The gateway of a sprite decides by this, and who shows a policy explains it by this ([`Meaning`](super::Meaning)).
//!
//! A lookup hashes the name and each domain above it, once, so it takes as long with ten thousand rules as with one.

use super::{Action, NetworkPolicy, Rule};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The one list that can be included. `NetworkPolicy::check` knows the same one.
pub(super) const LIST: &str = include_str!("../../data/defaults.txt");
/// Names of resolvers that a rule for `*` does not speak of.
pub(super) const RESOLVERS: &str = include_str!("../../data/resolvers.txt");

/// The rule that decided, as somebody reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleRef {
    /// Its place in the policy, from 0.
    pub index: usize,
    /// Its domain; of an included list the list's name, a colon and the domain.
    pub text: String,
}

/// A compiled policy.
#[derive(Debug, Default)]
pub struct Matcher {
    exact: HashMap<Box<str>, Decision>,
    /// By what follows `*.`.
    below: HashMap<Box<str>, Decision>,
    all: Option<Decision>,
}

/// What counts for one domain.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) allow: bool,
    /// By a rule of the policy itself, not of an included list.
    written: bool,
    pub(super) rule: Arc<RuleRef>,
}

/// What a policy says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be reached, because of that rule.
    Allowed(Arc<RuleRef>),
    /// It may not, because of that rule, or because none speaks of it.
    Denied(Option<Arc<RuleRef>>),
}

/// Names of public resolvers: whole ones, and what follows `*.`.
static KNOWN_RESOLVERS: LazyLock<(Vec<&'static str>, Vec<&'static str>)> = LazyLock::new(|| {
    let (below, exact): (Vec<_>, Vec<_>) = lines(RESOLVERS).partition(|line| line.starts_with("*."));
    (exact, below.into_iter().filter_map(|line| line.strip_prefix("*.")).collect())
});

impl Matcher {
    /// Compiles rules; none, if the policy has none and so allows everything.
    pub fn new(policy: &NetworkPolicy) -> Result<Option<Self>, String> {
        policy.check()?;
        if policy.rules.is_empty() {
            return Ok(None);
        }
        let mut matcher = Self::default();
        let list = policy.rules.iter().rposition(|rule| matches!(rule, Rule::Include { .. }));
        for (index, rule) in policy.rules.iter().enumerate() {
            match rule {
                Rule::Domain { domain, action } => {
                    let rule = Arc::new(RuleRef { index, text: domain.clone() });
                    let allow = *action == Action::Allow;
                    matcher.add(domain, Decision { allow, written: true, rule });
                }
                // There is one list, and the same again says nothing new.
                Rule::Include { .. } if Some(index) != list => {}
                Rule::Include { include } => {
                    for domain in lines(LIST) {
                        let text = format!("{include}: {domain}");
                        let rule = Arc::new(RuleRef { index, text });
                        matcher.add(domain, Decision { allow: true, written: false, rule });
                    }
                }
            }
        }
        Ok(Some(matcher))
    }

    fn add(&mut self, domain: &str, decision: Decision) {
        let domain = normal(domain);
        let place = match domain.strip_prefix("*.") {
            _ if domain == "*" => {
                self.all = Some(decision);
                return;
            }
            Some(suffix) => self.below.entry(suffix.into()),
            None => self.exact.entry(domain.into()),
        };
        place
            .and_modify(|there| {
                if decision.written || !there.written {
                    *there = decision.clone();
                }
            })
            .or_insert(decision);
    }

    /// What the policy says of a name in lower case, without the dot at its end.
    pub fn decide(&self, name: &str) -> Verdict {
        match self.exact.get(name).or_else(|| self.above(name)) {
            Some(decision) if decision.allow => Verdict::Allowed(decision.rule.clone()),
            decision => Verdict::Denied(decision.map(|decision| decision.rule.clone())),
        }
    }

    /// Whether anything may be reached at all.
    pub(super) fn allows_any(&self) -> bool {
        self.exact.values().chain(self.below.values()).chain(&self.all).any(|decision| decision.allow)
    }

    /// What decides about a name beside a rule for the very name: the longest wildcard above it, or `*`.
    pub(super) fn above(&self, name: &str) -> Option<&Decision> {
        let wildcard = domains_above(name).find_map(|domain| self.below.get(domain));
        wildcard.or_else(|| self.all.as_ref().filter(|_| !is_resolver(name)))
    }

    /// What counts for a domain as rules name it, of all rules that do.
    pub(super) fn of(&self, domain: &str) -> Option<&Decision> {
        match domain.strip_prefix("*.") {
            _ if domain == "*" => self.all.as_ref(),
            Some(suffix) => self.below.get(suffix),
            None => self.exact.get(domain),
        }
    }

    /// What counts for names and wildcards below a domain, in no order.
    pub(super) fn within<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = (String, &'a Decision)> {
        let inside = move |name: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        let exact = self.exact.iter().filter(move |(name, _)| inside(name));
        let below = self.below.iter().filter(move |(name, _)| inside(name));
        let names = exact.map(|(name, decision)| (name.to_string(), decision));
        names.chain(below.map(|(name, decision)| (format!("*.{name}"), decision)))
    }
}

/// Whether it is the name of a public resolver, of which a rule for `*` does not speak.
pub(super) fn is_resolver(name: &str) -> bool {
    let (exact, below) = &*KNOWN_RESOLVERS;
    exact.contains(&name) || domains_above(name).any(|domain| below.contains(&domain))
}

/// The domain that a name is in, the one that is in, and so on.
fn domains_above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(name), |name| parent(name))
}

/// The domain that a name is directly in.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// How names are compared: in lower case, without the dot at the end.
pub fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a name is this [normal] one.
pub(super) fn is(name: &str, normal: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(normal)
}

pub(super) fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}
