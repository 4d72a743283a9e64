//! What is known of interfaces and addresses, kept from netlink messages. No socket: messages in, changes out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_model::{Link, Mac};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, State};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::LinkEvent;

/// Interfaces with their addresses, and what of it was told.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Without addresses.
    links: BTreeMap<u32, Link>,
    /// Usable ones; those of an interface may be known before it is.
    addresses: BTreeMap<u32, BTreeSet<(IpAddr, u8)>>,
    told: BTreeMap<u32, Link>,
}

impl Table {
    /// Everything is now this.
    pub(super) fn replace(&mut self, everything: Vec<RouteNetlinkMessage>) -> Vec<LinkEvent> {
        self.links.clear();
        self.addresses.clear();
        for message in &everything {
            self.update(message);
        }
        let indices: BTreeSet<u32> = self.links.keys().chain(self.told.keys()).copied().collect();
        indices
            .into_iter()
            .filter_map(|index| self.tell(index))
            .collect()
    }

    /// One notification.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Vec<LinkEvent> {
        let index = self.update(message);
        index
            .and_then(|index| self.tell(index))
            .into_iter()
            .collect()
    }

    /// The index of the interface that the message is about, when it may have changed.
    fn update(&mut self, message: &RouteNetlinkMessage) -> Option<u32> {
        match message {
            // A bridge reports its ports in the same group, by the family AF_BRIDGE: an interface that leaves
            // a bridge would look deleted.
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family != AddressFamily::Unspec =>
            {
                None
            }
            RouteNetlinkMessage::NewLink(message) => {
                let link = decode_link(message)?;
                let index = link.index;
                self.links.insert(index, link);
                Some(index)
            }
            RouteNetlinkMessage::DelLink(message) => {
                let index = message.header.index;
                self.links.remove(&index);
                self.addresses.remove(&index);
                Some(index)
            }
            RouteNetlinkMessage::NewAddress(message) => {
                let (index, address) = decode_address(message)?;
                let addresses = self.addresses.entry(index).or_default();
                if is_usable(message) {
                    addresses.insert(address);
                } else {
                    addresses.remove(&address);
                }
                Some(index)
            }
            RouteNetlinkMessage::DelAddress(message) => {
                let (index, address) = decode_address(message)?;
                self.addresses.get_mut(&index)?.remove(&address);
                Some(index)
            }
            _ => None,
        }
    }

    /// What is new about an interface.
    fn tell(&mut self, index: u32) -> Option<LinkEvent> {
        let Some(link) = self.links.get(&index) else {
            return self.told.remove(&index).map(|_| LinkEvent::Deleted(index));
        };
        let mut link = link.clone();
        link.addresses = self
            .addresses
            .get(&index)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        if self.told.get(&index) == Some(&link) {
            return None;
        }
        self.told.insert(index, link.clone());
        Some(LinkEvent::Applied(link))
    }
}

/// `None` for a message without a name, which describes no interface (wireless events).
fn decode_link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        up: flags.contains(LinkFlags::Up),
        has_master: false,
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        addresses: Vec::new(),
    };
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) if ethernet => {
                link.mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            LinkAttribute::Controller(index) => link.has_master = *index != 0,
            LinkAttribute::OperState(state) => {
                link.up = link.up && matches!(state, State::Up | State::Unknown);
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn decode_address(message: &AddressMessage) -> Option<(u32, (IpAddr, u8))> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point interface the other attribute is the peer's.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) if address.is_none() => address = Some(*other),
            _ => {}
        }
    }
    Some((message.header.index, (address?, message.header.prefix_len)))
}

/// Whether duplicate address detection has come to a good end, or may be assumed to (RFC 4862 §5.4, RFC 4429).
fn is_usable(message: &AddressMessage) -> bool {
    let header = message.header.flags;
    let flags = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        })
        .unwrap_or(AddressFlags::empty());
    let optimistic =
        header.contains(AddressHeaderFlags::Optimistic) || flags.contains(AddressFlags::Optimistic);
    let tentative =
        header.contains(AddressHeaderFlags::Tentative) || flags.contains(AddressFlags::Tentative);
    let failed =
        header.contains(AddressHeaderFlags::Dadfailed) || flags.contains(AddressFlags::Dadfailed);
    !failed && (!tentative || optimistic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, attributes: &[LinkAttribute]) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::Broadcast;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        ];
        message.attributes.extend_from_slice(attributes);
        message
    }

    fn new_link(attributes: &[LinkAttribute]) -> RouteNetlinkMessage {
        RouteNetlinkMessage::NewLink(link(2, attributes))
    }

    fn address(flags: AddressFlags) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = 2;
        message.header.prefix_len = 64;
        message.attributes = vec![
            AddressAttribute::Address("fe80::1".parse().unwrap()),
            AddressAttribute::Flags(flags),
        ];
        message
    }

    fn applied(events: &[LinkEvent]) -> &Link {
        match events {
            [LinkEvent::Applied(link)] => link,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_interface_is_read() {
        let mut table = Table::default();
        let events = table.apply(&new_link(&[LinkAttribute::OperState(State::Up)]));
        let expected = Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            up: true,
            has_master: false,
            broadcast: true,
            no_arp: false,
            addresses: vec![],
        };
        assert_eq!(events, [LinkEvent::Applied(expected)]);
    }

    #[test]
    fn nothing_is_told_twice() {
        let mut table = Table::default();
        table.apply(&new_link(&[]));
        assert_eq!(table.apply(&new_link(&[])), []);
        assert_eq!(table.replace(vec![new_link(&[])]), []);
    }

    #[test]
    fn an_interface_without_carrier_is_not_up() {
        for (state, up) in [
            (State::Up, true),
            (State::Unknown, true),
            (State::Down, false),
            (State::LowerLayerDown, false),
            (State::Dormant, false),
        ] {
            let mut table = Table::default();
            let events = table.apply(&new_link(&[LinkAttribute::OperState(state)]));
            assert_eq!(applied(&events).up, up, "{state}");
        }
    }

    #[test]
    fn loopback_and_tunnels_have_no_ethernet_address() {
        let mut message = link(1, &[]);
        message.header.link_layer_type = LinkLayerType::Loopback;
        let mut table = Table::default();
        let events = table.apply(&RouteNetlinkMessage::NewLink(message));
        assert_eq!(applied(&events).mac, None);
    }

    #[test]
    fn an_address_counts_from_the_end_of_duplicate_address_detection() {
        let mut table = Table::default();
        table.apply(&new_link(&[]));
        let tentative = address(AddressFlags::Tentative | AddressFlags::Permanent);
        let new = |message| RouteNetlinkMessage::NewAddress(message);
        assert_eq!(table.apply(&new(tentative)), []);
        let events = table.apply(&new(address(AddressFlags::Permanent)));
        assert_eq!(
            applied(&events).addresses,
            [("fe80::1".parse().unwrap(), 64)]
        );
        let failed = address(AddressFlags::Dadfailed | AddressFlags::Tentative);
        assert_eq!(applied(&table.apply(&new(failed))).addresses, []);
        let optimistic = address(AddressFlags::Optimistic | AddressFlags::Tentative);
        assert_eq!(applied(&table.apply(&new(optimistic))).addresses.len(), 1);
    }

    #[test]
    fn an_address_may_be_known_before_its_interface() {
        let mut table = Table::default();
        let new = RouteNetlinkMessage::NewAddress(address(AddressFlags::Permanent));
        assert_eq!(table.apply(&new), []);
        assert_eq!(applied(&table.apply(&new_link(&[]))).addresses.len(), 1);
    }

    #[test]
    fn the_own_address_of_a_point_to_point_link_is_taken() {
        let mut message = address(AddressFlags::Permanent);
        message
            .attributes
            .push(AddressAttribute::Local("10.0.0.1".parse().unwrap()));
        let decoded = decode_address(&message).unwrap();
        assert_eq!(decoded, (2, ("10.0.0.1".parse().unwrap(), 64)));
    }

    #[test]
    fn a_new_dump_tells_what_is_gone() {
        let mut table = Table::default();
        table.apply(&new_link(&[]));
        table.apply(&RouteNetlinkMessage::NewLink(link(3, &[])));
        let events = table.replace(vec![new_link(&[])]);
        assert_eq!(events, [LinkEvent::Deleted(3)]);
        assert_eq!(table.replace(vec![]), [LinkEvent::Deleted(2)]);
        assert_eq!(table.replace(vec![]), []);
    }

    #[test]
    fn a_deleted_interface_takes_its_addresses_along() {
        let mut table = Table::default();
        table.apply(&new_link(&[]));
        table.apply(&RouteNetlinkMessage::NewAddress(address(
            AddressFlags::Permanent,
        )));
        let events = table.apply(&RouteNetlinkMessage::DelLink(link(2, &[])));
        assert_eq!(events, [LinkEvent::Deleted(2)]);
        assert_eq!(applied(&table.apply(&new_link(&[]))).addresses, []);
    }

    #[test]
    fn an_interface_that_leaves_a_bridge_is_not_gone() {
        let mut table = Table::default();
        table.apply(&new_link(&[LinkAttribute::Controller(9)]));
        let mut message = link(2, &[]);
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(table.apply(&RouteNetlinkMessage::DelLink(message)), []);
        let events = table.apply(&new_link(&[]));
        assert!(!applied(&events).has_master);
    }
}
