//! UPDATEs as they are sent: attributes written once, then as many prefixes behind them as fit.

use std::iter::Peekable;

use ipnet::IpNet;
use ironlb_model::Family;
use thiserror::Error;

use super::{Attributes, Negotiated, NextHop};

/// Attributes and next hop as bytes, for all peers with the same [`Negotiated`]. Equal bytes mean equal routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedAttributes {
    /// Those in front of the NLRI; where MP_REACH_NLRI is used, without it.
    bytes: Vec<u8>,
    /// AFI, SAFI and next hop of MP_REACH_NLRI; empty where the classic field is used.
    reach: Vec<u8>,
    family: Family,
}

impl EncodedAttributes {
    /// For routes of `family` with `next_hop`. [`Attributes::next_hop`] is ignored.
    ///
    /// LOCAL_PREF is written for internal peers only, and is 100 there when not given (RFC 4271 §5.1.5).
    /// IPv4 with an IPv4 next hop takes the classic field, all else MP_REACH_NLRI.
    ///
    /// # Errors
    /// When the session cannot carry such routes, or the attributes leave no room for a prefix in a message of 4,096 bytes.
    pub fn new(
        attributes: &Attributes,
        next_hop: NextHop,
        family: Family,
        negotiated: &Negotiated,
    ) -> Result<Self, EncodeError> {
        let _ = (attributes, next_hop, family, negotiated);
        todo!()
    }

    /// The family of the routes that they are for.
    pub const fn family(&self) -> Family {
        self.family
    }
}

/// Why routes cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The family was not negotiated.
    #[error("{0} unicast was not negotiated")]
    Family(Family),
    /// The family cannot have such a next hop on this session.
    #[error("{family} routes cannot have the next hop {next_hop:?} on this session")]
    NextHop {
        /// The family of the routes.
        family: Family,
        /// The next hop.
        next_hop: NextHop,
    },
    /// The attributes are too long.
    #[error("attributes take {length} bytes, of which a message has room for {allowed}")]
    TooLong {
        /// Their length in bytes.
        length: usize,
        /// What is left beside header and one prefix.
        allowed: usize,
    },
}

/// Appends the UPDATEs that announce `prefixes`, none longer than `max_length`, and says how many.
///
/// Prefixes of the other family are left out; so are host bits.
pub fn pack(
    attributes: &EncodedAttributes,
    prefixes: impl IntoIterator<Item = IpNet>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    let mut prefixes = prefixes.into_iter().peekable();
    let mut messages: usize = 0;
    while pack_message(attributes, &mut prefixes, max_length, to) > 0 {
        messages = messages.saturating_add(1);
    }
    messages
}

/// Appends one UPDATE with as many of `prefixes` as fit, and says how many that were: nothing is appended for none.
pub fn pack_message(
    attributes: &EncodedAttributes,
    prefixes: &mut Peekable<impl Iterator<Item = IpNet>>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    let _ = (attributes, prefixes, max_length, to);
    todo!()
}

/// Appends the UPDATEs that withdraw `prefixes` of `family`, none longer than `max_length`, and says how many.
///
/// IPv4 takes the classic field, IPv6 MP_UNREACH_NLRI.
pub fn withdraw(
    family: Family,
    prefixes: impl IntoIterator<Item = IpNet>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    let _ = (family, prefixes, max_length, to);
    todo!()
}

/// Appends End-of-RIB of `family` (RFC 4724 §2).
pub fn end_of_rib(family: Family, to: &mut Vec<u8>) {
    let _ = (family, to);
    todo!()
}
