//! Communities of three kinds: RFC 1997, RFC 4360 and RFC 8092.

/// A community (RFC 1997): the AS in the upper 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Traffic is to leave gracefully: lowest preference (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// Not to be told to external peers (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// Not to be told to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);

    /// `high:low`.
    pub const fn new(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }
}

/// An extended community (RFC 4360), as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// Link bandwidth, not transitive (draft-ietf-idr-link-bandwidth); the AS as far as two octets hold it, else AS_TRANS.
    pub fn link_bandwidth(asn: u32, bytes_per_second: f32) -> Self {
        let _ = (asn, bytes_per_second);
        todo!()
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator: an AS.
    pub global: u32,
    /// First part of local data.
    pub local1: u32,
    /// Second part of local data.
    pub local2: u32,
}
