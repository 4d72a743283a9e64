//! Solicited-node groups: which addresses need which, and which an interface must join.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ironlb_model::Mac;

/// The solicited-node multicast address of `address`: ff02::1:ff00:0/104 and its low 24 bits (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(SOLICITED_NODE | (address.to_bits() & 0xff_ffff))
}

/// The Ethernet group that carries an IPv6 group: 33:33 and its low 32 bits (RFC 2464 §7).
pub fn ethernet_group(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The groups that each interface is in, counted: addresses with the same low 24 bits share one.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    members: BTreeMap<(u32, Mac), usize>,
}

impl Groups {
    /// One more address on `interface` needs its group; the group when it must be joined for that.
    pub(crate) fn join(&mut self, interface: u32, address: Ipv6Addr) -> Option<Mac> {
        let group = ethernet_group(solicited_node(address));
        let members = self.members.entry((interface, group)).or_default();
        *members = members.saturating_add(1);
        (*members == 1).then_some(group)
    }

    /// One address on `interface` less; the group when nobody needs it any more.
    pub(crate) fn leave(&mut self, interface: u32, address: Ipv6Addr) -> Option<Mac> {
        let group = ethernet_group(solicited_node(address));
        let members = self.members.get_mut(&(interface, group))?;
        *members = members.saturating_sub(1);
        if *members > 0 {
            return None;
        }
        self.members.remove(&(interface, group));
        Some(group)
    }

    /// The interface is gone, and its memberships with it.
    pub(crate) fn forget(&mut self, interface: u32) {
        self.members.retain(|(member, _), _| *member != interface);
    }
}

const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_group_of_the_rfc_s_example() {
        // RFC 4291 §2.7.1
        assert_eq!(
            solicited_node(ip("4037::1:800:200e:8c6c")),
            ip("ff02::1:ff0e:8c6c")
        );
        assert_eq!(
            ethernet_group(ip("ff02::1:ff0e:8c6c")).to_string(),
            "33:33:ff:0e:8c:6c"
        );
    }

    #[test]
    fn two_addresses_with_the_same_low_24_bits_share_a_group() {
        let mut groups = Groups::default();
        let group = Mac([0x33, 0x33, 0xff, 0, 0, 1]);
        assert_eq!(groups.join(2, ip("2001:db8::1")), Some(group));
        assert_eq!(groups.join(2, ip("2001:db8:1::1")), None);
        assert_eq!(groups.join(3, ip("2001:db8::1")), Some(group));
        assert_eq!(groups.leave(2, ip("2001:db8::1")), None);
        assert_eq!(groups.leave(2, ip("2001:db8:1::1")), Some(group));
        assert_eq!(groups.leave(2, ip("2001:db8:1::1")), None);
    }

    #[test]
    fn an_interface_that_comes_back_joins_again() {
        let mut groups = Groups::default();
        groups.join(2, ip("2001:db8::1"));
        groups.forget(2);
        assert!(groups.join(2, ip("2001:db8::1")).is_some());
    }
}
