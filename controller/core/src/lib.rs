//! The controller's decisions: which Service gets which address, and what to tell the API and the operator.
//!
//! [`Controller`] is a state machine: no clock, socket or task. Feed it what the watches deliver with
//! [`handle`](Controller::handle), then drain [`poll`](Controller::poll) until `None`, and come back at
//! [`deadline`](Controller::deadline). The [`Allocator`] inside it knows nothing of Services' objects, and can be used
//! by itself.
//!
//! [`lease::Election`] is another one: which of several controllers leads.
//!
//! It does not read or write the API and announces nothing.
//!
//! Start with [`io`], all that goes in and comes out; then `decide`, what becomes of one Service.
#![forbid(unsafe_code)]

pub mod alloc;
mod avoid;
mod by_address;
mod choose;
pub mod controller;
mod decide;
pub mod io;
pub mod lease;
mod ledger;
mod pool;
mod pools;
mod record;
pub mod refusal;
pub mod share;
mod terms;
pub mod usage;
mod waiting;
mod writes;

pub use alloc::{Allocation, Allocator, Request};
pub use controller::{Controller, Settings};
pub use io::{Input, Output, StatusWrite, WriteOutcome};
pub use refusal::{Families, Refusal};
pub use usage::{Count, Usage};
