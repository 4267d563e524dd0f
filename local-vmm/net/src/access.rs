//! What the guest may reach: the one place that decides, of names as of addresses.

use crate::event::Reason;
use crate::pins::Pins;
use crate::plan::Plan;
use crate::reach::{self, Distance, Own};
use crate::settings::Settings;
use ipnet::IpNet;
use sprites_api::policy::{Matcher, NetworkPolicy, RuleRef, Verdict};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Ports of name servers. Under a policy only the gateway answers questions, lest somebody else's answers are believed.
const RESOLVER_PORTS: [u16; 2] = [53, 853];

/// See the module.
#[derive(Debug)]
pub(crate) struct Access {
    plan: Plan,
    /// None: no policy, so every name is allowed.
    matcher: Option<Matcher>,
    allow_private: bool,
    reachable: Vec<IpNet>,
    own: Own,
    pub(crate) pins: Pins,
}

/// It may be reached: under which name the guest knows it, and by which rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) rule: Option<Arc<RuleRef>>,
}

/// It may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) rule: Option<Arc<RuleRef>>,
    pub(crate) reason: Reason,
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { name: None, rule: None, reason }
    }
}

impl Access {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            plan: settings.plan,
            matcher: Matcher::new(&settings.policy)?,
            allow_private: settings.allow_private,
            reachable: settings.reachable.clone(),
            own: Own::default(),
            pins: Pins::default(),
        })
    }

    /// From now on that policy counts. What is under way has to be [looked at](Self::still).
    pub(crate) fn set_policy(&mut self, policy: &NetworkPolicy) -> Result<(), String> {
        self.matcher = Matcher::new(policy)?;
        Ok(())
    }

    pub(crate) fn set_allow_private(&mut self, allow: bool) {
        self.allow_private = allow;
    }

    /// Whether a policy decides.
    pub(crate) fn has_policy(&self) -> bool {
        self.matcher.is_some()
    }

    /// Whether a name may be asked for, in lower case and without the dot at its end.
    pub(crate) fn name(&self, name: &str) -> Result<Option<Arc<RuleRef>>, Denial> {
        match self.matcher.as_ref().map(|matcher| matcher.decide(name)) {
            None => Ok(None),
            Some(Verdict::Allowed(rule)) => Ok(Some(rule)),
            Some(Verdict::Denied(rule)) => {
                let reason = if rule.is_some() { Reason::Rule } else { Reason::NoRule };
                Err(Denial { name: Some(name.into()), rule, reason })
            }
        }
    }

    /// Whether an address leads where guests may go at all. Answers that carry another are not passed on.
    pub(crate) fn leads_outside(&mut self, address: IpAddr, now: Instant) -> Result<(), Reason> {
        if self.plan.is_on_cable(address) {
            return Err(Reason::Private);
        }
        if reach::is_in(&self.reachable, address) {
            return Ok(());
        }
        match reach::distance(address) {
            Distance::Closed => Err(Reason::Forbidden),
            _ if self.own.contains(address, now) => Err(Reason::Forbidden),
            Distance::Public if !self.own.is_near(address, now) => Ok(()),
            _ if !self.allow_private || self.matcher.is_some() => Err(Reason::Private),
            Distance::Private | Distance::Public => Ok(()),
        }
    }

    /// Whether something new may go to an address; a port, unless it is an echo request.
    pub(crate) fn connect(
        &mut self,
        address: IpAddr,
        port: Option<u16>,
        now: Instant,
    ) -> Result<Grant, Denial> {
        self.leads_outside(address, now)?;
        let Some(matcher) = &self.matcher else {
            return Ok(Grant { name: self.pins.names(address, now).next().cloned(), rule: None });
        };
        if port.is_some_and(|port| RESOLVER_PORTS.contains(&port)) {
            return Err(Reason::OtherResolver.into());
        }
        let mut denial = Denial::from(Reason::Unresolved);
        for name in self.pins.names(address, now) {
            match matcher.decide(name) {
                Verdict::Allowed(rule) => return Ok(Grant { name: Some(name.clone()), rule: Some(rule) }),
                Verdict::Denied(rule) if denial.name.is_none() => {
                    let reason = if rule.is_some() { Reason::Rule } else { Reason::NoRule };
                    denial = Denial { name: Some(name.clone()), rule, reason };
                }
                Verdict::Denied(_) => {}
            }
        }
        Err(denial)
    }

    /// Whether what was granted may go on. What goes under a name needs that name, though another may have the same address: only so is a name
    /// that was taken away really cut.
    pub(crate) fn still(
        &mut self,
        grant: &Grant,
        address: IpAddr,
        port: Option<u16>,
        now: Instant,
    ) -> Result<Grant, Denial> {
        let Some(name) = grant.name.as_ref().filter(|_| self.matcher.is_some()) else {
            return self.connect(address, port, now);
        };
        self.leads_outside(address, now)?;
        if port.is_some_and(|port| RESOLVER_PORTS.contains(&port)) {
            return Err(Reason::OtherResolver.into());
        }
        let rule = self.name(name)?;
        Ok(Grant { name: Some(name.clone()), rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(rules: &str) -> Access {
        let mut access = Access::new(&Settings::default()).unwrap();
        access.set_policy(&policy(rules)).unwrap();
        access
    }

    fn policy(rules: &str) -> NetworkPolicy {
        serde_json::from_str(&format!(r#"{{"rules":[{rules}]}}"#)).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const ALLOW: &str = r#"{"domain":"*.example.com","action":"allow"}"#;

    #[test]
    fn without_a_policy_all_but_the_inside_may_be_reached() {
        let (mut access, now) = (access(""), Instant::now());
        assert_eq!(access.connect(ip("8.8.8.8"), Some(53), now), Ok(Grant::default()));
        for (address, reason) in [
            ("10.9.9.9", Reason::Private),
            ("127.0.0.1", Reason::Forbidden),
            ("169.254.169.254", Reason::Forbidden),
            ("::ffff:8.8.8.8", Reason::Forbidden),
            ("10.0.2.99", Reason::Private),
        ] {
            assert_eq!(access.connect(ip(address), Some(80), now), Err(reason.into()), "{address}");
        }
        access.set_allow_private(true);
        assert!(access.connect(ip("10.9.9.9"), Some(80), now).is_ok());
        for address in ["127.0.0.1", "169.254.169.254", "10.0.2.99"] {
            assert!(access.connect(ip(address), Some(80), now).is_err(), "{address}");
        }
        // A policy closes the inside, whatever was said before.
        access.set_policy(&policy(ALLOW)).unwrap();
        access.pins.add(&"a.example.com".into(), ip("10.9.9.9"), 60, now);
        assert_eq!(access.connect(ip("10.9.9.9"), Some(80), now), Err(Reason::Private.into()));
    }

    #[test]
    fn under_a_policy_only_what_was_resolved_may_be_reached() {
        let (mut access, now) = (access(ALLOW), Instant::now());
        assert_eq!(access.connect(ip("8.8.8.8"), Some(80), now), Err(Reason::Unresolved.into()));
        let name: Arc<str> = "a.example.com".into();
        access.pins.add(&name, ip("8.8.8.8"), 60, now);
        let grant = access.connect(ip("8.8.8.8"), Some(80), now).unwrap();
        assert_eq!((grant.name.as_ref(), grant.rule.as_ref().unwrap().index), (Some(&name), 0));
        for port in RESOLVER_PORTS {
            assert_eq!(access.connect(ip("8.8.8.8"), Some(port), now), Err(Reason::OtherResolver.into()));
        }
        // Later it may not any more.
        let late = now + std::time::Duration::from_secs(3600);
        assert_eq!(access.connect(ip("8.8.8.8"), Some(80), late), Err(Reason::Unresolved.into()));
        // But what is under way goes on until its name is taken away, though another has the same address.
        assert_eq!(access.still(&grant, ip("8.8.8.8"), Some(80), late), Ok(grant.clone()));
        access.pins.add(&"b.example.com".into(), ip("8.8.8.8"), 60, now);
        access.set_policy(&policy(r#"{"domain":"b.example.com","action":"allow"}"#)).unwrap();
        let denial = access.still(&grant, ip("8.8.8.8"), Some(80), now).unwrap_err();
        assert_eq!((denial.name, denial.reason), (Some(name), Reason::NoRule));
        assert_eq!(
            access.connect(ip("8.8.8.8"), Some(80), now).unwrap().name.as_deref(),
            Some("b.example.com")
        );
        access.set_policy(&policy(r#"{"domain":"*","action":"deny"}"#)).unwrap();
        let denial = access.connect(ip("8.8.8.8"), Some(80), now).unwrap_err();
        assert_eq!((denial.name.as_deref(), denial.reason), (Some("b.example.com"), Reason::Rule));
    }

    #[test]
    fn what_went_without_a_name_needs_one_when_a_policy_comes() {
        let (mut access, now) = (access(""), Instant::now());
        let grant = access.connect(ip("8.8.8.8"), Some(80), now).unwrap();
        assert_eq!(access.still(&grant, ip("8.8.8.8"), Some(80), now), Ok(grant.clone()));
        access.set_policy(&policy(ALLOW)).unwrap();
        assert!(access.still(&grant, ip("8.8.8.8"), Some(80), now).is_err());
        access.pins.add(&"a.example.com".into(), ip("8.8.8.8"), 60, now);
        assert!(access.still(&grant, ip("8.8.8.8"), Some(80), now).is_ok());
    }
}
