//! ROUTE-REFRESH (RFC 2918), and its beginning and end (RFC 7313).

use super::{AfiSafi, Error};

/// A ROUTE-REFRESH. One of a family that is not exchanged is to be ignored (RFC 2918 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family.
    pub family: AfiSafi,
    /// What is wanted or said.
    pub kind: RefreshKind,
}

/// The subtype of a ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// Send all routes again.
    Request,
    /// BoRR: all routes follow again.
    Begin,
    /// EoRR: that was all of them.
    End,
    /// To be ignored (RFC 7313 §5).
    Unknown(u8),
}

impl RouteRefresh {
    /// Reads the body.
    ///
    /// # Errors
    /// When a BoRR or an EoRR has not 4 bytes (RFC 7313 §5).
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let _ = body;
        todo!()
    }

    /// Appends the message.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let _ = to;
        todo!()
    }
}
