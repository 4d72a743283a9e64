//! Processes that end and begin again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ironlb_lab::{eventually, eventually_ok, holds_for, needs_the_lab};
use serde_json::json;

use crate::bgp;
use crate::product::{NAMESPACE, PATIENCE, Product, Tenant, addresses_in, alone};
use crate::proxy::{Fault, What};

#[test]
fn a_speaker_that_restarts_announces_again_and_another_node_is_not_disturbed() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "speaker", 15);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_until_served(address);
    let announcer = tenant.wait_for_announcer_somewhere(address);
    product.speaker(announcer).kill().unwrap();
    tenant.wait_for_announcer(address, None);
    product.start_speaker(announcer);
    tenant.wait_for_announcer(address, Some(announcer));
    tenant.wait_until_served(address);
    product.speaker(announcer).terminate(PATIENCE).unwrap();
    tenant.wait_for_announcer(address, None);
    product.start_speaker(announcer);
    tenant.wait_for_announcer(address, Some(announcer));
}

#[test]
fn a_controller_that_is_killed_under_load_gives_every_service_one_address_and_moves_none() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "load", 16);
    let services = std::env::var("IRONLB_LOAD")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(300);
    product.kill_controller();
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": "load", "namespace": NAMESPACE },
        "spec": { "addresses": ["10.200.0.0/16"], "serviceAllocation": { "namespaces": ["load"] } },
    });
    product.cluster.api().apply_object(&pool).unwrap();
    for number in 0..services {
        let quiet = json!({ "allocateLoadBalancerNodePorts": false });
        tenant.service(&format!("web-{number}"), &quiet);
    }
    // Killed twice in the middle of its work.
    for part in [services / 4, services / 2] {
        product.start_controller();
        eventually("part of the work is done", Duration::from_secs(60), || {
            allocated(&product).0 >= part
        })
        .unwrap();
        product.kill_controller();
    }
    let before = addresses_by_service(&product);
    let begin = Instant::now();
    product.start_controller();
    eventually_ok(
        "every Service has an address",
        Duration::from_secs(120),
        || {
            let (count, distinct) = allocated(&product);
            if count == services && distinct == services {
                Ok(())
            } else {
                Err(format!("{count}, {distinct} distinct"))
            }
        },
    )
    .unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "{} of {services} addresses in {seconds:.1} s",
        services - before.len()
    );
    let after = addresses_by_service(&product);
    for (service, addresses) in &before {
        assert!(
            after.contains(&(service.clone(), addresses.clone())),
            "{service} was moved from {addresses:?}"
        );
    }

    // Nothing is left to write, so nothing is written: by one that leads, and whose writes go through. It ends only when all that
    // it has begun is over.
    product.kill_controller();
    let (versions_before, writes) = (versions(&product), status_writes(&product));
    product.start_controller();
    product
        .controller()
        .wait_for_line("this controller leads", PATIENCE)
        .unwrap();
    tenant.service("last", &json!({}));
    tenant.wait_for_addresses("last", 1);
    let ended = product.controller().terminate(PATIENCE).unwrap();
    assert!(ended.success(), "{ended}");
    eventually("the last write is counted", PATIENCE, || {
        status_writes(&product) > writes
    })
    .unwrap();
    assert_eq!(status_writes(&product), writes + 1);
    assert!(versions_before.is_subset(&versions(&product)));
    product.start_controller();
}

#[test]
fn a_controller_that_hears_of_its_pools_last_takes_no_address_away() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "late", 16);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    product.kill_controller();
    let writes = product.proxy.status_writes("late/web");
    let faulted = product.proxy.faulted();
    let slow = Fault::Slow(Duration::from_secs(3));
    product.proxy.inject(What::FirstReadsOfPools, slow, 2);
    product.start_controller();
    tenant.service("next", &json!({}));
    tenant.wait_for_address("next", tenant.v4(1));
    assert!(product.proxy.faulted() > faulted, "no request was slow");
    assert_eq!(tenant.addresses("web"), [tenant.v4(0)]);
    assert_eq!(product.proxy.status_writes("late/web"), writes);
}

#[test]
fn a_pool_in_error_at_a_restart_costs_no_service_its_address() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "victim", 16);
    let pool = |addresses: &str| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": { "name": "a-rival", "namespace": NAMESPACE },
            "spec": { "addresses": [addresses], "autoAssign": false },
        })
    };
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_until_served(address);

    // What was there first wins, until a restart: then the name decides.
    let api = product.cluster.api();
    let overlapping = format!("{}-{}", tenant.v4(4), tenant.v4(7));
    api.apply_object(&pool(&overlapping)).unwrap();
    product.kill_controller();
    for node in ["n1", "n2", "n3"] {
        product.speaker(node).kill().unwrap();
        product.start_speaker(node);
    }
    product.start_controller();
    product.wait_until_ready();
    tenant.wait_until_told("web", "PoolInError");
    assert_eq!(tenant.addresses("web"), [address]);
    tenant.wait_for_announcer_somewhere(address);
    tenant.wait_until_served(address);

    // The rival goes elsewhere, so the pool is good again.
    api.apply_object(&pool("10.210.0.0/24")).unwrap();
    tenant.service("more", &json!({}));
    tenant.wait_for_address("more", tenant.v4(1));
    assert_eq!(tenant.addresses("web"), [address]);
    tenant.wait_until_served(address);
}

#[test]
fn a_configmap_that_is_no_yaml_when_speakers_restart_silences_only_those_without_a_memory() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "memory", 16);
    tenant.set_pool(&[&tenant.range_v6()]);
    let api = product.cluster.api();
    let config = |text: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "config", "namespace": NAMESPACE },
            "data": { "config": text },
        });
        api.apply_object(&map).unwrap();
    };
    let address = tenant.v4(0);
    config(&format!(
        "address-pools:\n- {{name: remembered, protocol: layer2, auto-assign: false, addresses: [{address}/32]}}\n"
    ));
    tenant.pod("n1", "web", "a");
    let asked = json!({ "metallb.io/address-pool": "remembered" });
    tenant.annotated_service("web", &asked, &json!({}));
    tenant.wait_for_address("web", address);
    let nodes = ["n1", "n2", "n3"];
    let restart = |with_memory: bool| {
        for node in nodes {
            let file = product
                .cluster
                .lab()
                .directory()
                .join(format!("last-good-{node}"));
            let file = file.display().to_string();
            let memory = ["--last-good", file.as_str()];
            product.speaker(node).kill().unwrap();
            product.start_speaker_with(node, if with_memory { &memory } else { &[] });
        }
        product.wait_until_ready();
    };
    restart(true);
    tenant.wait_for_announcer_somewhere(address);
    config("address-pools: [");
    for node in nodes {
        product
            .speaker(node)
            .wait_for_line("configuration: ", PATIENCE)
            .unwrap();
    }
    restart(false);
    tenant.wait_for_announcer(address, None);
    restart(true);
    tenant.wait_for_announcer_somewhere(address);
    tenant.wait_until_served(address);
    assert_eq!(tenant.addresses("web"), [address]);

    // What was mended is in force, not what was remembered.
    config("address-pools: []");
    tenant.wait_for_announcer(address, None);
    api.delete("v1/ConfigMap", NAMESPACE, "config").unwrap();
    restart(false);
}

#[test]
fn of_two_controllers_one_allocates_and_the_other_takes_over() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "lease", 19);
    let lease = || {
        product
            .cluster
            .api()
            .get("Lease", NAMESPACE, "ironlb-controller")
            .unwrap()
            .unwrap()
    };
    let leads = |name: &str| lease()["spec"]["holderIdentity"] == name;
    eventually("the first leads", Duration::from_secs(20), || {
        leads("controller-0")
    })
    .unwrap();
    let second = product.second_controller("controller-1");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    assert!(leads("controller-0"));
    let term = product.controller().terminate(PATIENCE).unwrap();
    assert!(term.success(), "{term}");
    // It gave the lead up, so the other need not wait until the Lease expires: 15 s.
    eventually("the second leads", Duration::from_secs(12), || {
        leads("controller-1")
    })
    .unwrap();
    tenant.service("more", &json!({}));
    tenant.wait_for_address("more", tenant.v4(1));
    assert_eq!(tenant.addresses("web"), [tenant.v4(0)]);
    product.start_controller();
    second.kill().unwrap();
    // This one could not.
    eventually("the first leads again", Duration::from_secs(60), || {
        leads("controller-0")
    })
    .unwrap();
    tenant.service("last", &json!({}));
    tenant.wait_for_address("last", tenant.v4(2));
}

#[test]
fn an_api_server_that_restarts_withdraws_nothing_and_is_found_again() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "api", 17);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_until_served(address);
    let announcer = tenant.wait_for_announcer_somewhere(address);
    let routed = Tenant::beyond(&product, "api-routed", &["203.0.113.0/29"]);
    let router = bgp::router(&product);
    let _configured = bgp::configured(&product, "api-routed", &json!({}));
    routed.pod("n1", "web", "a");
    routed.service("web", &json!({}));
    bgp::wait_for_paths(&product, router, &["n1", "n2", "n3"]);
    let begin = Instant::now();

    product.cluster.stop_api_server().unwrap();
    let client = product.cluster.client();
    holds_for(
        "both addresses are served without an API server",
        Duration::from_secs(3),
        || {
            client.tcp_get(SocketAddr::new(address, 80)).is_ok()
                && router
                    .client
                    .udp_exchange(SocketAddr::new(bgp::ADDRESS, 80))
                    .is_ok()
        },
    )
    .unwrap();
    assert_eq!(tenant.announcer(address), Some(announcer));
    product.cluster.start_api_server().unwrap();
    assert_eq!(tenant.announcer(address), Some(announcer));
    bgp::wait_for_paths(&product, router, &["n1", "n2", "n3"]);
    let meanwhile = begin.elapsed();
    let (sessions, since) = router.sessions();
    assert_eq!(sessions, 3);
    assert!(since + Duration::from_secs(1) > meanwhile, "{since:?}");
    tenant.service("next", &json!({}));
    tenant.wait_for_address("next", tenant.v4(1));
    tenant.delete_service("web");
    tenant.wait_for_announcer(address, None);
}

fn services(product: &Product) -> Vec<serde_json::Value> {
    product
        .cluster
        .api()
        .list("v1/Service", "load", "")
        .unwrap()
}

/// How many Services have an address, and how many addresses that are.
fn allocated(product: &Product) -> (usize, usize) {
    let all: Vec<_> = services(product).iter().flat_map(addresses_in).collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    (all.len(), distinct.len())
}

fn addresses_by_service(product: &Product) -> BTreeSet<(String, Vec<std::net::IpAddr>)> {
    let named = services(product).into_iter().map(|service| {
        let name = service["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (name, addresses_in(&service))
    });
    named
        .filter(|(_, addresses)| !addresses.is_empty())
        .collect()
}

/// How many writes of the status of a Service the API server has answered, by its own count.
fn status_writes(product: &Product) -> u64 {
    let metrics = product.cluster.kubectl(&["get", "--raw", "/metrics"]);
    let metrics = metrics.unwrap();
    let counts = metrics.lines().filter_map(|line| {
        let (labels, count) = line
            .strip_prefix("apiserver_request_total{")?
            .split_once("} ")?;
        let is_write = !["GET", "LIST", "WATCH"]
            .iter()
            .any(|verb| labels.contains(&format!("verb=\"{verb}\"")));
        let is_status =
            labels.contains("resource=\"services\"") && labels.contains("subresource=\"status\"");
        (is_write && is_status).then(|| count.parse::<u64>().unwrap())
    });
    counts.sum()
}

fn versions(product: &Product) -> BTreeSet<String> {
    let version = |service: &serde_json::Value| service["metadata"]["resourceVersion"].to_string();
    services(product).iter().map(version).collect()
}
