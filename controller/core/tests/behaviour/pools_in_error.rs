//! Pools that could not be read when the controller started: their Services keep what they have.

use ironlb_controller_core::{Input, WriteOutcome};
use ironlb_model::config::OnRemoval;
use ironlb_model::{IpFamilyPolicy, Pool, Protocol, Service};

use crate::cluster::{Cluster, dual, ips, key, pool, service};

fn first() -> Pool {
    pool("first", &["192.0.2.1-192.0.2.9"])
}

fn second() -> Pool {
    pool("second", &["198.51.100.1-198.51.100.9"])
}

/// Service `a` has an address of pool `first`, and `b` one of pool `second`.
fn two() -> Cluster {
    let mut cluster = Cluster::new(&[first(), second()]);
    cluster.apply(service("a"));
    cluster.apply(asking("b", "second"));
    assert_eq!(cluster.status("b"), ["198.51.100.1"]);
    cluster.reasons();
    cluster.writes.clear();
    cluster
}

fn asking(name: &str, pool: &str) -> Service {
    Service {
        requested_pool: Some(pool.to_owned()),
        ..service(name)
    }
}

/// A Service whose status was written by nobody that says from which pool.
fn unannotated(name: &str, ip: &str) -> Service {
    Service {
        ingress: vec![ironlb_model::Ingress {
            ip: ip.to_owned(),
            hostname: String::new(),
        }],
        ..service(name)
    }
}

#[test]
fn a_service_keeps_the_address_of_a_pool_in_error_and_nothing_is_written() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    assert!(cluster.writes.is_empty());
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.reasons(), ["PoolInError"]);
    let why = cluster.why("a");
    assert!(
        why.starts_with("pool first, which 192.0.2.1 came from, is in error; it keeps 192.0.2.1"),
        "{why}"
    );
    assert_eq!(
        cluster.controller.address_of(&key("a")),
        ips(&["192.0.2.1"])
    );
    assert_eq!(cluster.why("b"), "");
}

#[test]
fn so_it_does_when_no_pool_is_left() {
    let mut cluster = two();
    cluster.start_in_error(&[], &["first", "second"]);
    assert!(cluster.writes.is_empty());
    cluster.apply(service("c"));
    assert!(cluster.why("c").starts_with(
        "no address pool can be used: pools first, second are in error; correct that"
    ));
}

#[test]
fn once_the_pool_is_mended_it_goes_on_as_if_nothing_had_been() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.reasons();
    cluster.configure(&[first(), second()]);
    assert!(cluster.writes.is_empty());
    assert_eq!(cluster.why("a"), "");
    assert_eq!(cluster.reasons(), Vec::<&str>::new());
    cluster.apply(service("c"));
    assert_eq!(cluster.status("c"), ["192.0.2.2"]);
}

#[test]
fn once_the_pool_is_mended_without_the_address_the_service_moves() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.configure(&[pool("first", &["192.0.2.5-192.0.2.9"]), second()]);
    assert_eq!(cluster.status("a"), ["192.0.2.5"]);
}

#[test]
fn once_the_pool_is_deleted_the_service_moves() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.configure(&[second()]);
    assert_eq!(cluster.status("a"), ["198.51.100.2"]);
    assert_eq!(cluster.pool_of("a").as_deref(), Some("second"));

    let mut cluster = two();
    cluster.start_in_error(&[], &["first"]);
    cluster.configure(&[]);
    assert!(cluster.status("a").is_empty());
}

#[test]
fn another_pool_that_takes_the_address_up_keeps_the_service() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.configure_in_error(&[second(), pool("wider", &["192.0.2.0/24"])], &["first"]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.pool_of("a").as_deref(), Some("wider"));
    cluster.apply(service("c"));
    cluster.apply(asking("d", "wider"));
    assert_eq!(cluster.status("d"), ["192.0.2.0"]);
    cluster.apply(asking("e", "wider"));
    assert_eq!(cluster.status("e"), ["192.0.2.2"]);
}

#[test]
fn nobody_is_given_the_address_of_a_service_in_doubt() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    let greedy = Service {
        requested_ips: Some("192.0.2.1".to_owned()),
        ..service("greedy")
    };
    cluster.apply(greedy);
    assert!(cluster.status("greedy").is_empty());
    assert!(cluster.why("greedy").starts_with(
        "192.0.2.1 is in no address pool that could be read, and pool first is in error"
    ));
    // Now its pool is not the reason any more.
    cluster.configure_in_error(&[second(), pool("x", &["192.0.2.1"])], &["first"]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert!(cluster.status("greedy").is_empty());
}

#[test]
fn one_that_asks_for_a_pool_in_error_is_told_so_and_gets_it_when_it_is_mended() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.apply(asking("c", "first"));
    assert!(cluster.status("c").is_empty());
    assert!(
        cluster
            .why("c")
            .starts_with("it asks for pool \"first\", which is in error; correct that")
    );
    cluster.apply(asking("d", "none"));
    assert!(cluster.why("d").contains("which does not exist"));
    cluster.configure(&[first(), second()]);
    assert_eq!(cluster.status("c"), ["192.0.2.2"]);
}

#[test]
fn without_the_annotation_any_pool_in_error_may_be_the_one() {
    let mut cluster = two();
    let known = [second(), first()];
    cluster.api.store(unannotated("old", "203.0.113.1"));
    cluster.start_in_error(&known, &["third"]);
    assert_eq!(cluster.status("old"), ["203.0.113.1"]);
    let why = cluster.why("old");
    assert!(
        why.starts_with("203.0.113.1 is in no address pool that could be read, and pool third is in error; it keeps"),
        "{why}"
    );
    cluster.configure(&known);
    assert_eq!(cluster.status("old"), ["192.0.2.2"]);
}

#[test]
fn with_the_annotation_of_a_good_pool_it_moves_as_ever() {
    let mut cluster = two();
    cluster.start_in_error(
        &[pool("first", &["192.0.2.5-192.0.2.9"]), second()],
        &["third"],
    );
    assert_eq!(cluster.status("a"), ["192.0.2.5"]);
}

#[test]
fn while_something_can_not_be_read_at_all_every_address_in_no_pool_stays() {
    let mut cluster = two();
    cluster.api.store(unannotated("old", "203.0.113.1"));
    cluster.start_in_error(&[second()], &["?"]);
    assert!(cluster.writes.is_empty());
    assert!(
        cluster
            .why("a")
            .contains("a part of the configuration can not be read; it keeps 192.0.2.1")
    );
    cluster.apply(asking("c", "first"));
    assert!(
        cluster
            .why("c")
            .starts_with("it asks for pool \"first\", which is none of those that could be read")
    );
    cluster.configure(&[second()]);
    assert_eq!(cluster.status("a"), ["198.51.100.2"]);
}

#[test]
fn one_that_wants_something_else_by_now_gets_it() {
    let elsewhere = |name: &str| {
        let mut cluster = two();
        cluster.start_in_error(&[second()], &["first"]);
        cluster.apply(asking(name, "second"));
        cluster
    };
    assert_eq!(elsewhere("a").status("a"), ["198.51.100.2"]);
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.apply(Service {
        requested_ips: Some("198.51.100.7".to_owned()),
        ..service("a")
    });
    assert_eq!(cluster.status("a"), ["198.51.100.7"]);
    cluster.apply(Service {
        is_load_balancer: false,
        ..service("a")
    });
    assert!(cluster.status("a").is_empty());
}

#[test]
fn one_that_asks_for_a_pool_in_error_keeps_what_it_has_of_a_good_one() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.apply(asking("b", "first"));
    assert_eq!(cluster.status("b"), ["198.51.100.1"]);
    assert!(
        cluster
            .why("b")
            .contains("pool \"first\", which is in error")
    );
    cluster.configure(&[first(), second()]);
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
}

#[test]
fn one_that_asks_for_a_pool_in_error_keeps_nothing_that_was_not_written_yet() {
    let mut cluster = Cluster::new(&[]);
    cluster.start_in_error(&[second()], &["first"]);
    let new = cluster.api.apply(service("a"));
    cluster.give(Input::ServiceApplied(Box::new(new)));
    let write = cluster.pending().pop_front().unwrap();
    assert_eq!(write.ips, ips(&["198.51.100.1"]));
    let edited = cluster.api.apply(asking("a", "first"));
    cluster.give(Input::ServiceApplied(Box::new(edited)));
    let (outcome, _) = cluster.api.write(&write);
    assert_eq!(outcome, WriteOutcome::Conflict);
    cluster.give(Input::Written {
        service: key("a"),
        outcome,
    });
    cluster.settle();
    assert!(cluster.status("a").is_empty());
    assert!(cluster.why("a").contains("which is in error"));
}

#[test]
fn both_addresses_of_a_dual_stack_service_stay() {
    let both = pool("both", &["203.0.113.0/28", "2001:db8::/64"]);
    let mut cluster = Cluster::new(&[second(), both.clone()]);
    cluster.apply(Service {
        requested_pool: Some("both".to_owned()),
        ..dual("d", IpFamilyPolicy::RequireDualStack)
    });
    let status = cluster.status("d");
    assert_eq!(status.len(), 2);
    cluster.writes.clear();
    cluster.start_in_error(&[second()], &["both"]);
    // A pool that takes one of them up is not where they came from.
    cluster.configure_in_error(&[second(), pool("v4", &["203.0.113.0/28"])], &["both"]);
    cluster.configure(&[second(), both]);
    assert_eq!(cluster.status("d"), status);
    assert!(cluster.writes.is_empty());
}

#[test]
fn those_that_share_an_address_keep_it_as_long_as_they_may_share() {
    let sharing = |name: &str, port| Service {
        sharing_key: Some("key".to_owned()),
        ports: vec![crate::cluster::port(Protocol::Tcp, port)],
        ..asking(name, "first")
    };
    let mut cluster = Cluster::new(&[first(), second()]);
    cluster.apply(sharing("a", 80));
    cluster.apply(sharing("b", 443));
    cluster.apply(sharing("c", 8080));
    cluster.writes.clear();
    cluster.start_in_error(&[second()], &["first"]);
    assert!(cluster.writes.is_empty());
    cluster.reasons();
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["198.51.100.1"]);
    let message = cluster.events.first().map(|event| event.message.clone());
    assert!(
        message
            .unwrap()
            .starts_with("lost its address 192.0.2.1: 192.0.2.1 is in use by default/a")
    );
    assert_eq!(cluster.reasons(), ["ClearAssignment", "IPAllocated"]);
    cluster.configure(&[first(), second()]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
}

#[test]
fn a_pool_that_holds_what_it_gave_needs_no_doubt() {
    let hold = Pool {
        on_removal: OnRemoval::Hold,
        ..pool("first", &["192.0.2.5-192.0.2.9"])
    };
    let mut cluster = two();
    cluster.start_in_error(&[hold, second()], &["?"]);
    assert_eq!(cluster.reasons(), ["AddressOutsidePool"]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn a_service_that_is_deleted_while_in_doubt_gives_its_address_back() {
    let mut cluster = two();
    cluster.start_in_error(&[second()], &["first"]);
    cluster.delete("a");
    cluster.configure(&[first(), second()]);
    cluster.apply(service("c"));
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
}
