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
    /// Communities on the routes: 65000:1, large:65000:1:2, a well-known name (no-export), or an alias of a
    /// Community object.
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
    /// An extension: extended communities on the routes: rt:65000:1, soo:192.0.2.1:1, or eight octets,
    /// 0x0002fde800000001.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("items" = rules::extended_communities(), "x-kubernetes-list-type" = "set"))]
    pub extended_communities: Vec<String>,
    /// An extension: MULTI_EXIT_DISC of the routes, by which a neighbouring AS chooses among our links; the lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub med: Option<i64>,
    /// An extension: how many times more our AS number is in AS_PATH, towards external peers; the shorter path wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32))]
    pub as_path_prepend: Option<i64>,
    /// An extension: next hop of the IPv4 routes; absent for our address on the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::next_hop(4)))]
    pub next_hop: Option<String>,
    /// An extension: next hop of the IPv6 routes; absent for our address on the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::next_hop(6)))]
    pub next_hop_v6: Option<String>,
    /// An extension: tells routers how to divide the traffic among the nodes, by the ready endpoints that each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_bandwidth: Option<LinkBandwidth>,
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
            extended_communities: Vec::new(),
            med: None,
            as_path_prepend: None,
            next_hop: None,
            next_hop_v6: None,
            link_bandwidth: None,
        }
    }
}

/// An extension: weights of the nodes, as the Link Bandwidth extended community (RFC 10005).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkBandwidth {
    /// Mbit/s for each ready endpoint on the node, 1 to 1000000; 100 when absent. What counts is the ratio of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_endpoint: Option<i64>,
}

const fn host_v4() -> i64 {
    32
}

const fn host_v6() -> i64 {
    128
}
