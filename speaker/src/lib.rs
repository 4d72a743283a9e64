//! One node's announcer: watches and frames in, frames out.
//!
//! The shell around `ironlb-speaker-core`: it gives the machine what Kubernetes, netlink and packet sockets deliver, and does
//! what the machine says. It decides nothing about who announces what, or which frame is answered.
//!
//! Start with [`drive`], the loop that every speaker runs; [`kubernetes`] feeds it in a cluster.

mod args;
pub mod bfd;
pub mod drive;
pub mod kubernetes;
pub mod metrics;
mod peers;
mod sockets;
mod statuses;

pub use args::{SpeakerArgs, taint_key};
pub use sockets::Traffic;
