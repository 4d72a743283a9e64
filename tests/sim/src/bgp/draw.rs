//! Random objects of BGP: what users write. Only what `ironlb validate` accepts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::bgp::{LinkBandwidth, Password, PeerAsn, PeerEndpoint};
use ironlb_model::{
    BfdProfile, BgpAdvertisement, BgpPeer, Community, ExtendedCommunity, Family, LabelSelector,
    Name, PoolSelection,
};

use super::profile::{Profile, draw_timing};
use super::router::Router;
use crate::draw::selector;
use crate::rng::Rng;

/// The name of the one BFDProfile.
pub const BFD_PROFILE: &str = "fast";

/// The Secrets that there may be.
pub const SECRETS: [&str; 2] = ["secret-0", "secret-1"];

/// The peer at one of a router's addresses: no other has that name.
pub fn peer_name(router: usize, family: Family) -> Name {
    let family = match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    format!("router-{router}-{family}").into()
}

/// The router, and the family of its address, of a peer of this name.
pub fn router_of(peer: &str) -> Option<(usize, Family)> {
    let (number, family) = peer.strip_prefix("router-")?.split_once('-')?;
    let family = match family {
        "v4" => Family::V4,
        _ => Family::V6,
    };
    Some((number.parse().ok()?, family))
}

/// A peer at a router's address of a family.
pub fn peer(
    rng: &mut Rng,
    profile: &Profile,
    number: usize,
    router: &Router,
    family: Family,
) -> BgpPeer {
    let habits = &profile.habits;
    let asn = router.traits.asn;
    let local_asn = rng.chance(12).then_some(65_010).filter(|own| *own != asn);
    let external = local_asn.unwrap_or(profile.asn) != asn;
    let listening = rng.chance(habits.listening);
    let passive = listening && rng.chance(50);
    let ebgp_multihop = external && rng.chance(20);
    let bfd_profile = (profile.bfd.is_some() && rng.chance(70)).then(|| BFD_PROFILE.into());
    BgpPeer {
        name: peer_name(number, family),
        my_asn: profile.asn,
        local_asn,
        peer_asn: match rng.below(10) {
            0 if rng.chance(50) => PeerAsn::Number(64_999),
            1 | 2 if external => PeerAsn::External,
            1 | 2 => PeerAsn::Internal,
            _ => PeerAsn::Number(asn),
        },
        endpoint: PeerEndpoint::Address(router.address(family)),
        port: BgpPeer::PORT,
        source: None,
        hold_time: Duration::from_secs(*rng.pick(&[3, 9, 9, 15, 30, 90]).unwrap_or(&9)),
        keepalive_time: Duration::from_secs(rng.below(4)),
        connect_time: rng
            .chance(30)
            .then(|| Duration::from_secs(1 + rng.below(5))),
        router_id: None,
        nodes: node_selectors(rng, 20),
        password: match rng.below(3) {
            _ if !rng.chance(habits.passwords) => Password::None,
            0 => Password::Plain("plain".to_owned()),
            _ => Password::Secret((*rng.pick(&SECRETS).unwrap_or(&"secret-0")).to_owned()),
        },
        bfd_strict: bfd_profile.is_some() && rng.chance(50),
        bfd_profile,
        graceful_restart: rng.chance(habits.graceful_restart),
        restart_time: match rng.chance(50) {
            true => BgpPeer::RESTART_TIME,
            false => Duration::from_secs(60),
        },
        ebgp_multihop,
        vrf: None,
        dual_stack: rng.chance(habits.dual_stack),
        passive,
        listen_port: listening.then_some(BgpPeer::PORT),
        ttl_security_hops: (!ebgp_multihop && rng.chance(15)).then_some(1),
        maximum_prefixes: rng.chance(30).then_some(10),
        graceful_shutdown: rng.chance(8),
        drain_time: Duration::from_secs(*rng.pick(&[0, 1, 5, 8]).unwrap_or(&5)),
    }
}

/// A BGPAdvertisement. Two that may meet in a prefix ask for the same LOCAL_PREF: others are refused as configuration.
pub fn advertisement(
    rng: &mut Rng,
    profile: &Profile,
    name: Name,
    routers: usize,
) -> BgpAdvertisement {
    let mut pools = PoolSelection::default();
    match rng.below(10) {
        0 => drop(pools.names.insert(format!("pool-{}", rng.below(5)).into())),
        1 => pools
            .selectors
            .push(selector(rng, "tier", ["gold", "lead"])),
        _ => {}
    }
    let (v4, v6, local_pref) = match rng.below(6) {
        0 => (30, 126, Some(150)),
        1 => (24, 120, Some(70)),
        _ => (32, 128, None),
    };
    let alone = (v4, v6) == (32, 128);
    let peers = match rng.chance(25) {
        true => {
            let router = usize::try_from(rng.below(routers as u64)).unwrap_or(0);
            let family = *rng.pick(&Family::ALL).unwrap_or(&Family::V4);
            BTreeSet::from([peer_name(router, family)])
        }
        false => BTreeSet::new(),
    };
    let many = if rng.chance(profile.habits.verbose) {
        120
    } else {
        rng.below(3)
    };
    BgpAdvertisement {
        pools,
        nodes: node_selectors(rng, 20),
        services: match alone && rng.chance(15) {
            true => vec![selector(rng, "app", ["web", "db"])],
            false => Vec::new(),
        },
        peers,
        aggregation_length: v4,
        aggregation_length_v6: v6,
        local_pref,
        communities: (0..many).map(|number| community(rng, number)).collect(),
        extended_communities: extended_communities(rng),
        med: rng
            .chance(20)
            .then(|| u32::try_from(rng.below(3)).unwrap_or(0)),
        as_path_prepend: if rng.chance(20) { 2 } else { 0 },
        next_hop: rng.chance(5).then_some([198, 51, 100, 99].into()),
        next_hop_v6: None,
        link_bandwidth: rng.chance(25).then_some(LinkBandwidth {
            per_endpoint: LinkBandwidth::PER_ENDPOINT,
        }),
        ..BgpAdvertisement::new(name)
    }
}

/// The BFDProfile of the node's side.
pub fn bfd_profile(rng: &mut Rng) -> BfdProfile {
    let timing = draw_timing(rng);
    BfdProfile {
        name: BFD_PROFILE.into(),
        detect_multiplier: timing.multiplier,
        receive_interval: timing.receive,
        transmit_interval: timing.transmit,
        echo_interval: Duration::from_millis(50),
        echo: false,
        passive: rng.chance(15),
        minimum_ttl: 254,
    }
}

/// An address that a node or a router may have on the segment that they share.
pub fn is_on_segment(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets().starts_with(&[198, 51, 100]),
        IpAddr::V6(address) => address.segments().starts_with(&[0x2001, 0xdb8, 0x100]),
    }
}

fn node_selectors(rng: &mut Rng, percent: u64) -> Vec<LabelSelector> {
    match rng.chance(percent) {
        true => vec![selector(rng, "zone", ["a", "b"])],
        false => Vec::new(),
    }
}

fn community(rng: &mut Rng, number: u64) -> Community {
    let number = u16::try_from(number).unwrap_or(0);
    match rng.below(3) {
        0 => Community::Standard(64_512, number),
        1 => Community::NO_EXPORT,
        _ => Community::Large(64_512, 1, u32::from(number)),
    }
}

fn extended_communities(rng: &mut Rng) -> BTreeSet<ExtendedCommunity> {
    let all = [
        // A route target of AS 64512, and an opaque one that is not transitive.
        ExtendedCommunity([0, 2, 0xfc, 0, 0, 0, 0, 1]),
        ExtendedCommunity([0x43, 0, 0, 0, 0, 0, 0, 2]),
    ];
    let chosen = all.into_iter().filter(|_| rng.chance(10));
    chosen.collect()
}
