//! Slim Kubernetes kinds: only the fields that decide something.
//!
//! A full EndpointSlice costs fourteen times the memory of what is needed of it. These decode the same JSON and
//! YAML, skip the rest, and become the model's types by `to_model`. They are lenient: a value that makes no
//! sense (a cluster IP that is no address) is left out, never a reason to lose the object.

mod endpoint_slice;
mod namespace;
mod node;
mod resource;
mod service;

pub use endpoint_slice::{Conditions, Endpoint, EndpointPort, EndpointSlice};
pub use namespace::Namespace;
pub use node::{Node, NodeCondition, NodeStatus};
pub use service::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};

use ironlb_model::Protocol;

/// The protocol called `name`; absent means TCP, and one that is unknown is `None`.
fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}
