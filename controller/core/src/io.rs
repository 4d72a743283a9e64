//! What goes into the [`Controller`](crate::Controller) and what comes out of it.

use std::net::IpAddr;
use std::sync::Arc;

use ironlb_model::{Config, Event, Name, Namespace, Node, Service, ServiceKey};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The configuration is now this.
    Config(Arc<Config>),
    /// A namespace is there, or has changed.
    NamespaceApplied(Namespace),
    /// A namespace is gone.
    NamespaceDeleted(Name),
    /// A node is there, or has changed. Only its addresses matter here.
    NodeApplied(Node),
    /// A node is gone.
    NodeDeleted(Name),
    /// A Service is there, or has changed. Any type and class: what is not ours is let go of.
    ServiceApplied(Box<Service>),
    /// A Service is gone.
    ServiceDeleted(ServiceKey),
    /// Configuration, namespaces, nodes and Services have all been read once. Nothing is allocated or written before.
    Synced,
    /// A [`StatusWrite`] came to its end.
    Written {
        /// The Service it was for.
        service: ServiceKey,
        /// How it went.
        outcome: WriteOutcome,
    },
    /// The time of [`deadline`](crate::Controller::deadline) has come; harmless when early.
    Tick,
}

/// How a [`StatusWrite`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is in force.
    Done,
    /// The object had changed meanwhile; the newer one is on its way through the watch.
    Conflict,
    /// The object is gone.
    Gone,
    /// It was refused, or never arrived; worth another try later.
    Failed,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write a Service's status. There is at most one under way for a Service; answer with [`Input::Written`].
    Write(StatusWrite),
    /// Tell the operator.
    Event(Event),
}

/// A write to the status sub-resource of a Service, conditional on its resource version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWrite {
    /// The Service.
    pub service: ServiceKey,
    /// The resource version that the decision was made on: the write must fail when it is no longer the current one.
    pub resource_version: Arc<str>,
    /// The whole of `status.loadBalancer.ingress`, by address; empty to clear it.
    pub ips: Vec<IpAddr>,
    /// The annotation `metallb.io/ip-allocated-from-pool`; `None` to remove it.
    pub pool: Option<Name>,
}
