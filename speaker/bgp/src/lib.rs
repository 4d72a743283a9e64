//! BGP-4 (RFC 4271): messages, sessions and what is announced on them, without sockets.
//!
//! A core: no clock, socket, task or lock. It does not choose what to announce (`ironlb-speaker-core` does), computes no best
//! path, installs no route, and keeps of a peer's routes no more than their number.
//!
//! Start with [`wire`], the messages.
#![forbid(unsafe_code)]

pub mod wire;
