//! What one node announces, and why.
//!
//! [`Speaker`] is a state machine: no clock, socket or task. Feed it what watches, netlink and sockets deliver with
//! [`handle`](Speaker::handle) and [`handle_frame`](Speaker::handle_frame), then drain [`poll`](Speaker::poll) until
//! `None`, and come back at [`deadline`](Speaker::deadline). The decisions in it ([`decide()`]) are plain functions over
//! [`World`], which `ironlb plan` calls for every node.
//!
//! It allocates nothing and forwards nothing.
#![forbid(unsafe_code)]

mod bgp;
pub mod decide;
pub mod elect;
mod endpoints;
#[cfg(test)]
mod fixtures;
pub mod io;
mod node_set;
mod pools;
mod ports;
mod reports;
mod retired;
mod roster;
mod speaker;
mod world;

pub use bgp::io as peers;
pub use decide::{Announcement, Decision, Reason, decide};
pub use io::{BgpStatus, Input, Layer2Status, Output};
pub use ports::DEFAULT_EXCLUDED_INTERFACES;
pub use speaker::{Settings, Speaker};
pub use world::{Affected, World};
