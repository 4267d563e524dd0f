//! The address plan: who has which address on a sprite's cable. It is the same in every sprite, since no cable meets another.

use serde::{Deserialize, Serialize};
use smoltcp::wire::EthernetAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of the two ends of the cable. The agent sets those of the guest; nobody asks for them by DHCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Hardware address of the guest's card. Frames from any other are dropped.
    pub guest_mac: [u8; 6],
    /// Hardware address of the gateway.
    pub gateway_mac: [u8; 6],
    /// The guest.
    pub guest: Ipv4Addr,
    /// The gateway, which is also the one name server.
    pub gateway: Ipv4Addr,
    /// Bits that both have in common.
    pub prefix: u8,
    /// The guest.
    pub guest_v6: Ipv6Addr,
    /// The gateway.
    pub gateway_v6: Ipv6Addr,
    /// Bits that both have in common.
    pub prefix_v6: u8,
}

impl Default for Plan {
    fn default() -> Self {
        // A unique local prefix (RFC 4193) that spells `Sprit`. A guest prefers IPv4 to it (RFC 6724), as long as a name has both.
        let v6 = |host| Ipv6Addr::new(0xfd53, 0x7072, 0x6974, 0, 0, 0, 0, host);
        Self {
            guest_mac: [0x02, 0, 0, 0, 0, 0x15],
            gateway_mac: [0x02, 0, 0, 0, 0, 0x02],
            guest: Ipv4Addr::new(10, 0, 2, 15),
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            prefix: 24,
            guest_v6: v6(0x15),
            gateway_v6: v6(2),
            prefix_v6: 64,
        }
    }
}

impl Plan {
    /// Whether it can be meant; the error is a sentence.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let unicast = |mac: [u8; 6]| mac[0] & 1 == 0 && mac != [0; 6];
        if !unicast(self.guest_mac) || !unicast(self.gateway_mac) || self.guest_mac == self.gateway_mac {
            return Err("guest and gateway have two different hardware addresses of one card each".into());
        }
        if !(8..=30).contains(&self.prefix) || !(8..=126).contains(&self.prefix_v6) {
            return Err("a prefix has 8 to 30 bits, or 8 to 126 for IPv6".into());
        }
        if !self.is_on_cable(self.gateway.into()) || !self.is_on_cable(self.gateway_v6.into()) {
            return Err("the gateway's address has another prefix than the guest's".into());
        }
        if self.guest == self.gateway || self.guest_v6 == self.gateway_v6 {
            return Err("guest and gateway have the same address".into());
        }
        Ok(())
    }

    /// Whether an address belongs to the cable, and so to nobody outside.
    pub(crate) fn is_on_cable(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX << (32 - u32::from(self.prefix.clamp(1, 32)));
                (address.to_bits() ^ self.guest.to_bits()) & mask == 0
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - u32::from(self.prefix_v6.clamp(1, 128)));
                (address.to_bits() ^ self.guest_v6.to_bits()) & mask == 0
            }
        }
    }

    /// Whether it is the gateway's.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.gateway) || address == IpAddr::V6(self.gateway_v6)
    }

    /// The guest's address of the same family.
    pub(crate) fn guest_like(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.guest.into(),
            IpAddr::V6(_) => self.guest_v6.into(),
        }
    }

    pub(crate) fn guest_ethernet(&self) -> EthernetAddress {
        EthernetAddress(self.guest_mac)
    }

    pub(crate) fn gateway_ethernet(&self) -> EthernetAddress {
        EthernetAddress(self.gateway_mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_cable() {
        let plan = Plan::default();
        plan.check().unwrap();
        for (address, on) in [
            ("10.0.2.2", true),
            ("10.0.2.255", true),
            ("10.0.3.1", false),
            ("fd53:7072:6974::99", true),
            ("fd53:7072:6974:1::99", false),
        ] {
            assert_eq!(plan.is_on_cable(address.parse().unwrap()), on, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_meant() {
        let plan = Plan::default();
        assert!(Plan { guest_mac: [1, 0, 0, 0, 0, 1], ..plan }.check().is_err());
        assert!(Plan { gateway: Ipv4Addr::new(10, 1, 2, 2), ..plan }.check().is_err());
        assert!(Plan { gateway: plan.guest, ..plan }.check().is_err());
        assert!(Plan { prefix: 0, ..plan }.check().is_err());
    }
}
