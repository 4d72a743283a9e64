//! UPDATEs as they are sent: attributes written once, then as many prefixes behind them as fit.

use std::iter::Peekable;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use ironlb_model::Family;
use thiserror::Error;

use super::attribute::kind::{EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
use super::framer::{self, HEADER_LENGTH, Kind, MAX_LENGTH};
use super::writer::counted_u16;
use super::{AfiSafi, Attributes, Negotiated, NextHop, nlri};

/// Attributes and next hop as bytes, for all peers with the same [`Negotiated`]. Equal bytes mean equal routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedAttributes {
    /// All but MP_REACH_NLRI.
    bytes: Vec<u8>,
    /// What MP_REACH_NLRI begins with; empty where the fields of RFC 4271 are used.
    reach: Vec<u8>,
    family: Family,
}

impl EncodedAttributes {
    /// For routes of `family` with `next_hop`, in messages of at most `max_length` bytes: less than 4,096 counts as 4,096, and
    /// more than 65,535 as that (RFC 8654). [`Attributes::next_hop`] is ignored.
    ///
    /// LOCAL_PREF is written for internal peers only, and is 100 there when not given (RFC 4271 §5.1.5).
    /// IPv4 with an IPv4 next hop takes the classic field, all else MP_REACH_NLRI.
    ///
    /// # Errors
    /// When the session cannot carry such routes, or the attributes leave no room for a prefix in a message.
    pub fn new(
        attributes: &Attributes,
        next_hop: NextHop,
        family: Family,
        negotiated: &Negotiated,
        max_length: usize,
    ) -> Result<Self, EncodeError> {
        if !negotiated.exchanges(family) {
            return Err(EncodeError::Family(family));
        }
        let classic = classic(next_hop, family, negotiated)?;
        let mut encoded = Self {
            bytes: Vec::new(),
            reach: Vec::new(),
            family,
        };
        attributes.encode(classic, negotiated, &mut encoded.bytes);
        if classic.is_none() {
            put_family(family, &mut encoded.reach);
            next_hop.encode(&mut encoded.reach);
            encoded.reach.push(RESERVED);
        }
        let allowed = within_limits(max_length) - LEAST - nlri::MAX_LENGTH;
        let length = encoded.bytes.len() + encoded.reach_length();
        if length > allowed {
            return Err(EncodeError::TooLong { length, allowed });
        }
        Ok(encoded)
    }

    /// The family of the routes that they are for.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Length of MP_REACH_NLRI without prefixes.
    const fn reach_length(&self) -> usize {
        match self.reach.len() {
            0 => 0,
            length => ATTRIBUTE_HEADER + length,
        }
    }
}

/// Why routes cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The family was not negotiated.
    #[error("{0} unicast was not negotiated")]
    Family(Family),
    /// The family cannot have such a next hop on this session.
    #[error("{family} routes cannot have the next hop {next_hop} on this session")]
    NextHop {
        /// The family of the routes.
        family: Family,
        /// The next hop.
        next_hop: NextHop,
    },
    /// The attributes are too long.
    #[error("the attributes take {length} bytes, and a message has room for {allowed}")]
    TooLong {
        /// Their length in bytes.
        length: usize,
        /// What is left beside header and one prefix.
        allowed: usize,
    },
}

/// Appends the UPDATEs that announce `prefixes`, none longer than `max_length`, and says how many.
///
/// Prefixes of the other family are left out; so are host bits. `max_length` below 4,096 counts as 4,096.
pub fn pack(
    attributes: &EncodedAttributes,
    prefixes: impl IntoIterator<Item = IpNet>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    let mut prefixes = prefixes.into_iter().peekable();
    let mut messages: usize = 0;
    while pack_message(attributes, &mut prefixes, max_length, to) > 0 {
        messages += 1;
    }
    messages
}

/// Appends one UPDATE with as many of `prefixes` as fit, and says how many that were: nothing is appended for none.
///
/// What [`pack()`] says of prefixes and length holds here too.
pub fn pack_message(
    attributes: &EncodedAttributes,
    prefixes: &mut Peekable<impl Iterator<Item = IpNet>>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    message(
        prefixes,
        attributes.family,
        max_length,
        to,
        |prefixes, to| {
            // Withdrawn routes: none.
            to.extend_from_slice(&[0, 0]);
            if attributes.reach.is_empty() {
                counted_u16(to, |to| to.extend_from_slice(&attributes.bytes));
                return prefixes.put(to, 0);
            }
            let mut count = 0;
            counted_u16(to, |to| {
                // First, so that a peer knows the routes whatever it makes of the rest (RFC 7606 §5.1).
                to.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_REACH_NLRI]);
                counted_u16(to, |to| {
                    to.extend_from_slice(&attributes.reach);
                    count = prefixes.put(to, attributes.bytes.len());
                });
                to.extend_from_slice(&attributes.bytes);
            });
            count
        },
    )
}

/// Appends the UPDATEs that withdraw `prefixes` of `family`, none longer than `max_length`, and says how many.
///
/// IPv4 takes the classic field, IPv6 MP_UNREACH_NLRI. What [`pack()`] says of prefixes and length holds here too.
pub fn withdraw(
    family: Family,
    prefixes: impl IntoIterator<Item = IpNet>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    let mut prefixes = prefixes.into_iter().peekable();
    let mut messages: usize = 0;
    while withdraw_message(family, &mut prefixes, max_length, to) > 0 {
        messages += 1;
    }
    messages
}

/// Appends one UPDATE that withdraws as many of `prefixes` as fit, and says how many that were: nothing is appended for none.
pub fn withdraw_message(
    family: Family,
    prefixes: &mut Peekable<impl Iterator<Item = IpNet>>,
    max_length: usize,
    to: &mut Vec<u8>,
) -> usize {
    message(prefixes, family, max_length, to, |prefixes, to| {
        let mut count = 0;
        if family == Family::V4 {
            // Behind them the length of the attributes: none.
            counted_u16(to, |to| count = prefixes.put(to, 2));
            to.extend_from_slice(&[0, 0]);
        } else {
            unreach(family, to, |to| count = prefixes.put(to, 0));
        }
        count
    })
}

/// Appends End-of-RIB of `family` (RFC 4724 §2).
pub fn end_of_rib(family: Family, to: &mut Vec<u8>) {
    framer::encode(to, Kind::Update, |to| match family {
        Family::V4 => to.extend_from_slice(&[0, 0, 0, 0]),
        Family::V6 => unreach(family, to, |_| {}),
    });
}

/// Length of flags, type and length of an attribute whose length takes two octets.
const ATTRIBUTE_HEADER: usize = 4;
/// Length of an UPDATE without anything in it.
const LEAST: usize = HEADER_LENGTH + 2 + 2;
/// Once the number of attachment points, now nothing (RFC 4760 §3).
const RESERVED: u8 = 0;

/// What NEXT_HOP is; `None` where MP_REACH_NLRI has it.
fn classic(
    next_hop: NextHop,
    family: Family,
    negotiated: &Negotiated,
) -> Result<Option<Ipv4Addr>, EncodeError> {
    match (family, next_hop) {
        (Family::V4, NextHop::V4(address)) => Ok(Some(address)),
        (Family::V4, _) if negotiated.extended_next_hop => Ok(None),
        (Family::V6, NextHop::V6(_) | NextHop::V6Pair { .. }) => Ok(None),
        _ => Err(EncodeError::NextHop { family, next_hop }),
    }
}

/// The prefixes that are still to be written, of which some go into one message.
struct Queue<'p, I: Iterator<Item = IpNet>> {
    prefixes: &'p mut Peekable<I>,
    family: Family,
    /// Where the message must end at the latest.
    end: usize,
}

impl<I: Iterator<Item = IpNet>> Queue<'_, I> {
    /// Appends those that fit when `behind` more bytes follow; says how many. Those of the other family are dropped.
    fn put(self, to: &mut Vec<u8>, behind: usize) -> usize {
        let end = self.end.saturating_sub(behind);
        let mut count = 0;
        while let Some(prefix) = self.prefixes.next_if(|prefix| {
            family_of(prefix) != self.family || to.len() + nlri::encoded_length(prefix) <= end
        }) {
            if family_of(&prefix) == self.family {
                nlri::encode(prefix, to);
                count += 1;
            }
        }
        count
    }
}

/// Appends an UPDATE whose body `body` writes and counts the prefixes of; takes it back when there are none.
fn message<I: Iterator<Item = IpNet>>(
    prefixes: &mut Peekable<I>,
    family: Family,
    max_length: usize,
    to: &mut Vec<u8>,
    body: impl FnOnce(Queue<'_, I>, &mut Vec<u8>) -> usize,
) -> usize {
    let at = framer::begin(to, Kind::Update);
    let queue = Queue {
        prefixes,
        family,
        end: at + within_limits(max_length),
    };
    let count = body(queue, to);
    if count == 0 {
        to.truncate(at);
    } else {
        framer::finish(to.get_mut(at..).unwrap_or_default(), 0);
    }
    count
}

/// Appends no withdrawn routes, and MP_UNREACH_NLRI as the only attribute.
fn unreach(family: Family, to: &mut Vec<u8>, prefixes: impl FnOnce(&mut Vec<u8>)) {
    to.extend_from_slice(&[0, 0]);
    counted_u16(to, |to| {
        to.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_UNREACH_NLRI]);
        counted_u16(to, |to| {
            put_family(family, to);
            prefixes(to);
        });
    });
}

fn put_family(family: Family, to: &mut Vec<u8>) {
    let AfiSafi { afi, safi } = family.into();
    to.extend_from_slice(&afi.to_be_bytes());
    to.push(safi);
}

/// The length that a message may have on a session that allows `max_length`.
fn within_limits(max_length: usize) -> usize {
    max_length.clamp(MAX_LENGTH, framer::MAX_LENGTH_EXTENDED)
}

const fn family_of(prefix: &IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

#[cfg(test)]
mod tests;
