//! ARP and NDP: frames, who is answered, and the gratuitous announcements after a takeover, without sockets.
//!
//! [`Responder`] is a state machine: no clock, socket or task. Tell it which interfaces there are
//! ([`set_port`](Responder::set_port)) and which addresses this node owns now ([`hold`](Responder::hold),
//! [`release`](Responder::release)); give it what arrives ([`handle_frame`](Responder::handle_frame)) and the time
//! ([`tick`](Responder::tick)); drain [`poll`](Responder::poll) after each of these until `None`, and come back at
//! [`deadline`](Responder::deadline).
//!
//! It does not decide who owns an address (`ironlb-speaker-core` does), never resolves an address itself, and keeps no
//! neighbour cache. IPv6 extension headers, VLAN tags and Secure Neighbor Discovery (RFC 3971) are not understood:
//! such frames are dropped.
//!
//! [`Discovery`], beside it, finds the router at the other end of a link for BGP sessions that have no address configured.
//!
//! Start with [`responder`]; the wire formats are [`ethernet`], [`arp`] and [`ndp`].
#![forbid(unsafe_code)]

pub mod arp;
mod burst;
pub mod discovery;
pub mod ethernet;
mod group;
mod judge;
pub mod ndp;
pub mod responder;

pub use discovery::Discovery;
pub use ethernet::DecodeError;
pub use group::{ethernet_group, solicited_node};
pub use responder::{
    Conflict, Counters, Dropped, Holding, Interfaces, Output, Port, Responder, Verdict,
};
