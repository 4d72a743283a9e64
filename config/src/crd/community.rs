//! Community.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::{Nothing, custom_resource};
use super::rules;

custom_resource!(
    /// Names for BGP communities.
    Community,
    "v1beta1",
    "communities",
    CommunitySpec,
    Nothing
);

/// The names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CommunitySpec {
    /// Each with its community.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub communities: Vec<CommunityAlias>,
}

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("required" = ["name", "value"]))]
pub struct CommunityAlias {
    /// The name, by which BGPAdvertisements use it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[^:]*$"))]
    pub name: Option<String>,
    /// The community: 65000:1, large:65000:1:2, or a well-known name (no-export).
    #[serde(default)]
    #[schemars(length(max = 40), extend("x-kubernetes-validations" = rules::community()))]
    pub value: Option<String>,
}
