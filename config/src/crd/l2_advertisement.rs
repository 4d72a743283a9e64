//! L2Advertisement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use super::resource::{Nothing, custom_resource};
use super::rules;

custom_resource!(
    /// Announces addresses by ARP and NDP.
    L2Advertisement,
    "v1beta1",
    "l2advertisements",
    L2AdvertisementSpec,
    Nothing
);

/// Which addresses are announced, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name. With no pool named or selected, every pool.
    #[serde(
        default,
        rename = "ipAddressPools",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 4096), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    #[serde(
        default,
        rename = "ipAddressPoolSelectors",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 256))]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// The nodes that may announce; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048))]
    pub node_selectors: Vec<LabelSelector>,
    /// The interfaces to announce on; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub interfaces: Vec<String>,
    /// The Services that this is for; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that come first in the election, by the sum of their weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
    /// An extension: how the owner of an address is elected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<Election>,
    /// An extension: the burst of gratuitous announcements when an address moves to another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gratuitous: Option<Gratuitous>,
    /// An extension: how often the owner repeats a gratuitous announcement, 1s to 24h; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION), extend("x-kubernetes-validations" = rules::duration_within("1s", "24h")))]
    pub refresh_interval: Option<String>,
}

/// Nodes to prefer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("required" = ["preference", "weight"]))]
pub struct PreferredNodeSelector {
    /// How much, 1 to 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<i64>,
    /// Which nodes.
    #[serde(default)]
    pub preference: Option<LabelSelector>,
}

/// An extension: how the owner of an address is elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Election {
    /// By rendezvous hashing, each address by itself.
    #[default]
    Rendezvous,
    /// In MetalLB's order, for a cluster where both run during a migration.
    MetallbCompat,
    /// The same as MetallbCompat.
    #[serde(rename = "metallb-compat")]
    MetallbCompatKebab,
}

/// An extension: the burst of gratuitous announcements when an address moves to another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Gratuitous {
    /// How many, 1 to 60; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub count: Option<i64>,
    /// The time between two, 100ms to 60s; 1100ms when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION), extend("x-kubernetes-validations" = rules::duration_within("100ms", "60s")))]
    pub interval: Option<String>,
}
