//! The messages of BGP-4 as bytes, both ways.
//!
//! One file for each message, each with `decode` and `encode`. What arrives goes through [`Framer`] and [`Message::decode`]; what
//! is sent is written by `encode` of its type, UPDATEs by [`pack()`]. [`Error`] is a fault that ends the session, and knows the
//! NOTIFICATION that it asks for; a [`Fault`] is one that does not (RFC 7606).
//!
//! Nothing here panics whatever the peer sends, and no allocation is larger than what has arrived warrants. There is no state
//! beside the framer's: what was negotiated comes in as [`Negotiated`]. Only unicast of IPv4 and IPv6 is understood;
//! route reflection, confederation segments beyond reading them, ADD-PATH and outbound route filters are not.

pub mod attribute;
pub mod capability;
mod error;
mod family;
pub mod framer;
mod negotiated;
mod nlri;
pub mod notification;
mod open;
pub mod pack;
mod reader;
mod route_refresh;
mod update;
mod writer;

pub use attribute::{
    Aggregator, AsPath, Attributes, Community, ExtendedCommunity, LargeCommunity, NextHop, Origin,
    Segment, UnknownAttribute,
};
pub use capability::{Capabilities, Fqdn, GracefulRestart};
pub use error::{Action, Error, Fault, FaultKind};
pub use family::AfiSafi;
pub use framer::{Frame, Framer, Kind};
pub use negotiated::Negotiated;
pub use nlri::Prefixes;
pub use notification::{Notification, Reason};
pub use open::Open;
pub use pack::{
    EncodeError, EncodedAttributes, end_of_rib, pack, pack_message, withdraw, withdraw_message,
};
pub use route_refresh::{RefreshKind, RouteRefresh};
pub use update::Update;

/// A message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first on a session.
    Open(Open),
    /// Routes come and go.
    Update(Update<'a>),
    /// The peer closes the session, and says why.
    Notification(Notification),
    /// The peer is there.
    Keepalive,
    /// The peer wants all routes again, or says that it sends its own again.
    RouteRefresh(RouteRefresh),
}

impl<'a> Message<'a> {
    /// Reads the body of a message whose header the framer has checked.
    ///
    /// # Errors
    /// What ends the session; [`Error::notification`] is what the peer is told. A malformed NOTIFICATION is no error: it is
    /// read as far as it goes, because nothing may be sent in answer (RFC 4271 §6.4).
    pub fn decode(frame: Frame<'a>, negotiated: &Negotiated) -> Result<Self, Error> {
        Ok(match frame.kind {
            Kind::Open => Self::Open(Open::decode(frame.body)?),
            Kind::Update => Self::Update(Update::decode(frame.body, negotiated)?),
            Kind::Notification => Self::Notification(Notification::decode(frame.body)),
            Kind::Keepalive => Self::Keepalive,
            Kind::RouteRefresh => Self::RouteRefresh(RouteRefresh::decode(frame.body)?),
        })
    }
}

/// Appends a KEEPALIVE (RFC 4271 §4.4).
pub fn encode_keepalive(to: &mut Vec<u8>) {
    framer::encode(to, Kind::Keepalive, |_| {});
}

/// Stands in the two-octet fields for an AS number that does not fit (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
