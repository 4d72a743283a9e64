//! What the controller does, seen from the API. One file per behaviour.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, too

mod assignment;
mod cluster;
mod families;
mod kept_back;
mod pools_in_error;
mod reconfiguration;
mod sharing;
mod writing;
