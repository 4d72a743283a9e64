//! A route as a router is told it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_bgp::wire::{AfiSafi, Negotiated};
use ironlb_bgp::wire::{Attributes, NextHop, Open, Origin, Segment, Update};
use ironlb_model::{Community, Family};

/// What is said of a route: all that a router decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Where packets are to go: an address, or a global one and the link-local one beside it.
    pub next_hops: BTreeSet<IpAddr>,
    /// The ASes of AS_PATH.
    pub as_path: Vec<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities, standard and large.
    pub communities: BTreeSet<Community>,
    /// Extended communities but for Link Bandwidth.
    pub extended: BTreeSet<[u8; 8]>,
    /// Link Bandwidth (RFC 10005), as it is written.
    pub bandwidth: Option<[u8; 8]>,
}

impl Told {
    /// Whether what was said is what should be. A weight may be an earlier one, since it changes seldom.
    pub fn is_like(told: Option<&Self>, right: Option<&Self>) -> bool {
        match (told, right) {
            (Some(told), Some(right)) => {
                let weighed = told.bandwidth.is_some() == right.bandwidth.is_some();
                let right = Self {
                    bandwidth: told.bandwidth,
                    ..right.clone()
                };
                weighed && *told == right
            }
            (told, right) => told.is_none() && right.is_none(),
        }
    }
}

/// Routes by prefix.
pub type Table = BTreeMap<IpNet, Told>;

/// What an UPDATE says of the routes that it announces.
///
/// # Errors
/// When a speaker that only originates would not say so.
pub fn read(update: &Update<'_>, prefix: IpNet) -> Result<Told, String> {
    let attributes = &update.attributes;
    let Attributes {
        origin,
        as_path,
        atomic_aggregate,
        aggregator,
        unknown,
        ..
    } = attributes;
    if *origin != Origin::Igp || *atomic_aggregate || aggregator.is_some() || !unknown.is_empty() {
        return Err(format!("{attributes:?}"));
    }
    let path = match as_path.segments.as_slice() {
        [] => Vec::new(),
        [Segment::Sequence(numbers)] => numbers.clone(),
        _ => return Err(format!("AS_PATH {as_path}")),
    };
    let of_field = update.announced.iter().any(|field| field == prefix);
    let next_hops = match (of_field, attributes.next_hop, update.next_hop) {
        (true, Some(address), _) => BTreeSet::from([address.into()]),
        (false, _, Some(NextHop::V4(address))) => BTreeSet::from([address.into()]),
        (false, _, Some(NextHop::V6(address))) => BTreeSet::from([address.into()]),
        (false, _, Some(NextHop::V6Pair { global, link_local })) => {
            BTreeSet::from([global.into(), link_local.into()])
        }
        _ => return Err("no next hop".to_owned()),
    };
    let standard = attributes.communities.iter().map(|community| {
        let [a, b, c, d] = community.0.to_be_bytes();
        Community::Standard(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    });
    let large = attributes.large_communities.iter();
    let large = large
        .map(|community| Community::Large(community.global, community.local1, community.local2));
    let all = attributes
        .extended_communities
        .iter()
        .map(|community| community.0);
    let (bandwidth, extended): (BTreeSet<[u8; 8]>, BTreeSet<[u8; 8]>) = all.partition(is_bandwidth);
    if bandwidth.len() > 1 {
        return Err(format!("several weights: {bandwidth:?}"));
    }
    Ok(Told {
        next_hops,
        as_path: path,
        local_pref: attributes.local_pref,
        med: attributes.med,
        communities: standard.chain(large).collect(),
        extended,
        bandwidth: bandwidth.first().copied(),
    })
}

/// Link Bandwidth, transitive or not.
const fn is_bandwidth(community: &[u8; 8]) -> bool {
    matches!(community, [0x00 | 0x40, 0x04, ..])
}

/// How two OPENs have the UPDATEs between them read; `None` when there is no family in common.
pub fn agreed(one: &Open, other: &Open) -> Option<Negotiated> {
    let both = |has: &dyn Fn(&Open) -> bool| has(one) && has(other);
    let carries = |family: Family| {
        both(&|open| {
            let families = &open.capabilities.multiprotocol;
            match families.is_empty() {
                true => family == Family::V4,
                false => families.contains(&AfiSafi::from(family)),
            }
        })
    };
    let (ipv4, ipv6) = (carries(Family::V4), carries(Family::V6));
    let over_ipv6 = (AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST.afi);
    let negotiated = Negotiated {
        four_octet_as: both(&|open| open.capabilities.four_octet_as.is_some()),
        internal: one.asn == other.asn,
        ipv4,
        ipv6,
        extended_next_hop: both(&|open| open.capabilities.extended_next_hop.contains(&over_ipv6)),
    };
    (ipv4 || ipv6).then_some(negotiated)
}

/// Whether both sides wait for BFD before their session is up.
pub fn strict(one: &Open, other: &Open) -> bool {
    one.capabilities.bfd_strict && other.capabilities.bfd_strict
}

/// The longest message that a session of these OPENs may have (RFC 4271 §4, RFC 8654 §3).
pub const fn longest(one: &Open, other: &Open) -> usize {
    match one.capabilities.extended_message && other.capabilities.extended_message {
        true => 65_535,
        false => 4_096,
    }
}

/// The family of a prefix.
pub const fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}
