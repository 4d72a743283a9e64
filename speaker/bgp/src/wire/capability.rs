//! Capabilities (RFC 5492), what a speaker offers in its OPEN.

use std::collections::{BTreeMap, BTreeSet};

use super::AfiSafi;

/// What one OPEN offers. The default offers nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Code 1: families (RFC 4760 §8). Empty means IPv4 unicast alone.
    pub multiprotocol: BTreeSet<AfiSafi>,
    /// Code 2: route refresh (RFC 2918).
    pub route_refresh: bool,
    /// Code 5: families whose routes may have a next hop of another AFI (RFC 8950), and that AFI.
    pub extended_next_hop: BTreeSet<(AfiSafi, u16)>,
    /// Code 6: messages of up to 65,535 bytes may be sent to it (RFC 8654).
    pub extended_message: bool,
    /// Code 64: graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Code 65: four-octet AS numbers, and its own (RFC 6793).
    pub four_octet_as: Option<u32>,
    /// Code 70: enhanced route refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Code 73: its name (draft-walton-bgp-hostname-capability).
    pub fqdn: Option<Fqdn>,
    /// Codes that mean nothing to us.
    pub unknown: BTreeSet<u8>,
    /// Codes that mean something, with a value that does not: taken as not offered.
    pub unreadable: BTreeSet<u8>,
}

/// Graceful restart (RFC 4724 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R: it has restarted, and waits for End-of-RIB of its peers.
    pub restarting: bool,
    /// N: routes are kept over a NOTIFICATION too (RFC 8538 §2).
    pub notification: bool,
    /// How long its routes are to be kept until it is back, in seconds, at most 4095.
    pub restart_time: u16,
    /// The families whose forwarding state it can keep, and F, whether it did this time.
    pub families: BTreeMap<AfiSafi, bool>,
}

/// The name of a router, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fqdn {
    /// Its host name; bytes that are not UTF-8 are replaced.
    pub host: String,
    /// Its domain, often empty.
    pub domain: String,
}

impl Capabilities {
    /// Whether IPv4 unicast routes may have an IPv6 next hop.
    pub fn ipv4_over_ipv6(&self) -> bool {
        self.extended_next_hop.contains(&(AfiSafi::IPV4_UNICAST, 2))
    }
}
