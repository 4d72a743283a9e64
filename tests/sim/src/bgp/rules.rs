//! What the rules say about routes, written apart from the speaker: slow, and plain to read.
//!
//! It says which routes a node tells a peer, and what it says of them (docs/bgp.md).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ironlb_bgp::wire::Open;
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_model::{
    BgpAdvertisement, BgpPeer, Community, Family, Link, Name, Service, TrafficPolicy,
};

use super::told::{self, Table, Told};
use crate::allocation::addresses;
use crate::announcement::{self, Flags};
use crate::watch::Seen;

/// What a node's routes are worth to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As configured.
    Serving,
    /// Any other path is to be taken (RFC 8326).
    Leaving,
    /// There are none.
    Gone,
}

/// What a session carries, and between which addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    internal: bool,
    asn: u32,
    families: BTreeSet<Family>,
    over_ipv6: bool,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    link_local: Option<Ipv6Addr>,
}

impl Exchange {
    /// That of a session between `local` and `remote` on which these OPENs were sent, where the node's interfaces are
    /// `links`, and the peer is `connected` to one of them. `None` when the OPENs agree on nothing.
    pub fn of(
        node: &Open,
        router: &Open,
        (local, remote): (IpAddr, IpAddr),
        links: &BTreeMap<u32, Link>,
        connected: bool,
    ) -> Option<Self> {
        let agreed = told::agreed(node, router)?;
        let families = Family::ALL.into_iter();
        let families = families
            .filter(|family| agreed.exchanges(*family))
            .collect();
        let shares =
            |link: &&Link| link.up && link.addresses.iter().any(|net| contains(*net, remote));
        let next_door = links.values().find(shares);
        let has = |link: &&Link| link.addresses.iter().any(|(address, _)| *address == local);
        let link = next_door.or_else(|| links.values().find(has));
        let all = link.into_iter().flat_map(|link| &link.addresses);
        let all: Vec<IpAddr> = all.map(|(address, _)| *address).collect();
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        let v6 = |address: &IpAddr| match address {
            IpAddr::V6(address) if !address.is_unicast_link_local() => Some(*address),
            _ => None,
        };
        Some(Self {
            internal: agreed.internal,
            asn: node.asn,
            families,
            over_ipv6: agreed.extended_next_hop,
            v4: v4(&local).or_else(|| all.iter().find_map(v4)),
            v6: v6(&local).or_else(|| all.iter().find_map(v6)),
            link_local: next_door
                .filter(|_| connected)
                .and_then(|link| link.link_local().next()),
        })
    }

    /// The families that are exchanged.
    pub const fn families(&self) -> &BTreeSet<Family> {
        &self.families
    }

    /// Whether both are in one AS.
    pub const fn is_internal(&self) -> bool {
        self.internal
    }

    fn next_hops(&self, family: Family, asked: Option<IpAddr>) -> BTreeSet<IpAddr> {
        let v4 = || self.v4.map(IpAddr::V4).into_iter().collect::<BTreeSet<_>>();
        let v6 = || {
            let both = [self.v6, self.link_local].into_iter().flatten();
            both.map(IpAddr::V6).collect::<BTreeSet<_>>()
        };
        match (asked, family) {
            (Some(asked), _) => BTreeSet::from([asked]),
            (None, Family::V4) if self.over_ipv6 && !v6().is_empty() => v6(),
            (None, Family::V4) => v4(),
            (None, Family::V6) => v6(),
        }
    }
}

/// What a node announces, as it follows from what was seen.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    seen: &'a Seen,
    rules: announcement::Rules<'a>,
    node: &'a str,
}

/// What is asked for a prefix by all that announce it.
#[derive(Clone, Debug, Default)]
struct Asked {
    local_pref: Option<u32>,
    med: Option<u32>,
    prepend: u8,
    next_hop: Option<IpAddr>,
    communities: BTreeSet<Community>,
    extended: BTreeSet<[u8; 8]>,
    bandwidth: Option<u64>,
}

impl<'a> Rules<'a> {
    /// Those for `node`.
    pub const fn of(seen: &'a Seen, flags: &'a Flags, node: &'a str) -> Self {
        Self {
            seen,
            rules: announcement::Rules::of(seen, flags),
            node,
        }
    }

    /// What the node tells `peer`. Whether it is excluded is in `standing`.
    pub fn intended(&self, peer: &Name, exchange: &Exchange, standing: Standing) -> Table {
        let asked = match standing {
            Standing::Gone => BTreeMap::new(),
            Standing::Serving | Standing::Leaving => self.asked(peer),
        };
        let leaving = standing == Standing::Leaving;
        let told = asked.into_iter().filter_map(|(prefix, asked)| {
            let told = exported(exchange, told::family_of(prefix), &asked, leaving)?;
            Some((prefix, told))
        });
        told.collect()
    }

    /// The peers of the node that are told of `service`.
    pub fn peers_of(&self, service: &Service) -> BTreeSet<Name> {
        let peers = self.peers().into_iter();
        let told = peers.filter(|peer| {
            let ips = addresses(service).into_iter();
            ips.into_iter().any(|ip| {
                self.advertisements(service, ip, &peer.name)
                    .next()
                    .is_some()
            })
        });
        told.map(|peer| peer.name.clone()).collect()
    }

    /// The peers of the node.
    pub fn peers(&self) -> Vec<&'a BgpPeer> {
        let Some(node) = self.seen.nodes.get(self.node) else {
            return Vec::new();
        };
        let config = self.seen.config.iter();
        let peers = config.flat_map(|config| config.peers.values());
        peers
            .filter(|peer| peer.selects_node(&node.labels))
            .collect()
    }

    /// Whether an address in `prefix` has no pool any more: what is announced of it then is what was announced before.
    pub fn has_outlived(&self, prefix: IpNet) -> bool {
        let services = self.seen.services.values();
        let mut held = services
            .flat_map(|service| addresses(service).into_iter().map(move |ip| (service, ip)));
        held.any(|(service, ip)| prefix.contains(&ip) && self.rules.pool_of(service, ip).is_none())
    }

    /// The same of what `service` holds.
    pub fn holds_what_outlived(&self, service: &Service) -> bool {
        let mut held = addresses(service).into_iter();
        held.any(|ip| self.rules.pool_of(service, ip).is_none())
    }

    /// What all Services together want said, by prefix.
    fn asked(&self, peer: &Name) -> BTreeMap<IpNet, Asked> {
        let mut all: BTreeMap<IpNet, Asked> = BTreeMap::new();
        for service in self.seen.services.values() {
            let mut of_service: BTreeMap<IpNet, Asked> = BTreeMap::new();
            for ip in addresses(service) {
                for advertisement in self.advertisements(service, ip, peer) {
                    let asked = self.asked_by(advertisement, service, Family::of(ip));
                    let prefix = aggregate(ip, advertisement);
                    join(&mut of_service, prefix, asked, u64::max);
                }
            }
            for (prefix, asked) in of_service {
                join(&mut all, prefix, asked, u64::saturating_add);
            }
        }
        all
    }

    /// The advertisements by which the node tells `peer` of `ip` for `service`.
    fn advertisements(
        &self,
        service: &'a Service,
        ip: IpAddr,
        peer: &'a Name,
    ) -> impl Iterator<Item = &'a BgpAdvertisement> {
        let pool = self
            .rules
            .pool_of(service, ip)
            .filter(|_| self.permits(service, ip));
        let labels = self.seen.nodes.get(self.node).map(|node| &node.labels);
        let config = self.seen.config.iter();
        let all = config.flat_map(|config| config.bgp_advertisements.values());
        all.filter(move |one| {
            pool.is_some_and(|pool| one.pools.selects_by(pool.name, pool.labels))
                && one.selects_service(&service.labels)
                && labels.is_some_and(|labels| one.selects_node(labels))
                && (one.peers.is_empty() || one.peers.contains(peer))
        })
    }

    /// Whether traffic for `ip` may come to the node, for this Service and for all that share it.
    fn permits(&self, service: &Service, ip: IpAddr) -> bool {
        let node = self.seen.nodes.get(self.node);
        node.is_some_and(|node| !node.network_unavailable)
            && self.rules.is_ours(service)
            && self.rules.permit_endpoints(self.node, service).is_ok()
            && self.permits_together(service, ip)
    }

    /// Where Services share an address, a node must have endpoints of every Local one. One that has no node in common with
    /// those older than it stands back.
    fn permits_together(&self, service: &Service, ip: IpAddr) -> bool {
        let mut sharers: Vec<&Service> = self.rules.holders(ip).collect();
        sharers.sort_by_key(|sharer| (sharer.created, &sharer.key));
        sharers.retain(|sharer| sharer.traffic_policy == TrafficPolicy::Local);
        let mut common: Option<BTreeSet<&str>> = None;
        for sharer in sharers {
            let nodes = self.rules.serving(sharer).into_iter().flatten();
            let nodes: BTreeSet<&str> = nodes.collect();
            common = match common {
                _ if nodes.is_empty() => common,
                None => Some(nodes),
                Some(both) if both.is_disjoint(&nodes) && sharer.key == service.key => {
                    return false;
                }
                Some(both) if both.is_disjoint(&nodes) => Some(both),
                Some(both) => Some(both.intersection(&nodes).copied().collect()),
            };
        }
        common.is_none_or(|common| common.contains(self.node))
    }

    fn asked_by(
        &self,
        advertisement: &BgpAdvertisement,
        service: &Service,
        family: Family,
    ) -> Asked {
        let endpoints = self.rules.count_on(self.node, service, family);
        let weight = |per_endpoint| (u64::from(per_endpoint) * endpoints).max(1);
        let bandwidth = advertisement.link_bandwidth.map(|one| one.per_endpoint);
        let extended = advertisement.extended_communities.iter();
        Asked {
            local_pref: advertisement.local_pref,
            med: advertisement.med,
            prepend: advertisement.as_path_prepend,
            next_hop: match family {
                Family::V4 => advertisement.next_hop.map(IpAddr::V4),
                Family::V6 => advertisement.next_hop_v6.map(IpAddr::V6),
            },
            communities: advertisement.communities.clone(),
            extended: extended.map(|community| community.0).collect(),
            bandwidth: bandwidth.map(weight),
        }
    }
}

/// Communities add up; for the rest the more attractive wins.
fn join(
    all: &mut BTreeMap<IpNet, Asked>,
    prefix: IpNet,
    asked: Asked,
    weights: impl Fn(u64, u64) -> u64,
) {
    let Some(known) = all.get_mut(&prefix) else {
        all.insert(prefix, asked);
        return;
    };
    known.local_pref = known.local_pref.max(asked.local_pref);
    known.med = of_both(known.med, asked.med, u32::min);
    known.prepend = known.prepend.min(asked.prepend);
    known.next_hop = of_both(known.next_hop, asked.next_hop, IpAddr::min);
    known.communities.extend(asked.communities);
    known.extended.extend(asked.extended);
    known.bandwidth = of_both(known.bandwidth, asked.bandwidth, weights);
}

fn of_both<T>(one: Option<T>, other: Option<T>, choose: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, other) => one.or(other),
    }
}

/// What is said on a session of what was asked for; `None` when there is no next hop, or the family is not exchanged.
fn exported(exchange: &Exchange, family: Family, asked: &Asked, leaving: bool) -> Option<Told> {
    let next_hops = exchange.next_hops(family, asked.next_hop);
    if next_hops.is_empty() || !exchange.families.contains(&family) {
        return None;
    }
    let internal = exchange.internal;
    let preference = if leaving {
        0
    } else {
        asked.local_pref.unwrap_or(100)
    };
    let mut communities = asked.communities.clone();
    communities.extend(leaving.then_some(Community::GRACEFUL_SHUTDOWN));
    let transitive = |community: &&[u8; 8]| community.first().is_some_and(|kind| kind & 0x40 == 0);
    let times = if internal {
        0
    } else {
        1 + usize::from(asked.prepend)
    };
    Some(Told {
        next_hops,
        as_path: vec![exchange.asn; times],
        local_pref: internal.then_some(preference),
        med: asked.med,
        communities,
        extended: asked
            .extended
            .iter()
            .filter(|community| internal || transitive(community))
            .copied()
            .collect(),
        bandwidth: asked
            .bandwidth
            .map(|megabits| link_bandwidth(exchange, megabits)),
    })
}

fn link_bandwidth(exchange: &Exchange, megabits: u64) -> [u8; 8] {
    let kind = if exchange.internal { 0x40 } else { 0 };
    let [a, b] = u16::try_from(exchange.asn).unwrap_or(23_456).to_be_bytes();
    #[expect(clippy::cast_precision_loss, reason = "a weight is no exact number")]
    let [c, d, e, f] = (megabits as f32 * 125_000.0).to_be_bytes();
    [kind, 4, a, b, c, d, e, f]
}

/// Whether a peer may be more than one hop away: an internal one always.
pub fn may_be_far(peer: &BgpPeer) -> bool {
    let own = peer.local_asn.unwrap_or(peer.my_asn);
    let internal = match peer.peer_asn {
        PeerAsn::Number(number) => number == own,
        PeerAsn::Internal => true,
        PeerAsn::External => false,
    };
    let numbered = matches!(peer.endpoint, PeerEndpoint::Address(_));
    peer.ttl_security_hops.is_none() && numbered && (peer.ebgp_multihop || internal)
}

fn aggregate(ip: IpAddr, advertisement: &BgpAdvertisement) -> IpNet {
    let length = match ip {
        IpAddr::V4(_) => advertisement.aggregation_length,
        IpAddr::V6(_) => advertisement.aggregation_length_v6,
    };
    IpNet::new(ip, length).unwrap_or_else(|_| ip.into()).trunc()
}

fn contains((address, length): (IpAddr, u8), other: IpAddr) -> bool {
    IpNet::new(address, length).is_ok_and(|net| net.contains(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(local_pref: u32) -> Asked {
        Asked {
            local_pref: Some(local_pref),
            prepend: 1,
            ..Asked::default()
        }
    }

    fn exchange(internal: bool) -> Exchange {
        Exchange {
            internal,
            asn: 64_512,
            families: Family::ALL.into(),
            over_ipv6: false,
            v4: Some([198, 51, 100, 10].into()),
            v6: None,
            link_local: None,
        }
    }

    #[test]
    fn local_preference_is_for_internal_peers_and_the_path_for_external_ones() {
        let told = |internal| exported(&exchange(internal), Family::V4, &asked(70), false);
        let (internal, external) = (told(true).unwrap(), told(false).unwrap());
        assert_eq!((internal.local_pref, internal.as_path.len()), (Some(70), 0));
        assert_eq!((external.local_pref, external.as_path.len()), (None, 2));
    }

    #[test]
    fn who_leaves_is_preferred_by_nobody() {
        let told = exported(&exchange(true), Family::V4, &asked(70), true).unwrap();
        assert_eq!(told.local_pref, Some(0));
        assert!(told.communities.contains(&Community::GRACEFUL_SHUTDOWN));
    }

    #[test]
    fn without_an_address_there_is_no_route() {
        assert_eq!(
            exported(&exchange(true), Family::V6, &asked(70), false),
            None
        );
    }
}
