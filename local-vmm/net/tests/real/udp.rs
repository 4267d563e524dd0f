//! Datagrams and echoes.

use crate::net::{Net, settings};
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpEndpoint};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use vmm_net::{Kind, Limits, Outcome, Reason, Settings};

/// Sends each datagram back, from one socket.
fn echo_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok((read, from)) = socket.recv_from(&mut bytes) {
            socket.send_to(&bytes[..read], from).unwrap();
        }
    });
    address
}

#[test]
fn datagrams_there_and_back() {
    let mut net = Net::start(settings(""));
    let to = echo_server();
    let socket = net.guest.udp();
    for len in [0, 1, 100, 1472] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert_eq!(net.guest.exchange(socket, to, &bytes), bytes);
    }
    let event = net.owner.event(|event| event.kind == Kind::Udp);
    assert_eq!((event.verdict, event.port, event.count), (Outcome::Allowed, Some(to.port()), 1));
    let counters = net.owner.counters(|counters| counters.received == 1573);
    assert_eq!((counters.sent, counters.flows), (1573, 1));
    net.end();
}

#[test]
fn there_are_only_so_many_conversations() {
    let limits = Limits { flows: 8, ..Limits::default() };
    let mut net = Net::start(Settings { limits, ..settings("") });
    let to = echo_server();
    for number in 0..50u8 {
        let socket = net.guest.udp();
        assert_eq!(net.guest.exchange(socket, to, &[number]), [number]);
        net.guest.sockets.remove(socket);
    }
    let event = net.owner.event(|event| event.reason == Some(Reason::TooMany));
    assert_eq!((event.kind, event.verdict), (Kind::Udp, Outcome::Closed));
    assert_eq!(net.owner.counters(|counters| counters.received == 50).flows, 8);
    net.end();
}

/// Sends an echo request.
fn ask(net: &mut Net, to: Ipv4Addr) -> SocketHandle {
    let socket = net.guest.icmp(77);
    let repr = Icmpv4Repr::EchoRequest { ident: 77, seq_no: 5, data: b"are you there" };
    let handle = net.guest.sockets.get_mut::<icmp::Socket<'_>>(socket);
    let room = handle.send(repr.buffer_len(), to.into()).unwrap();
    repr.emit(&mut Icmpv4Packet::new_unchecked(room), &ChecksumCapabilities::default());
    net.guest.until("it is sent", |guest| {
        let sent = guest.sockets.get_mut::<icmp::Socket<'_>>(socket).send_queue() == 0;
        (sent && guest.card.outgoing.is_empty()).then_some(())
    });
    socket
}

/// Waits for the answer.
fn answered(net: &mut Net, socket: SocketHandle, from: Ipv4Addr) {
    let (bytes, sender) = net.guest.until("an answer", |guest| {
        let (bytes, sender) = guest.sockets.get_mut::<icmp::Socket<'_>>(socket).recv().ok()?;
        Some((bytes.to_vec(), sender))
    });
    let packet = Icmpv4Packet::new_checked(&bytes[..]).unwrap();
    let repr = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 77, seq_no: 5, data: b"are you there" });
    assert_eq!(IpAddr::from(sender), IpAddr::V4(from));
}

#[test]
fn the_gateway_answers_echo_requests() {
    let mut net = Net::start(settings(""));
    let gateway = net.settings.plan.gateway;
    let socket = ask(&mut net, gateway);
    answered(&mut net, socket, gateway);
    net.end();
}

#[test]
fn others_answer_where_the_host_permits_it() {
    let mut net = Net::start(settings(""));
    let socket = ask(&mut net, Ipv4Addr::LOCALHOST);
    let event = net.owner.event(|event| event.kind == Kind::Icmp);
    match event.verdict {
        Outcome::Allowed => answered(&mut net, socket, Ipv4Addr::LOCALHOST),
        // As on the machines where this was written.
        _ => assert_eq!((event.verdict, event.reason), (Outcome::Failed, Some(Reason::NotPermitted))),
    }
    net.guest.sockets.remove(socket);
    // What is closed, is closed to them too.
    let secrets = Ipv4Addr::new(169, 254, 169, 254);
    ask(&mut net, secrets);
    let event = net.owner.event(|event| event.address == Some(secrets.into()));
    assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(Reason::Forbidden)));
    net.end();
}

#[test]
fn other_name_servers_are_closed_under_a_policy() {
    let mut net = Net::start(settings(r#"{"domain":"*","action":"allow"}"#));
    let socket = net.guest.udp();
    for port in [53, 853, 4433] {
        let to = IpEndpoint::new(Ipv4Addr::new(127, 0, 0, 1).into(), port);
        net.guest.sockets.get_mut::<udp::Socket<'_>>(socket).send_slice(b"?", to).unwrap();
        net.guest.until("it is sent", |guest| {
            let sent = guest.sockets.get_mut::<udp::Socket<'_>>(socket).send_queue() == 0;
            (sent && guest.card.outgoing.is_empty()).then_some(())
        });
        let event = net.owner.event(|event| event.port == Some(port));
        let reason = if port == 4433 { Reason::Unresolved } else { Reason::OtherResolver };
        assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(reason)));
    }
    net.end();
}
