//! Node.

use std::net::IpAddr;

use ironlb_model as model;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::resource::resource;

/// A Node: its labels, taints, conditions and addresses.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Node {
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`.
    #[serde(default)]
    pub spec: Option<NodeSpec>,
    /// `status`.
    #[serde(default)]
    pub status: Option<NodeStatus>,
}

/// `spec` of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeSpec {
    /// Its taints.
    #[serde(default)]
    pub taints: Option<Vec<NodeTaint>>,
}

/// One taint of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeTaint {
    /// Its key, for example `node.kubernetes.io/unschedulable`.
    #[serde(default)]
    pub key: String,
}

/// `status` of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeStatus {
    /// Its conditions.
    #[serde(default)]
    pub conditions: Option<Vec<NodeCondition>>,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Option<Vec<NodeAddress>>,
}

/// One address of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeAddress {
    /// Its type, for example `InternalIP`.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// The address, or a name.
    #[serde(default)]
    pub address: String,
}

/// One condition of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeCondition {
    /// Its type, for example `NetworkUnavailable`.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
}

resource!(
    Node,
    "Node",
    "",
    "v1",
    "nodes",
    kube::core::ClusterResourceScope
);

impl Node {
    /// What decides.
    pub fn to_model(&self) -> model::Node {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        let taints = self.spec.iter().flat_map(|spec| &spec.taints);
        let addresses = self.status.iter().flat_map(|status| &status.addresses);
        model::Node {
            name: self.metadata.name.as_deref().unwrap_or_default().into(),
            labels: self.metadata.labels.clone().unwrap_or_default(),
            network_unavailable: conditions.flatten().any(|condition| {
                condition.type_ == "NetworkUnavailable" && condition.status == "True"
            }),
            taints: taints.flatten().map(|taint| taint.key.clone()).collect(),
            addresses: addresses.flatten().filter_map(NodeAddress::ip).collect(),
        }
    }
}

impl NodeAddress {
    /// The address, when it is one that the node has on a network.
    fn ip(&self) -> Option<IpAddr> {
        let is_ip = matches!(self.type_.as_str(), "InternalIP" | "ExternalIP");
        let address: IpAddr = self.address.parse().ok().filter(|_| is_ip)?;
        Some(address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(status: &str) -> model::Node {
        let json = serde_json::json!({
            "metadata": {"name": "n1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"},
                                      {"type": "NetworkUnavailable", "status": status}]}
        });
        serde_json::from_value::<Node>(json).unwrap().to_model()
    }

    #[test]
    fn only_a_network_that_is_known_to_be_unavailable_counts() {
        assert!(node("True").network_unavailable);
        assert!(!node("False").network_unavailable);
        assert!(!node("Unknown").network_unavailable);
    }

    #[test]
    fn a_taint_counts_by_its_key() {
        let json = serde_json::json!({
            "spec": {"unschedulable": true, "taints": [
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"},
                {"key": "example.com/leaving", "value": "soon", "effect": "NoExecute"}]}
        });
        let node = serde_json::from_value::<Node>(json).unwrap().to_model();
        let expected = ["node.kubernetes.io/unschedulable", "example.com/leaving"];
        assert_eq!(node.taints, expected);
    }

    #[test]
    fn only_addresses_on_a_network_are_read() {
        let json = serde_json::json!({
            "status": {"addresses": [
                {"type": "Hostname", "address": "192.0.2.99"},
                {"type": "InternalIP", "address": "192.0.2.1"},
                {"type": "InternalIP", "address": "2001:db8::1"},
                {"type": "ExternalIP", "address": "::ffff:203.0.113.1"},
                {"type": "ExternalIP", "address": "nonsense"}]}
        });
        let node = serde_json::from_value::<Node>(json).unwrap().to_model();
        let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1", "2001:db8::1", "203.0.113.1"]);
    }

    #[test]
    fn a_node_without_status_is_available() {
        assert!(!Node::default().to_model().network_unavailable);
    }
}
