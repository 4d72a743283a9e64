//! The vocabulary that every part of ironlb shares.
//!
//! Names, addresses, time, label selectors, the typed configuration, and the few facts about Services, endpoints
//! and nodes that decide anything. Plain values: nothing here parses what an operator wrote (that is
//! `ironlb-config`), decides (the cores do) or touches the system (the shells do).
//!
//! Start with [`Config`], what the operator wants, and [`Service`], what it is wanted for.
#![forbid(unsafe_code)]

pub mod addr;
pub mod bgp;
pub mod community;
pub mod config;
pub mod endpoint;
pub mod event;
pub mod labels;
pub mod link;
pub mod names;
pub mod node;
pub mod service;
pub mod time;

pub use addr::{Family, Range};
pub use bgp::{BfdProfile, BgpAdvertisement, BgpPeer};
pub use community::{Community, ExtendedCommunity};
pub use config::{Config, L2Advertisement, Pool, PoolSelection, ServiceAllocation};
pub use endpoint::{Endpoint, EndpointSlice};
pub use event::{Event, EventKind};
pub use labels::{LabelSelector, Labels, Operator, Requirement};
pub use link::{Link, Mac};
pub use names::{Name, ServiceKey, SliceKey};
pub use node::{Namespace, Node};
pub use service::{Ingress, IpFamilyPolicy, Port, Protocol, Service, TrafficPolicy};
pub use time::Time;
