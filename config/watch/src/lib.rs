//! The Kubernetes API as a source: watches in, typed values out.
//!
//! [`Sources`] gathers the watches that a controller or speaker lives on into one stream of [`Update`]s; each is a
//! [`follow`], which survives whatever the API server does and never says that something is gone because it could not be
//! reached. The rest is what both need beside it: the way to the API server ([`Access`]), the configuration, Events
//! ([`Recorder`]), metrics, the [`admin`] server, and [`file`]s that are put in place whole.
//!
//! It decides nothing about Services and keeps no objects: what is read is handed on. Start with `follow.rs`.
#![forbid(unsafe_code)]

mod access;
pub mod admin;
mod backoff;
mod barrier;
mod configuration;
mod configuration_state;
mod credential;
mod event;
pub mod file;
mod follow;
mod last_good;
mod metrics;
mod patience;
pub mod sources;
mod uids;

pub use access::{Access, AccessError};
pub use backoff::{Backoff, jittered, random};
pub use barrier::Barrier;
pub use configuration_state::{Component, owner};
pub use event::{Recorder, Reporter, Subject};
pub use follow::{Change, ObjectName, Selection, follow};
pub use metrics::Metrics;
pub use sources::{Sources, Update};
pub use uids::Uids;
