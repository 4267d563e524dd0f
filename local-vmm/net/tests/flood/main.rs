//! A guest that means harm. In a process of its own, whose memory and files are counted: one test after the other.

#[path = "../support/guest.rs"]
mod guest;
#[path = "../support/net.rs"]
mod net;

use crate::guest::Guest;
use crate::net::{Net, echo, serve, settings};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vmm_net::{Dropped, Kind, Limits, Outcome, Plan, Reason, Settings};

/// One test after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A frame that asks for a connection.
fn syn(plan: &Plan, from: Ipv4Addr, port: u16, to: SocketAddr) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: port,
        dst_port: to.port(),
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = IpRepr::new(from.into(), to.ip().into(), IpProtocol::Tcp, repr.buffer_len(), 64);
    let mut bytes = vec![0; 14 + ip.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(plan.guest_mac));
    frame.set_dst_addr(EthernetAddress(plan.gateway_mac));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let checksums = ChecksumCapabilities::default();
    ip.emit(frame.payload_mut(), &checksums);
    let mut tcp = TcpPacket::new_unchecked(&mut frame.payload_mut()[20..]);
    repr.emit(&mut tcp, &ip.src_addr(), &ip.dst_addr(), &checksums);
    bytes
}

/// Bytes of memory that this process has, and files that it has open.
fn taken() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kib << 10, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

fn flood(guest: &mut Guest, plan: &Plan, to: SocketAddr, count: u32) {
    for number in 0..count {
        // As many pairs as there are: ports of the guest's, and addresses of the server's.
        let address = Ipv4Addr::new(127, 0, 1 + (number / 50_000) as u8, 1).into();
        let port = 1024 + (number % 50_000) as u16;
        guest.card.send(&syn(plan, plan.guest, port, SocketAddr::new(address, to.port())));
        if number % 256 == 0 {
            guest.card.drain();
        }
    }
    guest.card.drain();
}

#[test]
fn a_hundred_thousand_connections_that_nobody_finishes() {
    let _alone = alone();
    let limits = Limits { connections: 1024, half_open: 128, buffers: 32 << 20, ..Limits::default() };
    let mut net = Net::start(Settings { limits, ..settings("") });
    let plan = net.settings.plan;
    // At every address somebody listens, so that each server is there at once and only the guest never answers.
    let to = net::serve_at((Ipv4Addr::UNSPECIFIED, 0).into(), echo);
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.port());
    let open = net.guest.connected(to).unwrap();
    let before = taken();
    flood(&mut net.guest, &plan, to, 100_000);
    let after = taken();
    assert!(after.0 < before.0 + (64 << 20), "{before:?} {after:?}");
    assert!(after.1 < before.1 + 2048, "{before:?} {after:?}");
    // What was open stays open, and others still come in.
    net.guest.tcp(open).send_slice(b"still there?").unwrap();
    net.guest.until("an echo", |guest| (guest.tcp(open).recv_queue() == 12).then_some(()));
    assert!(net.guest.connected(to).is_some());
    let counters = net.owner.counters(|counters| counters.connections > 0);
    assert!(counters.connections <= 1024, "{counters:?}");
    net.end();
}

#[test]
fn as_many_connections_as_there_may_be_by_default() {
    let _alone = alone();
    let mut net = Net::start(settings(""));
    let most = net.settings.limits.connections;
    // All that each of them sends lies in the gateway and the kernel: this server reads nothing.
    let (keep, kept) = std::sync::mpsc::channel();
    let keep = Mutex::new(keep);
    let to = serve(move |stream| keep.lock().unwrap().send(stream).unwrap());
    let before = taken();
    let mut open = 0;
    while let Some(handle) = net.guest.connected(to) {
        net.guest.tcp(handle).send_slice(&[7; 1024]).unwrap();
        // Once it is acknowledged, the gateway has nothing more to say about it.
        net.guest.until("its way", |guest| (guest.tcp(handle).send_queue() == 0).then_some(()));
        net.guest.sockets.remove(handle);
        open += 1;
    }
    assert_eq!(open, most);
    net.owner.event(|event| event.verdict == Outcome::Denied && event.reason == Some(Reason::TooMany));
    let after = taken();
    let each = (after.0 - before.0) / most;
    // What a connection costs on which little has moved, with its threads and streams of the server's: 44 to 50 KiB, as the host's pages fall.
    assert!(each < 64 << 10, "{each}");
    drop(kept);
    net.end();
}

#[test]
fn the_oldest_that_is_half_open_gives_way() {
    let _alone = alone();
    let limits = Limits { connections: 64, half_open: 16, buffers: 4 << 20, ..Limits::default() };
    let mut net = Net::start(Settings { limits, ..settings("") });
    let plan = net.settings.plan;
    let to = serve(echo);
    let open: Vec<_> = (0..56).map(|_| net.guest.connected(to).unwrap()).collect();
    flood(&mut net.guest, &plan, to, 1000);
    let event = net.owner.event(|event| event.reason == Some(Reason::TooMany));
    assert_eq!((event.kind, event.verdict), (Kind::Tcp, Outcome::Failed));
    // Those that are open do not give way: when all are, another one is denied.
    let mut more = 0;
    while net.guest.connected(to).is_some() {
        more += 1;
        assert!(more <= 8);
    }
    assert_eq!(more, 8);
    net.owner.event(|event| event.verdict == Outcome::Denied && event.reason == Some(Reason::TooMany));
    for handle in open {
        net.guest.tcp(handle).send_slice(b"x").unwrap();
        net.guest.until("an echo", |guest| guest.tcp(handle).can_recv().then_some(()));
    }
    net.end();
}

#[test]
fn one_that_the_guest_never_finishes_goes() {
    let _alone = alone();
    let limits = Limits { connect_seconds: 1, ..Limits::default() };
    let mut net = Net::start(Settings { limits, ..settings("") });
    let plan = net.settings.plan;
    let frame = syn(&plan, plan.guest, 5000, serve(echo));
    net.guest.card.send(&frame);
    net.guest.card.drain();
    let event = net.owner.event(|event| event.reason == Some(Reason::TimedOut));
    assert_eq!((event.kind, event.verdict), (Kind::Tcp, Outcome::Failed));
    net.owner.counters(|counters| counters.connections == 0);
    net.end();
}

#[test]
fn frames_from_others_than_the_guest_are_dropped() {
    let _alone = alone();
    let mut net = Net::start(settings(""));
    let plan = net.settings.plan;
    let to = serve(echo);
    net.guest.card.send(&syn(&plan, Ipv4Addr::new(10, 0, 2, 99), 5000, to));
    net.guest.card.send(&syn(&Plan { guest_mac: [2, 0, 0, 0, 0, 9], ..plan }, plan.guest, 5001, to));
    net.guest.card.drain();
    let spoofed = |count| {
        move |event: &vmm_net::Event| {
            event.reason == Some(Reason::Dropped(Dropped::Spoofed)) && event.count == count
        }
    };
    let event = net.owner.event(spoofed(2));
    assert_eq!((event.kind, event.verdict), (Kind::Frame, Outcome::Denied));
    assert_eq!(net.owner.counters.connections, 0);
    net.end();
}

#[test]
fn a_guest_that_does_not_read_costs_only_itself() {
    let _alone = alone();
    let mut net = Net::start(settings(""));
    let plan = net.settings.plan;
    let to = serve(echo);
    // Answers to these fill the cable, and nobody takes them.
    net.guest.connected(to).unwrap();
    net.guest.card.deaf = true;
    let before = taken();
    for number in 0..50_000u32 {
        let frame = syn(&plan, plan.guest, 1024 + number as u16, SocketAddr::new([127, 0, 0, 1].into(), 1));
        net.guest.card.send(&frame);
        if number % 256 == 0 {
            net.guest.until("room", |guest| guest.card.outgoing.is_empty().then_some(()));
        }
    }
    net.guest.until("room", |guest| guest.card.outgoing.is_empty().then_some(()));
    assert!(taken().0 < before.0 + (32 << 20), "{before:?} {:?}", taken());
    // When it reads again, all is well.
    net.guest.card.deaf = false;
    assert!(net.guest.connected(to).is_some());
    net.end();
}

#[test]
fn what_is_no_frame_ends_the_network() {
    let _alone = alone();
    let mut net = Net::start(settings(""));
    net.guest.card.outgoing.extend(u32::MAX.to_be_bytes());
    net.guest.turn();
    assert!(matches!(net.gateway.join().unwrap(), Err(vmm_net::Error::NotFrames(_))));
}
