//! The messages against other implementations: what real routers sent each other, and an independent decoder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may"
)]

mod capture;
mod netgauze;
mod routers;
