//! A Service: what of it decides its addresses and its announcement.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Family, Labels, ServiceKey};

/// A Kubernetes Service, reduced to what ironlb looks at.
///
/// Values that a user may have written wrongly (requested addresses, the status) are kept as written: what to
/// make of a wrong one is a decision, and decisions are the cores'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`; empty for a manifest from a file.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`; empty for a manifest from a file.
    pub resource_version: Arc<str>,
    /// `metadata.creationTimestamp` in seconds since 1970; `None` when absent.
    pub created: Option<i64>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether `spec.type` is LoadBalancer.
    pub is_load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// The addresses of `spec.clusterIPs` (or `clusterIP`); empty when headless or not assigned yet.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether it is headless: its `clusterIP` is the word `None`.
    pub is_headless: bool,
    /// `spec.ipFamilies`.
    pub ip_families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: IpFamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.selector`.
    pub selector: Labels,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// Annotation `address-pool`: the pool asked for. `Some("")` when present and empty.
    pub requested_pool: Option<String>,
    /// Annotation `loadBalancerIPs` as written: one or two addresses, separated by a comma.
    pub requested_ips: Option<String>,
    /// `spec.loadBalancerIP` as written, when not empty.
    pub load_balancer_ip: Option<String>,
    /// Annotation `allow-shared-ip`: the sharing key. `Some("")` when present and empty.
    pub sharing_key: Option<String>,
    /// Keys of deprecated annotations (those that begin `metallb.universe.tf`), for a warning.
    pub deprecated_annotations: Vec<String>,
    /// Annotation `ip-allocated-from-pool`, as the controller wrote it last.
    pub allocated_from: Option<String>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
}

impl Service {
    /// A LoadBalancer Service with nothing set but its key: the start for builders in tests.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            uid: Arc::default(),
            resource_version: Arc::default(),
            created: None,
            labels: Labels::new(),
            is_load_balancer: true,
            class: None,
            cluster_ips: Vec::new(),
            is_headless: false,
            ip_families: Vec::new(),
            ip_family_policy: IpFamilyPolicy::SingleStack,
            traffic_policy: TrafficPolicy::Cluster,
            selector: Labels::new(),
            ports: Vec::new(),
            requested_pool: None,
            requested_ips: None,
            load_balancer_ip: None,
            sharing_key: None,
            deprecated_annotations: Vec::new(),
            allocated_from: None,
            ingress: Vec::new(),
        }
    }

    /// Whether a controller or speaker that was given `class` (its `--lb-class`) is to care for it: a class must be
    /// the same on both sides, and without one only Services without one are ours.
    pub fn is_ours(&self, class: Option<&str>) -> bool {
        self.is_load_balancer && self.class.as_deref() == class
    }
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ingress {
    /// Its `ip` as written; empty for an entry by host name.
    pub ip: String,
    /// Its `hostname`; empty for an entry by address.
    pub hostname: String,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both families where the cluster has both.
    PreferDualStack,
    /// Both families, or nothing.
    RequireDualStack,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficPolicy {
    /// Any node may take traffic and forward it to any endpoint.
    #[default]
    Cluster,
    /// Only a node with an endpoint of its own may take traffic; the client's address is kept.
    Local,
}

/// A port of a Service: the protocol and number that clients use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// `name`; empty when there is only one port. Endpoint slices name their ports alike.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
}

/// A transport protocol of a Service port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
