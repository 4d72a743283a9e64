//! Service.

use ironlb_model as model;
use kube::core::ObjectMeta;
use model::{Family, IpFamilyPolicy, TrafficPolicy};
use serde::{Deserialize, Serialize};

use super::endpoint_slice::{namespace_of, parse_all};
use super::protocol;
use super::resource::resource;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Service {
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`.
    #[serde(default)]
    pub spec: Option<ServiceSpec>,
    /// `status`.
    #[serde(default)]
    pub status: Option<ServiceStatus>,
}

/// `spec` of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `LoadBalancer`, `ClusterIP`, ...
    #[serde(rename = "type", default)]
    pub type_: Option<String>,
    /// Whose load balancer it wants.
    #[serde(default)]
    pub load_balancer_class: Option<String>,
    /// The first cluster address, or `None` (the word) for a headless Service.
    #[serde(rename = "clusterIP", default)]
    pub cluster_ip: Option<String>,
    /// All cluster addresses.
    #[serde(rename = "clusterIPs", default)]
    pub cluster_ips: Option<Vec<String>>,
    /// Its families, the primary one first.
    #[serde(default)]
    pub ip_families: Option<Vec<String>>,
    /// One family or two.
    #[serde(default)]
    pub ip_family_policy: Option<String>,
    /// `Cluster` or `Local`.
    #[serde(default)]
    pub external_traffic_policy: Option<String>,
    /// Selects its Pods.
    #[serde(default)]
    pub selector: Option<model::Labels>,
    /// Its ports.
    #[serde(default)]
    pub ports: Option<Vec<ServicePort>>,
    /// The address wanted (deprecated by Kubernetes, still honoured).
    #[serde(rename = "loadBalancerIP", default)]
    pub load_balancer_ip: Option<String>,
}

/// One port of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ServicePort {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its protocol; absent means TCP.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The number that clients use.
    #[serde(default)]
    pub port: i64,
}

/// `status` of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `loadBalancer`.
    #[serde(default)]
    pub load_balancer: Option<LoadBalancerStatus>,
}

/// `status.loadBalancer` of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LoadBalancerStatus {
    /// Where clients reach it.
    #[serde(default)]
    pub ingress: Option<Vec<LoadBalancerIngress>>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LoadBalancerIngress {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

resource!(
    Service,
    "Service",
    "",
    "v1",
    "services",
    kube::core::NamespaceResourceScope
);

impl Service {
    /// What decides.
    pub fn to_model(&self) -> model::Service {
        let metadata = &self.metadata;
        let mut service = model::Service::new(model::ServiceKey::new(
            namespace_of(metadata),
            metadata.name.as_deref().unwrap_or_default(),
        ));
        service.uid = metadata.uid.as_deref().unwrap_or_default().into();
        service.resource_version = metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
            .into();
        service.created = metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.as_second());
        service.labels = metadata.labels.clone().unwrap_or_default();
        self.read_annotations(&mut service);
        service.is_load_balancer = false;
        if let Some(spec) = &self.spec {
            spec.read(&mut service);
        }
        service.ingress = self.ingress();
        service
    }

    fn read_annotations(&self, service: &mut model::Service) {
        service.requested_pool = self.annotation("address-pool");
        service.requested_ips = self.annotation("loadBalancerIPs");
        service.sharing_key = self.annotation("allow-shared-ip");
        let annotations = self.metadata.annotations.as_ref();
        service.allocated_from = annotations
            .and_then(|annotations| annotations.get("metallb.io/ip-allocated-from-pool"))
            .cloned();
        service.deprecated_annotations = annotations
            .into_iter()
            .flat_map(|annotations| annotations.keys())
            .filter(|key| key.starts_with("metallb.universe.tf"))
            .cloned()
            .collect();
    }

    /// The annotation `name`; with both prefixes there the new one wins, even when it is empty.
    fn annotation(&self, name: &str) -> Option<String> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations
            .get(&format!("metallb.io/{name}"))
            .or_else(|| annotations.get(&format!("metallb.universe.tf/{name}")))
            .cloned()
    }

    fn ingress(&self) -> Vec<model::Ingress> {
        let balancer = self
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref());
        balancer
            .into_iter()
            .flat_map(|balancer| &balancer.ingress)
            .flatten()
            .map(|entry| model::Ingress {
                ip: entry.ip.clone().unwrap_or_default(),
                hostname: entry.hostname.clone().unwrap_or_default(),
            })
            .collect()
    }
}

impl ServiceSpec {
    fn read(&self, service: &mut model::Service) {
        service.is_load_balancer = self.type_.as_deref() == Some("LoadBalancer");
        service.class = self.load_balancer_class.clone();
        service.cluster_ips = match &self.cluster_ips {
            Some(all) if !all.is_empty() => parse_all(all.iter()),
            _ => parse_all(self.cluster_ip.iter()),
        };
        let written = self
            .cluster_ip
            .iter()
            .chain(self.cluster_ips.iter().flatten());
        service.is_headless = written.into_iter().any(|ip| ip == "None");
        service.ip_families = self
            .ip_families
            .iter()
            .flatten()
            .filter_map(|name| match name.as_str() {
                "IPv4" => Some(Family::V4),
                "IPv6" => Some(Family::V6),
                _ => None,
            })
            .collect();
        service.ip_family_policy = match self.ip_family_policy.as_deref() {
            Some("PreferDualStack") => IpFamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => IpFamilyPolicy::RequireDualStack,
            _ => IpFamilyPolicy::SingleStack,
        };
        service.traffic_policy = match self.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        };
        service.selector = self.selector.clone().unwrap_or_default();
        service.ports = self
            .ports
            .iter()
            .flatten()
            .filter_map(ServicePort::to_model)
            .collect();
        service.load_balancer_ip = self
            .load_balancer_ip
            .clone()
            .filter(|text| !text.is_empty());
    }
}

impl ServicePort {
    fn to_model(&self) -> Option<model::Port> {
        Some(model::Port {
            name: self.name.clone().unwrap_or_default(),
            protocol: protocol(self.protocol.as_deref())?,
            port: u16::try_from(self.port).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(json: serde_json::Value) -> model::Service {
        serde_json::from_value::<Service>(json).unwrap().to_model()
    }

    fn annotated(annotations: serde_json::Value) -> model::Service {
        service(serde_json::json!({"metadata": {"name": "web", "annotations": annotations}}))
    }

    #[test]
    fn the_new_prefix_wins_even_when_it_is_empty() {
        let both = annotated(serde_json::json!({
            "metallb.io/address-pool": "",
            "metallb.universe.tf/address-pool": "old"
        }));
        assert_eq!(both.requested_pool.as_deref(), Some(""));
    }

    #[test]
    fn the_old_prefix_is_read_and_remembered_as_deprecated() {
        let old = annotated(serde_json::json!({
            "metallb.universe.tf/loadBalancerIPs": "192.0.2.1",
            "metallb.universe.tf/ip-allocated-from-pool": "ours"
        }));
        assert_eq!(old.requested_ips.as_deref(), Some("192.0.2.1"));
        assert_eq!(old.allocated_from, None);
        assert_eq!(old.deprecated_annotations.len(), 2);
    }

    #[test]
    fn values_that_make_no_sense_do_not_lose_the_service() {
        let odd = service(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "type": "LoadBalancer",
                "clusterIPs": ["junk", "10.96.0.1"],
                "ipFamilies": ["IPv9", "IPv6"],
                "ipFamilyPolicy": "Whatever",
                "externalTrafficPolicy": "Elsewhere",
                "ports": [{"port": 70000}, {"port": 80, "protocol": "QUIC"}, {"port": 443}]
            },
            "status": {"loadBalancer": {"ingress": [{"hostname": "a.example"}, {"ip": "nonsense"}]}}
        }));
        assert_eq!(odd.cluster_ips.len(), 1);
        assert_eq!(odd.ip_families, [Family::V6]);
        assert_eq!(odd.ports.len(), 1);
        assert_eq!(odd.ingress.len(), 2);
        assert_eq!(odd.ip_family_policy, IpFamilyPolicy::SingleStack);
    }

    #[test]
    fn a_headless_service_has_no_cluster_address() {
        let headless = service(serde_json::json!({
            "metadata": {"name": "web"},
            "spec": {"type": "LoadBalancer", "clusterIP": "None", "clusterIPs": ["None"]}
        }));
        assert!(headless.cluster_ips.is_empty() && headless.is_headless);
        assert!(headless.is_load_balancer);
    }

    #[test]
    fn a_service_without_type_is_no_load_balancer() {
        let plain = service(serde_json::json!({"metadata": {"name": "web"}, "spec": {}}));
        assert!(!plain.is_load_balancer);
    }

    #[test]
    fn creation_is_in_seconds_since_1970() {
        let dated = service(serde_json::json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:01:00Z"}
        }));
        assert_eq!(dated.created, Some(60));
    }
}
