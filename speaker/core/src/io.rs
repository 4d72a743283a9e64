//! What goes into the [`Speaker`](crate::Speaker) and what comes out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bgp::io::{PeerInput, PeerOutput};
use ironlb_model::{
    Config, EndpointSlice, Event, Link, Mac, Name, Node, Service, ServiceKey, SliceKey,
};

/// Something that happened. Frames come by [`Speaker::handle_frame`](crate::Speaker::handle_frame).
#[derive(Clone, Debug)]
pub enum Input {
    /// The configuration is now this.
    Config(Arc<Config>),
    /// A node is there, or has changed.
    NodeApplied(Node),
    /// A node is gone.
    NodeDeleted(Name),
    /// A Service is there, or has changed. Any type and class: what is not ours is let go of.
    ServiceApplied(Box<Service>),
    /// A Service is gone.
    ServiceDeleted(ServiceKey),
    /// An EndpointSlice is there, or has changed.
    EndpointsApplied(EndpointSlice),
    /// An EndpointSlice is gone.
    EndpointsDeleted(SliceKey),
    /// Everything above has been read once. Nothing is announced before.
    Synced,
    /// An interface is there, or has changed.
    LinkApplied(Link),
    /// An interface is gone.
    LinkDeleted(u32),
    /// Something happened to a BGP peer, or to what it needs.
    Peer(PeerInput),
    /// The time of [`deadline`](crate::Speaker::deadline) has come; harmless when early.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a packet socket on an interface: ARP requests and replies, and neighbour discovery when `ndp` is set.
    /// Said again when the set changes.
    Listen {
        /// The interface's index.
        interface: u32,
        /// Its name, for the logs.
        name: String,
        /// Whether ARP is wanted on it.
        arp: bool,
        /// Whether neighbour discovery is wanted on it.
        ndp: bool,
    },
    /// Close the packet socket of an interface.
    Ignore {
        /// The interface's index.
        interface: u32,
    },
    /// Receive frames to this Ethernet group on an interface (a solicited-node group, RFC 4291 §2.7.1).
    Join {
        /// The interface's index.
        interface: u32,
        /// The group's Ethernet address.
        group: Mac,
    },
    /// Stop receiving frames to this group.
    Leave {
        /// The interface's index.
        interface: u32,
        /// The group's Ethernet address.
        group: Mac,
    },
    /// Send a whole Ethernet frame.
    Send {
        /// The interface's index.
        interface: u32,
        /// The frame, from destination address to payload.
        frame: Vec<u8>,
    },
    /// Tell the operator.
    Event(Event),
    /// This node now announces a Service on layer 2, or on other interfaces than before, or no longer.
    Layer2(Layer2Status),
    /// This node now announces a Service to other BGP peers than before, or no longer.
    Bgp(BgpStatus),
    /// Something to do for a BGP peer.
    Peer(PeerOutput),
}

/// Whether, and where, this node announces a Service by ARP and NDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer2Status {
    /// The Service.
    pub service: ServiceKey,
    /// The interfaces by name when the advertisement names them, empty for all; `None` when it is not announced here.
    pub interfaces: Option<BTreeSet<String>>,
}

/// To which BGP peers this node announces a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpStatus {
    /// The Service.
    pub service: ServiceKey,
    /// The peers that are to be told, whether or not their sessions are up; none when it is not announced here.
    pub peers: BTreeSet<Name>,
}
