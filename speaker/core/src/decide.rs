//! What a node announces of a Service, or why it does not: plain functions over a [`World`].
//!
//! [`layer2`] elects, for each address of a Service, the one node that answers for it; [`bgp`] lists the routes that
//! one node sends. Both give the same result for the same world, whoever asks and whatever happened before.

mod bgp;
mod layer2;
mod reason;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_bgp::RouteAttributes;
use ironlb_model::{Name, Node, ServiceKey};

pub use bgp::bgp;
pub(crate) use bgp::{Routes, routes};
pub(crate) use layer2::layer2_of;
pub use layer2::{Owned, Owner, layer2, layer2_on};
pub use reason::Reason;

use crate::World;
use crate::world::Record;

/// What one node announces of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Layer 2 first, in the order of the Service's addresses; then BGP by peer and prefix.
    pub announcements: Vec<Announcement>,
    /// Why nothing is announced on layer 2; `None` when something is.
    pub no_layer2: Option<Reason>,
    /// Why nothing is announced by BGP; `None` when something is.
    pub no_bgp: Option<Reason>,
}

/// One thing that a node announces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Announcement {
    /// It answers for `ip` by ARP or neighbour discovery.
    Layer2 {
        /// The address.
        ip: IpAddr,
        /// The interfaces by name; `None` for all.
        interfaces: Option<BTreeSet<String>>,
    },
    /// It sends a route.
    Bgp {
        /// The peer that is told.
        peer: Name,
        /// The address, masked to the length that its advertisement aggregates to.
        prefix: IpNet,
        /// LOCAL_PREF for internal peers; `None` where no advertisement sets it: they are told the default, 100.
        local_pref: Option<u32>,
        /// What is said of the route, as far as it is for a peer of this kind. Other Services in the same prefix may add to it.
        attributes: RouteAttributes,
    },
}

/// What `node` announces of `service`.
pub fn decide(world: &World, service: &ServiceKey, node: &Name) -> Decision {
    let (layer2, no_layer2) = split(layer2_on(world, service, node));
    let (routes, no_bgp) = split(bgp(world, service, node));
    Decision {
        announcements: layer2.into_iter().chain(routes).collect(),
        no_layer2,
        no_bgp,
    }
}

/// The Service, when it has addresses that could be announced.
fn addressed<'w>(world: &'w World, key: &ServiceKey) -> Result<&'w Record, Reason> {
    let record = world.service(key).ok_or(Reason::NotKnown)?;
    match &record.invalid_ip {
        Some(ip) => Err(Reason::InvalidIp { ip: ip.clone() }),
        None if record.ips.is_empty() => Err(Reason::NoIpAllocated),
        None => Ok(record),
    }
}

/// Whether `node` may announce anything at all.
fn available<'w>(world: &'w World, node: &Name) -> Result<&'w Node, Reason> {
    let name = || node.clone();
    let known = world
        .node(node)
        .ok_or_else(|| Reason::NodeUnknown { node: name() })?;
    if known.network_unavailable {
        Err(Reason::NodeNetworkUnavailable { node: name() })
    } else {
        world.exclusion(known).map_or(Ok(known), Err)
    }
}

fn split(result: Result<Vec<Announcement>, Reason>) -> (Vec<Announcement>, Option<Reason>) {
    match result {
        Ok(announcements) => (announcements, None),
        Err(reason) => (Vec::new(), Some(reason)),
    }
}
