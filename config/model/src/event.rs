//! What an operator is told about a Service, as a Kubernetes Event.

use crate::ServiceKey;

/// An Event about a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// The Service it is about.
    pub service: ServiceKey,
    /// Whether it is good or bad news.
    pub kind: EventKind,
    /// A fixed word that tools match on (`IPAllocated`, `AllocationFailed`, `nodeAssigned`, ...).
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
}

/// The `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Something went as it should.
    Normal,
    /// Something needs the operator.
    Warning,
}
