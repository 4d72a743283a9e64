//! Advertisements that want the same route to be different.

use std::collections::BTreeMap;

use ironlb_model::bgp::LinkBandwidth;
use ironlb_model::{BgpAdvertisement, Config, Family, Name, Node, Pool};

use super::advertisement::{known, refuse, selected};
use super::peer::nodes_meet;
use super::table::Table;
use crate::error::Error;
use crate::place::At;

/// Refuses an advertisement that wants a route to be otherwise than one before it does: same pool and length, and a node
/// and a peer in common. Where Services are selected it depends on them, and is not judged here.
pub(super) fn refuse_conflicts(
    table: &mut Table<'_, BgpAdvertisement>,
    last_good: &BTreeMap<Name, BgpAdvertisement>,
    config: &Config,
    nodes: &[Node],
    errors: &mut Vec<Error>,
) {
    for conflict in conflicts(table, last_good, config, nodes) {
        let Difference { field, one, other } = conflict.difference;
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let message = format!(
            "{} is not allowed: {} announces pool \"{}\" to the same peer with {}",
            or_none(one),
            known(table, &conflict.other),
            conflict.pool,
            or_none(other),
        );
        let spec = At::ROOT.key("spec");
        let at = spec.key(field);
        refuse(table, last_good, &conflict.name, &at, message, errors);
    }
}

/// Two advertisements that differ about the routes of a pool.
struct Conflict {
    name: Name,
    /// The one before it.
    other: Name,
    pool: Name,
    difference: Difference,
}

fn conflicts(
    table: &Table<'_, BgpAdvertisement>,
    last_good: &BTreeMap<Name, BgpAdvertisement>,
    config: &Config,
    nodes: &[Node],
) -> Vec<Conflict> {
    let mut order: Vec<_> = table
        .values()
        .map(|settled| &settled.value)
        .filter(|advertisement| advertisement.services.is_empty())
        .collect();
    order.sort_by_key(|one| last_good.get(&one.name) != Some(*one));
    let mut routes: BTreeMap<(&Name, Family, u8), Vec<&BgpAdvertisement>> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for one in order {
        let mut conflict = None;
        for route @ (pool, family, _) in routes_of(one, config) {
            let others = routes.entry(route).or_default();
            let mut differing = others.iter().filter_map(|other| {
                let difference = difference(one, other, family)?;
                meet(one, other, nodes).then(|| Conflict {
                    name: one.name.clone(),
                    other: other.name.clone(),
                    pool: pool.clone(),
                    difference,
                })
            });
            conflict = conflict.or_else(|| differing.next());
            others.push(one);
        }
        conflicts.extend(conflict);
    }
    conflicts
}

/// Pool, family and length of what it announces.
fn routes_of<'a>(one: &'a BgpAdvertisement, config: &'a Config) -> Vec<(&'a Name, Family, u8)> {
    let pools = selected(&one.pools, config)
        .into_iter()
        .filter_map(|name| config.pools.get(name));
    let families = |pool: &'a Pool| {
        Family::ALL
            .into_iter()
            .filter(|family| pool.ranges.iter().any(|range| range.family() == *family))
    };
    pools
        .flat_map(|pool| families(pool).map(move |family| (&pool.name, family)))
        .map(|(name, family)| match family {
            Family::V4 => (name, family, one.aggregation_length),
            Family::V6 => (name, family, one.aggregation_length_v6),
        })
        .collect()
}

/// A field that must be the same in all advertisements of a route, and is not.
struct Difference {
    field: &'static str,
    one: Option<String>,
    other: Option<String>,
}

/// What of the routes of `family` the two want differently. Communities add up, and need not agree.
fn difference(
    one: &BgpAdvertisement,
    other: &BgpAdvertisement,
    family: Family,
) -> Option<Difference> {
    let fields = wishes(one, family).into_iter().zip(wishes(other, family));
    let mut differing = fields.filter(|(one, other)| one != other);
    differing
        .next()
        .map(|((field, one), (_, other))| Difference { field, one, other })
}

/// What the routes of `family` are to be, by field.
fn wishes(one: &BgpAdvertisement, family: Family) -> [(&'static str, Option<String>); 5] {
    let prepend = Some(one.as_path_prepend).filter(|times| *times > 0);
    let next_hop = match family {
        Family::V4 => ("nextHop", one.next_hop.map(|ip| ip.to_string())),
        Family::V6 => ("nextHopV6", one.next_hop_v6.map(|ip| ip.to_string())),
    };
    let bandwidth = |bandwidth: LinkBandwidth| format!("perEndpoint {}", bandwidth.per_endpoint);
    [
        ("localPref", Some(one.preference().to_string())),
        ("med", one.med.map(|value| value.to_string())),
        ("asPathPrepend", prepend.map(|times| times.to_string())),
        next_hop,
        ("linkBandwidth", one.link_bandwidth.map(bandwidth)),
    ]
}

/// Whether a node announces for both to the same peer.
fn meet(one: &BgpAdvertisement, other: &BgpAdvertisement, nodes: &[Node]) -> bool {
    let peers_meet =
        one.peers.is_empty() || other.peers.is_empty() || !one.peers.is_disjoint(&other.peers);
    peers_meet && nodes_meet(&one.nodes, &other.nodes, nodes)
}
