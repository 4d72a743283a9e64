//! OPEN (RFC 4271 §4.2).

use std::net::Ipv4Addr;

use super::{Capabilities, Error};

/// The first message on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number: the one of the four-octet capability where that is sent, else the two-octet field.
    /// [`encode`](Self::encode) writes it to the field, or AS_TRANS; the capability is the caller's.
    pub asn: u32,
    /// The hold time it proposes in seconds: zero, or at least 3.
    pub hold_time: u16,
    /// Its BGP identifier, not zero (RFC 6286).
    pub router_id: Ipv4Addr,
    /// What it offers.
    pub capabilities: Capabilities,
}

impl Open {
    /// Reads the body.
    ///
    /// # Errors
    /// Those of RFC 4271 §6.2 that need no configuration: the version, an AS number of 0 or AS_TRANS (RFC 7607), the identifier,
    /// a hold time of 1 or 2, an optional parameter that is no capabilities or is cut short.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let _ = body;
        todo!()
    }

    /// Appends the message, with the long form of optional parameters (RFC 9072) where the short one has no room.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let _ = to;
        todo!()
    }
}
