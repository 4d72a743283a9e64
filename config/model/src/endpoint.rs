//! Endpoints of a Service.

use std::net::IpAddr;

use crate::{Name, Protocol, ServiceKey, SliceKey};

/// An EndpointSlice, reduced to what decides announcing and forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub key: SliceKey,
    /// The Service it belongs to (label `kubernetes.io/service-name`).
    pub service: ServiceKey,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Its ports; a Service's port is found by name and protocol.
    pub ports: Vec<EndpointPort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `nodeName`; `None` when it is not said.
    pub node: Option<Name>,
    /// Whether it takes traffic: `ready` is true or absent, or `serving` is true.
    pub serving: bool,
    /// Its addresses, all of the slice's address type; empty for host names.
    pub addresses: Vec<IpAddr>,
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// `name`; empty when there is only one.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`: the number that the endpoint listens on.
    pub port: u16,
}
