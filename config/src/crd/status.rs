//! What ironlb reports through resources of their own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::{Nothing, custom_resource};
use super::rules;

custom_resource!(
    /// Which node announces a Service by ARP and NDP. Labels `metallb.io/node`, `metallb.io/service-name` and
    /// `metallb.io/service-namespace` say the same for selectors.
    ServiceL2Status,
    "v1beta1",
    "servicel2statuses",
    Nothing,
    ServiceL2StatusStatus
);

/// Which node announces, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceL2StatusStatus {
    /// The node that announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub node: Option<String>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub service_name: Option<String>,
    /// The Service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub service_namespace: Option<String>,
    /// The interfaces that it is announced on; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceInfo>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct InterfaceInfo {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

custom_resource!(
    /// Which peers a node announces a Service to over BGP.
    ServiceBGPStatus,
    "v1beta1",
    "servicebgpstatuses",
    Nothing,
    ServiceBGPStatusStatus
);

/// Which node announces, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBGPStatusStatus {
    /// The node that announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub node: Option<String>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub service_name: Option<String>,
    /// The Service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::immutable()))]
    pub service_namespace: Option<String>,
    /// The peers that the Service is announced to, by name of their BGPPeer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

custom_resource!(
    /// Whether a component of ironlb could use the configuration. Named `controller` or `speaker-NODE`; labels
    /// `metallb.io/component-type` and `metallb.io/node-name` say the same for selectors.
    ConfigurationState,
    "v1beta1",
    "configurationstates",
    Nothing,
    ConfigurationStateStatus
);

/// Whether the configuration is valid, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// Valid, Invalid, or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ConfigurationStateResult>,
    /// The errors, for people; empty when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_summary: Option<String>,
    /// Conditions `poolReconcilerValid` and `configReconcilerValid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Whether the configuration is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConfigurationStateResult {
    /// It is.
    Valid,
    /// It is not.
    Invalid,
    /// It is not known yet.
    Unknown,
}
