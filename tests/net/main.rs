//! Real programs and a real kernel against the real speaker, in network namespaces. One module for each behaviour.
//!
//! Without `IRONLB_LAB=1` each test says that it is skipped: they need root and Debian's arping, ndisc6 and iproute2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod bfd;
mod bgp;
mod demo;
mod documents;
mod layer2;
mod speaker;
mod standalone;
mod wire;
