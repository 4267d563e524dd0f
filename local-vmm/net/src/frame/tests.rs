//! Frames that may be there, that may not, and that are none.

use super::*;
use crate::cable::Outgoing;
use crate::reply::{self, Unreachable};
use proptest::prelude::*;
use smoltcp::wire::{
    EthernetAddress, Icmpv4Repr, Icmpv6Repr, IpAddress, IpRepr, NdiscRepr, TcpControl, TcpRepr, TcpSeqNumber,
    UdpRepr,
};
use std::net::Ipv4Addr;

const SERVER: Ipv4Addr = Ipv4Addr::new(8, 8, 4, 4);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2606, 0, 0, 0, 0, 0, 0, 9);

fn plan() -> Plan {
    Plan::default()
}

fn ethernet(kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(plan().guest_ethernet());
    frame.set_dst_addr(plan().gateway_ethernet());
    frame.set_ethertype(kind);
    bytes.extend(payload);
    bytes
}

/// A frame with a packet from the guest, whose inside `fill` writes.
fn packet(
    from: IpAddr,
    to: IpAddr,
    protocol: IpProtocol,
    len: usize,
    fill: impl FnOnce(&mut [u8], &IpAddress, &IpAddress),
) -> Vec<u8> {
    let ip = IpRepr::new(from.into(), to.into(), protocol, len, 64);
    let mut bytes = vec![0; ip.buffer_len()];
    ip.emit(&mut bytes, &ChecksumCapabilities::default());
    fill(&mut bytes[ip.header_len()..], &ip.src_addr(), &ip.dst_addr());
    ethernet(if from.is_ipv4() { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 }, &bytes)
}

fn tcp(from: IpAddr, to: IpAddr, control: TcpControl, payload: &[u8]) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 4000,
        dst_port: 443,
        control,
        seq_number: TcpSeqNumber(100),
        ack_number: (control != TcpControl::Syn).then_some(TcpSeqNumber(-7)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    packet(from, to, IpProtocol::Tcp, repr.buffer_len(), |bytes, from, to| {
        repr.emit(&mut TcpPacket::new_unchecked(bytes), from, to, &ChecksumCapabilities::default());
    })
}

fn udp(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: 4000, dst_port: 53 };
    packet(from, to, IpProtocol::Udp, 8 + payload.len(), |bytes, from, to| {
        let fill = |room: &mut [u8]| room.copy_from_slice(payload);
        let mut udp = UdpPacket::new_unchecked(bytes);
        repr.emit(&mut udp, from, to, payload.len(), fill, &ChecksumCapabilities::default());
    })
}

fn echo() -> Vec<u8> {
    let repr = Icmpv4Repr::EchoRequest { ident: 9, seq_no: 3, data: b"abc" };
    packet(plan().guest.into(), SERVER.into(), IpProtocol::Icmp, repr.buffer_len(), |bytes, _, _| {
        repr.emit(&mut Icmpv4Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
    })
}

fn solicit(target: Ipv6Addr) -> Vec<u8> {
    let repr = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: Some(plan().guest_ethernet().into()),
    });
    let (from, to) = (plan().guest_v6, plan().gateway_v6);
    let mut bytes = packet(from.into(), to.into(), IpProtocol::Icmpv6, repr.buffer_len(), |bytes, _, _| {
        let mut icmp = Icmpv6Packet::new_unchecked(bytes);
        repr.emit(&from, &to, &mut icmp, &ChecksumCapabilities::default());
    });
    Ipv6Packet::new_unchecked(&mut bytes[14..]).set_hop_limit(255);
    bytes
}

/// Changes the IPv4 header, and makes its checksum right again.
fn with_header(mut bytes: Vec<u8>, change: impl FnOnce(&mut Ipv4Packet<&mut [u8]>)) -> Vec<u8> {
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
    change(&mut packet);
    packet.fill_checksum();
    bytes
}

fn dropped(bytes: &[u8]) -> Dropped {
    look(bytes, &plan(), true).unwrap_err()
}

fn arp(sender: Ipv4Addr, hardware: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(hardware),
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    ethernet(EthernetProtocol::Arp, &bytes)
}

#[test]
fn what_a_guest_sends() {
    let plan = plan();
    for (from, to) in [(plan.guest.into(), SERVER.into()), (plan.guest_v6.into(), SERVER_V6.into())] {
        let bytes = tcp(from, to, TcpControl::Fin, b"abc");
        let Ok(Frame::Tcp(segment)) = look(&bytes, &plan, true) else { panic!() };
        assert_eq!(segment.pair, Pair { guest: 4000, remote: (to, 443).into() });
        let flags = [segment.syn, segment.ack, segment.fin, segment.rst];
        assert_eq!((flags, segment.payload), ([false, true, true, false], 3));
        assert_eq!((segment.sequence, segment.acknowledged), (100, -7i32 as u32));
        assert_eq!(segment_of(segment.packet, &plan).as_ref(), Some(&segment));
        let bytes = udp(from, to, b"abcd");
        let Ok(Frame::Udp(datagram)) = look(&bytes, &plan, true) else { panic!() };
        assert_eq!((datagram.pair.remote, datagram.payload), ((to, 53).into(), &b"abcd"[..]));
    }
    let bytes = echo();
    let Ok(Frame::Echo(echo)) = look(&bytes, &plan, true) else { panic!() };
    assert_eq!((echo.pair.guest, echo.sequence, echo.data), (9, 3, &b"abc"[..]));
    let bytes = arp(plan.guest, plan.guest_mac, plan.gateway);
    assert_eq!(look(&bytes, &plan, true), Ok(Frame::WhoIsGateway));
    let bytes = solicit(plan.gateway_v6);
    assert_eq!(look(&bytes, &plan, true), Ok(Frame::WhoIsGatewayV6(plan.guest_v6)));
    assert_eq!(look(&bytes, &plan, false), Err(Dropped::Quiet));
}

#[test]
fn padding_belongs_to_no_packet() {
    let mut bytes = udp(plan().guest.into(), SERVER.into(), b"abcd");
    bytes.resize(60, 0xff);
    let Ok(Frame::Udp(datagram)) = look(&bytes, &plan(), true) else { panic!() };
    assert_eq!((datagram.payload, datagram.packet.len()), (&b"abcd"[..], 32));
}

#[test]
fn what_is_dropped() {
    use Dropped::{Fragment, Malformed, Options, Protocol, Quiet, Spoofed};
    let plan = plan();
    let (guest, server) = (plan.guest.into(), SERVER.into());
    let good = || udp(guest, server, b"abcd");
    let other_mac = |at: usize, mut bytes: Vec<u8>| {
        bytes[at..at + 6].copy_from_slice(&[2, 0, 0, 0, 0, 0x99]);
        bytes
    };
    let mut wrong_sum = good();
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut wrong_header = good();
    wrong_header[14 + 8] ^= 1;
    let mut longer = good();
    longer[14 + 3] += 1;
    let v6 = |from: Ipv6Addr, protocol| packet(from.into(), SERVER_V6.into(), protocol, 40, |_, _, _| {});
    let options = with_header(udp(guest, server, &[0; 40]), |packet| packet.set_header_len(24));
    for (name, bytes, expected) in [
        ("another card", other_mac(6, good()), Spoofed),
        ("to another card", other_mac(0, good()), Quiet),
        ("another address", udp(Ipv4Addr::new(10, 0, 2, 16).into(), server, b""), Spoofed),
        ("a server's address", udp(server, guest, b""), Spoofed),
        ("a wrong checksum inside", wrong_sum, Malformed),
        ("a wrong checksum", wrong_header, Malformed),
        ("a length beyond the frame", longer, Malformed),
        ("a first fragment", with_header(good(), |packet| packet.set_more_frags(true)), Fragment),
        ("a last fragment", with_header(good(), |packet| packet.set_frag_offset(8)), Fragment),
        ("options", options, Options),
        ("another protocol", packet(guest, server, IpProtocol::Unknown(47), 40, |_, _, _| {}), Protocol),
        ("to everybody", udp(guest, Ipv4Addr::BROADCAST.into(), b""), Quiet),
        ("to some", udp(guest, Ipv4Addr::new(224, 0, 0, 251).into(), b""), Quiet),
        ("another family", ethernet(EthernetProtocol::Unknown(0x8100), &[0; 46]), Protocol),
        ("no packet", ethernet(EthernetProtocol::Ipv4, &[0x45; 4]), Malformed),
        ("ARP for another", arp(plan.guest, plan.guest_mac, SERVER), Quiet),
        ("ARP from another", arp(SERVER, plan.guest_mac, plan.gateway), Spoofed),
        ("ARP for another card", arp(plan.guest, [2; 6], plan.gateway), Spoofed),
        ("whether an address is free", arp(Ipv4Addr::UNSPECIFIED, plan.guest_mac, plan.guest), Quiet),
        ("who is another", solicit(plan.guest_v6), Quiet),
        ("IPv6 from another", v6(SERVER_V6, IpProtocol::Udp), Spoofed),
        ("an IPv6 fragment", v6(plan.guest_v6, IpProtocol::Ipv6Frag), Fragment),
        ("hop by hop", v6(plan.guest_v6, IpProtocol::HopByHop), Options),
        ("a route", v6(plan.guest_v6, IpProtocol::Ipv6Route), Options),
        ("a destination option", v6(plan.guest_v6, IpProtocol::Ipv6Opts), Options),
        ("another protocol in IPv6", v6(plan.guest_v6, IpProtocol::Unknown(50)), Protocol),
    ] {
        assert_eq!(dropped(&bytes), expected, "{name}");
    }
}

#[test]
fn ports_of_nobody_are_malformed() {
    let mut bytes = tcp(plan().guest.into(), SERVER.into(), TcpControl::Syn, b"");
    bytes[14 + 20..14 + 22].fill(0);
    assert_eq!(dropped(&bytes), Dropped::Malformed);
}

#[test]
fn answers_are_frames_of_the_gateway() {
    let plan = plan();
    let mut out = Outgoing::new(&plan);
    let (guest, server) = (plan.guest.into(), IpAddr::from(SERVER));
    let bytes = tcp(guest, server, TcpControl::Syn, b"");
    let Ok(Frame::Tcp(segment)) = look(&bytes, &plan, true) else { panic!() };
    reply::reset(&mut out, &plan, &segment);
    let frame = out.waiting()[4..].to_vec();
    let ethernet = EthernetFrame::new_checked(&frame).unwrap();
    assert_eq!((ethernet.src_addr(), ethernet.dst_addr()), (plan.gateway_ethernet(), plan.guest_ethernet()));
    let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    assert_eq!((ip.src_addr(), ip.dst_addr()), (SERVER, plan.guest));
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    assert!(ip.verify_checksum() && tcp.verify_checksum(&server.into(), &IpAddr::from(plan.guest).into()));
    assert!(tcp.rst() && tcp.ack() && !tcp.syn());
    assert_eq!((tcp.src_port(), tcp.dst_port(), tcp.ack_number()), (443, 4000, TcpSeqNumber(101)));
}

fn any_good() -> impl Strategy<Value = Vec<u8>> {
    let plan = plan();
    let (four, six) = ((plan.guest.into(), SERVER.into()), (plan.guest_v6.into(), SERVER_V6.into()));
    prop_oneof![
        Just(tcp(four.0, four.1, TcpControl::Syn, b"")),
        Just(tcp(six.0, six.1, TcpControl::Rst, b"abc")),
        Just(udp(four.0, four.1, b"abcdefgh")),
        Just(udp(six.0, six.1, b"")),
        Just(echo()),
        Just(solicit(plan.gateway_v6)),
        Just(arp(plan.guest, plan.guest_mac, plan.gateway)),
    ]
}

/// Answers whatever it is in every way there is.
fn answer_all(bytes: &[u8]) {
    let plan = plan();
    let mut out = Outgoing::new(&plan);
    for packet in [bytes, bytes.get(14..).unwrap_or_default()] {
        for why in [Unreachable::Port, Unreachable::Host, Unreachable::Forbidden] {
            reply::unreachable(&mut out, &plan, why, packet);
        }
        if let Some(segment) = segment_of(packet, &plan) {
            reply::reset(&mut out, &plan, &segment);
        }
    }
    match look(bytes, &plan, true) {
        Ok(Frame::Tcp(segment)) => reply::reset(&mut out, &plan, &segment),
        Ok(Frame::Udp(datagram)) => reply::datagram(&mut out, &plan, datagram.pair, datagram.payload),
        Ok(Frame::Echo(echo)) => reply::echo(&mut out, &plan, echo.pair, echo.sequence, echo.data),
        Ok(Frame::WhoIsGateway) => reply::gateway_is_here(&mut out, &plan),
        Ok(Frame::WhoIsGatewayV6(asker)) => reply::gateway_v6_is_here(&mut out, &plan, asker),
        Err(_) => {}
    }
}

proptest! {
    #[test]
    fn any_bytes_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        answer_all(&bytes);
    }

    #[test]
    fn frames_with_a_few_bytes_changed(
        mut bytes in any_good(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        answer_all(&bytes);
    }
}
