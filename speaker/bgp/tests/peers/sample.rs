//! Settings that tests begin with.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ironlb_bgp::peer::{Settings, Transport};
use ironlb_model::Family;
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};

/// The ends of a connection: of the peer with the lower BGP identifier, and of the other.
pub(crate) const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
pub(crate) const ASNS: [u32; 2] = [65_000, 65_001];

pub(crate) fn address(side: usize) -> IpAddr {
    ADDRESSES[side].parse().unwrap()
}

pub(crate) fn socket(side: usize, port: u16) -> SocketAddr {
    SocketAddr::new(address(side), port)
}

/// Of `side` towards the other: IPv4, external, a hold time of 90 s, graceful restart off.
pub(crate) fn settings(side: usize) -> Settings {
    let other = 1 - side;
    Settings {
        asn: ASNS[side],
        local_asn: None,
        peer_asn: PeerAsn::Number(ASNS[other]),
        router_id: [192, 0, 2, side as u8 + 1].into(),
        families: BTreeSet::from([Family::V4]),
        transport: Transport {
            endpoint: PeerEndpoint::Address(address(other)),
            port: 179,
            source: None,
            vrf: None,
        },
        hold_time: Duration::from_secs(90),
        keepalive_time: Duration::from_secs(30),
        connect_time: Duration::from_secs(1),
        passive: false,
        restart_time: None,
        bfd_strict: false,
        maximum_prefixes: None,
    }
}
