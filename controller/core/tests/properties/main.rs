//! Long random histories, checked against models that are slow and obvious.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod against_api;
mod against_model;
mod slow;
mod world;
