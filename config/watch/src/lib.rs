//! The Kubernetes API as a source: watches in, typed values out.
#![forbid(unsafe_code)]

mod access;
mod backoff;
mod follow;
mod metrics;
mod patience;

pub use access::{Access, AccessError};
pub use backoff::Backoff;
pub use follow::{Change, ObjectName, Selection, follow};
pub use metrics::Metrics;
