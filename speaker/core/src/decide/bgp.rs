//! BGP: every node that may take the traffic of a Service sends a route for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_bgp::RouteAttributes;
use ironlb_model::{BgpAdvertisement, BgpPeer, Family, Name, Node, ServiceKey};

use super::{Announcement, Reason, addressed, available};
use crate::World;
use crate::world::Record;

/// The routes that `node` sends for a Service, by peer and prefix; when there are none, why not.
///
/// Advertisements for the same route to the same peer add their communities up. When they ask for different LOCAL_PREF, nothing
/// is announced, as with MetalLB; in all else the more attractive wins ([`RouteAttributes::merge`]).
pub fn bgp(world: &World, service: &ServiceKey, node: &Name) -> Result<Vec<Announcement>, Reason> {
    let routes = routes(world, service, node, false)?;
    let told = routes.told.iter();
    let all =
        told.map(|((peer, prefix), by)| announcement(world, service, node, peer, *prefix, by));
    Ok(all.collect())
}

/// The same before it is told apart by what each peer is told. With `leaving` the exclude label and taints of the node do not count:
/// its routes stay for as long as it takes its leave.
pub(crate) fn routes<'w>(
    world: &'w World,
    service: &ServiceKey,
    node: &Name,
    leaving: bool,
) -> Result<Routes<'w>, Reason> {
    let record = addressed(world, service)?;
    let mut routes = Routes::default();
    let mut refusal = None;
    for ip in &record.ips {
        let on = On { node, leaving };
        if let Err(reason) = add_routes(world, service, record, *ip, on, &mut routes)? {
            refusal.get_or_insert(reason);
        }
    }
    match refusal {
        Some(reason) if routes.told.is_empty() => Err(reason),
        _ => Ok(routes),
    }
}

/// Where routes are announced from.
#[derive(Clone, Copy)]
struct On<'a> {
    node: &'a Name,
    leaving: bool,
}

impl On<'_> {
    fn available<'w>(&self, world: &'w World) -> Result<&'w Node, Reason> {
        match available(world, self.node) {
            Err(
                Reason::NodeLabeledExcludeBalancers { node } | Reason::NodeTainted { node, .. },
            ) if self.leaving => world.node(self.node).ok_or(Reason::NodeUnknown { node }),
            result => result,
        }
    }
}

/// The routes of a Service on a node.
#[derive(Default)]
pub(crate) struct Routes<'w> {
    /// By which advertisements each peer is told of each prefix: at least one.
    told: BTreeMap<(&'w Name, IpNet), Vec<&'w BgpAdvertisement>>,
    by: Vec<(&'w BgpAdvertisement, IpNet)>,
}

impl<'w> Routes<'w> {
    /// Every prefix with each advertisement that is for it.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = (&'w BgpAdvertisement, IpNet)> {
        self.by.iter().copied()
    }

    /// The peers that are told anything.
    pub(crate) fn peers(&self) -> BTreeSet<Name> {
        self.told.keys().map(|(peer, _)| (*peer).clone()).collect()
    }

    fn add(
        &mut self,
        peer: &'w Name,
        prefix: IpNet,
        advertisement: &'w BgpAdvertisement,
    ) -> Result<(), Reason> {
        let by = self.told.entry((peer, prefix)).or_default();
        let second = advertisement.preference();
        let mut others = by.iter().map(|one| one.preference());
        if let Some(first) = others.find(|first| *first != second) {
            let peer = peer.clone();
            return Err(Reason::ConflictingAdvertisements {
                peer,
                first,
                second,
            });
        }
        by.push(advertisement);
        Ok(())
    }
}

/// What a peer is told of a prefix by these advertisements.
fn announcement(
    world: &World,
    service: &ServiceKey,
    node: &Name,
    peer: &Name,
    prefix: IpNet,
    by: &[&BgpAdvertisement],
) -> Announcement {
    let family = Family::of(prefix.addr());
    let endpoints = world.endpoints().count_on(service, node, family);
    let all = by
        .iter()
        .map(|one| RouteAttributes::of(one, family, endpoints));
    let mut attributes = all
        .reduce(|mut merged, other| {
            merged.merge(&other);
            merged
        })
        .unwrap_or_default();
    let config = world.config().peers.get(peer);
    if config.is_some_and(BgpPeer::is_internal) {
        attributes.as_path_prepend = 0;
    } else {
        attributes
            .extended_communities
            .retain(|community| community.is_transitive());
    }
    Announcement::Bgp {
        peer: peer.clone(),
        prefix,
        local_pref: by.iter().find_map(|one| one.local_pref),
        attributes,
    }
}

/// Adds the routes of one address. The outer error concerns the whole Service, the inner one this address.
fn add_routes<'w>(
    world: &'w World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
    on: On<'_>,
    routes: &mut Routes<'w>,
) -> Result<Result<(), Reason>, Reason> {
    let advertisements = match advertisements(world, key, record, ip, on) {
        Ok(advertisements) => advertisements,
        Err(reason) => return Ok(Err(reason)),
    };
    let labels = &on.available(world)?.labels;
    let mut told = false;
    for advertisement in advertisements {
        let prefix = aggregate(ip, advertisement);
        routes.by.push((advertisement, prefix));
        let named = |peer: &&BgpPeer| {
            advertisement.peers.is_empty() || advertisement.peers.contains(&peer.name)
        };
        let peers = world.config().peers.values().filter(named);
        for peer in peers.filter(|peer| peer.selects_node(labels)) {
            routes.add(&peer.name, prefix, advertisement)?;
            told = true;
        }
    }
    let no_peer = || match world.config().peers.is_empty() {
        true => Reason::NoPeerAtAll,
        false => Reason::NoPeer {
            node: on.node.clone(),
        },
    };
    Ok(told.then_some(()).ok_or_else(no_peer))
}

/// The advertisements by which a node announces `ip`: at least one.
fn advertisements<'w>(
    world: &'w World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
    on: On<'_>,
) -> Result<Vec<&'w BgpAdvertisement>, Reason> {
    let node = on.node;
    let pool = world
        .pool_of(record, ip)
        .ok_or(Reason::IpNotAllowed { ip })?;
    let names = world.pools().advertised(pool).map_or(&[][..], |by| &by.bgp);
    let all = names
        .iter()
        .filter_map(|name| world.config().bgp_advertisements.get(name));
    let mut advertisements: Vec<&BgpAdvertisement> = all
        .filter(|one| one.selects_service(&record.labels))
        .collect();
    if advertisements.is_empty() {
        let pool = pool.clone();
        return Err(Reason::NoMatchingAdvertisement { kind: KIND, pool });
    }
    let Node { labels, .. } = on.available(world)?;
    advertisements.retain(|one| one.selects_node(labels));
    if advertisements.is_empty() {
        let node = node.clone();
        return Err(Reason::NodeNotSelected { kind: KIND, node });
    }
    reachable(world, key, record, ip, node)?;
    Ok(advertisements)
}

/// Whether traffic that comes to `node` finds an endpoint, for this Service and for all that share the address.
fn reachable(
    world: &World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
    node: &Name,
) -> Result<(), Reason> {
    if !world.endpoints().any(key) {
        return Err(Reason::NoEndpoints);
    }
    if record.local && !world.endpoints().any_on(key, node) {
        return Err(Reason::NoLocalEndpoints { node: node.clone() });
    }
    match world.sharers(ip) {
        [] | [_] => Ok(()),
        sharers => reachable_together(world, key, ip, sharers, node),
    }
}

/// A route brings the traffic of every Service on the address, so a node must be able to serve them all. A Service
/// that would leave no such node stands back for those that are older than it.
fn reachable_together(
    world: &World,
    key: &ServiceKey,
    ip: IpAddr,
    sharers: &[ServiceKey],
    node: &Name,
) -> Result<(), Reason> {
    let is_local = |sharer: &&ServiceKey| world.service(sharer).is_some_and(|one| one.local);
    let nodes = |sharer| world.endpoints().nodes(sharer).collect::<BTreeSet<&Name>>();
    let mut common: Option<(&ServiceKey, BTreeSet<&Name>)> = None;
    for sharer in sharers.iter().filter(is_local) {
        let own = nodes(sharer);
        common = match common {
            _ if own.is_empty() => common,
            None => Some((sharer, own)),
            Some((with, both)) if both.is_disjoint(&own) && sharer == key => {
                let with = with.clone();
                return Err(Reason::NoNodeInCommon { ip, with });
            }
            Some((with, both)) if both.is_disjoint(&own) => Some((with, both)),
            Some((with, both)) => Some((with, &both & &own)),
        };
    }
    match common {
        Some((_, common)) if !common.contains(node) => Err(Reason::NoLocalEndpointsOfSharer {
            node: node.clone(),
            ip,
        }),
        _ => Ok(()),
    }
}

/// `ip`, masked to the length that `advertisement` aggregates its family to.
fn aggregate(ip: IpAddr, advertisement: &BgpAdvertisement) -> IpNet {
    let length = match ip {
        IpAddr::V4(_) => advertisement.aggregation_length,
        IpAddr::V6(_) => advertisement.aggregation_length_v6,
    };
    IpNet::new(ip, length)
        .unwrap_or_else(|_| IpNet::from(ip))
        .trunc()
}

const KIND: &str = "BGPAdvertisement";

#[cfg(test)]
mod tests;
