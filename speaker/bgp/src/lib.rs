//! BGP-4 (RFC 4271): messages, sessions and what is announced on them, without sockets.
//!
//! A core: no clock, socket, task or lock. It does not choose what to announce (`ironlb-speaker-core` does), computes no best
//! path, installs no route, and keeps of a peer's routes no more than their number.
//!
//! Start with [`Peer`], which keeps the session with one peer, [`Rib`], what all peers are told, and [`wire`], the messages.
#![forbid(unsafe_code)]

mod collision;
mod io;
pub mod peer;
pub mod policy;
mod restart;
pub mod rib;
pub mod route;
mod session;
mod timers;
pub mod wire;

pub use collision::Direction;
pub use io::{Connection, Input, Output};
pub use peer::{Peer, Settings};
pub use policy::{Export, LocalAddresses, Standing, Unsendable};
pub use restart::Stop;
pub use rib::Rib;
pub use route::{Audience, Route, RouteAttributes};
pub use session::{Agreement, Cause, Count, Counters, Faults, Messages, Side, State};
