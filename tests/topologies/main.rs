//! The topologies beside this file, with real traffic: a client beyond the routers, many flows, and what becomes of them when a part fails
//! or is taken away. One module for each topology.
//!
//! Without `IRONLB_LAB=1` each test says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod dual_tor;
mod fabric;
mod ipv6_only;
mod leaf_spine;
mod route_reflector;
mod single_tor;
mod steady;
mod unnumbered;
