//! Which addresses lead outside at all, whatever a policy says.
//!
//! A sprite is not to reach its host, the networks the host is in, or where clouds tell secrets to whoever asks from within. An address that only
//! wraps another one (mapped, NAT64, 6to4, Teredo) is closed as well: none of them is needed, and each is a way around the list.

use ipnet::IpNet;
use nix::ifaddrs::InterfaceAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    /// On the public internet.
    Public,
    /// In a network that the host is in, or may be.
    Private,
    /// The host itself, a cloud's secrets, everybody, nobody, or another address in disguise.
    Closed,
}

/// Secrets for whoever asks from within a cloud, and the doors into its insides.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// The port of which nobody expects an answer (RFC 863).
const DISCARD: u16 = 9;

/// How far away an address is, as the registries of special addresses (RFC 6890) have it.
pub(crate) fn distance(address: IpAddr) -> Distance {
    if METADATA.contains(&address) {
        return Distance::Closed;
    }
    match address {
        IpAddr::V4(address) => distance_v4(address),
        IpAddr::V6(address) => distance_v6(address),
    }
}

fn distance_v4(address: Ipv4Addr) -> Distance {
    match address.octets() {
        // Link-local addresses are where clouds tell secrets, and nothing else that a sprite needs.
        [0 | 127 | 224..=255, ..] | [169, 254, ..] => Distance::Closed,
        // Relays of 6to4, which are no more.
        [192, 88, 99, _] => Distance::Closed,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Distance::Private,
        // Protocol assignments, documentation, benchmarks: in use within networks, if at all.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => Distance::Private,
        _ => Distance::Public,
    }
}

fn distance_v6(address: Ipv6Addr) -> Distance {
    match address.segments() {
        // A cloud's own services.
        [0xfd00, 0xec2, ..] => Distance::Closed,
        // Unique local.
        [0xfc00..=0xfdff, ..] => Distance::Private,
        // Teredo and the other protocol assignments, documentation, 6to4.
        [0x2001, ..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, ..=0xfff, ..] => {
            Distance::Closed
        }
        // Global unicast is all that is left. NAT64, mapped addresses and multicast are not in it.
        [0x2000..=0x3fff, ..] => Distance::Public,
        _ => Distance::Closed,
    }
}

/// Addresses of the host's own cards, and the networks that these are in. An address that is public leads to the host, or to its neighbours, all the
/// same, past whatever firewall stands before them.
#[derive(Debug, Default)]
pub(crate) struct Own {
    cards: Vec<IpNet>,
    read: Option<Instant>,
}

impl Own {
    /// How old the list may be.
    const FRESH: Duration = Duration::from_secs(5);

    /// Whether an address is one of them.
    pub(crate) fn contains(&mut self, address: IpAddr, now: Instant) -> bool {
        self.read(now).iter().any(|card| card.addr() == address) || is_delivered_here(address)
    }

    /// Whether it is in a network that the host is in.
    pub(crate) fn is_near(&mut self, address: IpAddr, now: Instant) -> bool {
        self.read(now).iter().any(|card| card.contains(&address))
    }

    fn read(&mut self, now: Instant) -> &[IpNet] {
        if self.read.is_none_or(|read| now.saturating_duration_since(read) > Self::FRESH) {
            self.read = Some(now);
            // Where it cannot be read, the list of before stands.
            if let Ok(cards) = nix::ifaddrs::getifaddrs() {
                self.cards = cards.filter_map(|card| network(&card)).collect();
            }
        }
        &self.cards
    }
}

/// Whether the host keeps what is sent to an address, as it does for more than the addresses of its cards: whole ranges may be routed to it. Its own
/// end of such a connection has the very same address. Nothing is sent for that.
fn is_delivered_here(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let near = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, DISCARD))?;
        socket.local_addr()
    });
    near.is_ok_and(|near| near.ip() == address)
}

/// Address and network of a card. Where it is told nothing of its network, it is in one by itself; a global network of IPv6 is never smaller than its
/// subnet (RFC 4291, section 2.5.4).
fn network(card: &InterfaceAddress) -> Option<IpNet> {
    let address = ip(card.address.as_ref()?)?;
    let length = card.netmask.as_ref().and_then(ip).and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok());
    let length = match address {
        IpAddr::V4(_) => length.unwrap_or(32),
        IpAddr::V6(address) if address.is_loopback() => 128,
        IpAddr::V6(_) => length.unwrap_or(128).min(64),
    };
    IpNet::new(address, length).ok()
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// Whether an address is in one of the ranges.
pub(crate) fn is_in(ranges: &[IpNet], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(&address))
}

/// Whether the host has a way for IPv6. Nothing is sent for that. Where it has none, a guest is better off without an address of that family: it
/// would try it first, and wait.
pub fn host_has_ipv6() -> bool {
    let far = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
    std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .is_ok_and(|socket| socket.connect((far, 53)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_addresses_are() {
        use Distance::{Closed, Private, Public};
        for (address, expected) in [
            ("1.1.1.1", Public),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("100.63.0.1", Public),
            ("198.20.0.1", Public),
            ("0.0.0.0", Closed),
            ("127.0.0.1", Closed),
            ("127.9.9.9", Closed),
            ("169.254.169.254", Closed),
            ("100.100.100.200", Closed),
            ("168.63.129.16", Closed),
            ("224.0.0.1", Closed),
            ("240.0.0.1", Closed),
            ("255.255.255.255", Closed),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("192.168.1.1", Private),
            ("169.254.1.1", Closed),
            ("fd00:ec2::23", Closed),
            ("100.64.0.1", Private),
            ("192.0.2.1", Private),
            ("2606:4700::1111", Public),
            ("2001:4860:4860::8888", Public),
            ("::", Closed),
            ("::1", Closed),
            ("::7f00:1", Closed),
            ("::ffff:127.0.0.1", Closed),
            ("::ffff:1.1.1.1", Closed),
            ("64:ff9b::7f00:1", Closed),
            ("64:ff9b:1::1", Closed),
            ("2002:7f00:1::", Closed),
            ("2001::1", Closed),
            ("ff02::1", Closed),
            ("fec0::1", Closed),
            ("fd00:ec2::254", Closed),
            ("fd00::1", Private),
            ("fe80::1", Closed),
        ] {
            assert_eq!(distance(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn the_hosts_own_addresses() {
        let mut own = Own::default();
        assert!(own.contains(Ipv4Addr::LOCALHOST.into(), Instant::now()));
        let neighbour = Ipv4Addr::new(127, 1, 1, 1).into();
        assert!(!own.contains(neighbour, Instant::now()) && own.is_near(neighbour, Instant::now()));
        let far = Ipv4Addr::new(1, 1, 1, 1).into();
        assert!(!own.contains(far, Instant::now()) && !own.is_near(far, Instant::now()));
    }
}
