//! Why something is not announced.

use std::net::IpAddr;

use ironlb_model::{Name, ServiceKey};
use thiserror::Error;

/// Why a Service is not announced: by a node, or at all. Prints as half a sentence, to come after a colon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// Its type is another one.
    #[error("its type is not LoadBalancer")]
    NotLoadBalancer,
    /// Its loadBalancerClass is not the one we were given.
    #[error("{}", foreign_class(class.as_deref()))]
    ForeignClass {
        /// Its class.
        class: Option<String>,
    },
    /// There is no such Service, or it is not ours.
    #[error("there is no such Service of type LoadBalancer and of our class")]
    NotKnown,
    /// Its status has no address.
    #[error("it has no address yet")]
    NoIpAllocated,
    /// Its status holds something that is no address.
    #[error("its status holds {ip:?}, which is no IP address")]
    InvalidIp {
        /// What it holds.
        ip: Box<str>,
    },
    /// An address is in no pool.
    #[error("{ip} is in no address pool of the configuration")]
    IpNotAllowed {
        /// The address.
        ip: IpAddr,
    },
    /// No advertisement of this protocol is for its pool and labels.
    #[error("no {kind} selects pool {pool:?} and this Service")]
    NoMatchingAdvertisement {
        /// The kind of the advertisements looked at.
        kind: &'static str,
        /// The pool.
        pool: Name,
    },
    /// An advertisement selects Services, while this one may share its address with one that is not selected.
    #[error(
        "it may share its address (annotation allow-shared-ip), and L2Advertisement {advertisement:?} has \
         serviceSelectors, which could give one address two owners"
    )]
    SharedIpWithServiceSelector {
        /// The advertisement.
        advertisement: Name,
    },
    /// No endpoint serves, on any node.
    #[error("it has no serving endpoint")]
    NoEndpoints,
    /// Kubernetes does not know the node.
    #[error("node {node:?} is not known")]
    NodeUnknown {
        /// The node.
        node: Name,
    },
    /// The node's network is down.
    #[error("node {node:?} has the condition NetworkUnavailable")]
    NodeNetworkUnavailable {
        /// The node.
        node: Name,
    },
    /// The node is taken out of load balancing by its label.
    #[error("node {node:?} has the label {}", ironlb_model::node::EXCLUDE_LABEL)]
    NodeLabeledExcludeBalancers {
        /// The node.
        node: Name,
    },
    /// The node is taken out of load balancing by a taint.
    #[error("node {node:?} has the taint {taint}")]
    NodeTainted {
        /// The node.
        node: Name,
        /// The key of the taint.
        taint: String,
    },
    /// No advertisement for the Service selects the node.
    #[error("no {kind} for it selects node {node:?}")]
    NodeNotSelected {
        /// The kind of the advertisements looked at.
        kind: &'static str,
        /// The node.
        node: Name,
    },
    /// externalTrafficPolicy is Local, and the node has no serving endpoint.
    #[error("externalTrafficPolicy is Local, and node {node:?} has no serving endpoint")]
    NoLocalEndpoints {
        /// The node.
        node: Name,
    },
    /// Traffic to the address on the node would not be served for every Service that shares it.
    #[error(
        "not every Service that shares {ip} with it and has externalTrafficPolicy Local has a serving endpoint on \
         node {node:?}"
    )]
    NoLocalEndpointsOfSharer {
        /// The node.
        node: Name,
        /// The address.
        ip: IpAddr,
    },
    /// No node at all may announce it.
    #[error("no node may announce {ip}")]
    NoEligibleNode {
        /// The address.
        ip: IpAddr,
    },
    /// Services that share the address have no node in common that could serve them all, and the older ones go first.
    #[error("no node can serve it together with {with}, which shares {ip} and was there before")]
    NoNodeInCommon {
        /// The address.
        ip: IpAddr,
        /// The oldest of the Services that share it.
        with: ServiceKey,
    },
    /// Another node won the election.
    #[error("node {owner:?} answers for it")]
    NotOwner {
        /// The owner.
        owner: Name,
    },
    /// Advertisements ask for different LOCAL_PREF on one route.
    #[error(
        "BGPAdvertisements for it ask for localPref {first} and {second} on one route to peer {peer:?}"
    )]
    ConflictingAdvertisements {
        /// The peer.
        peer: Name,
        /// One value.
        first: u32,
        /// The other.
        second: u32,
    },
    /// There are advertisements, and nobody to tell.
    #[error("there is no BGPPeer")]
    NoPeerAtAll,
    /// No peer of the node is one that the advertisements name.
    #[error("no BGPPeer that the BGPAdvertisements for it name selects node {node:?}")]
    NoPeer {
        /// The node.
        node: Name,
    },
}

impl Reason {
    /// One word for logs and metrics: MetalLB's where it has one.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotLoadBalancer => "notLoadBalancer",
            Self::ForeignClass { .. } => "foreignClass",
            Self::NotKnown => "serviceDeleted",
            Self::NoIpAllocated => "noIPAllocated",
            Self::InvalidIp { .. } => "invalidIP",
            Self::IpNotAllowed { .. } => "ipNotAllowed",
            Self::NoMatchingAdvertisement { .. } | Self::NodeNotSelected { .. } => {
                "noMatchingAdvertisement"
            }
            Self::SharedIpWithServiceSelector { .. } => "sharedIPWithServiceSelector",
            Self::NoEndpoints => "noEndpoints",
            Self::NodeUnknown { .. } => "nodeUnknown",
            Self::NodeNetworkUnavailable { .. } => "nodeNetworkUnavailable",
            Self::NodeLabeledExcludeBalancers { .. } => "nodeLabeledExcludeBalancers",
            Self::NodeTainted { .. } => "nodeTainted",
            Self::NoLocalEndpoints { .. } | Self::NoLocalEndpointsOfSharer { .. } => {
                "noLocalEndpoints"
            }
            Self::NoEligibleNode { .. } => "noEligibleNode",
            Self::NoNodeInCommon { .. } => "sharedIPWithoutCommonNode",
            Self::NotOwner { .. } => "notOwner",
            Self::ConflictingAdvertisements { .. } => "conflictingAdvertisements",
            Self::NoPeer { .. } | Self::NoPeerAtAll => "noMatchingPeer",
        }
    }
}

fn foreign_class(class: Option<&str>) -> String {
    match class {
        Some(class) => format!("its loadBalancerClass {class:?} is not ours"),
        None => "it has no loadBalancerClass, and ours is one".to_owned(),
    }
}
