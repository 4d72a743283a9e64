//! Addresses that are given last: those of nodes, and those that cool down.

use std::time::Duration;

use ironlb_controller_core::Input;
use ironlb_model::{IpFamilyPolicy, Node, Pool, Service};

use crate::cluster::{Cluster, dual, ips, pool, service};

fn node(name: &str, addresses: &[&str]) -> Input {
    Input::NodeApplied(Node {
        name: name.into(),
        addresses: ips(addresses),
        ..Node::default()
    })
}

fn three() -> Cluster {
    Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.3"])])
}

fn cooling() -> Cluster {
    Cluster::new(&[Pool {
        cool_down: Duration::from_secs(60),
        ..pool("first", &["192.0.2.1-192.0.2.3"])
    }])
}

fn wait(cluster: &mut Cluster, seconds: u64) {
    cluster.now = cluster.now + Duration::from_secs(seconds);
}

fn wanting(name: &str, ip: &str) -> Service {
    Service {
        requested_ips: Some(ip.to_owned()),
        ..service(name)
    }
}

#[test]
fn the_address_of_a_node_is_given_when_no_other_is_free_and_a_warning_with_it() {
    let mut cluster = three();
    cluster.give(node("n1", &["192.0.2.1", "10.0.0.1"]));
    cluster.apply(service("a"));
    cluster.apply(service("b"));
    assert_eq!(cluster.status("a"), ["192.0.2.2"]);
    assert_eq!(cluster.status("b"), ["192.0.2.3"]);
    assert_eq!(cluster.reasons(), ["IPAllocated", "IPAllocated"]);
    cluster.apply(service("c"));
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
    let warning = cluster.events.pop().unwrap();
    assert_eq!(warning.reason, "AddressOfNode");
    assert!(
        warning
            .message
            .starts_with("192.0.2.1 is an address of node n1 too")
    );
    assert_eq!(cluster.reasons(), ["IPAllocated"]);
}

#[test]
fn one_that_asks_for_the_address_of_a_node_gets_it_with_a_warning() {
    let mut cluster = three();
    cluster.give(node("n1", &["192.0.2.1"]));
    cluster.apply(wanting("a", "192.0.2.1"));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.reasons(), ["IPAllocated", "AddressOfNode"]);
    assert_eq!(cluster.why("a"), "");
}

#[test]
fn a_node_that_comes_to_the_address_of_a_service_moves_nobody_and_is_told_once() {
    let mut cluster = three();
    cluster.apply(service("a"));
    cluster.reasons();
    cluster.writes.clear();
    cluster.give(node("n1", &["192.0.2.1"]));
    cluster.settle();
    cluster.give(node("n1", &["192.0.2.1"]));
    cluster.settle();
    assert!(cluster.writes.is_empty());
    assert_eq!(cluster.reasons(), ["AddressOfNode"]);
}

#[test]
fn the_address_of_a_node_that_is_gone_is_like_others() {
    let mut cluster = three();
    cluster.give(node("n1", &["192.0.2.1", "192.0.2.2"]));
    cluster.give(node("n2", &["192.0.2.2"]));
    cluster.give(node("n1", &["192.0.2.2"]));
    cluster.apply(service("a"));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    cluster.give(Input::NodeDeleted("n1".into()));
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.3"]);
    cluster.give(Input::NodeDeleted("n2".into()));
    cluster.delete("b");
    cluster.apply(service("c"));
    assert_eq!(cluster.status("c"), ["192.0.2.2"]);
}

#[test]
fn without_a_cool_down_a_freed_address_is_the_next_to_be_given() {
    let mut cluster = three();
    cluster.apply(service("a"));
    cluster.delete("a");
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_freed_address_cools_down_while_another_is_free() {
    let mut cluster = cooling();
    cluster.apply(service("a"));
    cluster.delete("a");
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
    wait(&mut cluster, 59);
    cluster.apply(service("c"));
    assert_eq!(cluster.status("c"), ["192.0.2.3"]);
    wait(&mut cluster, 1);
    cluster.apply(service("d"));
    assert_eq!(cluster.status("d"), ["192.0.2.1"]);
}

#[test]
fn one_that_cools_down_is_given_when_no_other_is_free_also_to_one_that_waits() {
    let mut cluster = cooling();
    for name in ["a", "b", "c", "d"] {
        cluster.apply(service(name));
    }
    assert!(cluster.status("d").is_empty());
    cluster.delete("b");
    assert_eq!(cluster.status("d"), ["192.0.2.2"]);
    assert_eq!(cluster.controller.deadline(), None);
}

#[test]
fn one_that_asks_for_an_address_that_cools_down_gets_it() {
    let mut cluster = cooling();
    cluster.apply(service("a"));
    cluster.delete("a");
    cluster.apply(wanting("b", "192.0.2.1"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn it_cools_down_from_when_the_last_status_let_go_of_it() {
    let mut cluster = cooling();
    cluster.apply(service("a"));
    // Moved, but not written yet: the address is in use until it is.
    let moved = cluster.api.apply(wanting("a", "192.0.2.3"));
    cluster.give(Input::ServiceApplied(Box::new(moved)));
    wait(&mut cluster, 100);
    cluster.settle();
    assert_eq!(cluster.status("a"), ["192.0.2.3"]);
    wait(&mut cluster, 50);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
}

#[test]
fn a_restart_forgets_what_cools_down() {
    let mut cluster = cooling();
    cluster.apply(service("a"));
    cluster.delete("a");
    cluster.start(&[Pool {
        cool_down: Duration::from_secs(60),
        ..pool("first", &["192.0.2.1-192.0.2.3"])
    }]);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_changed_pool_keeps_back_what_it_did() {
    let mut cluster = cooling();
    cluster.give(node("n1", &["192.0.2.2"]));
    cluster.apply(service("a"));
    cluster.delete("a");
    cluster.configure(&[pool("other", &["192.0.2.1-192.0.2.4"])]);
    cluster.apply(service("b"));
    cluster.apply(service("c"));
    assert_eq!(cluster.status("b"), ["192.0.2.3"]);
    assert_eq!(cluster.status("c"), ["192.0.2.4"]);
    cluster.apply(service("d"));
    assert_eq!(cluster.status("d"), ["192.0.2.1"]);
}

#[test]
fn pools_for_everybody_come_before_what_a_pool_of_its_own_keeps_back() {
    let own = crate::cluster::pinned("own", &["192.0.2.1"], "default", 1);
    let mut cluster = Cluster::new(&[own, pool("open", &["198.51.100.1"])]);
    cluster.give(node("n1", &["192.0.2.1"]));
    cluster.apply(service("a"));
    assert_eq!(cluster.status("a"), ["198.51.100.1"]);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn two_addresses_come_before_one_that_is_not_kept_back() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.1-192.0.2.2", "2001:db8::1"])]);
    cluster.give(node("n1", &["192.0.2.1", "2001:db8::1"]));
    cluster.apply(dual("a", IpFamilyPolicy::PreferDualStack));
    assert_eq!(cluster.status("a"), ["192.0.2.2", "2001:db8::1"]);
}
