//! Which rule decides about a name.
//!
//! The most specific one does: the name itself before a wildcard, a longer wildcard before a shorter one, any before `*`. Among rules for the
//! same domain a rule that was written out comes before one of an included list, because whoever wrote both meant the exception; otherwise the
//! last one counts. A policy with rules denies what none of them speaks of.
//!
//! A lookup hashes the name and each domain above it, once, so it takes as long with ten thousand rules as with one.

use serde::{Deserialize, Serialize};
use sprites_api::policy::{Action, NetworkPolicy, Rule};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Lists that can be included, by name. `NetworkPolicy::check` knows the same ones.
const DEFAULTS: &str = include_str!("../../data/defaults.txt");
/// Names of resolvers that a rule for `*` does not speak of.
const RESOLVERS: &str = include_str!("../../data/resolvers.txt");

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
pub(crate) struct Matcher {
    exact: HashMap<Box<str>, Decision>,
    /// By what follows `*.`.
    below: HashMap<Box<str>, Decision>,
    all: Option<Decision>,
}

#[derive(Clone, Debug)]
struct Decision {
    allow: bool,
    written: bool,
    rule: Arc<RuleRef>,
}

/// What a policy says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
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
    pub(crate) fn new(policy: &NetworkPolicy) -> Result<Option<Self>, String> {
        policy.check()?;
        if policy.rules.is_empty() {
            return Ok(None);
        }
        let mut matcher = Self::default();
        for (index, rule) in policy.rules.iter().enumerate() {
            match rule {
                Rule::Domain { domain, action } => {
                    let rule = Arc::new(RuleRef { index, text: domain.clone() });
                    let allow = *action == Action::Allow;
                    matcher.add(domain, Decision { allow, written: true, rule });
                }
                // The same list again says nothing new.
                Rule::Include { .. } if policy.rules[index + 1..].contains(rule) => {}
                Rule::Include { include } => {
                    for domain in lines(DEFAULTS) {
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
    pub(crate) fn decide(&self, name: &str) -> Verdict {
        let above = || std::iter::successors(parent(name), |name| parent(name));
        let own = self.exact.get(name).or_else(|| above().find_map(|domain| self.below.get(domain)));
        let decision = match own {
            Some(decision) => Some(decision),
            None if is_resolver(name, above()) => None,
            None => self.all.as_ref(),
        };
        match decision {
            Some(decision) if decision.allow => Verdict::Allowed(decision.rule.clone()),
            decision => Verdict::Denied(decision.map(|decision| decision.rule.clone())),
        }
    }
}

fn is_resolver<'a>(name: &str, mut above: impl Iterator<Item = &'a str>) -> bool {
    let (exact, below) = &*KNOWN_RESOLVERS;
    exact.contains(&name) || above.any(|domain| below.contains(&domain))
}

/// The domain that a name is directly in.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// How names are compared: in lower case, without the dot at the end.
pub(crate) fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests;
