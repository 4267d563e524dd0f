//! Policies against names.

use super::matcher::{LIST, RESOLVERS, lines};
use super::*;
use std::time::Instant;

fn policy(rules: &str) -> NetworkPolicy {
    serde_json::from_str(&format!(r#"{{"rules":[{rules}]}}"#)).unwrap()
}

fn matcher(rules: &str) -> Matcher {
    Matcher::new(&policy(rules)).unwrap().unwrap()
}

/// `+` or `-`, and the rule's index if one decided.
fn said(matcher: &Matcher, name: &str) -> String {
    match matcher.decide(name) {
        Verdict::Allowed(rule) => format!("+{}", rule.index),
        Verdict::Denied(rule) => format!("-{}", rule.map(|rule| rule.index.to_string()).unwrap_or_default()),
    }
}

#[test]
fn the_most_specific_rule_decides() {
    let matcher = matcher(
        r#"{"domain":"*","action":"deny"},
           {"domain":"*.example.com","action":"allow"},
           {"domain":"*.secret.example.com","action":"deny"},
           {"domain":"open.secret.example.com","action":"allow"},
           {"domain":"Example.ORG.","action":"allow"}"#,
    );
    for (name, expected) in [
        ("a.example.com", "+1"),
        ("a.b.example.com", "+1"),
        ("example.com", "-0"),
        ("notexample.com", "-0"),
        ("secret.example.com", "+1"),
        ("a.secret.example.com", "-2"),
        ("open.secret.example.com", "+3"),
        ("a.open.secret.example.com", "-2"),
        ("example.org", "+4"),
        ("www.example.org", "-0"),
        ("com", "-0"),
        ("", "-0"),
    ] {
        assert_eq!(said(&matcher, name), expected, "{name}");
    }
}

#[test]
fn no_rules_are_no_policy_and_no_match_is_a_denial() {
    assert!(Matcher::new(&NetworkPolicy::default()).unwrap().is_none());
    let matcher = matcher(r#"{"domain":"example.com","action":"allow"}"#);
    assert_eq!((said(&matcher, "example.com").as_str(), said(&matcher, "example.net").as_str()), ("+0", "-"));
}

#[test]
fn the_last_of_equal_rules_counts_but_a_written_one_before_an_included_one() {
    let last = matcher(
        r#"{"domain":"a.example","action":"allow"},{"domain":"a.example","action":"deny"},{"domain":"*","action":"deny"},{"domain":"*","action":"allow"}"#,
    );
    assert_eq!((said(&last, "a.example").as_str(), said(&last, "b.example").as_str()), ("-1", "+3"));
    for rules in [
        r#"{"domain":"github.com","action":"deny"},{"include":"defaults"}"#,
        r#"{"include":"defaults"},{"domain":"github.com","action":"deny"}"#,
    ] {
        let matcher = matcher(rules);
        assert!(said(&matcher, "github.com").starts_with('-'), "{rules}");
        assert!(said(&matcher, "api.github.com").starts_with('+'), "{rules}");
    }
}

#[test]
fn the_included_list_can_be_meant_and_has_what_it_promises() {
    for list in [LIST, RESOLVERS] {
        let rules =
            lines(list).map(|domain| Rule::Domain { domain: domain.into(), action: Action::Allow }).collect();
        assert_eq!(NetworkPolicy { rules }.check(), Ok(()));
    }
    let matcher = matcher(r#"{"include":"defaults"}"#);
    for name in [
        "github.com",
        "raw.githubusercontent.com",
        "registry.npmjs.org",
        "pypi.org",
        "files.pythonhosted.org",
        "registry-1.docker.io",
        "index.crates.io",
        "proxy.golang.org",
        "api.anthropic.com",
        "api.openai.com",
        "deb.debian.org",
    ] {
        assert_eq!(said(&matcher, name), "+0", "{name}");
    }
    assert_eq!(said(&matcher, "example.com"), "-");
    let Verdict::Allowed(rule) = matcher.decide("api.github.com") else { panic!() };
    assert_eq!(rule.text, "defaults: *.github.com");
}

#[test]
fn resolvers_need_a_rule_of_their_own() {
    let all = matcher(r#"{"domain":"*","action":"allow"}"#);
    for name in ["dns.google", "mozilla.cloudflare-dns.com", "use-application-dns.net"] {
        assert_eq!(said(&all, name), "-", "{name}");
    }
    assert_eq!(said(&all, "google.com"), "+0");
    let own = matcher(r#"{"domain":"*","action":"allow"},{"domain":"dns.google","action":"allow"}"#);
    assert_eq!(said(&own, "dns.google"), "+1");
}

#[test]
fn ten_thousand_rules_take_microseconds() {
    let rules = (0..10_000)
        .map(|number| Rule::Domain {
            domain: format!("{}host-{number}.example.com", if number % 2 == 0 { "*." } else { "" }),
            action: Action::Allow,
        })
        .collect();
    let matcher = Matcher::new(&NetworkPolicy { rules }).unwrap().unwrap();
    let rounds = 20_000;
    let start = Instant::now();
    for number in 0..rounds {
        let name = format!("a.b.c.d.e.f.host-{}.example.com", number % 10_000);
        let allowed = matches!(matcher.decide(&name), Verdict::Allowed(_));
        assert_eq!(allowed, number % 2 == 0);
    }
    // A hundred times what it takes, for slow machines and builds without optimisation.
    let each = start.elapsed() / rounds;
    assert!(each.as_micros() < 100, "{each:?}");
}

#[test]
fn rules_come_back_as_they_were_given() {
    let text = r#"{"rules":[{"domain":"example.com","action":"allow"},{"include":"defaults"},{"domain":"*","action":"deny"}]}"#;
    let policy: NetworkPolicy = serde_json::from_str(text).unwrap();
    assert_eq!(policy.check(), Ok(()));
    assert_eq!(serde_json::to_string(&policy).unwrap(), text);
}

#[test]
fn what_cannot_be_meant() {
    let check = |domain: &str| check_domain(domain).is_ok();
    for domain in ["*", "a.b", "*.example.com", "localhost", "xn--bcher-kva.example", "example.com."] {
        assert!(check(domain), "{domain}");
    }
    for domain in
        ["", ".", "*.", "**", "a..b", "-a.b", "a b", "http://a", "a/b", "*.*.a", "a:80", "bücher.example"]
    {
        assert!(!check(domain), "{domain}");
    }
    for text in [r#"{"rules":[{"include":"everything"}]}"#, r#"{"rules":[{"domain":"a b","action":"deny"}]}"#]
    {
        let policy: NetworkPolicy = serde_json::from_str(text).unwrap();
        assert!(policy.check().is_err(), "{text}");
    }
    for text in
        [r#"{}"#, r#"{"rules":[{"domain":"a.b"}]}"#, r#"{"rules":[{"domain":"a.b","action":"maybe"}]}"#]
    {
        assert!(serde_json::from_str::<NetworkPolicy>(text).is_err(), "{text}");
    }
}

/// What each rule does, in their order.
fn meanings(rules: &str) -> Vec<(Role, String)> {
    let meaning = Meaning::new(policy(rules).rules).unwrap();
    let told = (0..meaning.rules().len()).map(|index| meaning.of(index).unwrap());
    told.map(|meaning| (meaning.role, meaning.sentence)).collect()
}

#[test]
fn what_each_rule_does_is_told() {
    use Role::{Contradicted, Decides, Idle};
    for (rules, told) in [
        (
            r#"{"domain":"github.com","action":"allow"},{"domain":"*.example.com","action":"allow"},
               {"domain":"ads.example.com","action":"deny"},{"domain":"www.example.com","action":"allow"}"#,
            vec![
                (Decides, "allows github.com, no host below it"),
                (Decides, "allows every host below example.com, not example.com itself, but ads.example.com"),
                (Decides, "denies ads.example.com, not the hosts below it"),
                (Idle, "changes nothing: *.example.com allows it already"),
            ],
        ),
        (
            r#"{"domain":"a.example","action":"allow"},{"domain":"A.example.","action":"deny"},
               {"domain":"b.example","action":"allow"},{"domain":"b.example","action":"allow"},
               {"domain":"c.example","action":"deny"},{"domain":"192.0.2.1","action":"allow"}"#,
            vec![
                (Contradicted, "never used: rule 2 says deny of the same, and the last one counts"),
                (
                    Contradicted,
                    "changes nothing: no rule allows it; rule 1 says the opposite and is not used",
                ),
                (Idle, "never used: rule 4 says the same"),
                (Decides, "allows b.example, no host below it"),
                (Idle, "changes nothing: no rule allows it"),
                (
                    Idle,
                    "never used: rules are about names, and an address may be reached when an allowed name leads to it",
                ),
            ],
        ),
        (
            r#"{"domain":"*","action":"allow"},{"domain":"*.example.com","action":"deny"},
               {"domain":"a.b.example.com","action":"allow"},{"domain":"c.example.com","action":"allow"},
               {"domain":"dns.google","action":"allow"},{"domain":"*.google","action":"allow"},
               {"domain":"example.net","action":"allow"}"#,
            vec![
                (Decides, "allows every name that no other rule speaks of, but public name servers"),
                (
                    Decides,
                    "denies every host below example.com, not example.com itself, but a.b.example.com and 1 more",
                ),
                (Decides, "allows a.b.example.com, no host below it"),
                (Decides, "allows c.example.com, no host below it"),
                (Idle, "changes nothing: *.google allows it already"),
                (Decides, "allows every host below google"),
                (Idle, "changes nothing: * allows it already"),
            ],
        ),
        (
            r#"{"domain":"ads.example","action":"deny"}"#,
            vec![(Decides, "denies ads.example, and all else is denied too: no rule allows anything")],
        ),
        (
            r#"{"domain":"*","action":"deny"},{"domain":"pypi.org","action":"allow"},{"include":"defaults"},
               {"domain":"github.com","action":"deny"},{"include":"defaults"}"#,
            vec![
                (Idle, "denies every name that no other rule speaks of, as without it"),
                (Idle, "changes nothing: defaults allows it already"),
                (Idle, "never used: rule 5 says the same"),
                (Idle, ""),
                (Decides, ""),
            ],
        ),
    ] {
        let found = meanings(rules);
        assert_eq!(found.len(), told.len());
        for (found, told) in found.iter().zip(told).filter(|(_, told)| !told.1.is_empty()) {
            assert_eq!((found.0, found.1.as_str()), told, "{rules}");
        }
    }
    let list = meanings(r#"{"include":"defaults"},{"domain":"github.com","action":"deny"}"#);
    assert!(list[0].1.ends_with("code hosts, but 1 that rules here deny"), "{list:?}");
    // Without the rule the included list would allow it.
    assert_eq!(list[1].1, "denies github.com, not the hosts below it");
}

/// A rule that is told to change nothing changes nothing, and one that is told to decide decides about something.
#[test]
fn what_is_told_is_what_happens() {
    let domains = ["*", "*.a", "*.b.a", "b.a", "c.b.a", "a", "dns.google", "*.google"];
    let names = [
        "a",
        "b.a",
        "c.b.a",
        "d.c.b.a",
        "x.a",
        "x.b.a",
        "z",
        "dns.google",
        "8888.google",
        "x.google",
        "x.c.b.a",
    ];
    let every: Vec<Rule> = domains
        .iter()
        .flat_map(|domain| {
            [Action::Allow, Action::Deny].map(|action| Rule::Domain { domain: (*domain).into(), action })
        })
        .collect();
    let outcome = |rules: Vec<Rule>| {
        let matcher = Matcher::new(&NetworkPolicy { rules }).unwrap();
        names.map(|name| {
            matcher.as_ref().is_none_or(|matcher| matches!(matcher.decide(name), Verdict::Allowed(_)))
        })
    };
    // All policies of three rules.
    for number in 0..every.len().pow(3) {
        let pick = |place: usize| every[number / every.len().pow(place as u32) % every.len()].clone();
        let rules = vec![pick(0), pick(1), pick(2)];
        let meaning = Meaning::new(rules.clone()).unwrap();
        for (index, rule) in rules.iter().enumerate() {
            let told = meaning.of(index).unwrap();
            let without = |gone: &dyn Fn(usize, &Rule) -> bool| {
                let left = rules.iter().enumerate().filter(|(at, rule)| !gone(*at, rule));
                outcome(left.map(|(_, rule)| rule.clone()).collect())
            };
            match told.role {
                Role::Idle => {
                    let less = without(&|at, _| at == index);
                    // Without any rule there is no policy.
                    assert!(
                        rules.len() == 1 || less == outcome(rules.clone()),
                        "{rules:?} {index}: {told:?}"
                    );
                }
                Role::Decides if told.sentence.ends_with("no rule allows anything") => {}
                Role::Decides => {
                    let less = without(&|_, other| other == rule);
                    assert_ne!(less, outcome(rules.clone()), "{rules:?} {index}: {told:?}");
                }
                Role::Contradicted => {}
            }
        }
    }
}

#[test]
fn which_rule_decides_is_told() {
    let said = |rules: &str, name: &str| Meaning::new(policy(rules).rules).unwrap().decide(name);
    let rules = r#"{"domain":"*","action":"allow"},{"domain":"*.Example.com","action":"deny"}"#;
    assert_eq!(said("", "a.b"), Ok((true, "allowed: there are no rules".into())));
    assert_eq!(said(rules, "A.b."), Ok((true, "allowed by rule 1, *".into())));
    assert_eq!(said(rules, "a.example.com"), Ok((false, "denied by rule 2, *.Example.com".into())));
    let told = said(rules, "dns.google").unwrap();
    assert!(!told.0 && told.1.contains("public name server"), "{told:?}");
    assert_eq!(said(r#"{"include":"defaults"}"#, "a.b"), Ok((false, "denied: no rule allows it".into())));
    for wrong in ["", "a b", "*.a", "192.0.2.1", "::1"] {
        assert!(said(rules, wrong).is_err(), "{wrong}");
    }
}
