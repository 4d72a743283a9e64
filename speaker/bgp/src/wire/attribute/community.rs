//! Communities of three kinds: RFC 1997, RFC 4360 and RFC 8092.

use std::fmt;

use super::super::AS_TRANS;

/// A community (RFC 1997): two numbers of 16 bits, the first an AS by convention. Prints as its well-known name, or `64512:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// The path is about to go: prefer any other (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// RFC 7611.
    pub const ACCEPT_OWN: Self = Self(0xffff_0001);
    /// The route is stale, of a peer that has not come back (RFC 9494).
    pub const LLGR_STALE: Self = Self(0xffff_0006);
    /// Not to be kept when it is stale (RFC 9494).
    pub const NO_LLGR: Self = Self(0xffff_0007);
    /// Traffic is to be discarded (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xffff_029a);
    /// Not to be told to external peers (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// Not to be told to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
    /// Not to be told to external peers, nor to other members of a confederation (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xffff_ff03);
    /// Not to be told to peers of equal rank (RFC 3765).
    pub const NOPEER: Self = Self(0xffff_ff04);

    /// `high:low`.
    pub const fn new(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }

    /// Its name in the registry of well-known communities, in lower case.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::GRACEFUL_SHUTDOWN => "graceful-shutdown",
            Self::ACCEPT_OWN => "accept-own",
            Self::LLGR_STALE => "llgr-stale",
            Self::NO_LLGR => "no-llgr",
            Self::BLACKHOLE => "blackhole",
            Self::NO_EXPORT => "no-export",
            Self::NO_ADVERTISE => "no-advertise",
            Self::NO_EXPORT_SUBCONFED => "no-export-subconfed",
            Self::NOPEER => "no-peer",
            _ => return None,
        })
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

/// A large community (RFC 8092). Prints as `65000:1:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator: an AS.
    pub global: u32,
    /// First part of local data.
    pub local1: u32,
    /// Second part of local data.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// An extended community (RFC 4360), as on the wire. Prints as 16 hexadecimal digits, the link bandwidth in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// Link bandwidth, not transitive (RFC 10005), in bytes per second. The AS is AS_TRANS when it needs four octets.
    pub fn link_bandwidth(asn: u32, bytes_per_second: f32) -> Self {
        let [a, b] = u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes();
        let [c, d, e, f] = bytes_per_second.to_be_bytes();
        Self([NOT_TRANSITIVE, LINK_BANDWIDTH, a, b, c, d, e, f])
    }

    /// The link bandwidth that it gives, in bytes per second; `None` when it is another community, or gives no such number.
    pub fn bandwidth(self) -> Option<f32> {
        let [kind, LINK_BANDWIDTH, _, _, a, b, c, d] = self.0 else {
            return None;
        };
        let bandwidth = f32::from_be_bytes([a, b, c, d]);
        let usable = kind & !NOT_TRANSITIVE == 0 && bandwidth.is_finite() && bandwidth >= 0.0;
        usable.then_some(bandwidth)
    }

    /// Whether it may leave the AS (RFC 4360 §2).
    pub const fn is_transitive(self) -> bool {
        let Self([kind, ..]) = self;
        kind & NOT_TRANSITIVE == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bandwidth() {
            Some(bandwidth) => write!(f, "link bandwidth {bandwidth} bytes/s"),
            None => write!(f, "{:016x}", u64::from_be_bytes(self.0)),
        }
    }
}

const NOT_TRANSITIVE: u8 = 0x40;
const LINK_BANDWIDTH: u8 = 4;

/// Reads a value that is a list of 32-bit numbers; `None` when it is empty or is none (RFC 7606 §7.8).
pub(super) fn communities(value: &[u8]) -> Option<Vec<Community>> {
    list(value, |bytes| Community(u32::from_be_bytes(bytes)))
}

/// Reads a value that is a list of eight octets each; `None` when it is empty or is none (RFC 7606 §7.14).
pub(super) fn extended_communities(value: &[u8]) -> Option<Vec<ExtendedCommunity>> {
    list(value, ExtendedCommunity)
}

/// Reads a value that is a list of twelve octets each; `None` when it is empty or is none (RFC 8092 §6).
pub(super) fn large_communities(value: &[u8]) -> Option<Vec<LargeCommunity>> {
    list(value, |[a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]| {
        LargeCommunity {
            global: u32::from_be_bytes([a, b, c, d]),
            local1: u32::from_be_bytes([e, f, g, h]),
            local2: u32::from_be_bytes([i, j, k, l]),
        }
    })
}

fn list<const N: usize, T>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (items, []) = value.as_chunks::<N>() else {
        return None;
    };
    (!items.is_empty()).then(|| items.iter().map(|bytes| item(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_communities_have_the_numbers_of_the_registry() {
        for (high, low, name) in [
            (65535, 0, "graceful-shutdown"),
            (65535, 1, "accept-own"),
            (65535, 6, "llgr-stale"),
            (65535, 7, "no-llgr"),
            (65535, 666, "blackhole"),
            (65535, 65281, "no-export"),
            (65535, 65282, "no-advertise"),
            (65535, 65283, "no-export-subconfed"),
            (65535, 65284, "no-peer"),
            (64512, 100, "64512:100"),
        ] {
            assert_eq!(Community::new(high, low).to_string(), name);
        }
    }

    #[test]
    fn the_link_bandwidth_is_a_float_behind_the_as() {
        let community = ExtendedCommunity::link_bandwidth(64512, 125_000_000.0);
        assert_eq!(community.0, [0x40, 4, 0xfc, 0, 0x4c, 0xee, 0x6b, 0x28]);
        assert_eq!(community.bandwidth(), Some(125_000_000.0));
        assert!(!community.is_transitive());
        let ExtendedCommunity([_, _, high, low, ..]) =
            ExtendedCommunity::link_bandwidth(70_000, 1.0);
        assert_eq!([high, low], AS_TRANS.to_be_bytes());
    }

    #[test]
    fn what_is_no_bandwidth_is_not_taken_for_one() {
        for bytes in [
            [0, 2, 0, 1, 0, 0, 0, 1],
            [3, 4, 0, 1, 0, 0, 0, 1],
            [0x40, 4, 0, 1, 0x7f, 0xc0, 0, 0],
            [0x40, 4, 0, 1, 0xbf, 0x80, 0, 0],
        ] {
            assert_eq!(ExtendedCommunity(bytes).bandwidth(), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_list_is_neither_empty_nor_has_a_rest() {
        for length in 0..40 {
            let value = vec![1; length];
            let whole = |size: usize| length > 0 && length % size == 0;
            assert_eq!(communities(&value).is_some(), whole(4));
            assert_eq!(extended_communities(&value).is_some(), whole(8));
            assert_eq!(large_communities(&value).is_some(), whole(12));
        }
    }
}
