//! The controller's decisions: which Service gets which address, and what to tell the API and the operator.
//!
//! [`Controller`] is a state machine: no clock, socket or task. Feed it what the watches deliver with
//! [`handle`](Controller::handle), then drain [`poll`](Controller::poll) until `None`, and come back at
//! [`deadline`](Controller::deadline).
//!
//! It does not read or write the API, does not elect a leader's Lease over the wire, and announces nothing.
#![forbid(unsafe_code)]

pub mod controller;
pub mod io;
pub mod usage;

pub use controller::{Controller, Settings};
pub use io::{Input, Output, StatusWrite, WriteOutcome};
pub use usage::{Count, Usage};
