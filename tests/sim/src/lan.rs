//! Machines, their links, and the Ethernet segments that join them with clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ironlb_model::{Family, Link, Mac, Name};

/// Something that is plugged into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// An interface of a machine, by the kernel's number.
    Machine(usize, u32),
    /// A client.
    Client(usize),
    /// The examiner's own host on a segment.
    Examiner(usize),
}

/// A machine of the cluster: its interfaces and what they are plugged into.
#[derive(Debug)]
pub struct Machine {
    /// The node's name.
    pub name: Name,
    /// Its interfaces by the kernel's number.
    pub links: BTreeMap<u32, Link>,
    wires: BTreeMap<u32, usize>,
    number: u8,
    /// Whether eth0 has addresses that routers reach.
    routed: bool,
    last_index: u32,
    last_mac: u8,
}

/// A packet socket that a speaker opened.
#[derive(Clone, Debug, Default)]
pub struct Socket {
    /// Whether it takes ARP.
    pub arp: bool,
    /// Whether it takes neighbour discovery.
    pub ndp: bool,
    /// The groups that it joined.
    pub groups: BTreeSet<Mac>,
}

impl Machine {
    /// The machine `number` with a loopback device and an interface that is to be left out. Where it is `routed`, eth0 has
    /// addresses beside its link-local one.
    pub fn new(number: u8, routed: bool) -> Self {
        let mut machine = Self {
            name: format!("node-{number}").into(),
            links: BTreeMap::new(),
            wires: BTreeMap::new(),
            number,
            routed,
            last_index: 0,
            last_mac: 0,
        };
        machine.add_link("lo", None);
        machine.add_link("docker0", Some(0));
        if let Some(loopback) = machine.links.get_mut(&1) {
            loopback.mac = None;
            loopback.broadcast = false;
        }
        machine
    }

    /// Adds an interface, plugged into `segment`. Gives its number.
    pub fn add_link(&mut self, name: &str, segment: Option<usize>) -> u32 {
        self.last_index += 1;
        let index = self.last_index;
        let mac = self.next_mac();
        let link = Link {
            index,
            name: name.to_owned(),
            mac: Some(mac),
            up: true,
            has_master: false,
            broadcast: true,
            no_arp: false,
            addresses: self.addresses()(name),
        };
        self.links.insert(index, link);
        if let Some(segment) = segment {
            self.wires.insert(index, segment);
        }
        index
    }

    /// Removes an interface. Gives its name and segment.
    pub fn remove_link(&mut self, index: u32) -> Option<(String, Option<usize>)> {
        let link = self.links.remove(&index)?;
        Some((link.name, self.wires.remove(&index)))
    }

    /// An Ethernet address that the machine has not had before.
    pub const fn next_mac(&mut self) -> Mac {
        self.last_mac = self.last_mac.wrapping_add(1);
        Mac([2, 0, 0, 0, self.number, self.last_mac])
    }

    /// Its IPv6 link-local address.
    pub fn link_local(&self) -> IpAddr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(self.number) + 1).into()
    }

    /// The addresses that an interface should have, by its name.
    pub fn addresses(&self) -> impl Fn(&str) -> Vec<(IpAddr, u8)> + use<> {
        let link_local = (self.link_local(), 64);
        let host = 10 + self.number;
        let v4 = (IpAddr::from([198, 51, 100, host]), 24);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, host.into());
        let routed = self.routed;
        move |name| match name {
            "eth0" if routed => vec![v4, (v6.into(), 64), link_local],
            _ => vec![link_local],
        }
    }

    /// Its global address of a family on a segment, and the interface that has it.
    pub fn address_on(&self, segment: usize, family: Family) -> Option<(u32, IpAddr)> {
        let links = self.links.values();
        let mut links = links.filter(|link| self.segment(link.index) == Some(segment));
        links.find_map(|link| {
            let all = link.addresses.iter().map(|(address, _)| *address);
            let link_local =
                |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let mut own = all.filter(|ip| Family::of(*ip) == family && !link_local(*ip));
            own.next().map(|ip| (link.index, ip))
        })
    }

    /// The segment that an interface is plugged into; `None` when it is not, or down.
    pub fn segment(&self, index: u32) -> Option<usize> {
        let up = self.links.get(&index).is_some_and(|link| link.up);
        self.wires.get(&index).copied().filter(|_| up)
    }

    /// Its interfaces that are up and plugged into `segment`.
    pub fn ports(&self, segment: usize) -> impl Iterator<Item = u32> {
        let indexes = self.wires.keys().copied();
        indexes.filter(move |index| self.segment(*index) == Some(segment))
    }

    /// Whether the card and the kernel hand a frame to `socket`: to us, to all, or to a group that was joined, and of a
    /// protocol that is listened for.
    pub fn hears(&self, index: u32, socket: &Socket, frame: &[u8]) -> bool {
        let Some(to) = frame.get(..6).and_then(|to| to.try_into().ok()).map(Mac) else {
            return false;
        };
        let own = self.links.get(&index).and_then(|link| link.mac);
        let addressed = own == Some(to)
            || to == Mac::BROADCAST
            || to == ALL_NODES
            || socket.groups.contains(&to);
        let wanted = match frame.get(12..14) {
            Some([0x08, 0x06]) => socket.arp,
            Some([0x86, 0xdd]) => socket.ndp,
            _ => false,
        };
        addressed && wanted
    }
}

/// The machine that has an Ethernet address, or had it.
pub fn machine_of(mac: Mac) -> Option<usize> {
    match mac.0 {
        [2, 0, 0, 0, number, _] => Some(usize::from(number)),
        _ => None,
    }
}

/// The Ethernet group of ff02::1, which every IPv6 host is in.
const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
