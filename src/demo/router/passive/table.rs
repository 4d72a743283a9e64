//! What the neighbours announce, and which of it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_bgp::wire::{Community, NextHop, Update};

/// The routes of all neighbours.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: BTreeMap<IpNet, BTreeMap<IpAddr, Route>>,
}

/// Packets to a prefix are to go elsewhere now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) prefix: IpNet,
    /// None when there is no route any more.
    pub(super) next_hops: Vec<IpAddr>,
}

/// What one neighbour says of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    next_hop: IpAddr,
    /// It is about to go: any other is better (RFC 8326).
    leaves: bool,
}

impl Table {
    /// Takes what a neighbour says.
    pub(super) fn update(&mut self, from: IpAddr, update: &Update<'_>) -> Vec<Change> {
        let leaves = update
            .attributes
            .communities
            .contains(&Community::GRACEFUL_SHUTDOWN);
        let withdrawn = update.routes_withdrawn().map(|prefix| (prefix, None));
        let announced = update.routes_announced().map(|prefix| {
            let next_hop = next_hop(prefix, update);
            (prefix, next_hop.map(|next_hop| Route { next_hop, leaves }))
        });
        self.set(from, withdrawn.chain(announced))
    }

    /// A neighbour is gone.
    pub(super) fn forget(&mut self, neighbour: IpAddr) -> Vec<Change> {
        let prefixes: Vec<IpNet> = self.routes.keys().copied().collect();
        self.set(neighbour, prefixes.into_iter().map(|prefix| (prefix, None)))
    }

    fn set(
        &mut self,
        from: IpAddr,
        routes: impl Iterator<Item = (IpNet, Option<Route>)>,
    ) -> Vec<Change> {
        let mut before = BTreeMap::new();
        for (prefix, route) in routes {
            let by_neighbour = self.routes.entry(prefix).or_default();
            before.entry(prefix).or_insert_with(|| used(by_neighbour));
            match route {
                Some(route) => by_neighbour.insert(from, route),
                None => by_neighbour.remove(&from),
            };
        }
        let mut changes = Vec::new();
        for (prefix, before) in before {
            let next_hops = self.routes.get(&prefix).map(used).unwrap_or_default();
            if next_hops != before {
                changes.push(Change {
                    prefix,
                    next_hops: next_hops.into_iter().collect(),
                });
            }
        }
        self.routes
            .retain(|_, by_neighbour| !by_neighbour.is_empty());
        changes
    }
}

/// All routes that stay, or those that leave where there are no others.
fn used(routes: &BTreeMap<IpAddr, Route>) -> BTreeSet<IpAddr> {
    let all_leave = routes.values().all(|route| route.leaves);
    let best = routes.values().filter(|route| route.leaves == all_leave);
    best.map(|route| route.next_hop).collect()
}

fn next_hop(prefix: IpNet, update: &Update<'_>) -> Option<IpAddr> {
    let multiprotocol = update.next_hop.map(|next_hop| match next_hop {
        NextHop::V4(address) => address.into(),
        NextHop::V6(address)
        | NextHop::V6Pair {
            global: address, ..
        } => address.into(),
    });
    let own_field = update
        .attributes
        .next_hop
        .filter(|_| prefix.addr().is_ipv4());
    own_field.map(IpAddr::V4).or(multiprotocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn say(table: &mut Table, number: u8, leaves: Option<bool>) -> Vec<Vec<IpAddr>> {
        let next_hop = neighbour(number);
        let route = leaves.map(|leaves| Route { next_hop, leaves });
        let prefix = "203.0.113.1/32".parse().unwrap();
        let changes = table.set(next_hop, [(prefix, route)].into_iter());
        changes.into_iter().map(|change| change.next_hops).collect()
    }

    #[test]
    fn a_route_that_leaves_is_used_only_where_there_is_no_other() {
        let mut table = Table::default();
        let [one, two] = [1, 2].map(neighbour);
        assert_eq!(say(&mut table, 1, Some(false)), [vec![one]]);
        assert_eq!(say(&mut table, 2, Some(false)), [vec![one, two]]);
        assert_eq!(say(&mut table, 1, Some(true)), [vec![two]]);
        assert_eq!(say(&mut table, 2, Some(true)), [vec![one, two]]);
        assert_eq!(say(&mut table, 2, Some(false)), [vec![two]]);
        assert!(say(&mut table, 1, None).is_empty(), "it was not used");
        assert_eq!(say(&mut table, 2, None), [Vec::<IpAddr>::new()]);
        assert!(table.routes.is_empty());
    }

    #[test]
    fn a_neighbour_that_is_gone_takes_its_routes_along() {
        let mut table = Table::default();
        say(&mut table, 1, Some(false));
        say(&mut table, 2, Some(false));
        let changes = table.forget(neighbour(1));
        let [change] = changes.as_slice() else {
            panic!("{changes:?}");
        };
        assert_eq!(change.next_hops, [neighbour(2)]);
    }
}
