//! Nodes and namespaces: what of them decides anything.

use std::net::IpAddr;

use crate::{Labels, Name};

/// The label that takes a node out of every load balancer, whatever its value.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A Kubernetes node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Whether its condition `NetworkUnavailable` is `True`; unknown or absent counts as available.
    pub network_unavailable: bool,
    /// The keys of its taints, whatever their values and effects.
    pub taints: Vec<String>,
    /// Its addresses of the types InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
}

impl Node {
    /// Whether it carries [`EXCLUDE_LABEL`].
    pub fn is_excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }
}

/// A Kubernetes namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
}
