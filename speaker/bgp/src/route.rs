//! What we announce, before it is written for a peer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ironlb_model::{BgpAdvertisement, Community, ExtendedCommunity, Family, Name};

/// A prefix, and what is said of it. Routes with equal attributes share them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where packets are to come from everywhere.
    pub prefix: IpNet,
    /// What is said of it.
    pub attributes: Arc<RouteAttributes>,
}

/// What is said of a route, whoever it is told: [`Export`](crate::Export) makes path attributes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteAttributes {
    /// LOCAL_PREF, for internal peers.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// How often our AS number is repeated in AS_PATH, for external peers.
    pub as_path_prepend: u8,
    /// The next hop, of the family of the prefix; `None` for our address on the session.
    pub next_hop: Option<IpAddr>,
    /// Communities, standard and large.
    pub communities: BTreeSet<Community>,
    /// Extended communities, but for the one that `bandwidth` makes.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Weight for unequal load balancing (RFC 10005), in Mbit/s; `None` for none.
    pub bandwidth: Option<u64>,
}

impl RouteAttributes {
    /// What `advertisement` says of routes of `family` for a Service that has `endpoints` ready endpoints on this node.
    ///
    /// Without an endpoint the weight is 1 Mbit/s, next to nothing: routers do not agree on what zero means.
    pub fn of(advertisement: &BgpAdvertisement, family: Family, endpoints: u32) -> Self {
        let next_hop = match family {
            Family::V4 => advertisement.next_hop.map(IpAddr::V4),
            Family::V6 => advertisement.next_hop_v6.map(IpAddr::V6),
        };
        let weight = |per_endpoint| (u64::from(per_endpoint) * u64::from(endpoints)).max(1);
        let bandwidth = advertisement.link_bandwidth;
        Self {
            local_pref: advertisement.preference(),
            med: advertisement.med,
            as_path_prepend: advertisement.as_path_prepend,
            next_hop,
            communities: advertisement.communities.clone(),
            extended_communities: advertisement.extended_communities.clone(),
            bandwidth: bandwidth.map(|bandwidth| weight(bandwidth.per_endpoint)),
        }
    }

    /// Takes in what another advertisement says of the same route for the same Service.
    ///
    /// Communities add up. Where the two want different things, the more attractive route wins: the higher LOCAL_PREF, the
    /// lower MED, the shorter path; what is set wins over what is not. The order of several merges makes no difference.
    /// (Different LOCAL_PREF is refused before it comes to this, where it is the configuration's fault.)
    pub fn merge(&mut self, other: &Self) {
        self.merge_all_but_bandwidth(other);
        self.bandwidth = self.bandwidth.max(other.bandwidth);
    }

    /// Takes in what is said of the same route for another Service: as [`merge`](Self::merge), and the weights add up, since
    /// the endpoints of both are behind it.
    pub fn aggregate(&mut self, other: &Self) {
        self.merge_all_but_bandwidth(other);
        self.bandwidth = either(self.bandwidth, other.bandwidth, u64::saturating_add);
    }

    fn merge_all_but_bandwidth(&mut self, other: &Self) {
        self.local_pref = self.local_pref.max(other.local_pref);
        self.med = either(self.med, other.med, u32::min);
        self.as_path_prepend = self.as_path_prepend.min(other.as_path_prepend);
        self.next_hop = either(self.next_hop, other.next_hop, IpAddr::min);
        self.communities.extend(&other.communities);
        let extended = &other.extended_communities;
        self.extended_communities.extend(extended);
    }
}

impl Default for RouteAttributes {
    /// What an advertisement says that sets nothing.
    fn default() -> Self {
        Self {
            local_pref: BgpAdvertisement::LOCAL_PREF,
            med: None,
            as_path_prepend: 0,
            next_hop: None,
            communities: BTreeSet::new(),
            extended_communities: BTreeSet::new(),
            bandwidth: None,
        }
    }
}

/// Peers that are told the same, named by what tells them: the BGPAdvertisements that are for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Audience(Arc<BTreeSet<Name>>);

impl Audience {
    /// What `peer` is told by: those of `advertisements` that name it, and those that name nobody.
    pub fn of<'a>(
        peer: &Name,
        advertisements: impl IntoIterator<Item = &'a BgpAdvertisement>,
    ) -> Self {
        let tells = |one: &&BgpAdvertisement| one.peers.is_empty() || one.peers.contains(peer);
        let all = advertisements.into_iter().filter(tells);
        Self(Arc::new(all.map(|one| one.name.clone()).collect()))
    }

    /// Whether it is told by the advertisement `name`.
    pub fn hears(&self, name: &Name) -> bool {
        self.0.contains(name)
    }
}

/// Both by `both`, or the one that is there.
fn either<T>(one: Option<T>, other: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(both(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use ironlb_model::bgp::LinkBandwidth;

    use super::*;

    fn attributes() -> RouteAttributes {
        RouteAttributes::default()
    }

    #[test]
    fn communities_of_several_advertisements_add_up() {
        let community = |low| BTreeSet::from([Community::Standard(65000, low)]);
        let mut one = RouteAttributes {
            communities: community(1),
            ..attributes()
        };
        one.merge(&RouteAttributes {
            communities: community(2),
            ..attributes()
        });
        assert_eq!(one.communities, &community(1) | &community(2));
    }

    #[test]
    fn where_two_differ_the_more_attractive_wins_in_whatever_order() {
        let one = RouteAttributes {
            local_pref: 50,
            med: Some(10),
            as_path_prepend: 3,
            next_hop: Some("192.0.2.2".parse().unwrap()),
            ..attributes()
        };
        let other = RouteAttributes {
            local_pref: 150,
            med: Some(20),
            as_path_prepend: 0,
            next_hop: Some("192.0.2.1".parse().unwrap()),
            ..attributes()
        };
        let plain = RouteAttributes {
            as_path_prepend: 5,
            ..attributes()
        };
        let merged = |all: [&RouteAttributes; 3]| {
            let mut merged = all[0].clone();
            merged.merge(all[1]);
            merged.merge(all[2]);
            merged
        };
        let expected = RouteAttributes {
            local_pref: 150,
            med: Some(10),
            as_path_prepend: 0,
            next_hop: Some("192.0.2.1".parse().unwrap()),
            ..attributes()
        };
        assert_eq!(merged([&one, &other, &plain]), expected);
        assert_eq!(merged([&plain, &other, &one]), expected);
    }

    #[test]
    fn weights_add_up_over_services_and_not_over_advertisements() {
        let weight = |bandwidth| RouteAttributes {
            bandwidth,
            ..attributes()
        };
        let mut one = weight(Some(200));
        one.merge(&weight(Some(200)));
        assert_eq!(one.bandwidth, Some(200));
        one.aggregate(&weight(Some(300)));
        assert_eq!(one.bandwidth, Some(500));
        one.aggregate(&weight(None));
        assert_eq!(one.bandwidth, Some(500));
    }
    fn advertisement(name: &str, peers: &[&str]) -> BgpAdvertisement {
        BgpAdvertisement {
            name: name.into(),
            pools: Default::default(),
            nodes: Vec::new(),
            services: Vec::new(),
            peers: peers.iter().map(|peer| (*peer).into()).collect(),
            aggregation_length: 32,
            aggregation_length_v6: 128,
            local_pref: Some(7),
            communities: Default::default(),
            extended_communities: Default::default(),
            med: Some(8),
            as_path_prepend: 2,
            next_hop: Some([192, 0, 2, 1].into()),
            next_hop_v6: None,
            link_bandwidth: Some(LinkBandwidth { per_endpoint: 50 }),
        }
    }

    #[test]
    fn an_advertisement_says_what_its_fields_say() {
        let one = advertisement("one", &[]);
        let v4 = RouteAttributes::of(&one, Family::V4, 3);
        let expected = RouteAttributes {
            local_pref: 7,
            med: Some(8),
            as_path_prepend: 2,
            next_hop: Some([192, 0, 2, 1].into()),
            bandwidth: Some(150),
            ..attributes()
        };
        assert_eq!(v4, expected);
        let v6 = RouteAttributes::of(&one, Family::V6, 0);
        assert_eq!((v6.next_hop, v6.bandwidth), (None, Some(1)));
    }

    #[test]
    fn peers_of_the_same_advertisements_are_one_audience() {
        let all = [
            advertisement("for-all", &[]),
            advertisement("for-two", &["a", "b"]),
        ];
        let of = |peer: &str| Audience::of(&peer.into(), &all);
        assert_eq!(of("a"), of("b"));
        assert_ne!(of("a"), of("c"));
        assert!(of("a").hears(&"for-two".into()));
        assert!(of("c").hears(&"for-all".into()));
        assert!(!of("c").hears(&"for-two".into()));
    }
}
