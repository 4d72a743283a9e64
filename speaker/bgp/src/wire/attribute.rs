//! Path attributes (RFC 4271 §4.3, §5).

mod as_path;
mod community;
mod decode;
mod encode;
pub(crate) mod kind;
mod reach;

use std::fmt;
use std::net::Ipv4Addr;

#[cfg(test)]
pub(super) use as_path::tests as as_path_tests;
pub use as_path::{AsPath, Segment};
pub use community::{Community, LargeCommunity};
pub(crate) use decode::{Decoded, decode};
pub use ironlb_model::ExtendedCommunity;
pub use reach::NextHop;

/// What is said of routes, apart from the next hop of multiprotocol ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, in which AS4_PATH has been merged.
    pub as_path: AsPath,
    /// NEXT_HOP, of routes in the NLRI field. Received only: what is sent has it from
    /// [`EncodedAttributes::new`](super::EncodedAttributes::new).
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF, between internal peers.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, in which AS4_AGGREGATOR has been merged.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997).
    pub communities: Vec<Community>,
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub extended_communities: Vec<ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// Those that mean nothing to us, and are optional.
    pub unknown: Vec<UnknownAttribute>,
}

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// 0: interior to the originating AS.
    #[default]
    Igp,
    /// 1: learnt by EGP (RFC 904).
    Egp,
    /// 2: learnt by some other means.
    Incomplete,
}

impl Origin {
    const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Igp),
            1 => Some(Self::Egp),
            2 => Some(Self::Incomplete),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "IGP",
            Self::Egp => "EGP",
            Self::Incomplete => "incomplete",
        })
    }
}

/// AGGREGATOR (RFC 4271 §5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregator {
    /// The AS that aggregated.
    pub asn: u32,
    /// The router that did.
    pub router_id: Ipv4Addr,
}

/// An optional attribute that means nothing to us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownAttribute {
    /// Its flags as received, the one for the extended length cleared.
    pub flags: u8,
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: Vec<u8>,
}
