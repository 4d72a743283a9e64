//! Communities of three kinds: RFC 1997, RFC 8092, and RFC 4360, whose type is the model's.

use std::fmt;

use ironlb_model::ExtendedCommunity;

/// A community (RFC 1997): two numbers of 16 bits, the first an AS by convention. Prints as its well-known name, or `64512:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// The path is about to go: prefer any other (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// Not to be told to external peers (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);

    /// `high:low`.
    pub const fn new(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }

    /// What everybody calls it, when it is a well-known one.
    pub fn name(self) -> Option<&'static str> {
        let [a, b, c, d] = self.0.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let this = ironlb_model::Community::Standard(high, low);
        // Backwards: of two names the one of the RFC comes last.
        let mut known = ironlb_model::Community::WELL_KNOWN.iter().rev();
        let (name, _) = known.find(|(_, community)| *community == this)?;
        Some(name)
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
