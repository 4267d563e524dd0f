//! What a policy promises, for addresses of IPv6.

use crate::net::{Net, addresses, echo, name_server, serve_at, settings};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use smoltcp::socket::tcp::State;
use std::net::{IpAddr, Ipv6Addr};
use vmm_net::{Kind, Outcome, Reason, Settings};

const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALLOW: &str = r#"{"domain":"a.example.com","action":"allow"}"#;

/// Addresses that stand for the host's own, and one where a cloud tells secrets.
const WRAPPED: [&str; 8] = [
    "::ffff:127.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2001::7f00:1",
    "fd00:ec2::254",
    "fec0::1",
];

#[test]
fn addresses_are_pinned_and_cut_like_the_others() {
    let server = name_server(HERE);
    let mut net = Net::start(Settings { resolvers: vec![server.address], ..settings(ALLOW) });
    let to = serve_at((HERE, 0).into(), echo);
    assert!(net.guest.connected(to).is_none());
    assert_eq!(addresses(&net.resolve("a.example.com.", RecordType::AAAA)), [HERE]);
    let connection = net.guest.connected(to).unwrap();
    // Names are asked of the gateway alone, in this family too.
    assert!(net.guest.connected((HERE, 53).into()).is_none());
    net.owner.event(|event| event.reason == Some(Reason::OtherResolver));
    net.owner.policy(r#"{"domain":"*","action":"deny"}"#);
    net.guest.until("a reset", |guest| (guest.tcp(connection).state() == State::Closed).then_some(()));
    let cut = net.owner.event(|event| event.verdict == Outcome::Cut);
    assert_eq!((cut.kind, cut.address, cut.name.as_deref()), (Kind::Tcp, Some(HERE), Some("a.example.com")));
    assert!(net.guest.connected(to).is_none());
    net.end();
}

#[test]
fn what_leads_inside_or_stands_for_another_is_closed() {
    for (rules, allow_private) in [("", false), ("", true), (ALLOW, true)] {
        let mut net = Net::start(Settings { reachable: Vec::new(), allow_private, ..settings(rules) });
        let mut closed: Vec<(&str, Reason)> = WRAPPED.map(|address| (address, Reason::Forbidden)).into();
        // The networks that the host is in are another matter, as long as there are no rules.
        if !allow_private || !rules.is_empty() {
            closed.push(("fd00::1", Reason::Private));
        }
        closed.push(("fe80::1", Reason::Forbidden));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, _) in &closed {
            assert!(net.guest.connected((address(text), 80).into()).is_none(), "{text}");
        }
        for (text, reason) in closed {
            let event = net.owner.event(|event| event.address == Some(address(text)));
            assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(reason)), "{text}");
        }
        net.end();
    }
}

#[test]
fn without_it_the_other_family_is_all_there_is() {
    let server = name_server(HERE);
    let mut net = Net::start(Settings { resolvers: vec![server.address], ipv6: Some(false), ..settings("") });
    let answer = net.resolve("a.example.com.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    let lost = net.guest.connect(serve_at((HERE, 0).into(), echo), 4096);
    let to = crate::net::serve(echo);
    assert!(net.guest.connected(to).is_some());
    assert_eq!(net.guest.tcp(lost).state(), State::SynSent);
    net.end();
}
