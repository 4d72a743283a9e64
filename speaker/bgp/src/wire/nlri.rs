//! Prefixes as UPDATEs hold them (RFC 4271 §4.3): a length in bits, and as many octets as it needs.

use ipnet::IpNet;
use ironlb_model::Family;

/// Prefixes of one family in a message, checked, and read again as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Prefixes<'a> {
    /// None of `family`.
    pub const fn none(family: Family) -> Self {
        Self { family, bytes: &[] }
    }

    /// Their family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One by one, in the order of the message, bits beyond the length cleared.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        std::iter::empty()
    }
}
