//! What must hold whatever arrives: one module for each target, each with one function over bytes that panics when it does not.
//!
//! libFuzzer calls them with what it invents; the root package's test `fuzzing` with what a seed invents.

pub mod arp;
pub mod bfd_packet;
pub mod bfd_sessions;
pub mod bgp_message;
pub mod bgp_session;
pub mod bgp_stream;
pub mod config;
pub mod ndp;
pub mod responder;
