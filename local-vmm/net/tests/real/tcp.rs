//! Connections.

use crate::guest::Guest;
use crate::net::{Net, echo, serve, serve_at, settings};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;
use vmm_net::{Kind, Limits, Outcome, Reason, Settings};

/// Bytes that are different everywhere.
fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

/// Sends what is left of the pattern, as far as there is room. True when all of it is on its way.
fn send(guest: &mut Guest, handle: SocketHandle, sent: &mut usize, all: usize) -> bool {
    let socket = guest.tcp(handle);
    while *sent < all && socket.can_send() {
        let before = *sent;
        *sent += socket
            .send(|room| {
                let len = room.len().min(all - before);
                room[..len].iter_mut().enumerate().for_each(|(at, byte)| *byte = pattern(before + at));
                (len, len)
            })
            .unwrap();
    }
    *sent == all
}

/// Takes what has come, and looks at each byte.
fn receive(guest: &mut Guest, handle: SocketHandle, received: &mut usize) {
    let socket = guest.tcp(handle);
    while socket.can_recv() {
        let before = *received;
        *received += socket
            .recv(|bytes| {
                let wrong = bytes.iter().enumerate().find(|(at, byte)| **byte != pattern(before + at));
                assert_eq!(wrong, None, "after {before} bytes");
                (bytes.len(), bytes.len())
            })
            .unwrap();
    }
}

fn there_and_back(net: &mut Net, to: SocketAddr, all: usize) {
    let handle = net.guest.connect(to, 256 << 10);
    let (mut sent, mut received) = (0, 0);
    net.guest.until("all of it", |guest| {
        if guest.tcp(handle).state() == State::SynSent {
            return None;
        }
        if send(guest, handle, &mut sent, all) {
            // The end is behind all bytes.
            guest.tcp(handle).close();
        }
        receive(guest, handle, &mut received);
        (received == all && !guest.tcp(handle).may_recv()).then_some(())
    });
    net.guest.until("the end", |guest| {
        matches!(guest.tcp(handle).state(), State::TimeWait | State::Closed).then_some(())
    });
}

#[test]
fn ten_megabytes_there_and_back() {
    const ALL: usize = 10 << 20;
    let mut net = Net::start(settings(""));
    let to = serve(echo);
    there_and_back(&mut net, to, ALL);
    let event = net.owner.event(|event| event.verdict == Outcome::Closed);
    assert_eq!((event.kind, event.address, event.port), (Kind::Tcp, Some(to.ip()), Some(to.port())));
    assert_eq!((event.sent, event.received, event.reason), (ALL as u64, ALL as u64, None));
    let counters = net.owner.counters(|counters| counters.connections == 0 && counters.sent > 0);
    assert_eq!((counters.sent, counters.received), (ALL as u64, ALL as u64));
    net.end();
}

#[test]
fn the_same_over_ipv6() {
    let mut net = Net::start(settings(""));
    let to = serve_at((Ipv6Addr::LOCALHOST, 0).into(), echo);
    there_and_back(&mut net, to, 1 << 20);
    net.end();
}

#[test]
fn frames_that_get_lost_are_sent_again() {
    let mut net = Net::start(settings(""));
    net.guest.card.loses = 97;
    there_and_back(&mut net, serve(echo), 256 << 10);
    net.end();
}

#[test]
fn each_side_may_finish_before_the_other() {
    let mut net = Net::start(settings(""));
    // The guest finishes first, and the server answers only then.
    let to = serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
    });
    let handle = net.guest.connected(to).unwrap();
    net.guest.tcp(handle).send_slice(b"some words").unwrap();
    net.guest.tcp(handle).close();
    let mut answer: Vec<u8> = Vec::new();
    net.guest.until("an answer", |guest| {
        let socket = guest.tcp(handle);
        if socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), answer.extend_from_slice(bytes))).unwrap();
        }
        (!socket.may_recv()).then_some(())
    });
    assert_eq!(answer, b"10 bytes");

    // The server finishes first, and the guest goes on.
    let (tell, told) = mpsc::channel();
    let to = serve(move |mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        tell.send(all).unwrap();
    });
    let handle = net.guest.connected(to).unwrap();
    net.guest.until("the server's end", |guest| (!guest.tcp(handle).may_recv()).then_some(()));
    net.guest.tcp(handle).send_slice(b"after the end").unwrap();
    net.guest.tcp(handle).close();
    net.guest
        .until("the guest's words", |_| told.try_recv().ok().map(|all| assert_eq!(all, b"after the end")));
    net.end();
}

#[test]
fn a_side_that_breaks_off_is_seen_by_the_other() {
    let mut net = Net::start(settings(""));
    // The server breaks off: an end with bytes unread is a reset.
    let to = serve(|stream| {
        stream.peek(&mut [0]).unwrap();
    });
    let handle = net.guest.connected(to).unwrap();
    net.guest.tcp(handle).send_slice(b"unread").unwrap();
    net.guest.until("a reset", |guest| (guest.tcp(handle).state() == State::Closed).then_some(()));

    // The guest breaks off.
    let (tell, told) = mpsc::channel();
    let to =
        serve(move |mut stream| tell.send(stream.read(&mut [0; 16]).map_err(|error| error.kind())).unwrap());
    let handle = net.guest.connected(to).unwrap();
    net.guest.tcp(handle).abort();
    let heard = net.guest.until("what the server heard", |_| told.try_recv().ok());
    assert_eq!(heard, Err(std::io::ErrorKind::ConnectionReset));
    net.end();
}

#[test]
fn the_guest_hears_what_a_direct_connection_would_tell() {
    let mut net = Net::start(settings(""));
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    assert!(net.guest.connected(nobody).is_none());
    let event = net.owner.event(|event| event.verdict == Outcome::Failed);
    assert_eq!((event.reason, event.port), (Some(Reason::Refused), Some(nobody.port())));
    // Ports of the gateway at which nobody is, and networks that are closed.
    for closed in ["10.0.2.2:80", "169.254.169.254:80", "192.168.1.1:80", "[fd00:ec2::254]:80"] {
        assert!(net.guest.connected(closed.parse().unwrap()).is_none(), "{closed}");
    }
    let event = net.owner.event(|event| event.address == Some(Ipv4Addr::new(169, 254, 169, 254).into()));
    assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(Reason::Forbidden)));
    let event = net.owner.event(|event| event.address == Some(Ipv4Addr::new(192, 168, 1, 1).into()));
    assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(Reason::Private)));
    net.end();
}

#[test]
fn a_thousand_connections_at_once() {
    const MANY: usize = 1000;
    const EACH: usize = 4096;
    let mut net = Net::start(settings(""));
    let to = serve(echo);
    let handles: Vec<_> = (0..MANY).map(|_| net.guest.connect(to, EACH)).collect();
    let mut at = vec![(0, 0); MANY];
    let (mut open, mut lost) = (HashSet::new(), None);
    net.guest.until("a thousand answers", |guest| {
        for (handle, (sent, received)) in handles.iter().zip(&mut at) {
            match guest.tcp(*handle).state() {
                State::SynSent => continue,
                State::Closed => {
                    lost = Some(*handle);
                    return Some(());
                }
                _ => open.insert(*handle),
            };
            // Nobody sends before all are open.
            if open.len() == MANY {
                send(guest, *handle, sent, EACH);
                receive(guest, *handle, received);
            }
        }
        at.iter().all(|(_, received)| *received == EACH).then_some(())
    });
    if let Some(lost) = lost {
        let event = net.owner.event(|event| event.verdict != Outcome::Allowed);
        panic!("{lost} broke off after {} were open: {event:?}", open.len());
    }
    net.owner.counters(|counters| counters.connections == MANY as u64);
    net.end();
}

#[test]
fn a_slow_reader_holds_back_only_its_own_sender() {
    let mut net = Net::start(settings(""));
    // Its windows take a few megabytes at most, then its write does not go on.
    let (tell, told) = mpsc::channel();
    let endless = serve(move |mut stream| {
        stream.set_nonblocking(true).unwrap();
        let mut all = 0;
        let part = vec![0; 64 << 10];
        loop {
            match stream.write(&part) {
                Ok(written) => all += written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    tell.send(all).unwrap_or_default()
                }
                Err(_) => return,
            }
            std::thread::yield_now();
        }
    });
    let slow = net.guest.connect(endless, 16 << 10);
    // It stays where it is, and another one gets through meanwhile.
    let (mut last, mut same) = (0, 0);
    net.guest.until("a sender that waits", |guest| {
        let all = told.try_iter().last().unwrap_or(last);
        same = if all == last && all > 0 { same + 1 } else { 0 };
        last = all;
        // It has a whole window, and takes none of it.
        assert!(guest.tcp(slow).recv_queue() <= 16 << 10);
        (same > 20).then_some(())
    });
    assert!(last < 32 << 20, "{last}");
    there_and_back(&mut net, serve(echo), 1 << 20);
    net.end();
}

#[test]
fn what_nobody_uses_goes() {
    let limits = Limits { idle_seconds: 1, half_closed_seconds: 1, ..Limits::default() };
    let mut net = Net::start(Settings { limits, ..settings("") });
    let to = serve(echo);
    let idle = net.guest.connected(to).unwrap();
    net.guest.until("a reset", |guest| (guest.tcp(idle).state() == State::Closed).then_some(()));
    let event = net.owner.event(|event| event.reason == Some(Reason::Idle));
    assert_eq!(event.verdict, Outcome::Closed);
    // One whose server has finished, but not the guest.
    let half = net.guest.connected(serve(|stream| stream.shutdown(Shutdown::Write).unwrap())).unwrap();
    net.guest.until("a reset", |guest| (guest.tcp(half).state() == State::Closed).then_some(()));
    assert_eq!(net.owner.counters(|counters| counters.connections == 0).sent, 0);
    net.end();
}
