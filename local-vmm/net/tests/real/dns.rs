//! Names.

use crate::net::{NameServer, Net, add, addresses, echo, name_server, question, serve, settings};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use vmm_net::{Kind, Outcome, Reason, Settings};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const EXAMPLE: &str = r#"{"domain":"*.example.com","action":"allow"}"#;

fn start(rules: &str, server: &NameServer) -> Net {
    Net::start(Settings { resolvers: vec![server.address], ..settings(rules) })
}

#[test]
fn a_denied_name_is_refused_and_nobody_hears_of_it() {
    let server = name_server(LOOPBACK);
    let mut net = start(EXAMPLE, &server);
    let answer = net.resolve("a.example.com.", RecordType::A);
    assert_eq!((answer.metadata.response_code, addresses(&answer)), (ResponseCode::NoError, vec![LOOPBACK]));
    assert!(answer.metadata.recursion_available && answer.metadata.id == 4711);
    for name in ["example.org.", "example.com.", "a.example.com.evil.example.", "."] {
        let answer = net.resolve(name, RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
    }
    assert_eq!(net.resolve("B.Example.COM.", RecordType::A).metadata.response_code, ResponseCode::NoError);
    // In lower case, lest letters tell what they should not.
    assert_eq!(server.asked(), ["a.example.com.", "b.example.com."]);
    let event = net.owner.event(|event| event.verdict == Outcome::Denied);
    assert_eq!((event.kind, event.name.as_deref()), (Kind::Dns, Some("example.org")));
    assert_eq!((event.reason, event.rule), (Some(Reason::NoRule), None));
    let event = net.owner.event(|event| event.verdict == Outcome::Allowed);
    assert_eq!(event.rule.unwrap().text, "*.example.com");
    net.end();
}

#[test]
fn only_what_was_resolved_may_be_connected_to() {
    let server = name_server(LOOPBACK);
    let mut net = start(EXAMPLE, &server);
    let to = serve(echo);
    assert!(net.guest.connected(to).is_none());
    net.resolve("a.example.com.", RecordType::A);
    assert!(net.guest.connected(to).is_some());
    // The same machine, but no name has that address.
    let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), to.port());
    assert!(net.guest.connected(other).is_none());
    let denied = net.owner.event(|event| event.kind == Kind::Tcp && event.verdict == Outcome::Denied);
    assert_eq!((denied.reason, denied.address), (Some(Reason::Unresolved), Some(LOOPBACK)));
    let allowed = net.owner.event(|event| event.kind == Kind::Tcp && event.verdict == Outcome::Allowed);
    assert_eq!(allowed.name.as_deref(), Some("a.example.com"));
    assert_eq!(allowed.rule.unwrap().index, 0);
    net.end();
}

#[test]
fn addresses_inside_are_taken_out_of_answers() {
    let server = NameServer::start(|name, kind, message| {
        let addresses = match name {
            "rebind.example.com." => &["192.168.1.1"][..],
            "host.example.com." => &["169.254.169.254"],
            "both.example.com." => &["10.0.0.1", "127.0.0.1", "100.64.0.1"],
            "six.example.com." => &["::ffff:10.0.0.1", "fd00:ec2::254", "64:ff9b::a00:1"],
            _ => &["127.0.0.1"],
        };
        addresses.iter().for_each(|address| add(message, name, kind, address.parse().unwrap()));
    });
    for rules in ["", EXAMPLE] {
        let mut net = start(rules, &server);
        for (name, kind) in [("rebind", RecordType::A), ("host", RecordType::A), ("six", RecordType::AAAA)] {
            let answer = net.resolve(&format!("{name}.example.com."), kind);
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
            assert_eq!(addresses(&answer), [] as [IpAddr; 0]);
        }
        assert_eq!(addresses(&net.resolve("both.example.com.", RecordType::A)), [LOOPBACK]);
        let event = net.owner.event(|event| event.name.as_deref() == Some("rebind.example.com"));
        assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(Reason::Private)));
        assert_eq!(event.address, Some(Ipv4Addr::new(192, 168, 1, 1).into()));
        net.end();
    }
}

#[test]
fn records_that_carry_text_need_that_there_is_no_policy() {
    let server = NameServer::start(|name, kind, message| {
        let name = Name::from_ascii(name).unwrap();
        if kind == RecordType::TXT {
            let words = TXT::new(vec!["any words".into()]);
            message.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(words)));
        } else {
            let target = Name::from_ascii("far.example.net.").unwrap();
            message.add_answer(Record::from_rdata(name, 60, RData::CNAME(CNAME(target))));
            add(message, "far.example.net.", kind, LOOPBACK);
            // Nobody asked for these.
            add(message, "other.example.net.", kind, Ipv4Addr::new(127, 0, 0, 9).into());
            let words = TXT::new(vec!["any words".into()]);
            let stray = Name::from_ascii("stray.example.com.").unwrap();
            message.add_additional(Record::from_rdata(stray, 60, RData::TXT(words)));
        }
    });
    let mut net = start("", &server);
    assert_eq!(net.resolve("a.example.com.", RecordType::TXT).answers.len(), 1);
    net.owner.policy(EXAMPLE);
    let answer = net.resolve("a.example.com.", RecordType::TXT);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::Refused, 0));
    // What the name stands for belongs to it, whatever it is called.
    let answer = net.resolve("a.example.com.", RecordType::A);
    assert_eq!((addresses(&answer), answer.answers.len(), answer.additionals.len()), (vec![LOOPBACK], 2, 0));
    let to = serve(echo);
    assert!(net.guest.connected(to).is_some());
    let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 9).into(), to.port());
    assert!(net.guest.connected(other).is_none());
    let event = net.owner.event(|event| event.kind == Kind::Dns && event.verdict == Outcome::Denied);
    assert_eq!(event.reason, Some(Reason::RecordType));
    net.end();
}

#[test]
fn a_long_answer_is_asked_for_on_a_stream() {
    let server = NameServer::start(|name, kind, message| {
        for last in 1..=100 {
            add(message, name, kind, Ipv4Addr::new(127, 0, 1, last).into());
        }
    });
    let mut net = start("", &server);
    let answer = net.resolve("many.example.com.", RecordType::A);
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let server = net.server();
    let handle = net.guest.connected(server).unwrap();
    for _ in 0..2 {
        let question = question("many.example.com.", RecordType::A);
        let length = (question.len() as u16).to_be_bytes();
        net.guest.tcp(handle).send_slice(&[&length, &question[..]].concat()).unwrap();
        let mut bytes: Vec<u8> = Vec::new();
        net.guest.until("an answer", |guest| {
            let socket = guest.tcp(handle);
            if socket.can_recv() {
                socket.recv(|part| (part.len(), bytes.extend_from_slice(part))).unwrap();
            }
            let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
            (bytes.len() == 2 + length).then_some(())
        });
        assert_eq!(addresses(&Message::from_vec(&bytes[2..]).unwrap()).len(), 100);
    }
    net.end();
}

#[test]
fn questions_that_nobody_answers_fail() {
    // Nobody is at the port that these settings name.
    let mut net = Net::start(settings(""));
    let answer = net.resolve("a.example.com.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let event = net.owner.event(|event| event.kind == Kind::Dns);
    assert_eq!((event.verdict, event.reason), (Outcome::Failed, Some(Reason::TimedOut)));
    net.end();
}
