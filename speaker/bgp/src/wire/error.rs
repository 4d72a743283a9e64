//! What can be wrong with what a peer sends: that which ends the session, and that which does not.

use std::fmt;
use std::net::Ipv4Addr;

use thiserror::Error as ThisError;

use super::attribute::kind;
use super::{Notification, Reason};

/// A fault that ends the session (RFC 4271 §6, RFC 7313 §5). Says what was found; [`notification`](Self::notification) is what the
/// peer is told.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The 16 octets in front of a message are not all ones.
    #[error("the marker of a message is not all ones")]
    Marker,
    /// A message is too short or too long for its type.
    #[error("a message of type {kind} has {length} bytes, not {allowed}")]
    Length {
        /// The type that it gives.
        kind: u8,
        /// The length that it gives.
        length: u16,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// There is no such type of message.
    #[error("there is no message of type {0}")]
    Type(u8),
    /// The version is not 4.
    #[error("the version is {0}, not 4")]
    Version(u8),
    /// No speaker has such an AS number (RFC 7607, RFC 6793 §9).
    #[error("the AS number is {0}, which no speaker can have")]
    PeerAs(u32),
    /// No speaker has such an identifier (RFC 6286 §2.1).
    #[error("the BGP identifier is {0}, which no speaker can have")]
    Identifier(Ipv4Addr),
    /// The hold time is 1 or 2.
    #[error("the hold time is {0} s, not 0 or at least 3 s")]
    HoldTime(u16),
    /// An optional parameter is no capabilities.
    #[error("optional parameter {0} of the OPEN is not 2 (capabilities)")]
    OptionalParameter(u8),
    /// A length inside of the OPEN does not fit the rest.
    #[error("the OPEN is malformed: {0}")]
    Open(&'static str),
    /// The lengths of an UPDATE's fields do not fit the message.
    #[error("the UPDATE is malformed: {0}")]
    Update(&'static str),
    /// Prefixes of an UPDATE cannot be read.
    #[error("the {field} of an UPDATE cannot be read: a prefix is too long or cut short")]
    Network {
        /// The field, in the words of RFC 4271.
        field: &'static str,
    },
    /// An attribute that leaves no way to go on with the session.
    #[error("{fault}")]
    Attribute {
        /// What is wrong with which.
        fault: Fault,
        /// Flags, type, length and value, as received.
        bytes: Vec<u8>,
    },
    /// A BoRR or EoRR has not 4 bytes of body.
    #[error("a ROUTE-REFRESH of subtype {subtype} has {length} bytes behind the header, not 4")]
    Refresh {
        /// Its subtype.
        subtype: u8,
        /// The length of its body in bytes.
        length: usize,
        /// All of the message.
        bytes: Vec<u8>,
    },
}

impl Error {
    /// What the peer is told.
    pub fn notification(&self) -> Notification {
        Notification {
            reason: self.reason(),
            data: self.data(),
        }
    }

    /// Code and subcode of what the peer is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Marker => Reason::NOT_SYNCHRONIZED,
            Self::Length { .. } => Reason::BAD_LENGTH,
            Self::Type(_) => Reason::BAD_TYPE,
            Self::Version(_) => Reason::UNSUPPORTED_VERSION,
            Self::PeerAs(_) => Reason::BAD_PEER_AS,
            Self::Identifier(_) => Reason::BAD_IDENTIFIER,
            Self::HoldTime(_) => Reason::UNACCEPTABLE_HOLD_TIME,
            Self::OptionalParameter(_) => Reason::UNSUPPORTED_PARAMETER,
            Self::Open(_) => Reason::OPEN,
            Self::Update(_) => Reason::MALFORMED_ATTRIBUTE_LIST,
            Self::Network { .. } => Reason::INVALID_NETWORK,
            Self::Attribute { fault, .. } => fault.reason(),
            Self::Refresh { .. } => Reason::REFRESH_LENGTH,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Self::Length { length, .. } => length.to_be_bytes().to_vec(),
            Self::Type(kind) => vec![*kind],
            // The largest version that we speak.
            Self::Version(_) => vec![0, 4],
            Self::Attribute { fault, bytes } => match (fault.kind, fault.attribute) {
                (FaultKind::Duplicate | FaultKind::Overrun, _) => Vec::new(),
                (FaultKind::Missing, Some(attribute)) => vec![attribute],
                _ => bytes.clone(),
            },
            Self::Refresh { bytes, .. } => bytes.clone(),
            _ => Vec::new(),
        }
    }
}

/// Something wrong in an UPDATE. Prints as a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// The type of the attribute; `None` when it is about the list of attributes, or the fields for IPv4 prefixes.
    pub attribute: Option<u8>,
    /// What is wrong.
    pub kind: FaultKind,
    /// What is done about it.
    pub action: Action,
}

impl Fault {
    /// What RFC 4271 §6.3 has for it.
    fn reason(self) -> Reason {
        match (self.kind, self.attribute) {
            (FaultKind::Flags, _) => Reason::ATTRIBUTE_FLAGS,
            (FaultKind::Unrecognized, _) => Reason::UNRECOGNIZED_WELL_KNOWN,
            (FaultKind::Missing, _) => Reason::MISSING_WELL_KNOWN,
            (FaultKind::Duplicate | FaultKind::Overrun, _) => Reason::MALFORMED_ATTRIBUTE_LIST,
            (_, Some(kind::MP_REACH_NLRI | kind::MP_UNREACH_NLRI)) => Reason::OPTIONAL_ATTRIBUTE,
            (FaultKind::Length, _) => Reason::ATTRIBUTE_LENGTH,
            (_, Some(kind::ORIGIN)) => Reason::INVALID_ORIGIN,
            (_, Some(kind::AS_PATH)) => Reason::MALFORMED_AS_PATH,
            (_, Some(kind::NEXT_HOP)) => Reason::INVALID_NEXT_HOP,
            _ => Reason::OPTIONAL_ATTRIBUTE,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute.map(|number| (kind::name(number), number)) {
            Some((Some(name), _)) => write!(f, "{name} {}", self.kind),
            Some((None, number)) => write!(f, "attribute {number} {}", self.kind),
            None if self.kind == FaultKind::Family => {
                f.write_str("the NLRI field is of a family that is not exchanged")
            }
            None => f.write_str("an attribute reaches beyond the attributes"),
        }
    }
}

/// What is done about a fault, the mildest first (RFC 7606 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The attribute is discarded, the routes are taken.
    AttributeDiscard,
    /// The routes are treated as withdrawn.
    TreatAsWithdraw,
    /// The session ends: only in an [`Error`].
    SessionReset,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttributeDiscard => "attribute discard",
            Self::TreatAsWithdraw => "treat-as-withdraw",
            Self::SessionReset => "session reset",
        })
    }
}

/// What is wrong with an attribute. Prints as what follows its name.
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
    /// It reaches beyond the attributes; what follows it cannot be read.
    Overrun,
    /// It is of a family that was not negotiated.
    Family,
    /// It does not belong on a session of this kind.
    Misplaced,
    /// It claims to be well-known, and is not known.
    Unrecognized,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flags => "has flags that are not those of its type",
            Self::Length => "has an impossible length",
            Self::Value => "has a value that is not allowed",
            Self::Duplicate => "is there more than once",
            Self::Missing => "must be there and is missing",
            Self::Overrun => "reaches beyond the attributes",
            Self::Family => "is of a family that is not exchanged",
            Self::Misplaced => "does not belong on such a session",
            Self::Unrecognized => "claims to be well-known, and is not known",
        })
    }
}
