//! Addresses that automatic choice takes last: those of nodes, and those that cool down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Name, Range, Time};

/// Which addresses are kept back while another is free, and why.
#[derive(Debug, Default)]
pub(crate) struct Avoided {
    now: Time,
    nodes: BTreeMap<Name, Vec<IpAddr>>,
    /// The addresses of nodes, and which nodes have them.
    of_nodes: BTreeMap<IpAddr, BTreeSet<Name>>,
    /// Until when an address cools down. None of them is in use.
    cooling: BTreeMap<IpAddr, Time>,
    /// The same, the next to end first.
    ends: BTreeSet<(Time, IpAddr)>,
}

impl Avoided {
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.of_nodes.contains_key(&address) || self.cooling.contains_key(&address)
    }

    /// Those of a range. One may come twice.
    pub(crate) fn within(&self, range: &Range) -> impl Iterator<Item = IpAddr> {
        let all = range.first()..=range.last();
        let of_nodes = self
            .of_nodes
            .range(all.clone())
            .map(|(address, _)| *address);
        of_nodes.chain(self.cooling.range(all).map(|(address, _)| *address))
    }

    /// The first of the nodes that have `address`, by name.
    pub(crate) fn node_of(&self, address: IpAddr) -> Option<&Name> {
        self.of_nodes.get(&address)?.first()
    }

    /// A node has exactly these addresses now. Gives those of them that no node had, and those that none has any more.
    pub(crate) fn set_node(
        &mut self,
        node: &Name,
        addresses: &[IpAddr],
    ) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let before = match addresses {
            [] => self.nodes.remove(node),
            _ => self.nodes.insert(node.clone(), addresses.to_vec()),
        };
        let before = before.unwrap_or_default();
        let mut new = Vec::new();
        for address in addresses {
            let nodes = self.of_nodes.entry(*address).or_default();
            if nodes.is_empty() {
                new.push(*address);
            }
            nodes.insert(node.clone());
        }
        let mut gone = Vec::new();
        for address in before.into_iter().filter(|ip| !addresses.contains(ip)) {
            if let Some(nodes) = self.of_nodes.get_mut(&address) {
                nodes.remove(node);
                if nodes.is_empty() {
                    self.of_nodes.remove(&address);
                    gone.push(address);
                }
            }
        }
        (new, gone)
    }

    /// An address has just been freed, and is to cool down for a while.
    pub(crate) fn cool(&mut self, address: IpAddr, cool_down: Duration) {
        self.warm(address);
        let end = self.now + cool_down;
        self.cooling.insert(address, end);
        self.ends.insert((end, address));
    }

    /// An address is in use: it does not cool down.
    pub(crate) fn warm(&mut self, address: IpAddr) {
        if self.cooling.is_empty() {
            return;
        }
        if let Some(end) = self.cooling.remove(&address) {
            self.ends.remove(&(end, address));
        }
    }

    /// The time is now this. Gives the addresses that have cooled down, and are not avoided any more.
    pub(crate) fn advance(&mut self, now: Time) -> Vec<IpAddr> {
        self.now = self.now.max(now);
        let mut cold = Vec::new();
        while let Some((end, _)) = self.ends.first()
            && *end <= self.now
            && let Some((_, address)) = self.ends.pop_first()
        {
            self.cooling.remove(&address);
            if !self.has(address) {
                cold.push(address);
            }
        }
        cold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn all(avoided: &Avoided) -> Vec<IpAddr> {
        let everything = Range::new(ip("0.0.0.0"), ip("255.255.255.255")).unwrap();
        avoided.within(&everything).collect()
    }

    #[test]
    fn an_address_of_two_nodes_is_avoided_until_neither_has_it() {
        let (one, two, address) = ("n1".into(), "n2".into(), ip("10.0.0.1"));
        let mut avoided = Avoided::default();
        assert_eq!(avoided.set_node(&one, &[address]), (vec![address], vec![]));
        assert_eq!(avoided.set_node(&two, &[address]), (vec![], vec![]));
        assert_eq!(avoided.set_node(&one, &[]), (vec![], vec![]));
        assert_eq!(avoided.node_of(address), Some(&two));
        assert_eq!(avoided.set_node(&two, &[]), (vec![], vec![address]));
        assert!(!avoided.has(address) && avoided.nodes.is_empty());
    }

    #[test]
    fn an_address_cools_down_for_its_time_from_when_it_was_freed_last() {
        let (one, two) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let mut avoided = Avoided::default();
        avoided.cool(one, Duration::from_secs(10));
        avoided.cool(two, Duration::from_secs(20));
        avoided.advance(Time::from_secs(5));
        avoided.warm(one);
        avoided.cool(one, Duration::from_secs(10));
        assert_eq!(all(&avoided), [one, two]);
        assert!(avoided.advance(Time::from_secs(14)).is_empty());
        assert_eq!(avoided.advance(Time::from_secs(15)), [one]);
        avoided.warm(two);
        assert!(all(&avoided).is_empty());
        assert!(avoided.advance(Time::from_secs(99)).is_empty());
        assert!(avoided.ends.is_empty());
    }

    #[test]
    fn one_that_is_a_nodes_too_is_avoided_beyond_its_time() {
        let address = ip("10.0.0.1");
        let mut avoided = Avoided::default();
        avoided.cool(address, Duration::from_secs(10));
        avoided.set_node(&"n1".into(), &[address]);
        assert!(avoided.advance(Time::from_secs(10)).is_empty());
        assert!(avoided.has(address));
    }
}
