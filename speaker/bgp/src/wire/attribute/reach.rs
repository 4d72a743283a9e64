//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760): routes of any family, inside of attributes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::Family;

use super::super::reader::Reader;
use super::super::{AfiSafi, FaultKind, Negotiated, Prefixes};

/// Where packets to a route are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address: a global one, or a link-local one alone.
    V6(Ipv6Addr),
    /// A global IPv6 address and the link-local one of the same router (RFC 2545 §3).
    V6Pair {
        /// The global one; some senders that have none give `::`, or the link-local one again.
        global: Ipv6Addr,
        /// The link-local one, on the link of the session.
        link_local: Ipv6Addr,
    },
}

impl NextHop {
    /// Reads one for routes of `family`; `None` when its length is not one that they can have.
    fn decode(bytes: &[u8], family: Family, negotiated: &Negotiated) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let v6 = family == Family::V6 || negotiated.extended_next_hop;
        match bytes.len() {
            4 if family == Family::V4 => reader
                .array()
                .map(|octets: [u8; 4]| Self::V4(octets.into())),
            16 if v6 => reader
                .array()
                .map(|octets: [u8; 16]| Self::V6(octets.into())),
            32 if v6 => {
                let (global, link_local): ([u8; 16], [u8; 16]) = (reader.array()?, reader.array()?);
                Some(Self::V6Pair {
                    global: global.into(),
                    link_local: link_local.into(),
                })
            }
            _ => None,
        }
    }

    /// Appends it behind its length.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::V4(address) => {
                to.push(4);
                to.extend_from_slice(&address.octets());
            }
            Self::V6(address) => {
                to.push(16);
                to.extend_from_slice(&address.octets());
            }
            Self::V6Pair { global, link_local } => {
                to.push(32);
                to.extend_from_slice(&global.octets());
                to.extend_from_slice(&link_local.octets());
            }
        }
    }

    /// Whether a host can have it (RFC 4271 §6.3).
    fn is_host(&self) -> bool {
        match self {
            Self::V4(address) => is_host(*address),
            Self::V6(address) => !address.is_unspecified() && !address.is_multicast(),
            Self::V6Pair { link_local, .. } => {
                !link_local.is_unspecified() && !link_local.is_multicast()
            }
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "{address}"),
            Self::V6Pair { global, link_local } => write!(f, "{global} ({link_local})"),
        }
    }
}

/// Whether a host can have `address`: it is neither 0.0.0.0 nor of the classes D and E.
pub(super) const fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first < 224 && !address.is_unspecified()
}

/// What MP_REACH_NLRI says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach<'a> {
    pub(crate) next_hop: NextHop,
    pub(crate) prefixes: Prefixes<'a>,
}

impl<'a> Reach<'a> {
    /// Reads a value.
    ///
    /// [`FaultKind::Family`] means that it is of a family that is not exchanged; anything else, that the routes in it cannot be told
    /// for certain.
    pub(super) fn decode(value: &'a [u8], negotiated: &Negotiated) -> Result<Self, FaultKind> {
        let mut reader = Reader::new(value);
        let family = family(&mut reader, negotiated)?;
        let next_hop = reader.counted_u8().ok_or(FaultKind::Length)?;
        let next_hop = NextHop::decode(next_hop, family, negotiated).ok_or(FaultKind::Length)?;
        reader.u8().ok_or(FaultKind::Length)?;
        let prefixes = Prefixes::decode(family, reader.rest()).ok_or(FaultKind::Value)?;
        Ok(Self { next_hop, prefixes })
    }

    /// Whether a host can have the next hop.
    pub(super) fn leads_to_a_host(&self) -> bool {
        self.next_hop.is_host()
    }
}

/// Reads the value of MP_UNREACH_NLRI; the errors are those of [`Reach::decode`].
pub(super) fn unreach<'a>(
    value: &'a [u8],
    negotiated: &Negotiated,
) -> Result<Prefixes<'a>, FaultKind> {
    let mut reader = Reader::new(value);
    let family = family(&mut reader, negotiated)?;
    Prefixes::decode(family, reader.rest()).ok_or(FaultKind::Value)
}

fn family(reader: &mut Reader<'_>, negotiated: &Negotiated) -> Result<Family, FaultKind> {
    let afi = reader.u16().ok_or(FaultKind::Length)?;
    let safi = reader.u8().ok_or(FaultKind::Length)?;
    let family = AfiSafi { afi, safi }.family();
    let exchanged = family.filter(|family| negotiated.exchanges(*family));
    exchanged.ok_or(FaultKind::Family)
}
