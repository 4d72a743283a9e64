//! EndpointSlice.

use std::net::IpAddr;

use ironlb_model as model;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::protocol;
use super::resource::resource;

/// An EndpointSlice: where the endpoints of a Service are, and which of them serve.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The endpoints.
    #[serde(default)]
    pub endpoints: Option<Vec<Endpoint>>,
    /// The ports.
    #[serde(default)]
    pub ports: Option<Vec<EndpointPort>>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its addresses, or host names.
    #[serde(default)]
    pub addresses: Option<Vec<String>>,
    /// Its conditions.
    #[serde(default)]
    pub conditions: Option<Conditions>,
    /// The node that it is on.
    #[serde(default)]
    pub node_name: Option<String>,
}

/// `conditions` of an [`Endpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Conditions {
    /// Ready for traffic; absent means yes.
    #[serde(default)]
    pub ready: Option<bool>,
    /// Serving, even while terminating.
    #[serde(default)]
    pub serving: Option<bool>,
}

/// One port of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndpointPort {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its protocol; absent means TCP.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Its number; absent means every port.
    #[serde(default)]
    pub port: Option<i64>,
}

resource!(
    EndpointSlice,
    "EndpointSlice",
    "discovery.k8s.io",
    "v1",
    "endpointslices",
    kube::core::NamespaceResourceScope
);

impl EndpointSlice {
    /// What decides. The Service's name is empty when the slice carries no label that says it.
    pub fn to_model(&self) -> model::EndpointSlice {
        let namespace: model::Name = namespace_of(&self.metadata).into();
        let labels = self.metadata.labels.as_ref();
        let service = labels
            .and_then(|labels| labels.get(SERVICE_NAME_LABEL))
            .map_or("", String::as_str);
        model::EndpointSlice {
            key: model::SliceKey::new(
                namespace.clone(),
                self.metadata.name.as_deref().unwrap_or_default(),
            ),
            service: model::ServiceKey::new(namespace, service),
            endpoints: self
                .endpoints
                .iter()
                .flatten()
                .map(Endpoint::to_model)
                .collect(),
            ports: self
                .ports
                .iter()
                .flatten()
                .filter_map(EndpointPort::to_model)
                .collect(),
        }
    }
}

impl Endpoint {
    fn to_model(&self) -> model::Endpoint {
        let conditions = self.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready);
        let serving = conditions.and_then(|conditions| conditions.serving);
        model::Endpoint {
            node: self.node_name.as_deref().map(Into::into),
            serving: ready.unwrap_or(true) || serving.unwrap_or(false),
            addresses: parse_all(self.addresses.iter().flatten()),
        }
    }
}

impl EndpointPort {
    fn to_model(&self) -> Option<model::endpoint::EndpointPort> {
        Some(model::endpoint::EndpointPort {
            name: self.name.clone().unwrap_or_default(),
            protocol: protocol(self.protocol.as_deref())?,
            port: u16::try_from(self.port?).ok()?,
        })
    }
}

/// The namespace of a namespaced object; manifests may leave out `default`.
pub(super) fn namespace_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or("default")
}

/// Those of `texts` that are addresses.
pub(super) fn parse_all<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(conditions: &serde_json::Value) -> bool {
        let json = serde_json::json!({"addresses": ["10.0.0.1"], "conditions": conditions});
        serde_json::from_value::<Endpoint>(json)
            .unwrap()
            .to_model()
            .serving
    }

    #[test]
    fn an_endpoint_serves_unless_it_says_that_it_is_not_ready() {
        assert!(serving(&serde_json::json!(null)));
        assert!(serving(&serde_json::json!({})));
        assert!(serving(&serde_json::json!({"ready": true})));
        assert!(!serving(&serde_json::json!({"ready": false})));
    }

    #[test]
    fn a_terminating_endpoint_that_still_serves_counts() {
        assert!(serving(
            &serde_json::json!({"ready": false, "serving": true, "terminating": true})
        ));
    }

    #[test]
    fn a_slice_belongs_to_the_service_in_its_label() {
        let json = serde_json::json!({
            "metadata": {"name": "web-abc", "namespace": "shop",
                         "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "FQDN",
            "endpoints": [{"addresses": ["host.example"], "nodeName": "n1"}],
            "ports": [{"port": 8080}, {"port": 99999}, {"port": 53, "protocol": "UDP", "name": "dns"}]
        });
        let slice = serde_json::from_value::<EndpointSlice>(json)
            .unwrap()
            .to_model();
        assert_eq!(slice.service, model::ServiceKey::new("shop", "web"));
        assert_eq!(slice.endpoints[0].node.as_deref(), Some("n1"));
        assert!(slice.endpoints[0].addresses.is_empty());
        assert_eq!(slice.ports.len(), 2);
    }
}
