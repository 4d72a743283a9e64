//! Peers as a whole, through nothing but what they are given and what they give.
//!
//! `router` holds one against a router that says what the test wants; `network` holds two against each other over a modelled
//! TCP that has delays, can be cut, and loses its memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may"
)]

mod messages;
mod network;
mod random;
mod router;
mod sample;

mod bfd_strict;
mod captured;
mod collisions;
mod configuration;
mod connecting;
mod handshake;
mod pair;
mod restarts;
mod routes;
mod stopping;
mod timers;
mod wayward;
