//! What two OPENs agree on, as far as it changes how an UPDATE is read or written.

use ironlb_model::Family;

/// How UPDATEs of a session are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// Whether AS numbers take four octets (RFC 6793): both sides sent the capability.
    pub four_octet_as: bool,
    /// Whether the peer is in our own AS: LOCAL_PREF is sent, and believed.
    pub internal: bool,
    /// Whether IPv4 unicast is exchanged. Without any multiprotocol capability it is.
    pub ipv4: bool,
    /// Whether IPv6 unicast is exchanged.
    pub ipv6: bool,
    /// Whether IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
}

impl Negotiated {
    /// Whether unicast routes of `family` are exchanged.
    pub const fn exchanges(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}
