//! Policies against names.

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
    for list in [DEFAULTS, RESOLVERS] {
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
