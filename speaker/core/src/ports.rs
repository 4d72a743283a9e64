//! The interfaces of this node that addresses are announced on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_l2::{Interfaces, Port};
use ironlb_model::Link;
use regex::Regex;

/// Interfaces that are never announced on unless the operator says otherwise, as regular expressions: those of
/// container runtimes, network plugins and tunnels, and loopback.
pub const DEFAULT_EXCLUDED_INTERFACES: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// Usable interfaces, by index and by name.
#[derive(Debug)]
pub(crate) struct Ports {
    excluded: Vec<Regex>,
    usable: BTreeMap<u32, Usable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Usable {
    name: String,
    port: Port,
}

/// What a change of a link means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The interface is usable, as this port; `listen` when it is new, renamed or carries other protocols than before.
    Usable {
        /// As what.
        port: Port,
        /// Whether its socket must be opened, or opened anew.
        listen: bool,
    },
    /// The interface was usable, and is not any more.
    Unusable,
}

impl Ports {
    pub(crate) fn new(excluded: Vec<Regex>) -> Self {
        Self {
            excluded,
            usable: BTreeMap::new(),
        }
    }

    /// A link is there, or has changed.
    pub(crate) fn apply(&mut self, link: &Link) -> Change {
        let Some(port) = self.port(link) else {
            return self.delete(link.index);
        };
        let usable = Usable {
            name: link.name.clone(),
            port,
        };
        let before = self.usable.insert(link.index, usable);
        match before {
            Some(before) if before.port == port && before.name == link.name => Change::None,
            before => Change::Usable {
                port,
                listen: before.is_none_or(|before| {
                    (before.name.as_str(), before.port.arp, before.port.ndp)
                        != (link.name.as_str(), port.arp, port.ndp)
                }),
            },
        }
    }

    /// A link is gone.
    pub(crate) fn delete(&mut self, index: u32) -> Change {
        match self.usable.remove(&index) {
            Some(_) => Change::Unusable,
            None => Change::None,
        }
    }

    /// The name of an interface; empty when it is not usable.
    pub(crate) fn name(&self, index: u32) -> &str {
        self.usable.get(&index).map_or("", |usable| &usable.name)
    }

    /// The interfaces of these names, by index; all for `None`.
    pub(crate) fn resolve(&self, names: Option<&BTreeSet<String>>) -> Interfaces {
        let Some(names) = names else {
            return Interfaces::All;
        };
        let named = self
            .usable
            .iter()
            .filter(|(_, usable)| names.contains(&usable.name));
        Interfaces::Only(named.map(|(index, _)| *index).collect())
    }

    /// Which of these interfaces (all for `None`) can answer for `ip` now.
    pub(crate) fn carrying<'a>(
        &'a self,
        ip: IpAddr,
        names: Option<&'a BTreeSet<String>>,
    ) -> impl Iterator<Item = &'a str> {
        let carries = move |usable: &&Usable| match ip {
            IpAddr::V4(_) => usable.port.arp,
            IpAddr::V6(_) => usable.port.ndp,
        };
        let carrying = self.usable.values().filter(carries);
        let named = move |name: &&str| names.is_none_or(|names| names.contains(*name));
        carrying.map(|usable| usable.name.as_str()).filter(named)
    }

    /// What `link` is good for; `None` when it is not to be used at all. A port of a bridge or bond is not: the
    /// bridge or bond is.
    fn port(&self, link: &Link) -> Option<Port> {
        let excluded = self
            .excluded
            .iter()
            .any(|pattern| pattern.is_match(&link.name));
        if excluded || !link.up || link.has_master || link.no_arp {
            return None;
        }
        let port = Port {
            mac: link.mac?,
            arp: link.broadcast,
            ndp: link.link_local().next().is_some(),
        };
        (port.arp || port.ndp).then_some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ip, link};

    fn ports() -> Ports {
        let patterns = DEFAULT_EXCLUDED_INTERFACES.iter();
        Ports::new(
            patterns
                .map(|pattern| Regex::new(pattern).unwrap())
                .collect(),
        )
    }

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn interfaces_of_container_networks_are_left_out() {
        let mut ports = ports();
        for name in [
            "lo",
            "docker0",
            "veth12ab",
            "cali1",
            "flannel.1",
            "cni0",
            "lxc_health",
        ] {
            assert_eq!(ports.apply(&link(2, name)), Change::None, "{name}");
        }
        for (index, name) in [(3, "eth0"), (4, "lom1"), (5, "br0"), (6, "bond0.100")] {
            let change = ports.apply(&link(index, name));
            assert!(
                matches!(change, Change::Usable { listen: true, .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn an_interface_must_be_up_and_answer_arp_and_be_its_own_master() {
        type Spoil = fn(&mut Link);
        let spoils: [Spoil; 4] = [
            |link| link.up = false,
            |link| link.has_master = true,
            |link| link.no_arp = true,
            |link| link.mac = None,
        ];
        for spoil in spoils {
            let mut ports = ports();
            let mut spoilt = link(2, "eth0");
            assert!(matches!(ports.apply(&spoilt), Change::Usable { .. }));
            spoil(&mut spoilt);
            assert_eq!(ports.apply(&spoilt), Change::Unusable);
            assert_eq!(ports.apply(&spoilt), Change::None);
        }
    }

    #[test]
    fn arp_needs_broadcast_and_neighbour_discovery_a_link_local_address() {
        let mut ports = ports();
        let mut only_v4 = link(2, "eth0");
        only_v4.addresses = vec![(ip("10.0.0.1"), 24), (ip("2001:db8::1"), 64)];
        ports.apply(&only_v4);
        let mut only_v6 = link(3, "eth1");
        only_v6.broadcast = false;
        ports.apply(&only_v6);
        let carrying = |address| ports.carrying(ip(address), None).collect::<Vec<_>>();
        assert_eq!(carrying("192.0.2.1"), ["eth0"]);
        assert_eq!(carrying("2001:db8::9"), ["eth1"]);
    }

    #[test]
    fn a_socket_is_opened_anew_only_for_another_name_or_protocol() {
        let mut ports = ports();
        let mut one = link(2, "eth0");
        ports.apply(&one);
        one.mac = Some(ironlb_model::Mac([2, 0, 0, 0, 0, 99]));
        assert!(matches!(
            ports.apply(&one),
            Change::Usable { listen: false, .. }
        ));
        one.addresses.clear();
        assert!(matches!(
            ports.apply(&one),
            Change::Usable { listen: true, .. }
        ));
        one.name = "eth7".to_owned();
        assert!(matches!(
            ports.apply(&one),
            Change::Usable { listen: true, .. }
        ));
        one.addresses.push((ip("10.9.9.9"), 8));
        assert_eq!(ports.apply(&one), Change::None);
    }

    #[test]
    fn names_resolve_to_the_interfaces_that_are_there() {
        let mut ports = ports();
        ports.apply(&link(2, "eth0"));
        ports.apply(&link(3, "eth1"));
        let wanted = names(&["eth1", "eth9"]);
        assert_eq!(
            ports.resolve(Some(&wanted)),
            Interfaces::Only(BTreeSet::from([3]))
        );
        assert_eq!(ports.resolve(None), Interfaces::All);
    }
}
