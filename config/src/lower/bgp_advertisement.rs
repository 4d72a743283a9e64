//! BGP advertisements.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ironlb_model::bgp::LinkBandwidth;
use ironlb_model::{
    BgpAdvertisement, Community, Config, ExtendedCommunity, Family, LabelSelector, Name, Node,
    Pool, PoolSelection, Range,
};

use super::advertisement::{self, Advertisement, refuse_identical, selected};
use super::bgp_conflicts::refuse_conflicts;
use super::communities::{Aliases, extended};
use super::number::{distinct, filled, number, quoted};
use super::selector;
use super::table::{Keep, settle};
use crate::crd::BGPAdvertisementSpec;
use crate::error::Error;
use crate::objects::{Draft, Spec};
use crate::place::{At, Report};

/// Puts the advertisements into `config`, which has its pools and peers.
pub(super) fn lower(
    drafts: &[&Draft],
    aliases: &Aliases,
    last_good: &Config,
    keep: Keep,
    nodes: &[Node],
    config: &mut Config,
    errors: &mut Vec<Error>,
) {
    let last = &last_good.bgp_advertisements;
    let mut table = settle(drafts, last, keep, errors, |draft, report| {
        let advertisement = bgp_advertisement(draft, aliases, report)?;
        against_pools(&advertisement, config, report);
        Some(advertisement)
    });
    refuse_identical(&mut table, last, config, errors);
    refuse_conflicts(&mut table, last, config, nodes, errors);
    config.bgp_advertisements = table
        .into_iter()
        .map(|(name, settled)| (name, settled.value))
        .collect();
}

fn bgp_advertisement(
    draft: &Draft,
    aliases: &Aliases,
    report: &mut Report<'_>,
) -> Option<BgpAdvertisement> {
    let Spec::Bgp(spec) = &draft.spec else {
        return None;
    };
    let at = At::ROOT.key("spec");
    let services = selector::list(&spec.service_selectors, &at.key("serviceSelectors"), report);
    let pools = advertisement::pools(
        &spec.ip_address_pools,
        &spec.ip_address_pool_selectors,
        &at,
        report,
    );
    distinct(&spec.peers, &at.key("peers"), report);
    let length_at = at.key("aggregationLength");
    let length = number(spec.aggregation_length, 1..=32, &length_at, report);
    let length_v6_at = at.key("aggregationLengthV6");
    let length_v6 = number(spec.aggregation_length_v6, 1..=128, &length_v6_at, report);
    let local_pref = spec.local_pref.and_then(|value| {
        let allowed = 0..=i64::from(u32::MAX);
        number(value, allowed, &at.key("localPref"), report)
    });
    if !services.is_empty() {
        let needed = "with serviceSelectors, which are for single addresses";
        if length.is_some_and(|length: u8| length != 32) {
            report.add(&length_at, format!("must be 32 {needed}"));
        }
        if length_v6.is_some_and(|length: u8| length != 128) {
            report.add(&length_v6_at, format!("must be 128 {needed}"));
        }
    }
    Some(BgpAdvertisement {
        name: draft.name.clone(),
        pools,
        nodes: selector::list(&spec.node_selectors, &at.key("nodeSelectors"), report),
        services,
        peers: spec.peers.iter().map(|name| name.as_str().into()).collect(),
        aggregation_length: length.unwrap_or(32),
        aggregation_length_v6: length_v6.unwrap_or(128),
        local_pref,
        communities: communities(spec, aliases, &at.key("communities"), report),
        extended_communities: extended_communities(spec, &at.key("extendedCommunities"), report),
        med: spec.med.and_then(|value| {
            let allowed = 0..=i64::from(u32::MAX);
            number(value, allowed, &at.key("med"), report)
        }),
        as_path_prepend: spec.as_path_prepend.map_or(0, |times| {
            let times = number(times, 0..=32, &at.key("asPathPrepend"), report);
            times.unwrap_or(0)
        }),
        next_hop: next_hop(spec.next_hop.as_ref(), "IPv4", &at.key("nextHop"), report),
        next_hop_v6: next_hop(
            spec.next_hop_v6.as_ref(),
            "IPv6",
            &at.key("nextHopV6"),
            report,
        ),
        link_bandwidth: link_bandwidth(spec, &at.key("linkBandwidth"), report),
    })
}

fn communities(
    spec: &BGPAdvertisementSpec,
    aliases: &Aliases,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> BTreeSet<Community> {
    distinct(&spec.communities, at, report);
    let mut communities = BTreeSet::new();
    for (index, text) in spec
        .communities
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.is_empty())
    {
        match aliases.resolve(text) {
            Ok(community) => {
                communities.insert(community);
            }
            Err(message) => report.add(&at.index(index), message),
        }
    }
    communities
}

fn extended_communities(
    spec: &BGPAdvertisementSpec,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> BTreeSet<ExtendedCommunity> {
    distinct(&spec.extended_communities, at, report);
    let filled = spec.extended_communities.iter().enumerate();
    let read = |(index, text): (usize, &String)| {
        let community = extended(text);
        community
            .map_err(|message| report.add(&at.index(index), message))
            .ok()
    };
    filled
        .filter(|(_, text)| !text.is_empty())
        .filter_map(read)
        .collect()
}

/// The address that `text` says; a router cannot be at one that is for all, for many or for nobody.
fn next_hop<T: FromStr + Into<IpAddr> + Copy>(
    text: Option<&String>,
    family: &str,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<T> {
    let text = filled(text)?;
    let Ok(address) = text.parse::<T>() else {
        report.add(at, format!("{} is no {family} address", quoted(text)));
        return None;
    };
    let ip: IpAddr = address.into();
    let nowhere = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    if nowhere || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        report.add(at, format!("{ip} is not the address of a router"));
        return None;
    }
    Some(address)
}

fn link_bandwidth(
    spec: &BGPAdvertisementSpec,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<LinkBandwidth> {
    let bandwidth = spec.link_bandwidth.as_ref()?;
    let given = bandwidth
        .per_endpoint
        .and_then(|value| number(value, 1..=1_000_000, &at.key("perEndpoint"), report));
    let per_endpoint = given.unwrap_or(LinkBandwidth::PER_ENDPOINT);
    Some(LinkBandwidth { per_endpoint })
}

/// What an advertisement cannot say of the pools that it is for.
fn against_pools(advertisement: &BgpAdvertisement, config: &Config, report: &mut Report<'_>) {
    let at = At::ROOT.key("spec");
    let pools = selected(&advertisement.pools, config);
    let pools: Vec<&Pool> = pools
        .into_iter()
        .filter_map(|name| config.pools.get(name))
        .collect();
    for (family, field, length) in [
        (
            Family::V4,
            "aggregationLength",
            advertisement.aggregation_length,
        ),
        (
            Family::V6,
            "aggregationLengthV6",
            advertisement.aggregation_length_v6,
        ),
    ] {
        let ranges = pools
            .iter()
            .flat_map(|pool| pool.ranges.iter().map(|range| (&pool.name, range)));
        let outside = ranges
            .filter(|(_, range)| range.family() == family)
            .find(|(_, range)| shortest_prefix(range) > length);
        if let Some((pool, range)) = outside {
            report.add(
                &at.key(field),
                format!(
                    "/{length} is shorter than the whole of {range} in pool \"{pool}\"; \
                     it must be at least {}",
                    shortest_prefix(range)
                ),
            );
        }
    }
    let has_v6 = |pool: &&&Pool| pool.ranges.iter().any(|range| range.family() == Family::V6);
    if let (Some(pool), Some(peer)) = (pools.iter().find(has_v6), echoing(advertisement, config)) {
        let message = format!(
            "peer \"{peer}\" is watched with BFD echo, which as in MetalLB goes with IPv4 pools alone, and pool \"{}\" has IPv6",
            pool.name
        );
        report.add(&at.key("peers"), message);
    }
}

/// A peer that is told, and that is watched with BFD echo.
fn echoing<'a>(advertisement: &BgpAdvertisement, config: &'a Config) -> Option<&'a Name> {
    let told = config
        .peers
        .values()
        .filter(|peer| advertisement.peers.is_empty() || advertisement.peers.contains(&peer.name));
    let mut echoing = told.filter(|peer| {
        let profile = peer.bfd_profile.as_ref();
        profile
            .and_then(|name| config.bfd_profiles.get(name))
            .is_some_and(|profile| profile.echo)
    });
    echoing.next().map(|peer| &peer.name)
}

/// The length of the widest prefix that lies within `range`.
fn shortest_prefix(range: &Range) -> u8 {
    let (first, last) = (range.first_number(), range.last_number());
    let bits = range.family().bits();
    (0..bits)
        .find(|length| {
            let host_bits = u32::from(bits - length);
            // The first address at or after `first` with `host_bits` zeros, and the last of its prefix.
            let mask = 1_u128
                .checked_shl(host_bits)
                .map_or(u128::MAX, |size| size - 1);
            let Some(start) = first.checked_add(mask).map(|sum| sum & !mask) else {
                return first == 0 && last == u128::MAX;
            };
            start.checked_add(mask).is_some_and(|end| end <= last)
        })
        .unwrap_or(bits)
}

impl Advertisement for BgpAdvertisement {
    type Content = (
        [Vec<LabelSelector>; 2],
        BTreeSet<Name>,
        (u8, u8, Option<u32>),
        BTreeSet<Community>,
        BTreeSet<ExtendedCommunity>,
        (Option<u32>, u8, Option<LinkBandwidth>),
        (Option<Ipv4Addr>, Option<Ipv6Addr>),
    );

    fn pools(&self) -> &PoolSelection {
        &self.pools
    }

    fn content(&self) -> Self::Content {
        (
            [self.nodes.clone(), self.services.clone()],
            self.peers.clone(),
            (
                self.aggregation_length,
                self.aggregation_length_v6,
                self.local_pref,
            ),
            self.communities.clone(),
            self.extended_communities.clone(),
            (self.med, self.as_path_prepend, self.link_bandwidth),
            (self.next_hop, self.next_hop_v6),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortest(first: &str, last: &str) -> u8 {
        shortest_prefix(&Range::new(first.parse().unwrap(), last.parse().unwrap()).unwrap())
    }

    #[test]
    fn the_widest_prefix_within_a_range_is_found() {
        assert_eq!(shortest("192.0.2.0", "192.0.2.255"), 24);
        assert_eq!(shortest("192.0.2.1", "192.0.2.255"), 25);
        assert_eq!(shortest("192.0.2.1", "192.0.2.2"), 32);
        assert_eq!(shortest("192.0.2.5", "192.0.2.5"), 32);
        assert_eq!(shortest("0.0.0.0", "255.255.255.255"), 0);
        assert_eq!(shortest("2001:db8::", "2001:db8::ffff"), 112);
        assert_eq!(shortest("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 0);
        assert_eq!(
            shortest("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            1
        );
    }
}
