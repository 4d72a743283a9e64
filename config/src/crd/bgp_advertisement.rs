//! BGPAdvertisement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use super::resource::{Nothing, custom_resource};
use super::rules;

custom_resource!(
    /// Announces addresses over BGP.
    BGPAdvertisement,
    "v1beta1",
    "bgpadvertisements",
    BGPAdvertisementSpec,
    Nothing
);

/// Which addresses are announced, to whom, and as what routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::bgp_advertisement()))]
pub struct BGPAdvertisementSpec {
    /// Length of the IPv4 prefixes announced.
    #[serde(default = "host_v4")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: i64,
    /// Length of the IPv6 prefixes announced.
    #[serde(default = "host_v6")]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: i64,
    /// LOCAL_PREF of the routes, towards internal peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub local_pref: Option<i64>,
    /// Communities on the routes: 65000:1, large:65000:1:2, or an alias of a Community object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("items" = rules::communities_and_aliases(), "x-kubernetes-list-type" = "set"))]
    pub communities: Vec<String>,
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
    /// The nodes that announce; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048))]
    pub node_selectors: Vec<LabelSelector>,
    /// The Services that this is for; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub service_selectors: Vec<LabelSelector>,
    /// The peers that are told, by name of their BGPPeer; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub peers: Vec<String>,
}

impl Default for BGPAdvertisementSpec {
    fn default() -> Self {
        Self {
            aggregation_length: host_v4(),
            aggregation_length_v6: host_v6(),
            local_pref: None,
            communities: Vec::new(),
            ip_address_pools: Vec::new(),
            ip_address_pool_selectors: Vec::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
            peers: Vec::new(),
        }
    }
}

const fn host_v4() -> i64 {
    32
}

const fn host_v6() -> i64 {
    128
}
