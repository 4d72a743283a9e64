//! Who answers for an address, and that a client is served.

use std::net::SocketAddr;

use ironlb_lab::{Error, eventually, eventually_ok, needs_the_lab};
use serde_json::{Value, json};

use crate::product::{NAMESPACE, PATIENCE, Product, Tenant, alone, shared};

#[test]
fn a_client_reaches_a_service_over_both_families_by_tcp_and_udp() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "reach", 9);
    tenant.pod("n1", "web", "a");
    tenant.pod("n2", "web", "b");
    tenant.service("web", &json!({ "ipFamilyPolicy": "RequireDualStack" }));
    product
        .cluster
        .wait_for_endpoints("reach", "web", 2)
        .unwrap();
    for address in tenant.wait_for_addresses("web", 2) {
        let served = tenant.wait_until_served(address);
        assert!(served.starts_with("reach-"), "{served}");
        let socket = SocketAddr::new(address, 80);
        eventually("UDP is answered", PATIENCE, || {
            product.cluster.client().udp_exchange(socket).is_ok()
        })
        .unwrap();
    }
}

#[test]
fn with_the_local_policy_a_node_with_an_endpoint_answers_and_the_clients_address_is_kept() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "local", 10);
    let client = product.cluster.client();
    let first = tenant.pod("n2", "web", "a");
    tenant.service("web", &json!({ "externalTrafficPolicy": "Local" }));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_for_announcer(address, Some("n2"));
    tenant.wait_until_served(address);
    let answer = client.tcp_get(SocketAddr::new(address, 80)).unwrap();
    assert_eq!(answer.client.ip().to_string(), "10.0.0.3");

    tenant.pod("n3", "web", "b");
    product
        .cluster
        .wait_for_endpoints("local", "web", 2)
        .unwrap();
    product.cluster.delete_pod(&first).unwrap();
    tenant.wait_for_announcer(address, Some("n3"));
    eventually("the other node serves", PATIENCE, || {
        client
            .tcp_get(SocketAddr::new(address, 80))
            .is_ok_and(|answer| answer.backend == "local-b")
    })
    .unwrap();
}

#[test]
fn without_an_endpoint_nobody_answers() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "endpoint", 11);
    let pod = tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_until_served(address);
    product.cluster.set_ready(&pod, false).unwrap();
    tenant.wait_for_announcer(address, None);
    assert_eq!(tenant.addresses("web"), [address]);
    product.cluster.set_ready(&pod, true).unwrap();
    tenant.wait_until_served(address);
}

#[test]
fn a_deleted_service_is_answered_for_no_longer() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "deleted", 12);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({ "ipFamilyPolicy": "RequireDualStack" }));
    let addresses = tenant.wait_for_addresses("web", 2);
    for address in &addresses {
        tenant.wait_until_served(*address);
    }
    tenant.delete_service("web");
    for address in addresses {
        tenant.wait_for_announcer(address, None);
    }
}

#[test]
fn labels_of_nodes_decide_who_announces() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "labels", 13);
    let api = product.cluster.api();
    let label = |node: &str, value: Value| {
        let patch = json!({ "metadata": { "labels": { "rack": value } } });
        api.patch("v1/Node", "", node, &patch).unwrap();
    };
    label("n1", json!("a"));
    let advertisement = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": { "name": "labels", "namespace": NAMESPACE },
        "spec": { "ipAddressPools": ["labels"], "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] },
    });
    api.apply_object(&advertisement).unwrap();
    tenant.pod("n3", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_for_announcer(address, Some("n1"));
    label("n2", json!("a"));
    label("n1", Value::Null);
    tenant.wait_for_announcer(address, Some("n2"));
    label("n2", Value::Null);
    tenant.wait_for_announcer(address, None);
    tenant.wait_until_told("web", "nodeAssigned");
}

#[test]
fn a_node_that_is_excluded_or_has_no_network_answers_for_nothing() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "excluded", 27);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    let first = tenant.wait_for_announcer_somewhere(address);
    let fate = Fate(&product, first);
    let changes: [fn(&Fate<'_>); 2] = [|fate| fate.exclude(), |fate| fate.lose_network()];
    for change in changes {
        change(&fate);
        eventually_ok("another node answers", PATIENCE, || {
            let found = tenant.announcer(address);
            found.filter(|node| *node != first).ok_or("no other")
        })
        .unwrap();
        tenant.wait_until_served(address);
        fate.turn().unwrap();
        tenant.wait_for_announcer(address, Some(first));
        tenant.wait_until_served(address);
    }
}

/// What happens to a node. It is as before when this is dropped.
struct Fate<'a>(&'a Product, &'static str);

impl Fate<'_> {
    fn exclude(&self) {
        self.label(json!("")).unwrap();
    }

    fn lose_network(&self) {
        self.condition("True").unwrap();
    }

    fn turn(&self) -> Result<Value, Error> {
        self.label(Value::Null)?;
        self.condition("False")
    }

    fn label(&self, value: Value) -> Result<Value, Error> {
        let labels = json!({ "node.kubernetes.io/exclude-from-external-load-balancers": value });
        let patch = json!({ "metadata": { "labels": labels } });
        self.0.cluster.api().patch("v1/Node", "", self.1, &patch)
    }

    fn condition(&self, network_unavailable: &str) -> Result<Value, Error> {
        let status = json!({ "conditions": [
            { "type": "Ready", "status": "True" },
            { "type": "NetworkUnavailable", "status": network_unavailable },
        ] });
        let api = self.0.cluster.api();
        api.patch_status("v1/Node", "", self.1, &status)
    }
}

impl Drop for Fate<'_> {
    fn drop(&mut self) {
        let _ = self.turn();
    }
}

#[test]
fn the_announcing_node_is_told_in_a_status_of_its_own() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "status", 14);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    let announcer = tenant.wait_for_announcer_somewhere(tenant.v4(0));
    let statuses = || {
        let selector = "metallb.io/service-namespace=status,metallb.io/service-name=web";
        product
            .cluster
            .api()
            .list("metallb.io/v1beta1/ServiceL2Status", NAMESPACE, selector)
            .unwrap()
    };
    eventually("one status names the node", PATIENCE, || {
        let found = statuses();
        found.len() == 1
            && found[0]["status"]["node"] == announcer
            && found[0]["status"]["serviceName"] == "web"
    })
    .unwrap();
    tenant.delete_service("web");
    eventually("the status is gone", PATIENCE, || statuses().is_empty()).unwrap();
}
