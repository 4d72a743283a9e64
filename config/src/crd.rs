//! The custom resources of group `metallb.io`, as Rust types.
//!
//! One type is the source of everything: what a file or a watch is decoded into, the schema in the
//! CustomResourceDefinition, and the rules (CEL) that the API server enforces for what one object alone can
//! violate. Fields that only ironlb has say so in their first sentence ("An extension").

mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod community;
mod definition;
mod duration;
mod ip_address_pool;
mod l2_advertisement;
mod resource;
mod rules;
mod selector;
mod status;

pub use bfd_profile::{BFDProfile, BFDProfileSpec};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec, LinkBandwidth};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, DynamicAsn, SecretReference, SecretText};
pub use community::{Community, CommunityAlias, CommunitySpec};
pub use definition::{all, yaml};
pub(crate) use duration::parse as parse_duration;
pub use ip_address_pool::{
    IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, OnRemoval, ServiceAllocation,
};
pub use l2_advertisement::{
    Election, Gratuitous, L2Advertisement, L2AdvertisementSpec, PreferredNodeSelector,
};
pub use selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use status::{
    ConfigurationState, ConfigurationStateResult, ConfigurationStateStatus, InterfaceInfo,
    ServiceBGPStatus, ServiceBGPStatusStatus, ServiceL2Status, ServiceL2StatusStatus,
};
