//! BFDProfile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::{Nothing, custom_resource};

custom_resource!(
    /// How fast a dead BGP peer is noticed.
    BFDProfile,
    "v1beta1",
    "bfdprofiles",
    BFDProfileSpec,
    Nothing
);

/// Intervals of BFD packets (RFC 5880), in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BFDProfileSpec {
    /// Packets missed until the peer counts as dead; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<i64>,
    /// The shortest interval at which we can receive; 300 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub receive_interval: Option<i64>,
    /// The shortest interval at which we send; 300 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub transmit_interval: Option<i64>,
    /// The interval of echo packets; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub echo_interval: Option<i64>,
    /// Whether echo packets are sent: to neighbours with a global address, of either family. As in MetalLB, not to peers that
    /// are told of a pool with IPv6.
    #[serde(default)]
    pub echo_mode: bool,
    /// Whether the peer is to begin.
    #[serde(default)]
    pub passive_mode: bool,
    /// The lowest TTL accepted from a peer over several hops; 254 when absent.
    #[serde(
        default,
        rename = "minimumTtl",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<i64>,
}
