//! Which address a Service gets, and what becomes of it.

use std::net::SocketAddr;
use std::time::Duration;

use ironlb_lab::{eventually, eventually_ok, holds_for, needs_the_lab};
use serde_json::json;

use crate::product::{NAMESPACE, PATIENCE, Tenant, shared};

#[test]
fn a_service_gets_the_lowest_address_its_pool_and_an_event() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "lowest", 0);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    let service = product
        .cluster
        .api()
        .get("v1/Service", tenant.name, "web")
        .unwrap()
        .unwrap();
    assert_eq!(
        service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"],
        "lowest"
    );
    tenant.wait_until_told("web", "IPAllocated");
    // It says so in the pool's status, too.
    eventually("the pool counts it", PATIENCE, || {
        let pool = product
            .cluster
            .api()
            .get("metallb.io/v1beta1/IPAddressPool", NAMESPACE, "lowest")
            .unwrap();
        let status = &pool.unwrap()["status"];
        status["assignedIPv4"] == 1 && status["availableIPv4"] == 7
    })
    .unwrap();
}

#[test]
fn a_dual_stack_service_gets_an_address_of_each_family() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "dual", 1);
    tenant.service("web", &json!({ "ipFamilyPolicy": "RequireDualStack" }));
    assert_eq!(
        tenant.wait_for_addresses("web", 2),
        [tenant.v4(0), tenant.v6(0)]
    );
}

#[test]
fn a_requested_address_is_given_and_a_foreign_one_refused() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "requested", 2);
    let wanted = tenant.v4(5);
    tenant.annotated_service(
        "web",
        &json!({ "metallb.io/loadBalancerIPs": wanted }),
        &json!({}),
    );
    tenant.wait_for_address("web", wanted);
    tenant.annotated_service(
        "greedy",
        &json!({ "metallb.io/loadBalancerIPs": "203.0.113.9" }),
        &json!({}),
    );
    tenant.wait_until_told("greedy", "AllocationFailed");
    assert!(tenant.addresses("greedy").is_empty());
}

#[test]
fn services_with_one_key_share_an_address_while_their_ports_differ() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "sharing", 3);
    let key = json!({ "metallb.io/allow-shared-ip": "key" });
    let ports =
        |port: u16| json!({ "ports": [{ "protocol": "TCP", "port": port, "targetPort": 8080 }] });
    tenant.annotated_service("http", &key, &ports(80));
    tenant.wait_for_address("http", tenant.v4(0));
    tenant.annotated_service("https", &key, &ports(443));
    tenant.wait_for_address("https", tenant.v4(0));
    tenant.annotated_service("other", &key, &ports(80));
    tenant.wait_for_address("other", tenant.v4(1));

    // A client reaches both at the one address.
    tenant.pod("n1", "http", "http");
    tenant.pod("n2", "https", "https");
    for (app, port) in [("http", 80), ("https", 443)] {
        let socket = SocketAddr::new(tenant.v4(0), port);
        let served = eventually_ok("the port is served", PATIENCE, || {
            product.cluster.client().tcp_get(socket)
        });
        assert_eq!(served.unwrap().backend, format!("sharing-{app}"));
    }
}

#[test]
fn a_pool_that_shrinks_moves_only_who_is_outside() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "shrink", 4);
    for (name, number) in [("first", 0), ("second", 1)] {
        tenant.service(name, &json!({}));
        tenant.wait_for_address(name, tenant.v4(number));
    }
    tenant.set_pool(&[&format!("{}-{}", tenant.v4(1), tenant.v4(2))]);
    tenant.wait_for_address("first", tenant.v4(2));
    assert_eq!(tenant.addresses("second"), [tenant.v4(1)]);
}

#[test]
fn a_full_pool_serves_who_waits_when_it_grows_or_an_address_is_freed() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "full", 5);
    tenant.set_pool(&[&format!("{}/32", tenant.v4(0))]);
    for name in ["first", "second", "third"] {
        tenant.service(name, &json!({}));
        if name == "first" {
            tenant.wait_for_address(name, tenant.v4(0));
        }
    }
    eventually("the others are told", PATIENCE, || {
        ["second", "third"].iter().all(|name| {
            tenant
                .event_reasons(name)
                .contains(&"AllocationFailed".to_owned())
        })
    })
    .unwrap();
    tenant.delete_service("first");
    tenant.wait_for_address("second", tenant.v4(0));
    tenant.set_pool(&[&format!("{}-{}", tenant.v4(0), tenant.v4(1))]);
    tenant.wait_for_address("third", tenant.v4(1));
}

#[test]
fn the_config_map_is_a_source_of_pools_and_is_reloaded() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "legacy", 6);
    let config = |last: u8| {
        let text = format!(
            "address-pools:\n- name: from-config-map\n  protocol: layer2\n  auto-assign: false\n  addresses:\n  - {}-{}\n",
            tenant.v4(0),
            tenant.v4(last)
        );
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "config", "namespace": NAMESPACE },
            "data": { "config": text },
        });
        product.cluster.api().apply_object(&map).unwrap();
    };
    tenant.set_pool(&[&tenant.range_v6()]);
    tenant.pod("n1", "first", "a");
    config(0);
    let asked = json!({ "metallb.io/address-pool": "from-config-map" });
    tenant.annotated_service("first", &asked, &json!({}));
    tenant.wait_for_address("first", tenant.v4(0));
    tenant.wait_for_announcer_somewhere(tenant.v4(0));
    tenant.annotated_service("second", &asked, &json!({}));
    tenant.wait_until_told("second", "AllocationFailed");
    config(1);
    tenant.wait_for_address("second", tenant.v4(1));
    product
        .cluster
        .api()
        .delete("v1/ConfigMap", NAMESPACE, "config")
        .unwrap();
    tenant.wait_for_addresses("first", 0);
    tenant.wait_for_announcer(tenant.v4(0), None);
}

#[test]
fn a_pool_in_error_keeps_its_last_good_state_and_says_so() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "broken", 7);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    let clash = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": "broken-clash", "namespace": NAMESPACE },
        "spec": { "addresses": [tenant.range_v4()] },
    });
    let api = product.cluster.api();
    api.apply_object(&clash).unwrap();
    let state = || {
        let state = api
            .get(
                "metallb.io/v1beta1/ConfigurationState",
                NAMESPACE,
                "controller",
            )
            .unwrap();
        state.unwrap_or_default()["status"]["result"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    eventually("the configuration is said to be invalid", PATIENCE, || {
        state() == "Invalid"
    })
    .unwrap();
    holds_for(
        "the Service keeps its address",
        Duration::from_secs(1),
        || tenant.addresses("web") == [tenant.v4(0)],
    )
    .unwrap();
    tenant.service("more", &json!({}));
    tenant.wait_for_address("more", tenant.v4(1));
    api.delete(
        "metallb.io/v1beta1/IPAddressPool",
        NAMESPACE,
        "broken-clash",
    )
    .unwrap();
    eventually("the configuration is valid again", PATIENCE, || {
        state() == "Valid"
    })
    .unwrap();
}

#[test]
fn a_service_of_another_class_is_left_alone_and_one_that_leaves_gives_its_address_back() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "class", 8);
    tenant.service(
        "foreign",
        &json!({ "loadBalancerClass": "example.com/other" }),
    );
    tenant.service("ours", &json!({}));
    tenant.wait_for_address("ours", tenant.v4(0));
    assert!(tenant.addresses("foreign").is_empty());
    // A class cannot be changed, only the type: then the class may be another, too.
    tenant.service("ours", &json!({ "type": "ClusterIP" }));
    tenant.wait_for_addresses("ours", 0);
    tenant.wait_for_announcer(tenant.v4(0), None);
    tenant.service("next", &json!({}));
    tenant.wait_for_address("next", tenant.v4(0));
    assert!(tenant.addresses("foreign").is_empty());
}
