//! What a policy means, in plain sentences: of each rule what it does beside the others, and of a name which rule decides.
//!
//! It asks the [`Matcher`] that also decides, so that what is told is what happens.

use super::matcher::{Decision, LIST, RESOLVERS, is, is_resolver, lines, normal};
use super::{Action, DEFAULTS, Matcher, NetworkPolicy, Rule, Verdict, check_domain};
use std::net::IpAddr;

/// A policy with its meaning.
#[derive(Debug, Default)]
pub struct Meaning {
    rules: Vec<Rule>,
    /// None: there are no rules, so every name is allowed.
    matcher: Option<Matcher>,
    /// There are rules, and none of those that count allows anything.
    denies_all: bool,
}

/// What one rule does beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMeaning {
    /// As a sentence about the rule, without a full stop.
    pub sentence: String,
    /// What it is good for.
    pub role: Role,
}

/// What a rule is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It decides about some names.
    Decides,
    /// Without it everything would be the same.
    Idle,
    /// Another rule says the opposite of the very same names.
    Contradicted,
}

impl Meaning {
    /// Of these rules; the error is a sentence that names the one that cannot be meant.
    pub fn new(rules: Vec<Rule>) -> Result<Self, String> {
        let policy = NetworkPolicy { rules };
        let matcher = Matcher::new(&policy)?;
        let denies_all = matcher.as_ref().is_some_and(|matcher| !matcher.allows_any());
        Ok(Self { rules: policy.rules, matcher, denies_all })
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What decides about names that no rule speaks of.
    pub fn rest(&self) -> &'static str {
        match &self.matcher {
            None => "no rules: every public address may be reached",
            Some(_) if self.denies_all => "nothing may be reached: no rule allows anything",
            Some(matcher) if matcher.of("*").is_some_and(|decision| decision.allow) => {
                "what no other rule denies is allowed, by *"
            }
            Some(_) => "what no rule allows is denied",
        }
    }

    /// What the rule at that place does; none where there is no rule.
    ///
    /// Takes time with the number of rules, so it is for those that are looked at.
    pub fn of(&self, index: usize) -> Option<RuleMeaning> {
        let matcher = self.matcher.as_ref()?;
        let (sentence, role) = match self.rules.get(index)? {
            Rule::Include { .. } => self.included(matcher, index),
            Rule::Domain { domain, action } => {
                let domain = normal(domain);
                self.overridden(matcher, index, &domain, *action)
                    .unwrap_or_else(|| self.deciding(matcher, &domain, *action))
            }
        };
        Some(RuleMeaning { sentence, role })
    }

    /// Which rule decides about a name that somebody typed, as a sentence, and whether it may be reached.
    pub fn decide(&self, name: &str) -> Result<(bool, String), String> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Err(format!(
                "rules are about names; {address} may be reached when an allowed name leads to it"
            ));
        }
        if name.contains('*') {
            return Err("type the name of one host".into());
        }
        check_domain(name)?;
        let name = normal(name);
        let Some(matcher) = &self.matcher else { return Ok((true, "allowed: there are no rules".into())) };
        Ok(match matcher.decide(&name) {
            Verdict::Allowed(rule) => (true, format!("allowed by rule {}, {}", rule.index + 1, rule.text)),
            Verdict::Denied(Some(rule)) => {
                (false, format!("denied by rule {}, {}", rule.index + 1, rule.text))
            }
            Verdict::Denied(None) if is_resolver(&name) => (false, format!("denied: {RESOLVER}")),
            Verdict::Denied(None) => (false, "denied: no rule allows it".into()),
        })
    }

    /// A rule in whose place another one counts.
    fn overridden(
        &self,
        matcher: &Matcher,
        index: usize,
        domain: &str,
        action: Action,
    ) -> Option<(String, Role)> {
        if domain.trim_start_matches("*.").parse::<IpAddr>().is_ok() {
            let why = "never used: rules are about names, and an address may be reached when an allowed name leads to it";
            return Some((why.into(), Role::Idle));
        }
        let by = matcher.of(domain).map(|decision| decision.rule.index).filter(|by| *by != index)?;
        let number = by + 1;
        Some(match self.rules.get(by) {
            Some(Rule::Domain { action: other, .. }) if *other != action => (
                format!("never used: rule {number} says {other} of the same, and the last one counts"),
                Role::Contradicted,
            ),
            _ => (format!("never used: rule {number} says the same"), Role::Idle),
        })
    }

    /// A rule that counts for its domain, and what it says for nothing the opposite of.
    fn deciding(&self, matcher: &Matcher, domain: &str, action: Action) -> (String, Role) {
        let opposite = |rule: &Rule| matches!(rule, Rule::Domain { domain: other, action: said } if *said != action && is(other, domain));
        let (sentence, role) = self.alone(matcher, domain, action == Action::Allow);
        match self.rules.iter().position(opposite) {
            Some(other) => {
                let number = other + 1;
                (format!("{sentence}; rule {number} says the opposite and is not used"), Role::Contradicted)
            }
            None => (sentence, role),
        }
    }

    /// The same without regard to others for the very same names.
    fn alone(&self, matcher: &Matcher, domain: &str, allow: bool) -> (String, Role) {
        let says = if allow { "allows" } else { "denies" };
        if self.denies_all {
            return (
                format!("denies {domain}, and all else is denied too: no rule allows anything"),
                Role::Decides,
            );
        }
        if domain == "*" && allow {
            let what = "allows every name that no other rule speaks of, but public name servers";
            return (what.into(), Role::Decides);
        }
        if domain == "*" {
            return ("denies every name that no other rule speaks of, as without it".into(), Role::Idle);
        }
        let (name, wild) = domain.strip_prefix("*.").map_or((domain, false), |name| (name, true));
        let beside = matcher.above(name);
        if self.is_listed(domain) {
            // Without it the included list would count.
            if allow {
                return (format!("changes nothing: {DEFAULTS} allows it already"), Role::Idle);
            }
            // Else the wildcard above would, or the denial of what nothing speaks of.
        } else if beside.is_some_and(|beside| beside.allow) == allow
            && !(wild
                && beside.is_some_and(|beside| beside.allow && beside.rule.text == "*")
                && has_resolvers(name))
        {
            let why = match beside {
                Some(beside) => format!("{} {says} it already", beside.rule.text),
                None if is_resolver(name) => RESOLVER.into(),
                None => "no rule allows it".into(),
            };
            return (format!("changes nothing: {why}"), Role::Idle);
        }
        let mut sentence = format!("{says} {}{name}", if wild { "every host below " } else { "" });
        // What somebody may think is meant as well, and is not.
        if wild && matches!(matcher.decide(name), Verdict::Allowed(_)) != allow {
            sentence += &format!(", not {name} itself");
        }
        if !wild && matcher.of(&format!("*.{name}")).or(beside).is_some_and(|below| below.allow) != allow {
            sentence += if allow { ", no host below it" } else { ", not the hosts below it" };
        }
        if let Some((first, more)) = exceptions(matcher, name, allow).filter(|_| wild) {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            sentence += &format!(", but {first}{more}");
        }
        (sentence, Role::Decides)
    }

    /// Whether an included list has a line for the very domain.
    fn is_listed(&self, domain: &str) -> bool {
        let included = |rule: &Rule| matches!(rule, Rule::Include { .. });
        self.rules.iter().any(included) && lines(LIST).any(|line| line == domain)
    }

    /// An included list.
    fn included(&self, matcher: &Matcher, index: usize) -> (String, Role) {
        if let Some(later) = self.rules.iter().skip(index + 1).position(|rule| *rule == self.rules[index]) {
            return (format!("never used: rule {} says the same", index + later + 2), Role::Idle);
        }
        let total = lines(LIST).count();
        let denied =
            lines(LIST).filter(|domain| matcher.of(domain).is_some_and(|there| !there.allow)).count();
        let but = if denied > 0 { format!(", but {denied} that rules here deny") } else { String::new() };
        (format!("allows {total} names of usual registries and code hosts{but}"), Role::Decides)
    }
}

/// Why `*` is not enough for some names.
const RESOLVER: &str = "it is a public name server, of which * does not speak";

/// What more specific rules say otherwise below a domain: the first of them, and how many more there are.
fn exceptions(matcher: &Matcher, name: &str, allow: bool) -> Option<(String, usize)> {
    let other = |(_, inside): &(String, &Decision)| inside.allow != allow;
    let mut names: Vec<String> = matcher.within(name).filter(other).map(|(name, _)| name).collect();
    names.sort_unstable();
    let more = names.len().checked_sub(1)?;
    Some((names.swap_remove(0), more))
}

/// Whether a domain has public name servers in it, of which a wildcard above it speaks and `*` does not.
fn has_resolvers(name: &str) -> bool {
    lines(RESOLVERS).any(|resolver| resolver.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}
