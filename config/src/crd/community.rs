//! Community.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::{Nothing, custom_resource};

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
    pub communities: Vec<CommunityAlias>,
}

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CommunityAlias {
    /// The name, by which BGPAdvertisements use it.
    #[serde(default)]
    pub name: Option<String>,
    /// The community: 65000:1 or large:65000:1:2.
    #[serde(default)]
    pub value: Option<String>,
}
