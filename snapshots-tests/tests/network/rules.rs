//! What a network policy promises, against a sprite that tries to get around it.

use snapshots_tests::world::World;

const GATEWAY: &str = "10.0.2.2";
const OTHER_SERVER: &str = "198.18.0.54";
const HELLO: &str = "hello from outside";

/// A trial from inside (`inside.py`), and how what became of it begins.
type Trial<'a> = (&'a [&'a str], &'a str);

/// Addresses that lead inside, or nowhere, or are others in disguise.
const CLOSED: [&str; 10] = [
    GATEWAY,
    "10.1.2.3",
    "169.254.169.254",
    "fd53:7072:6974::2",
    "fd00::1",
    "fd00:ec2::254",
    "64:ff9b::c612:1",
    "2002:c612:1::",
    "2001::1",
    "ff0e::1",
];

/// Names that lead there.
const INSIDE: [(&str, &str); 7] = [
    ("rebind.example", "A"),
    ("rebind.example", "AAAA"),
    ("private.example", "AAAA"),
    ("metadata.example", "A"),
    ("metadata.example", "AAAA"),
    ("link.example", "AAAA"),
    ("wrapped.example", "AAAA"),
];

const RULES: &str = r#"[
    {"domain":"allowed.example","action":"deny"},
    {"domain":"*","action":"deny"},
    {"domain":"allowed.example","action":"allow"},
    {"domain":"six.example","action":"allow"},
    {"domain":"mixed.example","action":"allow"},
    {"domain":"turning.example","action":"allow"},
    {"domain":"rebind.example","action":"allow"},
    {"domain":"private.example","action":"allow"},
    {"domain":"metadata.example","action":"allow"},
    {"domain":"link.example","action":"allow"},
    {"domain":"wrapped.example","action":"allow"},
    {"domain":"*.wild.example","action":"allow"},
    {"domain":"no.wild.example","action":"deny"},
    {"domain":"*.deep.wild.example","action":"deny"},
    {"domain":"yes.deep.wild.example","action":"allow"}
]"#;

pub fn hold(world: &World) {
    open(world);
    world.set(RULES);
    names(world);
    addresses(world);
    redirects(world);
    tightened(world);
    lists(world);
}

/// Without rules all that is public is there, also what the trials after this find closed.
fn open(world: &World) {
    let mut trials: Vec<Trial<'_>> = vec![
        (&["get", "http://six.example/"], HELLO),
        (&["get", "http://[2001:2::2]/"], HELLO),
        (&["get", "http://allowed.example/away"], HELLO),
        (&["get", "http://allowed.example/away-by-ipv6"], HELLO),
        (&["dns", "udp", OTHER_SERVER, "53", "other.example", "A"], "NOERROR 198.18.0.2"),
        (&["dns", "udp", OTHER_SERVER, "5353", "other.example", "A"], "NOERROR 198.18.0.2"),
        (&["dns", "tcp", OTHER_SERVER, "853", "other.example", "AAAA"], "NOERROR 2001:2::2"),
        (&["dns", "udp", GATEWAY, "53", "allowed.example", "TXT"], "NOERROR"),
        (&["tcp", "2001:2::1", "80"], "open"),
    ];
    let closed = CLOSED.map(|address| ["tcp", address, "80"]);
    trials.extend(closed.iter().map(|trial| (&trial[..], "closed")));
    let inside = INSIDE.map(|(name, kind)| ["dns", "udp", GATEWAY, "53", name, kind]);
    trials.extend(inside.iter().map(|trial| (&trial[..], "REFUSED")));
    world.expect(&trials);
}

/// What is asked of the gateway, and of others.
fn names(world: &World) {
    let question = |name, kind| ["dns", "udp", GATEWAY, "53", name, kind];
    let said = [
        (question("allowed.example", "A"), "NOERROR 198.18.0.1"),
        (question("Allowed.EXAMPLE", "AAAA"), "NOERROR 2001:2::1"),
        (question("unallowed.example", "A"), "REFUSED"),
        (question("allowed.example.other.example", "A"), "REFUSED"),
        // A wildcard speaks of what is below it; the longer one counts before the shorter, and a name before both.
        (question("a.wild.example", "A"), "NOERROR 198.18.0.1"),
        (question("b.a.wild.example", "A"), "NOERROR 198.18.0.1"),
        (question("wild.example", "A"), "REFUSED"),
        (question("no.wild.example", "A"), "REFUSED"),
        (question("below.no.wild.example", "A"), "NOERROR 198.18.0.1"),
        (question("a.deep.wild.example", "A"), "REFUSED"),
        (question("yes.deep.wild.example", "A"), "NOERROR 198.18.0.1"),
        // Nothing is carried out in a question, nor in by an answer.
        (question("c2VjcmV0.tunnel.example", "A"), "REFUSED"),
        (question("c2VjcmV0.tunnel.example", "TXT"), "REFUSED"),
        (question("allowed.example", "TXT"), "REFUSED"),
        // Of several addresses those outside are left.
        (question("mixed.example", "A"), "NOERROR 198.18.0.1"),
        (question("mixed.example", "AAAA"), "NOERROR 2001:2::1"),
        // The first time it is somewhere else than afterwards.
        (question("turning.example", "A"), "NOERROR 198.18.0.1"),
    ];
    let inside = INSIDE.map(|(name, kind)| question(name, kind));
    let mut trials: Vec<Trial<'_>> = said.iter().map(|(trial, wanted)| (&trial[..], *wanted)).collect();
    trials.extend(inside.iter().map(|trial| (&trial[..], "REFUSED")));
    trials.extend([
        (&["dns", "tcp", GATEWAY, "53", "allowed.example", "A"] as &[&str], "NOERROR 198.18.0.1"),
        (&["dns", "tcp", "fd53:7072:6974::2", "53", "other.example", "A"], "REFUSED"),
        (&["dns", "udp", "fd53:7072:6974::2", "53", "allowed.example", "A"], "NOERROR 198.18.0.1"),
        // Two questions, one that points at itself, one that is cut off, another class, no question at all.
        (&["bytes", GATEWAY, "12340100000200000000000001610000010001016100000100010000"], "FORMERR"),
        (&["bytes", GATEWAY, "123401000001000000000000c00c00010001"], "FORMERR"),
        (&["bytes", GATEWAY, "1234010000010000000000000761"], "FORMERR"),
        (&["bytes", GATEWAY, "12340100000100000000000001610000010003"], "NOTIMP"),
        (&["bytes", GATEWAY, "12341100000100000000000001610000010001"], "NOTIMP"),
    ]);
    world.expect(&trials);
    world.expect(&[(&question("turning.example", "A"), "REFUSED")]);
    world.expect(&[
        (&question("turning.example", "A"), "REFUSED"),
        // What it was told first holds, and nothing else.
        (&["tcp", "198.18.0.1", "80"], "open"),
    ]);
    let (_, asked) = world.fetch("http://allowed.example/asked");
    let asked: Vec<String> = serde_json::from_str(&asked).expect("it is a list");
    let heard = |name: &str| asked.iter().filter(|asked| asked.starts_with(name)).count();
    assert!(heard("below.no.wild.example") > 0, "{asked:?}");
    for refused in ["c2VjcmV0", "unallowed", "allowed.example.other", "wild.example", "no.wild", "a.deep"] {
        assert_eq!(heard(refused), 0, "{refused}: {asked:?}");
    }
    // Before there were rules.
    assert_eq!(heard("allowed.example TXT"), 1, "{asked:?}");
}

/// Addresses that no answer for an allowed name gave, whoever listens there.
fn addresses(world: &World) {
    let mut trials: Vec<Trial<'_>> = vec![
        (&["tcp", "198.18.0.1", "80"], "open"),
        (&["tcp", "2001:2::1", "80"], "open"),
        (&["tcp", "198.18.0.2", "80"], "closed"),
        (&["tcp", "2001:2::2", "80"], "closed"),
        (&["tcp", "::ffff:198.18.0.2", "80"], "closed"),
        // Only the gateway is asked for names: no other server at any port, not even one on a host that is allowed.
        (&["dns", "udp", OTHER_SERVER, "53", "allowed.example", "A"], "closed"),
        (&["dns", "udp", OTHER_SERVER, "5353", "allowed.example", "A"], "closed"),
        (&["dns", "tcp", OTHER_SERVER, "53", "allowed.example", "A"], "closed"),
        (&["dns", "tcp", OTHER_SERVER, "853", "allowed.example", "A"], "closed"),
        (&["dns", "udp", "198.18.0.53", "53", "allowed.example", "A"], "closed"),
        (&["dns", "tcp", "198.18.0.1", "53", "allowed.example", "A"], "closed"),
        (&["dns", "udp", "2001:2::1", "53", "allowed.example", "A"], "closed"),
        (&["tcp", "2001:2::1", "853"], "closed"),
        (&["options", "2001:2::1", "9"], "no answer"),
    ];
    let closed = CLOSED.map(|address| ["tcp", address, "80"]);
    trials.extend(closed.iter().map(|trial| (&trial[..], "closed")));
    world.expect(&trials);
    for wanted in [
        // It was learned when nothing was forbidden, under a name that now is.
        [("kind", "tcp"), ("address", "2001:2::2"), ("reason", "rule")],
        [("kind", "udp"), ("address", OTHER_SERVER), ("reason", "unresolved")],
        [("kind", "tcp"), ("address", "198.18.0.1"), ("reason", "other_resolver")],
        [("kind", "tcp"), ("address", "64:ff9b::c612:1"), ("reason", "forbidden")],
        [("kind", "frame"), ("verdict", "denied"), ("reason", "dropped")],
    ] {
        world.wait_for(&wanted);
    }
}

/// An allowed host sends those who come to it elsewhere.
fn redirects(world: &World) {
    world.expect(&[
        (&["get", "http://allowed.example/home"], HELLO),
        (&["get", "http://allowed.example/away"], "curl: (6)"),
        (&["get", "http://allowed.example/away-by-address"], "curl: (7)"),
        (&["get", "http://allowed.example/away-by-ipv6"], "curl: (7)"),
        (&["get", "http://allowed.example/away-inside"], "curl: (7)"),
    ]);
}

/// What is under way when it is allowed no more.
fn tightened(world: &World) {
    let pids = world.run(
        "cd; rm -f said-*; for family in 4 6; do curl -$family -sN http://allowed.example/long >said-$family & echo $!; done; \
         for family in 4 6; do until grep -q tick said-$family 2>/dev/null; do sleep 0.1; done; done",
    );
    world.set(r#"[{"domain":"six.example","action":"allow"}]"#);
    let pids = pids.split_whitespace().collect::<Vec<_>>().join(" ");
    world.run(&format!(
        "for _ in {{1..100}}; do kill -0 {pids} 2>/dev/null || break; sleep 0.1; done; ! kill -0 {pids} 2>/dev/null"
    ));
    for address in ["198.18.0.1", "2001:2::1"] {
        world.wait_for(&[("verdict", "cut"), ("name", "allowed.example"), ("address", address)]);
    }
    // The same address, under the name that is left.
    world.expect(&[
        (&["get", "http://six.example/"], HELLO),
        (&["get", "http://allowed.example/"], "curl: (6)"),
    ]);
}

/// The list that comes with the program, and all of the rest.
fn lists(world: &World) {
    let question = |name| ["dns", "udp", GATEWAY, "53", name, "A"];
    world.set(r#"[{"domain":"api.github.com","action":"deny"},{"include":"defaults"}]"#);
    world.expect(&[
        (&question("github.com"), "NOERROR 198.18.0.1"),
        (&question("pypi.org"), "NOERROR 198.18.0.1"),
        (&question("api.github.com"), "REFUSED"),
        (&question("allowed.example"), "REFUSED"),
    ]);
    let event = world.wait_for(&[("kind", "dns"), ("verdict", "allowed"), ("name", "github.com")]);
    assert_eq!(event["rule"], "defaults: github.com", "{event}");
    world.set(r#"[{"domain":"*","action":"allow"},{"domain":"other.example","action":"deny"}]"#);
    world.expect(&[
        (&question("allowed.example"), "NOERROR 198.18.0.1"),
        (&question("other.example"), "REFUSED"),
        // Whoever answers over HTTPS is no part of all.
        (&question("dns.google"), "REFUSED"),
        (&["dns", "udp", OTHER_SERVER, "53", "allowed.example", "A"], "closed"),
    ]);
    world.set("[]");
    world.expect(&[(&["get", "http://other.example/"], HELLO)]);
}
