//! Frames that the gateway itself makes.

use crate::cable::Outgoing;
use crate::frame::{Pair, Segment};
use crate::plan::Plan;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetProtocol, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr,
    Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr,
    Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket, UdpRepr,
};
use std::net::{IpAddr, Ipv6Addr};

/// Bytes of a datagram's header.
const UDP: usize = 8;
/// Most bytes of a packet that are given back to who sent it (RFC 1812 and 4443 bound the whole message).
const QUOTED: usize = 548;

/// Why something does not get where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// Nobody listens at that port.
    Port,
    /// There is no way to that host.
    Host,
    /// It is forbidden.
    Forbidden,
}

/// Answers who has the gateway's address.
pub(crate) fn gateway_is_here(out: &mut Outgoing, plan: &Plan) {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: plan.gateway_ethernet(),
        source_protocol_addr: plan.gateway,
        target_hardware_addr: plan.guest_ethernet(),
        target_protocol_addr: plan.guest,
    };
    out.frame(EthernetProtocol::Arp, repr.buffer_len(), |bytes| {
        repr.emit(&mut ArpPacket::new_unchecked(bytes));
    });
}

/// The same for IPv6.
pub(crate) fn gateway_v6_is_here(out: &mut Outgoing, plan: &Plan, asker: Ipv6Addr) {
    let repr = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr: plan.gateway_v6,
        lladdr: Some(plan.gateway_ethernet().into()),
    });
    let ip = Ipv6Repr {
        src_addr: plan.gateway_v6,
        dst_addr: asker,
        next_header: IpProtocol::Icmpv6,
        payload_len: repr.buffer_len(),
        hop_limit: 255,
    };
    packet(out, &IpRepr::Ipv6(ip), |bytes| emit_icmpv6(&repr, &ip, bytes));
}

/// Refuses a segment that belongs to no connection (RFC 9293, 3.5.2), or one that is not to be.
pub(crate) fn reset(out: &mut Outgoing, plan: &Plan, segment: &Segment<'_>) {
    if segment.rst {
        return;
    }
    let length = segment.payload + usize::from(segment.syn) + usize::from(segment.fin);
    let (sequence, acknowledged) = if segment.ack {
        (TcpSeqNumber(segment.acknowledged as i32), None)
    } else {
        (TcpSeqNumber(0), Some(TcpSeqNumber(segment.sequence as i32) + length))
    };
    let repr = TcpRepr {
        src_port: segment.pair.remote.port(),
        dst_port: segment.pair.guest,
        control: TcpControl::Rst,
        seq_number: sequence,
        ack_number: acknowledged,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let from = segment.pair.remote.ip();
    let ip = header(from, plan.guest_like(from), IpProtocol::Tcp, repr.buffer_len());
    packet(out, &ip, |bytes| {
        let checksums = ChecksumCapabilities::default();
        repr.emit(&mut TcpPacket::new_unchecked(bytes), &ip.src_addr(), &ip.dst_addr(), &checksums);
    });
}

/// A datagram from the other end of a conversation. One too large for the cable is lost.
pub(crate) fn datagram(out: &mut Outgoing, plan: &Plan, pair: Pair, payload: &[u8]) {
    let from = pair.remote.ip();
    let ip = header(from, plan.guest_like(from), IpProtocol::Udp, UDP + payload.len());
    let repr = UdpRepr { src_port: pair.remote.port(), dst_port: pair.guest };
    packet(out, &ip, |bytes| {
        let checksums = ChecksumCapabilities::default();
        repr.emit(
            &mut UdpPacket::new_unchecked(bytes),
            &ip.src_addr(),
            &ip.dst_addr(),
            payload.len(),
            |to| to.copy_from_slice(payload),
            &checksums,
        );
    });
}

/// An answer to an echo request.
pub(crate) fn echo(out: &mut Outgoing, plan: &Plan, pair: Pair, sequence: u16, data: &[u8]) {
    let from = pair.remote.ip();
    match (from, plan.guest_like(from)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let repr = Icmpv4Repr::EchoReply { ident: pair.guest, seq_no: sequence, data };
            let ip = header(from.into(), to.into(), IpProtocol::Icmp, repr.buffer_len());
            packet(out, &ip, |bytes| emit_icmpv4(&repr, bytes));
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let repr = Icmpv6Repr::EchoReply { ident: pair.guest, seq_no: sequence, data };
            let (next_header, payload_len) = (IpProtocol::Icmpv6, repr.buffer_len());
            let ip = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: 64 };
            packet(out, &IpRepr::Ipv6(ip), |bytes| emit_icmpv6(&repr, &ip, bytes));
        }
        _ => {}
    }
}

/// Tells the guest that a packet of its does not get where it should. Of the packet, which was looked at before, the header and eight bytes behind
/// it are enough: they say which conversation it was.
pub(crate) fn unreachable(out: &mut Outgoing, plan: &Plan, why: Unreachable, lost: &[u8]) {
    let quoted = |header: usize| &lost[header.min(lost.len())..lost.len().min(QUOTED)];
    match lost.first().map(|byte| byte >> 4) {
        Some(4) => {
            if lost.len() < 20 {
                return;
            }
            let packet_lost = Ipv4Packet::new_unchecked(lost);
            let Ok(lost_header) = Ipv4Repr::parse(&packet_lost, &ChecksumCapabilities::ignored()) else {
                return;
            };
            let repr = Icmpv4Repr::DstUnreachable {
                reason: match why {
                    Unreachable::Port => Icmpv4DstUnreachable::PortUnreachable,
                    Unreachable::Host => Icmpv4DstUnreachable::HostUnreachable,
                    Unreachable::Forbidden => Icmpv4DstUnreachable::CommProhibited,
                },
                header: lost_header,
                data: quoted(20),
            };
            let ip = header(plan.gateway.into(), plan.guest.into(), IpProtocol::Icmp, repr.buffer_len());
            packet(out, &ip, |bytes| emit_icmpv4(&repr, bytes));
        }
        Some(6) => {
            if lost.len() < 40 {
                return;
            }
            let packet_lost = Ipv6Packet::new_unchecked(lost);
            // Reading it whole would want the whole packet.
            let lost_header = Ipv6Repr {
                src_addr: packet_lost.src_addr(),
                dst_addr: packet_lost.dst_addr(),
                next_header: packet_lost.next_header(),
                payload_len: packet_lost.payload_len().into(),
                hop_limit: packet_lost.hop_limit(),
            };
            let repr = Icmpv6Repr::DstUnreachable {
                reason: match why {
                    Unreachable::Port => Icmpv6DstUnreachable::PortUnreachable,
                    Unreachable::Host => Icmpv6DstUnreachable::AddrUnreachable,
                    Unreachable::Forbidden => Icmpv6DstUnreachable::AdminProhibit,
                },
                header: lost_header,
                data: quoted(40),
            };
            let ip = Ipv6Repr {
                src_addr: plan.gateway_v6,
                dst_addr: plan.guest_v6,
                next_header: IpProtocol::Icmpv6,
                payload_len: repr.buffer_len(),
                hop_limit: 64,
            };
            packet(out, &IpRepr::Ipv6(ip), |bytes| emit_icmpv6(&repr, &ip, bytes));
        }
        _ => {}
    }
}

fn header(from: IpAddr, to: IpAddr, protocol: IpProtocol, payload: usize) -> IpRepr {
    IpRepr::new(IpAddress::from(from), IpAddress::from(to), protocol, payload, 64)
}

fn packet(out: &mut Outgoing, ip: &IpRepr, fill: impl FnOnce(&mut [u8])) {
    let kind = match ip {
        IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
        IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
    };
    out.frame(kind, ip.buffer_len(), |bytes| {
        ip.emit(&mut *bytes, &ChecksumCapabilities::default());
        fill(&mut bytes[ip.header_len()..]);
    });
}

fn emit_icmpv4(repr: &Icmpv4Repr<'_>, bytes: &mut [u8]) {
    repr.emit(&mut Icmpv4Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
}

fn emit_icmpv6(repr: &Icmpv6Repr<'_>, ip: &Ipv6Repr, bytes: &mut [u8]) {
    let checksums = ChecksumCapabilities::default();
    repr.emit(&ip.src_addr, &ip.dst_addr, &mut Icmpv6Packet::new_unchecked(bytes), &checksums);
}
