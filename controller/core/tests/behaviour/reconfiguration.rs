//! The configuration changes under Services that have addresses.

use ironlb_model::config::OnRemoval;
use ironlb_model::{Pool, Service};

use crate::cluster::{Cluster, pinned, pool, service};

fn three(pools: &[Pool]) -> Cluster {
    let mut cluster = Cluster::new(pools);
    for name in ["a", "b", "c"] {
        cluster.apply(service(name));
    }
    cluster.reasons();
    cluster.writes.clear();
    cluster
}

#[test]
fn an_address_that_leaves_its_pool_is_replaced_at_once() {
    let mut cluster = three(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.configure(&[pool("first", &["192.0.2.2-192.0.2.9"])]);
    assert_eq!(cluster.status("a"), ["192.0.2.4"]);
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
    assert_eq!(cluster.reasons(), ["ClearAssignment", "IPAllocated"]);
    assert_eq!(cluster.writes.len(), 1);
}

#[test]
fn an_address_that_leaves_a_pool_that_holds_stays_also_after_a_restart() {
    let hold = |ranges: &[&str]| Pool {
        on_removal: OnRemoval::Hold,
        ..pool("first", ranges)
    };
    let mut cluster = three(&[hold(&["192.0.2.1-192.0.2.9"])]);
    let shrunk = [hold(&["192.0.2.2-192.0.2.9"])];
    cluster.configure(&shrunk);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.reasons(), ["AddressOutsidePool"]);
    cluster.configure(&[shrunk[0].clone(), pool("more", &["198.51.100.0/24"])]);
    cluster.start(&shrunk);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert!(cluster.writes.is_empty());
    cluster.configure(&[pool("first", &["192.0.2.2-192.0.2.9"])]);
    assert_eq!(cluster.status("a"), ["192.0.2.4"]);
}

#[test]
fn a_held_address_goes_to_the_pool_that_takes_it_up() {
    let hold = |ranges: &[&str]| Pool {
        on_removal: OnRemoval::Hold,
        ..pool("first", ranges)
    };
    let mut cluster = three(&[hold(&["192.0.2.1-192.0.2.9"])]);
    cluster.configure(&[hold(&["192.0.2.2-192.0.2.9"])]);
    cluster.configure(&[
        hold(&["192.0.2.2-192.0.2.9"]),
        pool("second", &["192.0.2.1"]),
    ]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.pool_of("a").as_deref(), Some("second"));
    let usage = cluster.controller.pool_usage()[&Cluster::pool_name("second")];
    assert_eq!(usage.v4.available(), 0);
}

#[test]
fn a_pool_of_another_name_with_the_same_range_keeps_the_addresses() {
    let mut cluster = three(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.configure(&[pool("renamed", &["192.0.2.1-192.0.2.9"])]);
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
    assert_eq!(cluster.pool_of("b").as_deref(), Some("renamed"));
    assert_eq!(cluster.reasons(), Vec::<&str>::new());
}

#[test]
fn one_that_asks_for_the_old_name_loses_its_address() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(Service {
        requested_pool: Some("first".to_owned()),
        ..service("a")
    });
    cluster.reasons();
    cluster.configure(&[pool("renamed", &["192.0.2.1-192.0.2.9"])]);
    assert!(cluster.status("a").is_empty());
    assert_eq!(cluster.reasons(), ["AllocationFailed"]);
    assert!(
        cluster
            .why("a")
            .contains("pool \"first\", which does not exist")
    );
}

#[test]
fn a_pool_that_becomes_somebody_elses_is_left() {
    let mut cluster = three(&[
        pool("first", &["192.0.2.1-192.0.2.9"]),
        pool("second", &["198.51.100.1-198.51.100.9"]),
    ]);
    cluster.configure(&[
        pinned("first", &["192.0.2.1-192.0.2.9"], "elsewhere", 0),
        pool("second", &["198.51.100.1-198.51.100.9"]),
    ]);
    assert_eq!(cluster.status("c"), ["198.51.100.3"]);
}

#[test]
fn the_last_pool_to_go_takes_all_addresses_with_it() {
    let mut cluster = three(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.configure(&[]);
    assert!(cluster.api.services.values().all(|s| s.ingress.is_empty()));
    assert!(cluster.why("a").contains("there is no address pool"));
    cluster.configure(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    assert_eq!(cluster.status("c"), ["192.0.2.3"]);
}

#[test]
fn automatic_choice_switched_off_moves_nobody() {
    let mut cluster = three(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.configure(&[Pool {
        auto_assign: false,
        ..pool("first", &["192.0.2.1-192.0.2.9"])
    }]);
    assert!(cluster.writes.is_empty());
    cluster.apply(service("d"));
    assert!(cluster.status("d").is_empty());
}

#[test]
fn leaving_out_buggy_addresses_moves_those_who_have_one() {
    let ranges = ["192.0.2.0-192.0.2.9"];
    let mut cluster = three(&[pool("first", &ranges)]);
    cluster.configure(&[Pool {
        avoid_buggy_ips: true,
        ..pool("first", &ranges)
    }]);
    assert_eq!(cluster.status("a"), ["192.0.2.3"]);
    assert_eq!(cluster.writes.len(), 1);
}

#[test]
fn the_same_configuration_again_does_nothing() {
    let pools = [pool("first", &["192.0.2.1-192.0.2.9"])];
    let mut cluster = three(&pools);
    cluster.configure(&pools);
    assert!(cluster.writes.is_empty());
    assert!(cluster.events.is_empty());
}

#[test]
fn a_wider_pool_serves_those_who_wait() {
    let mut cluster = three(&[pool("first", &["192.0.2.1-192.0.2.2"])]);
    assert!(cluster.status("c").is_empty());
    cluster.configure(&[pool("first", &["192.0.2.1-192.0.2.3"])]);
    assert_eq!(cluster.status("c"), ["192.0.2.3"]);
}

#[test]
fn addresses_of_two_pools_that_change_places_stay_where_they_are() {
    let mut cluster = three(&[
        pool("x", &["192.0.2.1-192.0.2.2"]),
        pool("y", &["192.0.2.3-192.0.2.4"]),
    ]);
    cluster.configure(&[
        pool("x", &["192.0.2.3-192.0.2.4"]),
        pool("y", &["192.0.2.1-192.0.2.2"]),
    ]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.pool_of("a").as_deref(), Some("y"));
    assert_eq!(cluster.pool_of("c").as_deref(), Some("x"));
}
