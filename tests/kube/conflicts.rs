//! Somebody else changes what we are about to write (409): nobody's update is lost, no address moves, and the API server is
//! not asked in a loop.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use ironlb_lab::{eventually, holds_for, needs_the_lab};
use serde_json::{Value, json};

use crate::product::{PATIENCE, Product, Tenant, alone};
use crate::proxy::{Fault, MEDDLED, StatusWrite, What};

#[test]
fn a_write_that_meets_a_conflict_is_made_again_once_for_each_newer_version() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "conflict", 20);
    let before = product.proxy.meddled();
    product
        .proxy
        .meddle(json!({ "metadata": { "labels": { "by": "another" } } }), 10);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    assert_eq!(product.proxy.meddled() - before, 10);
    let writes = accepted(&product, "conflict/web");
    let answers: Vec<u16> = writes.iter().map(|write| write.answer).collect();
    assert_eq!(answers, [[409; 10].as_slice(), &[200]].concat());
    each_on_a_version_of_its_own(&writes);

    // What the other wrote is there, all of it, and the address stays.
    let service = service(&product, "conflict", "web");
    let count = product.proxy.meddled().to_string();
    assert_eq!(service["metadata"]["annotations"][MEDDLED], *count);
    assert_eq!(service["metadata"]["labels"]["by"], "another");
    assert_eq!(tenant.addresses("web"), [tenant.v4(0)]);
}

#[test]
fn a_write_that_meets_a_conflict_is_decided_anew_on_what_is_there_now() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "anew", 21);
    let asked = tenant.v4(5);
    let patch = json!({ "metadata": { "annotations": { "metallb.io/loadBalancerIPs": asked } } });
    product.proxy.meddle(patch, 1);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", asked);
    let answers: Vec<u16> = accepted(&product, "anew/web")
        .iter()
        .map(|write| write.answer)
        .collect();
    assert_eq!(answers, [409, 200]);
    // The address that was decided on first is free.
    tenant.service("next", &json!({}));
    tenant.wait_for_address("next", tenant.v4(0));
}

#[test]
fn an_address_that_is_restored_against_conflicts_goes_to_nobody_else() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "restored", 22);
    let address = tenant.v4(0);
    tenant.set_pool(&[&format!("{address}/32")]);
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", address);
    tenant.service("greedy", &json!({}));
    tenant.wait_until_told("greedy", "AllocationFailed");
    accepted(&product, "restored/web");

    product.proxy.meddle(json!({}), 5);
    let api = product.cluster.api();
    for _ in 0..3 {
        let gone = json!({ "loadBalancer": { "ingress": null } });
        api.patch_status("v1/Service", "restored", "web", &gone)
            .unwrap();
        tenant.wait_for_address("web", address);
    }
    let writes = accepted(&product, "restored/web");
    each_on_a_version_of_its_own(&writes);
    let conflicts = writes.iter().filter(|write| write.answer == 409).count();
    assert_eq!(conflicts, 5, "{writes:?}");
    assert_eq!(tenant.addresses("web"), [address]);
    assert!(tenant.addresses("greedy").is_empty());
    assert_eq!(product.proxy.status_writes("restored/greedy"), []);
}

#[test]
fn a_service_that_somebody_changes_all_the_time_gets_what_its_last_version_asks_for() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "storm", 23);
    tenant.service("quiet", &json!({}));
    tenant.wait_for_address("quiet", tenant.v4(0));
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(1));
    // Every version asks for another address, so every version needs a write.
    let (api, begin, mut changes) = (product.cluster.api(), Instant::now(), 0_usize);
    while begin.elapsed() < Duration::from_secs(3) {
        changes += 1;
        let asked = tenant.v4(if changes.is_multiple_of(2) { 2 } else { 3 });
        let annotations = json!({
            "metallb.io/loadBalancerIPs": asked, "example.com/change": changes.to_string(),
        });
        let patch = json!({ "metadata": { "annotations": annotations } });
        api.patch("v1/Service", "storm", "web", &patch).unwrap();
    }
    let last = tenant.v4(if changes.is_multiple_of(2) { 2 } else { 3 });
    tenant.wait_for_address("web", last);
    // The last of them may be in vain, when what another asked for meanwhile is there already.
    let writes = settled(&product, "storm/web");
    each_on_a_version_of_its_own(&writes);
    // A write for each of the other's changes, one for each that it undid by being late, and no more.
    assert!(
        writes.len() <= 2 * changes + 1,
        "{} of {changes}",
        writes.len()
    );
    let conflicts = writes.iter().filter(|write| write.answer == 409).count();
    eprintln!(
        "{changes} changes, {} writes, {conflicts} of them in vain",
        writes.len()
    );
    let annotations = &service(&product, "storm", "web")["metadata"]["annotations"];
    assert_eq!(annotations["example.com/change"], *changes.to_string());
    assert_eq!(tenant.addresses("quiet"), [tenant.v4(0)]);
    assert_eq!(settled(&product, "storm/quiet").len(), 1);
}

#[test]
fn a_conflict_that_is_none_is_not_met_in_a_loop() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "false", 24);
    product
        .proxy
        .inject(What::ServiceStatuses, Fault::Conflict, usize::MAX);
    let names: Vec<String> = (0..5).map(|number| format!("web-{number}")).collect();
    for name in &names {
        tenant.service(name, &json!({}));
    }
    let writes = || {
        let of = |name: &String| product.proxy.status_writes(&format!("false/{name}"));
        names.iter().flat_map(of).collect::<Vec<_>>()
    };
    eventually("each was written once", PATIENCE, || writes().len() == 5).unwrap();
    let (requests, begin) = (product.proxy.requests(), Instant::now());
    holds_for(
        "nothing is written meanwhile",
        Duration::from_secs(5),
        || writes().len() == 5,
    )
    .unwrap();
    let requests = product.proxy.requests() - requests;
    // The Lease, read and written every one or two seconds, and little else.
    assert!(
        requests < 60,
        "{requests} requests in {:?}",
        begin.elapsed()
    );
    product.proxy.heal();
    let addresses: BTreeSet<_> = names
        .iter()
        .flat_map(|name| tenant.wait_for_addresses(name, 1))
        .collect();
    assert_eq!(addresses.len(), 5);
    assert!(writes().len() <= 2 * 5, "{:?}", writes());
}

/// The writes of a Service's status, once the last was accepted and no more of them come.
fn accepted(product: &Product, service: &str) -> Vec<StatusWrite> {
    eventually("the last write was accepted", PATIENCE, || {
        let writes = product.proxy.status_writes(service);
        writes.last().is_some_and(|write| write.answer == 200)
    })
    .unwrap();
    settled(product, service)
}

/// The writes of a Service's status, once no more of them come.
fn settled(product: &Product, service: &str) -> Vec<StatusWrite> {
    let (mut writes, mut since) = (product.proxy.status_writes(service), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        let now = product.proxy.status_writes(service);
        if now != writes {
            (writes, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(10));
    }
    writes
}

fn each_on_a_version_of_its_own(writes: &[StatusWrite]) {
    let versions: BTreeSet<&str> = writes.iter().map(|write| &*write.version).collect();
    assert_eq!(versions.len(), writes.len(), "{writes:#?}");
    assert!(!versions.contains(""), "{writes:#?}");
}

fn service(product: &Product, namespace: &str, name: &str) -> Value {
    let api = product.cluster.api();
    api.get("v1/Service", namespace, name).unwrap().unwrap()
}
