//! One node's announcer: watches and frames in, frames out.
//!
//! The shell around `ironlb-speaker-core`: it gives the machine what Kubernetes, netlink and packet sockets deliver, and does
//! what the machine says. It decides nothing about who announces what, or which frame is answered.
//!
//! Start with [`drive`], the loop that every speaker runs.

pub mod drive;
mod sockets;

pub use sockets::Traffic;
