//! What a frame of the guest's is, and whether it may be there at all.
//!
//! Only what a well-behaved guest sends gets through: from its own card and its own address, to the gateway's card, whole packets without
//! options, TCP, UDP and echo requests. All else is dropped here, before anything remembers it.

use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet,
    Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A conversation: a port of the guest's and who it speaks to. The guest has one address of each family, so that is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pair {
    /// Port of the guest's, or the identifier of its echo requests.
    pub(crate) guest: u16,
    /// Address and port; no port with echo requests.
    pub(crate) remote: SocketAddr,
}

/// A frame that may be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// The guest asks who has the gateway's address.
    WhoIsGateway,
    /// The same for IPv6, and from which address.
    WhoIsGatewayV6(Ipv6Addr),
    /// A part of a TCP connection.
    Tcp(Segment<'a>),
    /// A datagram.
    Udp(Datagram<'a>),
    /// An echo request.
    Echo(Echo<'a>),
}

/// Part of [`Frame`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) pair: Pair,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) payload: usize,
    /// The IP packet.
    pub(crate) packet: &'a [u8],
}

/// Part of [`Frame`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    pub(crate) pair: Pair,
    pub(crate) payload: &'a [u8],
    /// The IP packet.
    pub(crate) packet: &'a [u8],
}

/// Part of [`Frame`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Echo<'a> {
    /// Its identifier stands for the port.
    pub(crate) pair: Pair,
    pub(crate) sequence: u16,
    pub(crate) data: &'a [u8],
    /// The IP packet.
    pub(crate) packet: &'a [u8],
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// No packet of the kind it says it is, or a wrong checksum.
    Malformed,
    /// From an address that is not the guest's.
    Spoofed,
    /// A part of a packet.
    Fragment,
    /// IPv4 options or IPv6 extension headers.
    Options,
    /// Neither TCP, UDP nor an echo request.
    Protocol,
    /// To more than one, which every system sends without being asked. Nobody hears of it.
    Quiet,
}

type Looked<'a> = Result<Frame<'a>, Dropped>;

/// Looks at a frame.
pub(crate) fn look<'a>(bytes: &'a [u8], plan: &Plan, ipv6: bool) -> Looked<'a> {
    let frame = EthernetFrame::new_checked(bytes).map_err(|_| Dropped::Malformed)?;
    if frame.src_addr() != plan.guest_ethernet() {
        return Err(Dropped::Spoofed);
    }
    let payload = &bytes[EthernetFrame::<&[u8]>::header_len()..];
    let to_gateway = frame.dst_addr() == plan.gateway_ethernet();
    match frame.ethertype() {
        EthernetProtocol::Arp if to_gateway || frame.dst_addr().is_broadcast() => arp(payload, plan),
        EthernetProtocol::Ipv4 if to_gateway => ipv4(payload, plan),
        EthernetProtocol::Ipv6 if !ipv6 => Err(Dropped::Quiet),
        EthernetProtocol::Ipv6 => ipv6_packet(payload, plan, to_gateway),
        _ if !to_gateway => Err(Dropped::Quiet),
        _ => Err(Dropped::Protocol),
    }
}

fn arp<'a>(payload: &[u8], plan: &Plan) -> Looked<'a> {
    let packet = ArpPacket::new_checked(payload).map_err(|_| Dropped::Malformed)?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).map_err(|_| Dropped::Malformed)?
    else {
        return Err(Dropped::Malformed);
    };
    // From the unspecified address it only asks whether its own is free.
    if source_hardware_addr != plan.guest_ethernet()
        || (source_protocol_addr != plan.guest && !source_protocol_addr.is_unspecified())
    {
        return Err(Dropped::Spoofed);
    }
    if operation == ArpOperation::Request && target_protocol_addr == plan.gateway {
        Ok(Frame::WhoIsGateway)
    } else {
        Err(Dropped::Quiet)
    }
}

fn ipv4<'a>(payload: &'a [u8], plan: &Plan) -> Looked<'a> {
    let packet = Ipv4Packet::new_checked(payload).map_err(|_| Dropped::Malformed)?;
    if packet.version() != 4 || !packet.verify_checksum() {
        return Err(Dropped::Malformed);
    }
    if packet.src_addr() != plan.guest {
        return Err(Dropped::Spoofed);
    }
    let to = packet.dst_addr();
    if to.is_multicast() || to.is_broadcast() || to.is_unspecified() {
        return Err(Dropped::Quiet);
    }
    if packet.header_len() != 20 {
        return Err(Dropped::Options);
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(Dropped::Fragment);
    }
    let whole = &payload[..usize::from(packet.total_len())];
    let (protocol, inner) = (packet.next_header(), &whole[20..]);
    transport(whole, inner, protocol, plan.guest.into(), to.into())
}

fn ipv6_packet<'a>(payload: &'a [u8], plan: &Plan, to_gateway: bool) -> Looked<'a> {
    let packet = Ipv6Packet::new_checked(payload).map_err(|_| Dropped::Malformed)?;
    if packet.version() != 6 {
        return Err(Dropped::Malformed);
    }
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    let whole = &payload[..packet.header_len() + usize::from(packet.payload_len())];
    let inner = &whole[packet.header_len()..];
    if packet.next_header() == IpProtocol::Icmpv6
        && packet.hop_limit() == 255
        && (from == plan.guest_v6 || from.is_unicast_link_local())
        && let Ok(icmp) = Icmpv6Packet::new_checked(inner)
        && icmp.msg_type() == Icmpv6Message::NeighborSolicit
        && inner.len() >= 24
    {
        let asks = icmp.target_addr() == plan.gateway_v6 && icmp.verify_checksum(&from, &to);
        return if asks { Ok(Frame::WhoIsGatewayV6(from)) } else { Err(Dropped::Quiet) };
    }
    if !to_gateway || to.is_multicast() || to.is_unspecified() {
        return Err(Dropped::Quiet);
    }
    if from != plan.guest_v6 {
        return Err(Dropped::Spoofed);
    }
    match packet.next_header() {
        IpProtocol::Tcp | IpProtocol::Udp | IpProtocol::Icmpv6 => {
            transport(whole, inner, packet.next_header(), from.into(), to.into())
        }
        IpProtocol::Ipv6Frag => Err(Dropped::Fragment),
        IpProtocol::HopByHop | IpProtocol::Ipv6Route | IpProtocol::Ipv6Opts => Err(Dropped::Options),
        _ => Err(Dropped::Protocol),
    }
}

fn transport<'a>(
    packet: &'a [u8],
    inner: &'a [u8],
    protocol: IpProtocol,
    from: IpAddr,
    to: IpAddr,
) -> Looked<'a> {
    let checksums = ChecksumCapabilities::default();
    let pair = |guest, port| Pair { guest, remote: SocketAddr::new(to, port) };
    match (protocol, to) {
        (IpProtocol::Tcp, _) => {
            let tcp = TcpPacket::new_checked(inner).map_err(|_| Dropped::Malformed)?;
            if tcp.src_port() == 0 || tcp.dst_port() == 0 {
                return Err(Dropped::Malformed);
            }
            Ok(Frame::Tcp(Segment {
                pair: pair(tcp.src_port(), tcp.dst_port()),
                syn: tcp.syn(),
                ack: tcp.ack(),
                fin: tcp.fin(),
                rst: tcp.rst(),
                sequence: tcp.seq_number().0 as u32,
                acknowledged: tcp.ack_number().0 as u32,
                payload: inner.len() - usize::from(tcp.header_len()),
                packet,
            }))
        }
        (IpProtocol::Udp, _) => {
            let udp = UdpPacket::new_checked(inner).map_err(|_| Dropped::Malformed)?;
            let repr = smoltcp::wire::UdpRepr::parse(&udp, &from.into(), &to.into(), &checksums)
                .map_err(|_| Dropped::Malformed)?;
            if repr.src_port == 0 || repr.dst_port == 0 {
                return Err(Dropped::Malformed);
            }
            let payload = &inner[8..usize::from(udp.len())];
            Ok(Frame::Udp(Datagram { pair: pair(repr.src_port, repr.dst_port), payload, packet }))
        }
        (IpProtocol::Icmp, IpAddr::V4(_)) => {
            let icmp = Icmpv4Packet::new_checked(inner).map_err(|_| Dropped::Malformed)?;
            if !icmp.verify_checksum() || inner.len() < 8 {
                return Err(Dropped::Malformed);
            }
            if icmp.msg_type() != Icmpv4Message::EchoRequest {
                return Err(Dropped::Protocol);
            }
            let pair = pair(icmp.echo_ident(), 0);
            Ok(Frame::Echo(Echo { pair, sequence: icmp.echo_seq_no(), data: &inner[8..], packet }))
        }
        (IpProtocol::Icmpv6, IpAddr::V6(to)) => {
            let icmp = Icmpv6Packet::new_checked(inner).map_err(|_| Dropped::Malformed)?;
            let IpAddr::V6(from) = from else { return Err(Dropped::Malformed) };
            if !icmp.verify_checksum(&from, &to) || inner.len() < 8 {
                return Err(Dropped::Malformed);
            }
            if icmp.msg_type() != Icmpv6Message::EchoRequest {
                return Err(Dropped::Quiet);
            }
            let pair = pair(icmp.echo_ident(), 0);
            Ok(Frame::Echo(Echo { pair, sequence: icmp.echo_seq_no(), data: &inner[8..], packet }))
        }
        _ => Err(Dropped::Protocol),
    }
}

/// The segment in an IP packet of the guest's that was looked at before.
pub(crate) fn segment_of<'a>(packet: &'a [u8], plan: &Plan) -> Option<Segment<'a>> {
    let looked = match packet.first()? >> 4 {
        4 => ipv4(packet, plan),
        _ => ipv6_packet(packet, plan, true),
    };
    match looked {
        Ok(Frame::Tcp(segment)) => Some(segment),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
