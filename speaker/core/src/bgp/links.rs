//! What our interfaces say about sessions: who is next door, who we are there, and under which address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ironlb_bgp::LocalAddresses;
use ironlb_l2::discovery::Identity;
use ironlb_model::{Family, Link, Node};

use super::obstacle::Obstacle;

/// The interfaces of this node, all of them.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<u32, Link>);

impl Links {
    /// A link is there, or has changed; whether that is news.
    pub(super) fn apply(&mut self, link: &Link) -> bool {
        self.0.insert(link.index, link.clone()).as_ref() != Some(link)
    }

    /// A link is gone; whether that is news.
    pub(super) fn delete(&mut self, index: u32) -> bool {
        self.0.remove(&index).is_some()
    }

    /// The interface of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Link> {
        self.0.values().find(|link| link.name == name)
    }

    /// Who we are on an interface that is up and has Ethernet and a link-local address.
    pub(super) fn identity(&self, name: &str) -> Result<(u32, Identity), Obstacle> {
        let named = || name.to_owned();
        let link = self.named(name);
        let link = link.ok_or_else(|| Obstacle::NoInterface(named()))?;
        if !link.up {
            return Err(Obstacle::InterfaceDown(named()));
        }
        let mac = link.mac.ok_or_else(|| Obstacle::NoEthernet(named()))?;
        let link_local = link.link_local().next();
        let link_local = link_local.ok_or_else(|| Obstacle::NoLinkLocal(named()))?;
        Ok((link.index, Identity { mac, link_local }))
    }

    /// The interface that shares a network with `peer`.
    fn next_door(&self, peer: IpAddr) -> Option<&Link> {
        let shares = |(address, length): &(IpAddr, u8)| {
            IpNet::new(*address, *length).is_ok_and(|net| net.contains(&peer))
        };
        let all = self.0.values();
        all.filter(|link| link.up)
            .find(|link| link.addresses.iter().any(shares))
    }

    /// Our addresses on a session whose own are `local` and, of the peer, `remote` on the interface `scope`.
    pub(super) fn local_addresses(
        &self,
        local: IpAddr,
        remote: IpAddr,
        scope: Option<u32>,
        connected: bool,
    ) -> LocalAddresses {
        let has = |link: &&Link| link.addresses.iter().any(|(address, _)| *address == local);
        let link = match scope {
            Some(index) => self.0.get(&index),
            None => self.next_door(remote).or_else(|| self.0.values().find(has)),
        };
        let shares_link = connected && (scope.is_some() || self.next_door(remote).is_some());
        let link_local = link
            .filter(|_| shares_link)
            .and_then(|link| link.link_local().next());
        LocalAddresses {
            transport: Family::of(local),
            v4: as_v4(local).or_else(|| global_v4(link?)),
            v6: as_global_v6(local).or_else(|| global_v6(link?)),
            link_local,
        }
    }

    /// Our BGP identifier towards a peer that has none configured: our IPv4 address on its network, else the node's, else the
    /// lowest one there is, else one made of the node's name. Zero is none.
    pub(super) fn router_id(
        &self,
        peer: Option<IpAddr>,
        interface: Option<&str>,
        node: &Node,
    ) -> Ipv4Addr {
        let link = match interface {
            Some(name) => self.named(name),
            None => peer.and_then(|peer| self.next_door(peer)),
        };
        let of_node = node.addresses.iter().copied().find_map(as_v4);
        let lowest = || self.0.values().filter_map(global_v4).min();
        link.and_then(global_v4)
            .or(of_node)
            .or_else(lowest)
            .unwrap_or_else(|| by_name(&node.name))
    }
}

fn as_v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn as_global_v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address),
        _ => None,
    }
}

fn global_v4(link: &Link) -> Option<Ipv4Addr> {
    let all = link
        .addresses
        .iter()
        .filter_map(|(address, _)| as_v4(*address));
    all.filter(|address| !address.is_loopback() && !address.is_link_local())
        .min()
}

fn global_v6(link: &Link) -> Option<Ipv6Addr> {
    let all = link.addresses.iter();
    let mut all = all.filter_map(|(address, _)| as_global_v6(*address));
    all.find(|address| !address.is_loopback())
}

/// As MetalLB makes it: the CRC-32 of the name, its bytes in little-endian order.
fn by_name(node: &str) -> Ipv4Addr {
    let bits = crc32(node.as_bytes()).to_le_bytes();
    let identifier = Ipv4Addr::from(bits);
    if identifier.is_unspecified() {
        return Ipv4Addr::new(0, 0, 0, 1);
    }
    identifier
}

/// CRC-32 (ISO 3309), the one of Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let shifted = crc >> 1;
            if crc & 1 == 1 {
                shifted ^ 0xedb8_8320
            } else {
                shifted
            }
        })
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ip, link, node};

    type Addresses = &'static [(&'static str, u8)];

    fn links(list: &[(u32, &str, Addresses)]) -> Links {
        let mut links = Links::default();
        for (index, name, addresses) in list {
            let mut link = link(*index, name);
            link.addresses = addresses
                .iter()
                .map(|(address, length)| (ip(address), *length))
                .collect();
            links.apply(&link);
        }
        links
    }

    fn two() -> Links {
        links(&[
            (
                2,
                "eth0",
                &[("192.0.2.10", 24), ("2001:db8::10", 64), ("fe80::a", 64)],
            ),
            (3, "eth1", &[("10.0.0.10", 8), ("fe80::b", 64)]),
        ])
    }

    #[test]
    fn the_crc_is_the_one_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_identifier_is_the_address_next_to_the_peer_then_the_nodes_then_any_then_a_name() {
        let links = two();
        let mut node = node("n1");
        node.addresses = vec![ip("2001:db8::10"), ip("203.0.113.7")];
        let id = |peer: &str| links.router_id(Some(ip(peer)), None, &node).to_string();
        assert_eq!(id("10.1.2.3"), "10.0.0.10");
        assert_eq!(id("192.0.2.1"), "192.0.2.10");
        assert_eq!(id("2001:db8::1"), "192.0.2.10");
        assert_eq!(id("198.51.100.1"), "203.0.113.7");
        assert_eq!(
            links.router_id(None, Some("eth1"), &node).to_string(),
            "10.0.0.10"
        );
        node.addresses.clear();
        let far = Some(ip("198.51.100.1"));
        assert_eq!(links.router_id(far, None, &node).to_string(), "10.0.0.10");
        let none = Links::default().router_id(far, None, &node);
        assert_eq!(none, Ipv4Addr::from(crc32(b"n1").to_le_bytes()));
    }

    #[test]
    fn a_session_next_door_knows_the_other_familys_address_and_the_link_local_one() {
        let local = two().local_addresses(ip("192.0.2.10"), ip("192.0.2.1"), None, true);
        assert_eq!(local.v6, Some("2001:db8::10".parse().unwrap()));
        assert_eq!(local.link_local, Some("fe80::a".parse().unwrap()));
        assert_eq!(local.transport, Family::V4);
    }

    #[test]
    fn a_session_over_routers_has_no_link_local_address() {
        let local = two().local_addresses(ip("2001:db8::10"), ip("2001:db8:9::1"), None, false);
        assert_eq!(local.v4, Some("192.0.2.10".parse().unwrap()));
        assert_eq!(local.link_local, None);
    }

    #[test]
    fn an_interface_that_nobody_can_be_found_on_says_what_it_lacks() {
        let mut links = two();
        let lacks = |links: &Links| links.identity("eth0").unwrap_err();
        let eth0 = || "eth0".to_owned();
        assert!(links.identity("eth0").is_ok());
        let mut eth = links.named("eth0").unwrap().clone();
        eth.addresses.pop();
        links.apply(&eth);
        assert_eq!(lacks(&links), Obstacle::NoLinkLocal(eth0()));
        eth.mac = None;
        links.apply(&eth);
        assert_eq!(lacks(&links), Obstacle::NoEthernet(eth0()));
        eth.up = false;
        links.apply(&eth);
        assert_eq!(lacks(&links), Obstacle::InterfaceDown(eth0()));
        links.delete(2);
        assert_eq!(lacks(&links), Obstacle::NoInterface(eth0()));
    }

    #[test]
    fn an_unnumbered_session_has_what_its_interface_has() {
        let local = two().local_addresses(ip("fe80::b"), ip("fe80::1"), Some(3), true);
        assert_eq!(local.v4, Some("10.0.0.10".parse().unwrap()));
        assert_eq!(local.v6, None);
        assert_eq!(local.link_local, Some("fe80::b".parse().unwrap()));
    }
}
