//! Network interfaces, as netlink reports them.

use std::fmt;
use std::net::IpAddr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it is a group address, broadcast included (IEEE 802.3 §3.2.3: the lowest bit of the first byte).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A network interface and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it; never reused while it lives.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` for an interface that has none (a tunnel, loopback).
    pub mac: Option<Mac>,
    /// Administratively up and with carrier (operational state up or unknown).
    pub up: bool,
    /// Is a port of a bridge or bond, which then is the interface to announce on.
    pub has_master: bool,
    /// Has the flag BROADCAST.
    pub broadcast: bool,
    /// Has the flag NOARP.
    pub no_arp: bool,
    /// Its addresses with prefix length, usable ones only (not tentative, not failed by duplicate detection).
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Link {
    /// Its IPv6 link-local addresses.
    pub fn link_local(&self) -> impl Iterator<Item = std::net::Ipv6Addr> {
        self.addresses
            .iter()
            .filter_map(|(address, _)| match address {
                IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
                _ => None,
            })
    }
}
