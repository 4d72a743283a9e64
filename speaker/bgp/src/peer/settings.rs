//! What is configured of a peer, as far as the protocol has to do with it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_model::{BgpPeer, Family};

use crate::restart;
use crate::session::Offer;
use crate::wire::{AfiSafi, Capabilities, Open};

/// How we speak with a peer.
///
/// Password, TTL and the port that we listen on are not here: whoever holds the sockets changes them in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our AS number.
    pub asn: u32,
    /// The AS number that we show in its place (RFC 7705).
    pub local_asn: Option<u32>,
    /// Which AS number the peer must have.
    pub peer_asn: PeerAsn,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// The families that we exchange if the peer agrees.
    pub families: BTreeSet<Family>,
    /// Where the connection goes: another one is another connection.
    pub transport: Transport,
    /// The hold time that we propose, whole seconds; zero for none.
    pub hold_time: Duration,
    /// Time between keepalives at most; zero for a third of the hold time.
    pub keepalive_time: Duration,
    /// Time from a failed attempt to the next, which grows from there.
    pub connect_time: Duration,
    /// Whether we never dial.
    pub passive: bool,
    /// For how long the peer keeps our routes while we restart; `None` without graceful restart (RFC 4724).
    pub restart_time: Option<Duration>,
    /// Whether the session waits for BFD, where the peer does the same (draft-ietf-idr-bgp-bfd-strict-mode). Only with BFD: see
    /// [`Input::BfdUp`](crate::Input::BfdUp).
    pub bfd_strict: bool,
    /// How many prefixes of a family the peer may announce.
    pub maximum_prefixes: Option<u32>,
}

/// What makes a connection another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Where the peer is.
    pub endpoint: PeerEndpoint,
    /// Its port.
    pub port: u16,
    /// The address to connect from.
    pub source: Option<IpAddr>,
    /// The VRF to connect in.
    pub vrf: Option<String>,
}

impl Settings {
    /// From the configuration. `router_id` is for a peer that has none configured.
    ///
    /// A session carries the family of its own addresses; both with `dualStackAddressFamily`, and on an unnumbered one.
    pub fn new(peer: &BgpPeer, router_id: Ipv4Addr) -> Self {
        Self {
            asn: peer.my_asn,
            local_asn: peer.local_asn,
            peer_asn: peer.peer_asn,
            router_id: peer.router_id.unwrap_or(router_id),
            families: match &peer.endpoint {
                PeerEndpoint::Address(address) if !peer.dual_stack => {
                    BTreeSet::from([Family::of(*address)])
                }
                PeerEndpoint::LinkLocal(..) if !peer.dual_stack => BTreeSet::from([Family::V6]),
                _ => BTreeSet::from(Family::ALL),
            },
            transport: Transport {
                endpoint: peer.endpoint.clone(),
                port: peer.port,
                source: peer.source,
                vrf: peer.vrf.clone(),
            },
            hold_time: peer.hold_time,
            keepalive_time: peer.keepalive_time,
            connect_time: peer.connect_time.unwrap_or(CONNECT_TIME),
            passive: peer.passive,
            restart_time: peer.graceful_restart.then_some(peer.restart_time),
            bfd_strict: peer.bfd_strict && peer.bfd_profile.is_some(),
            maximum_prefixes: peer.maximum_prefixes,
        }
    }

    /// What we say in an OPEN towards `remote`; when `plain` without any capability (RFC 5492 §3).
    pub(crate) fn offer(&self, remote: IpAddr, restarting: bool, plain: bool) -> Offer {
        let asn = self.local_asn.unwrap_or(self.asn);
        let capabilities = if plain {
            Capabilities::default()
        } else {
            self.capabilities(asn, remote, restarting)
        };
        Offer {
            open: Open {
                asn,
                hold_time: u16::try_from(self.hold_time.as_secs()).unwrap_or(u16::MAX),
                router_id: self.router_id,
                capabilities,
            },
            peer_asn: self.peer_asn,
            families: self.families.clone(),
            keepalive_time: self.keepalive_time,
        }
    }

    fn capabilities(&self, asn: u32, remote: IpAddr, restarting: bool) -> Capabilities {
        let restart = |time| restart::capability(&self.families, time, restarting);
        let over_ipv6 = Family::of(remote) == Family::V6 && self.families.contains(&Family::V4);
        let ipv4_over_ipv6 = (AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST.afi);
        Capabilities {
            multiprotocol: self
                .families
                .iter()
                .map(|family| AfiSafi::from(*family))
                .collect(),
            route_refresh: true,
            extended_next_hop: over_ipv6.then_some(ipv4_over_ipv6).into_iter().collect(),
            extended_message: true,
            graceful_restart: self.restart_time.map(restart),
            four_octet_as: Some(asn),
            enhanced_route_refresh: true,
            bfd_strict: self.bfd_strict,
            ..Capabilities::default()
        }
    }
}

/// Where none is configured. RFC 4271 §10 suggests two minutes; an attempt costs little, and a router that is back is to be met soon.
const CONNECT_TIME: Duration = Duration::from_secs(1);
