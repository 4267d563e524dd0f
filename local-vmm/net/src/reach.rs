//! Which addresses lead outside at all, whatever a policy says.
//!
//! A sprite is not to reach its host, the networks the host is in, or where clouds tell secrets to whoever asks from within. An address that only
//! wraps another one (mapped, NAT64, 6to4, Teredo) is closed as well: none of them is needed, and each is a way around the list.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

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
        [0 | 127 | 224..=255, ..] => Distance::Closed,
        // Relays of 6to4, which are no more.
        [192, 88, 99, _] => Distance::Closed,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..] => {
            Distance::Private
        }
        // Protocol assignments, documentation, benchmarks: in use within networks, if at all.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => Distance::Private,
        _ => Distance::Public,
    }
}

fn distance_v6(address: Ipv6Addr) -> Distance {
    match address.segments() {
        // Unique local and link-local.
        [0xfc00..=0xfdff, ..] | [0xfe80..=0xfebf, ..] => Distance::Private,
        // Teredo and the other protocol assignments, documentation, 6to4.
        [0x2001, ..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, ..=0xfff, ..] => {
            Distance::Closed
        }
        // Global unicast is all that is left. NAT64, mapped addresses and multicast are not in it.
        [0x2000..=0x3fff, ..] => Distance::Public,
        _ => Distance::Closed,
    }
}

/// Addresses of the host's own cards. One that is public leads to the host all the same, past whatever firewall stands before it.
#[derive(Debug, Default)]
pub(crate) struct Own {
    addresses: Vec<IpAddr>,
    read: Option<Instant>,
}

impl Own {
    /// How old the list may be.
    const FRESH: Duration = Duration::from_secs(5);

    /// Whether an address is one of them.
    pub(crate) fn contains(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.read.is_none_or(|read| now.saturating_duration_since(read) > Self::FRESH) {
            self.read = Some(now);
            // Where it cannot be read, the list of before stands.
            if let Ok(cards) = nix::ifaddrs::getifaddrs() {
                self.addresses = cards.filter_map(|card| ip(card.address.as_ref()?)).collect();
            }
        }
        self.addresses.contains(&address)
    }
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
            ("169.254.1.1", Private),
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
            ("fe80::1", Private),
        ] {
            assert_eq!(distance(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn the_hosts_own_addresses() {
        let mut own = Own::default();
        assert!(own.contains(Ipv4Addr::LOCALHOST.into(), Instant::now()));
        assert!(!own.contains(Ipv4Addr::new(1, 1, 1, 1).into(), Instant::now()));
    }
}
