//! What can be wrong with what a peer sends: that which ends the session, and that which does not.

use std::fmt;

use thiserror::Error as ThisError;

use super::{Notification, Reason};

/// A fault that ends the session.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("{detail}")]
pub struct Error {
    /// What the peer is told: code and subcode.
    pub reason: Reason,
    /// What else it is told (RFC 4271 §6).
    pub data: Vec<u8>,
    /// What was found and what is allowed, for our own log.
    pub detail: String,
}

impl Error {
    /// What the peer is told.
    pub fn notification(&self) -> Notification {
        Notification {
            reason: self.reason,
            data: self.data.clone(),
        }
    }
}

/// A fault in an UPDATE that does not end the session (RFC 7606).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The type of the attribute; `None` when it is about the list of attributes.
    pub attribute: Option<u8>,
    /// What is wrong.
    pub kind: FaultKind,
    /// What is done about it.
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

/// What is done about a fault, the mildest first (RFC 7606 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The attribute is discarded, the routes are taken.
    AttributeDiscard,
    /// The routes are treated as withdrawn.
    TreatAsWithdraw,
}

/// What is wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Its flags are not those of its type.
    Flags,
    /// Its length is impossible.
    Length,
    /// Its value is not allowed.
    Value,
    /// It is there more than once; the first counts.
    Duplicate,
    /// It must be there and is not.
    Missing,
    /// It reaches beyond the attributes.
    Overrun,
    /// It is of a family that was not negotiated.
    Family,
}
