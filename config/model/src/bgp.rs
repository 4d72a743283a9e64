//! The BGP half of the configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::labels::any_or_empty;
use crate::{Community, ExtendedCommunity, LabelSelector, Labels, Name, PoolSelection};

/// Announce addresses over BGP (kind BGPAdvertisement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpAdvertisement {
    /// Its name.
    pub name: Name,
    /// The pools whose addresses it announces.
    pub pools: PoolSelection,
    /// The nodes that announce; empty for all.
    pub nodes: Vec<LabelSelector>,
    /// The Services it is for; empty for all.
    pub services: Vec<LabelSelector>,
    /// The peers that are told; empty for all.
    pub peers: BTreeSet<Name>,
    /// Length of the IPv4 prefixes announced, 1 to 32.
    pub aggregation_length: u8,
    /// Length of the IPv6 prefixes announced, 1 to 128.
    pub aggregation_length_v6: u8,
    /// LOCAL_PREF towards internal peers, where it is set; see [`preference`](Self::preference).
    pub local_pref: Option<u32>,
    /// Communities on the routes, aliases resolved.
    pub communities: BTreeSet<Community>,
    /// Extended communities on the routes (an extension).
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// MULTI_EXIT_DISC; `None` for none (an extension).
    pub med: Option<u32>,
    /// How often our AS number is repeated in AS_PATH towards external peers, 0 to 32 (an extension).
    pub as_path_prepend: u8,
    /// Next hop of the IPv4 routes; `None` for our address on the session (an extension).
    pub next_hop: Option<Ipv4Addr>,
    /// Next hop of the IPv6 routes; `None` for our address on the session (an extension).
    pub next_hop_v6: Option<Ipv6Addr>,
    /// Weights by the number of endpoints; `None` for no weights (an extension).
    pub link_bandwidth: Option<LinkBandwidth>,
}

impl BgpAdvertisement {
    /// LOCAL_PREF where none is set. RFC 4271 §9.1.1 leaves it open; routers take 100 for a route without one.
    pub const LOCAL_PREF: u32 = 100;

    /// One of every address, from every node to every peer, that nothing else is said of.
    pub fn new(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            pools: PoolSelection::default(),
            nodes: Vec::new(),
            services: Vec::new(),
            peers: BTreeSet::new(),
            aggregation_length: 32,
            aggregation_length_v6: 128,
            local_pref: None,
            communities: BTreeSet::new(),
            extended_communities: BTreeSet::new(),
            med: None,
            as_path_prepend: 0,
            next_hop: None,
            next_hop_v6: None,
            link_bandwidth: None,
        }
    }

    /// LOCAL_PREF towards internal peers.
    pub fn preference(&self) -> u32 {
        self.local_pref.unwrap_or(Self::LOCAL_PREF)
    }

    /// Whether `node` announces for it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.nodes, labels)
    }

    /// Whether it is for a Service with these labels.
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_empty(&self.services, labels)
    }
}

/// Weights for unequal load balancing (RFC 10005, the Link Bandwidth extended community): each node announces so much
/// for each ready endpoint of the Service that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkBandwidth {
    /// Mbit/s for each endpoint, 1 to 1,000,000. Routers compare: only the ratio between nodes matters.
    pub per_endpoint: u32,
}

impl LinkBandwidth {
    /// The `per_endpoint` where nothing else is said.
    pub const PER_ENDPOINT: u32 = 100;
}

/// A BGP router to peer with (kind BGPPeer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpPeer {
    /// Its name.
    pub name: Name,
    /// Our autonomous system, 1 to 4,294,967,295.
    pub my_asn: u32,
    /// The AS number that we show this peer in place of `my_asn` (RFC 7705).
    pub local_asn: Option<u32>,
    /// Which AS number the peer must have.
    pub peer_asn: PeerAsn,
    /// Where the peer is.
    pub endpoint: PeerEndpoint,
    /// The TCP port to connect to, 1 to 65535.
    pub port: u16,
    /// The address to connect from.
    pub source: Option<IpAddr>,
    /// Hold time proposed; zero for none (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// Time between keepalives.
    pub keepalive_time: Duration,
    /// Time between connection attempts; `None` for the default.
    pub connect_time: Option<Duration>,
    /// Our BGP identifier; `None` to derive it from the node.
    pub router_id: Option<Ipv4Addr>,
    /// The nodes that peer; empty for all.
    pub nodes: Vec<LabelSelector>,
    /// How the session is authenticated (RFC 2385).
    pub password: Password,
    /// The BFD profile, by name.
    pub bfd_profile: Option<Name>,
    /// Whether the session waits for BFD, where the peer does the same; not without a profile (an extension).
    pub bfd_strict: bool,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// For how long the peer is asked to keep routes, whole seconds, 1 to 4,095; without graceful restart nothing (an extension).
    pub restart_time: Duration,
    /// Whether an external peer may be more than one hop away.
    pub ebgp_multihop: bool,
    /// The VRF to connect in.
    pub vrf: Option<String>,
    /// Whether both families are announced over this one session.
    pub dual_stack: bool,
    /// Whether we leave the connecting to the peer, and only listen (an extension).
    pub passive: bool,
    /// The TCP port on which the peer may connect to us; `None` for not listening. Set when `passive` (an extension).
    pub listen_port: Option<u16>,
    /// Over how many hops at most packets of the peer may come, 1 to 254 (GTSM, RFC 5082); `None` for not looking
    /// (an extension).
    pub ttl_security_hops: Option<u8>,
    /// How many prefixes we take from the peer before we close the session (RFC 4486 subcode 1), at least 1; `None` for
    /// any number (an extension).
    pub maximum_prefixes: Option<u32>,
    /// Whether the routes to this peer are announced as about to go (GRACEFUL_SHUTDOWN, RFC 8326; an extension).
    pub graceful_shutdown: bool,
    /// When the node stops announcing on purpose: how long its routes stay, announced as about to go, before they are
    /// withdrawn; at most an hour (an extension).
    pub drain_time: Duration,
}

impl BgpPeer {
    /// The port of BGP (RFC 4271 §8).
    pub const PORT: u16 = 179;
    /// The `restart_time` where nothing else is said, as routers have it. A speaker is back within seconds; a node takes its routes
    /// with it only if it stays away.
    pub const RESTART_TIME: Duration = Duration::from_secs(120);
    /// The `drain_time` where nothing else is said.
    pub const DRAIN_TIME: Duration = Duration::from_secs(5);

    /// Whether `node` peers with it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.nodes, labels)
    }

    /// Whether it is of our autonomous system, as it sees that (iBGP).
    pub fn is_internal(&self) -> bool {
        match self.peer_asn {
            PeerAsn::Number(number) => number == self.local_asn.unwrap_or(self.my_asn),
            PeerAsn::Internal => true,
            PeerAsn::External => false,
        }
    }
}

/// Which AS number a peer must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAsn {
    /// Exactly this.
    Number(u32),
    /// Any, but ours (`dynamicASN: external`).
    External,
    /// Ours (`dynamicASN: internal`).
    Internal,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerEndpoint {
    /// At this address.
    Address(IpAddr),
    /// At this link-local address on this interface, without which such an address means nothing (RFC 4007).
    LinkLocal(Ipv6Addr, String),
    /// On this interface, by its link-local address (unnumbered).
    Interface(String),
}

impl fmt::Display for PeerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal(address, interface) => write!(f, "{address}%{interface}"),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

/// Where the password of a session comes from. Debug output never shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Password {
    /// No authentication.
    #[default]
    None,
    /// As written in the object.
    Plain(String),
    /// From a Secret of this name in ironlb's namespace, key `password`.
    Secret(String),
}

impl Password {
    /// How many bytes Linux takes at most as the key of TCP MD5 (RFC 2385); one at least.
    pub const LONGEST: usize = 80;
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Plain(_) => f.write_str("Plain(..)"),
            Self::Secret(name) => write!(f, "Secret({name})"),
        }
    }
}

/// How fast a dead peer is noticed (kind BFDProfile, RFC 5880).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// Its name.
    pub name: Name,
    /// Packets missed until the session is down, 2 to 255.
    pub detect_multiplier: u8,
    /// The fastest rate that we accept, 10 to 60,000 ms.
    pub receive_interval: Duration,
    /// The fastest rate that we send at, 10 to 60,000 ms.
    pub transmit_interval: Duration,
    /// The rate of echo packets, 10 to 60,000 ms.
    pub echo_interval: Duration,
    /// Whether echo packets are sent.
    pub echo: bool,
    /// Whether we wait for the peer to begin.
    pub passive: bool,
    /// The lowest TTL accepted from a multihop peer, 1 to 254.
    pub minimum_ttl: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let password = Password::Plain("hunter2".to_owned());
        assert_eq!(format!("{password:?}"), "Plain(..)");
    }
}
