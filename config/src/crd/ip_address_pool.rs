//! IPAddressPool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use super::resource::custom_resource;
use super::rules;

custom_resource!(
    /// Addresses that Services may get.
    IPAddressPool,
    "v1beta1",
    "ipaddresspools",
    IPAddressPoolSpec,
    IPAddressPoolStatus
);

/// The addresses, and who may have them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["addresses"]))]
pub struct IPAddressPoolSpec {
    /// Prefixes (192.0.2.0/24) and ranges (192.0.2.10-192.0.2.20) of both families; no two may overlap, here or in
    /// another pool.
    #[serde(default)]
    #[schemars(length(min = 1, max = 7000), extend("items" = rules::address_entries(), "x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
    /// Whether a Service that asks for no pool may get an address from this one.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Restricts who may have the addresses, and says how this pool ranks among others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
    /// An extension: what becomes of an address that leaves the pool while a Service holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_removal: Option<OnRemoval>,
    /// An extension: how long an address that a Service has given up is kept back while another is free, 0s to 24h; 0s
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION), extend("x-kubernetes-validations" = rules::duration_within("0s", "24h")))]
    pub cool_down: Option<String>,
}

impl Default for IPAddressPoolSpec {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            auto_assign: true,
            avoid_buggy_ips: false,
            service_allocation: None,
            on_removal: None,
            cool_down: None,
        }
    }
}

/// Who may have addresses of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Which pool comes first, the lower number; 0 and absent come last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: Option<i64>,
    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,
    /// Namespaces by label, in addition to those by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub service_selectors: Vec<LabelSelector>,
}

/// An extension: what becomes of an address that leaves the pool while a Service holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnRemoval {
    /// The Service gets another one at once.
    #[default]
    Move,
    /// The Service keeps it.
    Hold,
}

/// How many addresses are taken and free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses that Services hold.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that Services hold.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are free.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are free; the largest number there is when there are more.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
}

pub(super) const fn yes() -> bool {
    true
}
