//! Messages.

use super::*;
use crate::event::Reason;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, Mandatory, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{CNAME, HTTPS, MX, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(name(text), kind));
    message
}

fn query(text: &str, kind: RecordType) -> Query {
    Query::parse(&question(text, kind).to_vec().unwrap()).unwrap()
}

fn record(text: &str, data: RData) -> Record {
    Record::from_rdata(name(text), 30, data)
}

fn a(text: &str, address: [u8; 4]) -> Record {
    record(text, RData::A(Ipv4Addr::from(address).into()))
}

fn answer(records: Vec<Record>) -> Message {
    let mut message = Message::response(9, OpCode::Query);
    message.add_answers(records);
    message
}

fn anywhere(_: IpAddr) -> Result<(), Reason> {
    Ok(())
}

fn code(bytes: Result<Query, Option<Vec<u8>>>) -> Option<ResponseCode> {
    let bytes = bytes.unwrap_err()?;
    Some(Message::from_vec(&bytes).unwrap().metadata.response_code)
}

#[test]
fn what_is_no_question() {
    let parse = |message: &Message| code(Query::parse(&message.to_vec().unwrap()));
    assert_eq!(parse(&answer(Vec::new())), None, "answers are not answered");
    let mut update = question("a.example.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(parse(&update), Some(ResponseCode::NotImp));
    let mut two = question("a.example.", RecordType::A);
    two.add_query(Asked::query(name("b.example."), RecordType::A));
    assert_eq!(parse(&two), Some(ResponseCode::FormErr));
    let mut chaos = question("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(parse(&chaos), Some(ResponseCode::NotImp));
    assert_eq!(code(Query::parse(&[0, 7, 1, 0, 0, 1])), Some(ResponseCode::FormErr));
    assert_eq!(code(Query::parse(&[0, 7, 0x80, 0, 0, 1])), None);
    assert_eq!(code(Query::parse(&[0])), None);
}

#[test]
fn names_are_compared_as_policies_have_them() {
    let query = query("WWW.Example.COM.", RecordType::A);
    assert_eq!((query.name.as_str(), query.plain, query.is_common()), ("www.example.com", true, true));
    let labels: [&[u8]; 2] = [b"www.github", b"com"];
    let mut odd = Message::new(7, MessageType::Query, OpCode::Query);
    odd.add_query(Asked::query(Name::from_labels(labels).unwrap(), RecordType::A));
    assert!(!Query::parse(&odd.to_vec().unwrap()).unwrap().plain, "a dot that parts no labels");
}

#[test]
fn a_question_takes_nothing_along() {
    let mut asked = question("SeCrEt.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    asked.set_edns(edns);
    asked.add_additional(record("hidden.example.", RData::TXT(TXT::new(vec!["words".into()]))));
    let query = Query::parse(&asked.to_vec().unwrap()).unwrap();
    let sent = Message::from_vec(&query.upstream(0x1234, true).unwrap()).unwrap();
    assert_eq!((sent.metadata.id, sent.queries.len()), (0x1234, 1));
    assert_eq!(sent.queries[0].name().to_ascii(), "secret.example.");
    assert!(sent.additionals.is_empty() && sent.metadata.recursion_desired);
    let edns = sent.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (DATAGRAM, false));
    let sent = Message::from_vec(&query.upstream(1, false).unwrap()).unwrap();
    assert!(sent.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn an_answer_takes_nothing_along() {
    let query = query("a.example.", RecordType::A);
    let alias = |from, to| record(from, RData::CNAME(CNAME(name(to))));
    let mut said = answer(vec![
        // In no order.
        a("c.example.net.", [192, 0, 2, 1]),
        alias("b.example.org.", "c.example.net."),
        alias("A.example.", "b.example.org."),
        a("stray.example.", [192, 0, 2, 2]),
        record("a.example.", RData::TXT(TXT::new(vec!["words".into()]))),
    ]);
    said.add_authority(record("example.", RData::TXT(TXT::new(vec!["words".into()]))));
    said.add_additional(a("c.example.net.", [192, 0, 2, 3]));
    let filtered = query.filter(said.clone(), true, anywhere);
    let kinds: Vec<_> = filtered.message.answers.iter().map(Record::record_type).collect();
    assert_eq!(kinds, [RecordType::A, RecordType::CNAME, RecordType::CNAME]);
    assert_eq!(filtered.addresses, [(Ipv4Addr::new(192, 0, 2, 1).into(), 30)]);
    assert!(filtered.message.authorities.is_empty() && filtered.message.additionals.is_empty());
    assert_eq!((filtered.message.metadata.id, filtered.message.queries.len()), (7, 1));
    // Without a policy the rest may come, but only what the name stands for counts as its address.
    let filtered = query.filter(said, false, anywhere);
    assert_eq!((filtered.message.answers.len(), filtered.addresses.len()), (5, 1));
}

#[test]
fn a_chain_has_an_end() {
    let query = query("0.example.", RecordType::A);
    let link = |from: usize, to: usize| {
        record(&format!("{from}.example."), RData::CNAME(CNAME(name(&format!("{to}.example.")))))
    };
    let circle = answer(vec![link(0, 1), link(1, 0), a("1.example.", [192, 0, 2, 1])]);
    assert_eq!(query.filter(circle, true, anywhere).addresses.len(), 1);
    let mut long: Vec<_> = (0..100).map(|at| link(at, at + 1)).collect();
    long.push(a("100.example.", [192, 0, 2, 1]));
    assert!(query.filter(answer(long), true, anywhere).addresses.is_empty());
}

#[test]
fn service_records_lose_their_addresses() {
    let query = query("a.example.", RecordType::HTTPS);
    let hint = SvcParamValue::Ipv4Hint(IpHint(vec![Ipv4Addr::new(10, 0, 0, 1).into()]));
    let service = SVCB::new(
        1,
        name("."),
        vec![
            (
                SvcParamKey::Mandatory,
                SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::Alpn, SvcParamKey::Ipv4Hint])),
            ),
            (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h3".into()]))),
            (SvcParamKey::Port, SvcParamValue::Port(8443)),
            (SvcParamKey::Ipv4Hint, hint),
        ],
    );
    let said = answer(vec![record("a.example.", RData::HTTPS(HTTPS(service)))]);
    let filtered = query.filter(said, false, anywhere);
    let RData::HTTPS(service) = &filtered.message.answers[0].data else { panic!() };
    let keys: Vec<_> = service.0.svc_params.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [SvcParamKey::Mandatory, SvcParamKey::Alpn, SvcParamKey::Port]);
    let SvcParamValue::Mandatory(Mandatory(keys)) = &service.0.svc_params[0].1 else { panic!() };
    assert_eq!(keys, &[SvcParamKey::Alpn]);
    // It can be written.
    assert!(query.datagram(&filtered.message).is_some());
}

#[test]
fn what_a_name_server_says_besides_answers() {
    let query = query("a.example.", RecordType::MX);
    for (said, heard) in [
        (ResponseCode::NoError, ResponseCode::NoError),
        (ResponseCode::NXDomain, ResponseCode::NXDomain),
        (ResponseCode::Refused, ResponseCode::ServFail),
        (ResponseCode::FormErr, ResponseCode::ServFail),
    ] {
        let mut message = answer(Vec::new());
        message.metadata.response_code = said;
        assert_eq!(query.filter(message, true, anywhere).message.metadata.response_code, heard);
    }
    let mail = answer(vec![record("a.example.", RData::MX(MX::new(1, name("mail.example."))))]);
    assert_eq!(query.filter(mail, true, anywhere).message.answers.len(), 1);
}

#[test]
fn sizes_are_kept() {
    let query = query("a.example.", RecordType::A);
    let many =
        |count: u32| answer((0..count).map(|last| a("a.example.", (last + 1).to_be_bytes())).collect());
    let filtered = query.filter(many(5000), true, anywhere);
    assert_eq!(filtered.message.answers.len(), 64, "under a policy");
    let short = Message::from_vec(&query.datagram(&filtered.message).unwrap()).unwrap();
    assert!(short.metadata.truncation && short.answers.is_empty());
    // What does not fit a stream either says so. Under a policy a stream is shorter, and what does not fit it a failure.
    let long = query.filter(many(5000), false, anywhere).message;
    let bytes = query.stream(&long, false).unwrap();
    assert!(bytes.len() <= 65_535 && Message::from_vec(&bytes).unwrap().metadata.truncation);
    let bytes = query.stream(&long, true).unwrap();
    assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn only_the_answer_to_a_question_is_one() {
    let asked = question("a.example.", RecordType::A);
    let bytes = asked.to_vec().unwrap();
    let reply = |id, text| {
        let mut message = Message::response(id, OpCode::Query);
        message.add_query(Asked::query(name(text), RecordType::A));
        answer_to(&bytes, &message.to_vec().unwrap()).is_some()
    };
    assert!(reply(7, "a.example."));
    assert!(!reply(8, "a.example.") && !reply(7, "b.example."));
    assert!(answer_to(&bytes, &bytes).is_none() && answer_to(&bytes, &bytes[..7]).is_none());
}

#[test]
fn which_address_is_asked_for() {
    let reverse = |text| query(text, RecordType::PTR).reverse();
    assert_eq!(reverse("4.3.2.1.in-addr.arpa."), Some(Ipv4Addr::new(1, 2, 3, 4).into()));
    assert_eq!(reverse("3.2.1.in-addr.arpa."), None);
    assert_eq!(reverse("www.example."), None);
    assert_eq!(query("4.3.2.1.in-addr.arpa.", RecordType::A).reverse(), None);
}

proptest! {
    #[test]
    fn any_bytes_from_the_guest(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Query::parse(&bytes);
    }

    #[test]
    fn a_question_with_a_few_bytes_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = question("some.name.example.", RecordType::HTTPS).to_vec().unwrap();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Ok(query) = Query::parse(&bytes) {
            let refused = query.refuse(ResponseCode::Refused);
            prop_assert!(query.datagram(&refused).is_none_or(|bytes| bytes.len() <= DATAGRAM.into()));
            let _ = (query.upstream(1, true), query.stream(&refused, true), query.reverse());
        }
    }

    #[test]
    fn an_answer_with_a_few_bytes_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let query = query("a.example.", RecordType::A);
        let said = answer(vec![
            record("a.example.", RData::CNAME(CNAME(name("b.example.")))),
            a("b.example.", [192, 0, 2, 1]),
            record("b.example.", RData::HTTPS(HTTPS(SVCB::new(1, name("."), vec![(SvcParamKey::Port, SvcParamValue::Port(1))])))),
        ]);
        let mut bytes = said.to_vec().unwrap();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Ok(said) = Message::from_vec(&bytes) {
            for strict in [true, false] {
                let filtered = query.filter(said.clone(), strict, anywhere);
                let bytes = query.datagram(&filtered.message);
                prop_assert!(bytes.is_none_or(|bytes| bytes.len() <= 512));
            }
        }
    }
}
