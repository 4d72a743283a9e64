//! How a route is told to a peer: path attributes and next hop by what kind of peer it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::{Community, Family};
use thiserror::Error;

use crate::route::RouteAttributes;
use crate::session::Agreement;
use crate::wire::{self, AsPath, EncodeError, EncodedAttributes, Negotiated, NextHop, Origin};

/// Everything that decides how routes are written for a peer. Peers for whom it is equal, and who are told the same, form an
/// update group: every message is encoded once for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The AS number that we showed the peer in OPEN: `localASN` where it is set, else `myASN`. It is the only one of ours in
    /// AS_PATH (what others configure as `local-as ... no-prepend replace-as`).
    pub asn: u32,
    /// What both sides can do.
    pub negotiated: Negotiated,
    /// Length of the longest UPDATE that the peer takes, in bytes: 4,096, or 65,535 with extended messages (RFC 8654).
    pub max_length: usize,
    /// Where we are to be found.
    pub local: LocalAddresses,
    /// What our routes are worth.
    pub standing: Standing,
}

impl Export {
    /// What a session asks for, as configured.
    pub const fn new(agreement: &Agreement, local: LocalAddresses) -> Self {
        Self {
            asn: agreement.local_asn,
            negotiated: agreement.wire,
            max_length: agreement.max_length,
            local,
            standing: Standing::Serving,
        }
    }

    /// Attributes for routes of `family`, as bytes.
    pub(crate) fn encode(
        &self,
        family: Family,
        route: &RouteAttributes,
    ) -> Result<EncodedAttributes, Unsendable> {
        let next_hop = self.next_hop(family, route)?;
        let attributes = self.path_attributes(route);
        Ok(EncodedAttributes::new(
            &attributes,
            next_hop,
            family,
            &self.negotiated,
            self.max_length,
        )?)
    }

    /// What this peer is told of a route, next hop apart.
    ///
    /// ORIGIN is IGP. To an external peer AS_PATH is our AS number, repeated as asked for (RFC 4271 §5.1.2), and LOCAL_PREF is
    /// not told (§5.1.5). To an internal one AS_PATH is empty, and LOCAL_PREF is always told. MED is told to both.
    fn path_attributes(&self, route: &RouteAttributes) -> wire::Attributes {
        let leaving = self.standing == Standing::Leaving;
        let internal = self.negotiated.internal;
        let times = usize::from(route.as_path_prepend).saturating_add(1);
        let local_pref = if leaving { 0 } else { route.local_pref };
        let mut attributes = wire::Attributes {
            origin: Origin::Igp,
            as_path: AsPath::sequence(vec![self.asn; if internal { 0 } else { times }]),
            local_pref: internal.then_some(local_pref),
            med: route.med,
            ..wire::Attributes::default()
        };
        let shutdown = leaving.then_some(Community::GRACEFUL_SHUTDOWN);
        let mut communities = route.communities.clone();
        communities.extend(shutdown);
        for community in communities {
            match community {
                Community::Standard(high, low) => {
                    let community = wire::Community::new(high, low);
                    attributes.communities.push(community);
                }
                Community::Large(global, local1, local2) => {
                    attributes.large_communities.push(wire::LargeCommunity {
                        global,
                        local1,
                        local2,
                    });
                }
            }
        }
        attributes.extended_communities = self.extended_communities(route);
        attributes
    }

    /// Those that may cross to the peer: to an external one only transitive ones (RFC 4360 §6).
    fn extended_communities(&self, route: &RouteAttributes) -> Vec<wire::ExtendedCommunity> {
        let internal = self.negotiated.internal;
        let all = route.extended_communities.iter();
        let mut communities: Vec<[u8; 8]> = all
            .filter(|community| internal || community.is_transitive())
            .map(|community| community.0)
            .collect();
        communities.extend(
            route
                .bandwidth
                .map(|bandwidth| self.link_bandwidth(bandwidth)),
        );
        communities.sort_unstable();
        communities.dedup();
        let wire = communities.into_iter().map(wire::ExtendedCommunity);
        wire.collect()
    }

    /// Link Bandwidth (RFC 10005): an AS of two octets, and bytes per second in floating point.
    ///
    /// Not transitive towards internal peers: that form is the older one, and every router knows it. Transitive towards external
    /// peers: the other may not cross the border of an AS, and receivers drop it there.
    fn link_bandwidth(&self, megabits: u64) -> [u8; 8] {
        let kind = if self.negotiated.internal { 0x40 } else { 0x00 };
        let asn = u16::try_from(self.asn).unwrap_or(wire::AS_TRANS);
        let [a, b] = asn.to_be_bytes();
        // A weight needs no more digits than a float has.
        #[expect(clippy::cast_precision_loss, reason = "a weight is no exact number")]
        let bytes_per_second = megabits as f32 * 125_000.0;
        let [c, d, e, f] = bytes_per_second.to_be_bytes();
        [kind, 0x04, a, b, c, d, e, f]
    }

    /// The next hop that the route asks for, else our address on the session: for routes of the session's own family that, for
    /// IPv4 over an IPv6 session the same where the peer takes it (RFC 8950), and otherwise the one we have beside it.
    fn next_hop(&self, family: Family, route: &RouteAttributes) -> Result<NextHop, Unsendable> {
        let local = &self.local;
        let (v4, v6) = (local.v4.map(NextHop::V4), local.next_hop_v6());
        let found = match (route.next_hop, family) {
            (Some(IpAddr::V4(address)), _) => Some(NextHop::V4(address)),
            (Some(IpAddr::V6(address)), _) => Some(NextHop::V6(address)),
            (None, Family::V6) => v6,
            (None, Family::V4) if self.negotiated.extended_next_hop => match local.transport {
                Family::V4 => v4.or(v6),
                Family::V6 => v6.or(v4),
            },
            (None, Family::V4) => v4,
        };
        found.ok_or(Unsendable::NoNextHop(family))
    }
}

/// Our addresses on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddresses {
    /// The family of the session's own addresses.
    pub transport: Family,
    /// Our IPv4 address: of the session, or of the same interface.
    pub v4: Option<Ipv4Addr>,
    /// Our global IPv6 address: of the session, or of the same interface.
    pub v6: Option<Ipv6Addr>,
    /// Our link-local address on the link that we share with the peer; `None` when it is more than one hop away, where such an
    /// address means nothing (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

impl LocalAddresses {
    fn next_hop_v6(&self) -> Option<NextHop> {
        match (self.v6, self.link_local) {
            (Some(global), Some(link_local)) => Some(NextHop::V6Pair { global, link_local }),
            (Some(only), None) | (None, Some(only)) => Some(NextHop::V6(only)),
            (None, None) => None,
        }
    }
}

/// What our routes are worth to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// As configured.
    #[default]
    Serving,
    /// Take any other path: the community GRACEFUL_SHUTDOWN, and LOCAL_PREF 0 (RFC 8326 §4).
    Leaving,
    /// Nothing is announced.
    Gone,
}

/// Why a route cannot be told to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsendable {
    /// There is no address to give.
    #[error("we have no address on the session that could be the next hop of {0} routes")]
    NoNextHop(Family),
    /// It cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

#[cfg(test)]
mod tests;
