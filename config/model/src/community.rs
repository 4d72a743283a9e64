//! BGP communities: labels on a route that routers act on.

use std::fmt;
use std::net::Ipv4Addr;

/// A BGP community. Prints as operators write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997: two 16-bit numbers, `65000:1`.
    Standard(u16, u16),
    /// RFC 8092: three 32-bit numbers, `large:65000:1:2`.
    Large(u32, u32, u32),
}

impl Community {
    /// Do not forward to external peers (RFC 1997).
    pub const NO_EXPORT: Self = Self::Standard(65535, 65281);
    /// The sender is about to stop: prefer any other path (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self::Standard(65535, 0);

    /// The communities that have a name by themselves, by name. From the IANA registry "BGP Well-known Communities";
    /// `local-as` is what routers call `no-export-subconfed`.
    pub const WELL_KNOWN: [(&'static str, Self); 10] = [
        ("accept-own", Self::Standard(65535, 1)),
        ("blackhole", Self::Standard(65535, 666)),
        ("graceful-shutdown", Self::GRACEFUL_SHUTDOWN),
        ("llgr-stale", Self::Standard(65535, 6)),
        ("local-as", Self::Standard(65535, 65283)),
        ("no-advertise", Self::Standard(65535, 65282)),
        ("no-export", Self::NO_EXPORT),
        ("no-export-subconfed", Self::Standard(65535, 65283)),
        ("no-llgr", Self::Standard(65535, 7)),
        ("no-peer", Self::Standard(65535, 65284)),
    ];

    /// The community that everybody calls `name`.
    pub fn well_known(name: &str) -> Option<Self> {
        let mut all = Self::WELL_KNOWN.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, community)| *community)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(high, low) => write!(f, "{high}:{low}"),
            Self::Large(global, local1, local2) => write!(f, "large:{global}:{local1}:{local2}"),
        }
    }
}

/// An extended community (RFC 4360): eight octets, of which the first one or two say what the rest means.
///
/// Prints as operators write it: `rt:65000:1`, `soo:192.0.2.1:1`, or all eight octets, `0x0002fde800000001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// A route target or origin of a 2-octet AS (RFC 4360 §3.1).
    pub const fn of_as2(kind: ExtendedKind, asn: u16, number: u32) -> Self {
        let [a, b] = asn.to_be_bytes();
        let [c, d, e, f] = number.to_be_bytes();
        Self([0x00, kind.subtype(), a, b, c, d, e, f])
    }

    /// A route target or origin of an IPv4 address (RFC 4360 §3.2).
    pub const fn of_address(kind: ExtendedKind, address: Ipv4Addr, number: u16) -> Self {
        let [a, b, c, d] = address.octets();
        let [e, f] = number.to_be_bytes();
        Self([0x01, kind.subtype(), a, b, c, d, e, f])
    }

    /// A route target or origin of a 4-octet AS (RFC 5668).
    pub const fn of_as4(kind: ExtendedKind, asn: u32, number: u16) -> Self {
        let [a, b, c, d] = asn.to_be_bytes();
        let [e, f] = number.to_be_bytes();
        Self([0x02, kind.subtype(), a, b, c, d, e, f])
    }

    /// Whether it may cross from one AS to another (RFC 4360 §2, bit T).
    pub const fn is_transitive(self) -> bool {
        let Self([kind, ..]) = self;
        kind & 0x40 == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([structure, subtype, a, b, c, d, e, g]) = *self;
        let kind = match subtype {
            0x02 => "rt",
            0x03 => "soo",
            _ => return write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        };
        let low = u16::from_be_bytes([e, g]);
        match structure {
            0x00 => {
                let number = u32::from_be_bytes([c, d, e, g]);
                write!(f, "{kind}:{}:{number}", u16::from_be_bytes([a, b]))
            }
            0x01 => write!(f, "{kind}:{}:{low}", Ipv4Addr::new(a, b, c, d)),
            0x02 => match u32::from_be_bytes([a, b, c, d]) {
                // What fits in two octets is read as such when it is written plainly.
                asn if asn <= 0xffff => write!(f, "{kind}:0.{asn}:{low}"),
                asn => write!(f, "{kind}:{asn}:{low}"),
            },
            _ => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

/// The extended communities that have a notation of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKind {
    /// `rt`, RFC 4360 §4.
    RouteTarget,
    /// `soo`, site of origin, RFC 4360 §5.
    RouteOrigin,
}

impl ExtendedKind {
    const fn subtype(self) -> u8 {
        match self {
            Self::RouteTarget => 0x02,
            Self::RouteOrigin => 0x03,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_print_as_they_are_written() {
        assert_eq!(Community::Standard(65000, 1).to_string(), "65000:1");
        assert_eq!(Community::Large(65000, 1, 2).to_string(), "large:65000:1:2");
    }

    #[test]
    fn well_known_communities_have_the_numbers_of_the_registry() {
        let well_known = |name| Community::well_known(name).unwrap().to_string();
        assert_eq!(well_known("no-export"), "65535:65281");
        assert_eq!(well_known("local-as"), "65535:65283");
        assert_eq!(well_known("graceful-shutdown"), "65535:0");
        assert_eq!(well_known("blackhole"), "65535:666");
        assert_eq!(Community::well_known("no-exports"), None);
    }

    #[test]
    fn extended_communities_print_as_they_are_written() {
        use ExtendedKind::{RouteOrigin, RouteTarget};
        let two = ExtendedCommunity::of_as2(RouteTarget, 65000, 4_000_000_000);
        assert_eq!(two.to_string(), "rt:65000:4000000000");
        let address = ExtendedCommunity::of_address(RouteOrigin, [192, 0, 2, 1].into(), 7);
        assert_eq!(address.to_string(), "soo:192.0.2.1:7");
        let four = ExtendedCommunity::of_as4(RouteTarget, 4_200_000_000, 1);
        assert_eq!(four.to_string(), "rt:4200000000:1");
        let small = ExtendedCommunity::of_as4(RouteTarget, 65000, 1);
        assert_eq!(small.to_string(), "rt:0.65000:1");
        let other = ExtendedCommunity([0x03, 0x0c, 0, 0, 0, 0, 0, 8]);
        assert_eq!(other.to_string(), "0x030c000000000008");
    }

    #[test]
    fn one_bit_says_whether_an_as_boundary_is_crossed() {
        assert!(ExtendedCommunity([0x00, 0x04, 0, 0, 0, 0, 0, 0]).is_transitive());
        assert!(!ExtendedCommunity([0x40, 0x04, 0, 0, 0, 0, 0, 0]).is_transitive());
    }
}
