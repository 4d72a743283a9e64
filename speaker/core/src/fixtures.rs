//! Objects for tests.

use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::bgp::{Password, PeerAsn, PeerEndpoint};
use ironlb_model::{
    BgpAdvertisement, BgpPeer, Config, Endpoint, EndpointSlice, Ingress, L2Advertisement,
    LabelSelector, Labels, Link, Mac, Name, Node, Pool, Range, Service, ServiceKey, SliceKey,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

pub(crate) fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector {
        match_labels: labels(pairs),
        ..LabelSelector::default()
    }
}

pub(crate) fn config(pools: impl IntoIterator<Item = Pool>) -> Config {
    let named = |pool: Pool| (pool.name.clone(), pool);
    Config {
        pools: pools.into_iter().map(named).collect(),
        ..Config::default()
    }
}

pub(crate) fn pool(name: &str, nets: &[&str]) -> Pool {
    let range = |net: &&str| Range::from_net(net.parse().unwrap());
    Pool::new(name, nets.iter().map(range).collect())
}

/// Announces every pool from every node.
pub(crate) fn l2(name: &str) -> L2Advertisement {
    L2Advertisement::new(name)
}

/// Announces every pool from every node to every peer.
pub(crate) fn bgp(name: &str) -> BgpAdvertisement {
    BgpAdvertisement::new(name)
}

pub(crate) fn peer(name: &str) -> BgpPeer {
    BgpPeer {
        name: name.into(),
        my_asn: 64512,
        local_asn: None,
        peer_asn: PeerAsn::Number(64513),
        endpoint: PeerEndpoint::Address(ip("198.51.100.1")),
        port: 179,
        source: None,
        hold_time: Duration::from_secs(90),
        keepalive_time: Duration::from_secs(30),
        connect_time: None,
        router_id: None,
        nodes: Vec::new(),
        password: Password::None,
        bfd_profile: None,
        bfd_strict: false,
        graceful_restart: false,
        restart_time: BgpPeer::RESTART_TIME,
        ebgp_multihop: false,
        vrf: None,
        dual_stack: false,
        passive: false,
        listen_port: None,
        ttl_security_hops: None,
        maximum_prefixes: None,
        graceful_shutdown: false,
        drain_time: BgpPeer::DRAIN_TIME,
    }
}

pub(crate) fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        ..Node::default()
    }
}

/// A Service that holds these addresses.
pub(crate) fn service(name: &str, ips: &[&str]) -> Service {
    let ingress = |ip: &&str| Ingress {
        ip: (*ip).to_owned(),
        hostname: String::new(),
    };
    Service {
        ingress: ips.iter().map(ingress).collect(),
        ..Service::new(key(name))
    }
}

/// A slice of `service` with a serving endpoint on each of `nodes`.
pub(crate) fn slice(service: &str, name: &str, nodes: &[&str]) -> EndpointSlice {
    let endpoint = |node: &&str| Endpoint {
        node: Some(Name::from(*node)),
        serving: true,
        addresses: Vec::new(),
    };
    EndpointSlice {
        key: SliceKey::new("default", name),
        service: key(service),
        endpoints: nodes.iter().map(endpoint).collect(),
        ports: Vec::new(),
    }
}

/// An Ethernet interface that can carry both families.
pub(crate) fn link(index: u32, name: &str) -> Link {
    let [_, _, _, last] = index.to_be_bytes();
    Link {
        index,
        name: name.to_owned(),
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        up: true,
        has_master: false,
        broadcast: true,
        no_arp: false,
        addresses: vec![(ip("10.0.0.1"), 24), (ip("fe80::1"), 64)],
    }
}
