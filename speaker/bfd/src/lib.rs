//! Bidirectional Forwarding Detection (RFC 5880) over one hop (RFC 5881) and several (RFC 5883), without sockets.
//!
//! [`Sessions`] is a state machine: no clock, socket, task or randomness but a seed. It has three verbs:
//!
//! 1. [`handle`](Sessions::handle) what arrives: sessions wanted and no longer wanted, datagrams, the passing of time;
//! 2. [`poll`](Sessions::poll) after each of these until `None`, and send what it says;
//! 3. come back with [`Input::Tick`] at [`deadline`](Sessions::deadline).
//!
//! Its parts are used alone in tests: [`Session`] is one session with its timers, [`Packet`] the format.
//!
//! It does not authenticate (packets that claim to be are discarded), never asks for demand mode (and honours a peer's wish for it),
//! makes no session that nobody here asked for (RFC 9468), and does not decide what becomes of a routing protocol when a session
//! goes down: [`Reason::ends_clients`] says what RFC 5882 has on it.
//!
//! Start with [`Session`]: its `step` is the state table.
#![forbid(unsafe_code)]

mod echo;
mod random;
mod session;
mod sessions;
mod settings;
mod status;
mod timers;
mod wire;

#[cfg(test)]
mod pair;

pub use echo::{ECHO_LENGTH, EchoPayload};
pub use session::Session;
pub use sessions::{
    Counters, Datagram, Discard, ECHO_PORT, EchoFrame, Input, Key, MULTI_HOP_PORT, Output,
    SINGLE_HOP_PORT, Sessions, View,
};
pub use settings::Settings;
pub use status::{Reason, Status};
pub use wire::{DecodeError, Diagnostic, LENGTH, Packet, State};
