//! What the owner says while the guest is at work.

use crate::net::{Net, echo, name_server, serve, settings};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use std::net::{Ipv4Addr, SocketAddr};
use vmm_net::{Kind, Outcome, Reason, Request, Settings};

fn is_open(net: &mut Net, handle: SocketHandle) -> bool {
    net.guest.turn();
    net.guest.tcp(handle).state() == State::Established
}

/// One round through a connection.
fn speaks(net: &mut Net, handle: SocketHandle) {
    net.guest.tcp(handle).send_slice(b"still there?").unwrap();
    net.guest.until("an echo", |guest| {
        let socket = guest.tcp(handle);
        (socket.recv_queue() == 12).then(|| socket.recv(|bytes| (bytes.len(), ())).unwrap())
    });
}

#[test]
fn a_tighter_policy_cuts_what_it_allows_no_more() {
    let server = name_server(Ipv4Addr::LOCALHOST.into());
    let other = name_server(Ipv4Addr::new(127, 0, 0, 3).into());
    let both = r#"{"domain":"a.example.com","action":"allow"},{"domain":"b.example.com","action":"allow"}"#;
    let mut net = Net::start(Settings { resolvers: vec![server.address], ..settings(both) });
    let to = serve(echo);
    let elsewhere = crate::net::serve_at("127.0.0.3:0".parse().unwrap(), echo);
    net.resolve("a.example.com.", RecordType::A);
    let a = net.guest.connected(to).unwrap();
    net.owner.ask(&Request::Resolvers(vec![other.address])).unwrap();
    net.resolve("b.example.com.", RecordType::A);
    let b = net.guest.connected(elsewhere).unwrap();
    speaks(&mut net, a);
    speaks(&mut net, b);

    // When the owner hears that it is done, it is.
    net.owner.policy(r#"{"domain":"b.example.com","action":"allow"},{"domain":"*","action":"deny"}"#);
    net.guest.until("a reset", |guest| (guest.tcp(a).state() == State::Closed).then_some(()));
    assert!(is_open(&mut net, b));
    speaks(&mut net, b);
    assert!(net.guest.connected(to).is_none());
    assert_eq!(net.resolve("a.example.com.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    let cut = net.owner.event(|event| event.verdict == Outcome::Cut);
    assert_eq!(
        (cut.kind, cut.name.as_deref(), cut.reason),
        (Kind::Tcp, Some("a.example.com"), Some(Reason::Rule))
    );
    assert_eq!((cut.sent, cut.received, cut.rule.unwrap().index), (12, 12, 1));

    // And back: what was learned before counts again.
    net.owner.policy(both);
    assert!(net.guest.connected(to).is_some());
    net.end();
}

#[test]
fn a_first_policy_cuts_what_no_name_was_asked_for() {
    let server = name_server(Ipv4Addr::LOCALHOST.into());
    let mut net = Net::start(Settings { resolvers: vec![server.address], ..settings("") });
    let to = serve(echo);
    let elsewhere: SocketAddr = crate::net::serve_at("127.0.0.3:0".parse().unwrap(), echo);
    net.resolve("a.example.com.", RecordType::A);
    let (named, bare) = (net.guest.connected(to).unwrap(), net.guest.connected(elsewhere).unwrap());
    net.owner.policy(r#"{"domain":"*.example.com","action":"allow"}"#);
    net.guest.until("a reset", |guest| (guest.tcp(bare).state() == State::Closed).then_some(()));
    assert!(is_open(&mut net, named));
    speaks(&mut net, named);
    net.end();
}

#[test]
fn the_largest_policy_that_there_may_be() {
    let server = name_server(Ipv4Addr::LOCALHOST.into());
    let mut net = Net::start(Settings { resolvers: vec![server.address], ..settings("") });
    let long = ["x".repeat(60), "y".repeat(60), "z".repeat(60)].join(".");
    let rule =
        |number: usize| format!(r#"{{"domain":"*.host-{number}.{long}.example.com","action":"allow"}}"#);
    let rules: Vec<String> = (0..10_000).map(rule).collect();
    net.owner.policy(&rules.join(","));
    for (name, code) in [
        (format!("a.host-9999.{long}.example.com."), ResponseCode::NoError),
        (format!("a.host-10000.{long}.example.com."), ResponseCode::Refused),
    ] {
        assert_eq!(net.resolve(&name, RecordType::A).metadata.response_code, code);
    }
    assert!(
        net.owner.write(&format!(r#"{{"policy":{{"rules":[{},{}]}}}}"#, rules.join(","), rule(0))).is_err()
    );
    net.end();
}

#[test]
fn requests_that_cannot_be_meant_change_nothing() {
    let mut net = Net::start(settings(""));
    // An empty line is none: with it an owner ends what another may have begun.
    for line in [
        "{}",
        "no json",
        r#"{"polcy":{"rules":[]}}"#,
        r#"{"policy":{"rules":[]},"allow_private":true}"#,
        r#"{"policy":{"rules":[{"domain":"a b","action":"deny"}]}}"#,
        r#"{"policy":{"rules":[{"include":"everything"}]}}"#,
        r#"{"allow_private":"yes"}"#,
    ] {
        assert!(net.owner.write(line).is_err(), "{line}");
    }
    assert!(net.guest.connected(serve(echo)).is_some());
    for line in
        [r#"{"allow_private":true}"#, r#"{"resolvers":["127.0.0.1:53"]}"#, r#"{"policy":{"rules":[]}}"#]
    {
        assert_eq!(net.owner.write(line), Ok(()), "{line}");
    }
    net.end();
}

#[test]
fn private_networks_open_only_without_a_policy() {
    let mut net = Net::start(Settings { reachable: Vec::new(), ..settings("") });
    let to = serve(echo);
    // The host's loopback is never opened.
    assert!(net.guest.connected(to).is_none());
    net.owner.ask(&Request::AllowPrivate(true)).unwrap();
    assert!(net.guest.connected(to).is_none());
    let denied = net.owner.event(|event| event.verdict == Outcome::Denied);
    assert_eq!(denied.reason, Some(Reason::Forbidden));
    net.end();
}

#[test]
fn it_ends_with_either_side() {
    Net::start(settings("")).end();
    let net = Net::start(settings(""));
    drop(net.owner);
    net.gateway.join().unwrap().unwrap();
}
