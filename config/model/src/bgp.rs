//! The BGP half of the configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::labels::any_or_empty;
use crate::{LabelSelector, Labels, Name, PoolSelection};

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
    /// LOCAL_PREF towards internal peers; `None` for none asked.
    pub local_pref: Option<u32>,
    /// Communities on the routes, aliases resolved.
    pub communities: BTreeSet<Community>,
}

impl BgpAdvertisement {
    /// Whether `node` announces for it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.nodes, labels)
    }

    /// Whether it is for a Service with these labels.
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_empty(&self.services, labels)
    }
}

/// A BGP community. Prints as operators write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997: two 16-bit numbers, `65000:1`.
    Standard(u16, u16),
    /// RFC 8092: three 32-bit numbers, `large:65000:1:2`.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(high, low) => write!(f, "{high}:{low}"),
            Self::Large(global, local1, local2) => write!(f, "large:{global}:{local1}:{local2}"),
        }
    }
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
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// Whether an external peer may be more than one hop away.
    pub ebgp_multihop: bool,
    /// The VRF to connect in.
    pub vrf: Option<String>,
    /// Whether both families are announced over this one session.
    pub dual_stack: bool,
}

impl BgpPeer {
    /// Whether `node` peers with it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.nodes, labels)
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
    /// On this interface, by its link-local address (unnumbered).
    Interface(String),
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

    #[test]
    fn communities_print_as_they_are_written() {
        assert_eq!(Community::Standard(65000, 1).to_string(), "65000:1");
        assert_eq!(Community::Large(65000, 1, 2).to_string(), "large:65000:1:2");
    }
}
