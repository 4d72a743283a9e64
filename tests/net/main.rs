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

use ironlb_lab::backend::Program;

mod bfd;
mod bgp;
mod demo;
mod documents;
mod layer2;
mod speaker;
mod standalone;
mod wire;

/// What serves behind the nodes: a server that is in the binary, so that `cargo test` has built it.
fn backend() -> Program {
    Program::new(env!("CARGO_BIN_EXE_ironlb"))
        .argument("demo")
        .argument("--serve")
}
