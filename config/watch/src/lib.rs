//! The Kubernetes API as a source: watches in, typed values out.
#![forbid(unsafe_code)]

mod access;
pub mod admin;
mod backoff;
mod barrier;
mod configuration;
mod configuration_state;
mod event;
mod follow;
mod metrics;
mod patience;
pub mod sources;

pub use access::{Access, AccessError};
pub use backoff::Backoff;
pub use barrier::Barrier;
pub use configuration_state::Component;
pub use event::{Recorder, Reporter, Subject, Uids};
pub use follow::{Change, ObjectName, Selection, follow};
pub use metrics::Metrics;
pub use sources::{Sources, Update};
