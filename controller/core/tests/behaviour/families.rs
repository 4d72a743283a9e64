//! IPv4, IPv6 and both.

use ironlb_model::{Family, IpFamilyPolicy, Service};

use crate::cluster::{Cluster, dual, ips, pinned, pool, service};

const PREFER: IpFamilyPolicy = IpFamilyPolicy::PreferDualStack;
const REQUIRE: IpFamilyPolicy = IpFamilyPolicy::RequireDualStack;

fn v6(name: &str) -> Service {
    Service {
        cluster_ips: ips(&["fd00::1"]),
        ip_families: vec![Family::V6],
        ..service(name)
    }
}

#[test]
fn a_single_stack_service_gets_its_own_family() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::/64"])]);
    cluster.apply(v6("six"));
    cluster.apply(service("four"));
    assert_eq!(cluster.status("six"), ["2001:db8::"]);
    assert_eq!(cluster.status("four"), ["192.0.2.0"]);
}

#[test]
fn both_addresses_come_from_one_pool_ipv4_first() {
    let mut cluster = Cluster::new(&[
        pool("a-four", &["198.51.100.0/24"]),
        pool("b-both", &["2001:db8::/64", "192.0.2.0/24"]),
    ]);
    let mut wish = dual("a", REQUIRE);
    wish.ip_families.reverse();
    cluster.apply(wish);
    assert_eq!(cluster.status("a"), ["192.0.2.0", "2001:db8::"]);
    cluster.apply(dual("b", PREFER));
    assert_eq!(cluster.status("b"), ["192.0.2.1", "2001:db8::1"]);
}

#[test]
fn preferring_both_falls_back_on_the_primary_family_then_on_the_other() {
    let mut cluster = Cluster::new(&[
        pool("six", &["2001:db8::1-2001:db8::2"]),
        pool("four", &["192.0.2.1"]),
    ]);
    cluster.apply(dual("a", PREFER));
    cluster.apply(dual("b", PREFER));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.status("b"), ["2001:db8::1"]);
    let mut six_first = dual("c", PREFER);
    six_first.ip_families.reverse();
    cluster.delete("a");
    cluster.apply(six_first);
    assert_eq!(cluster.status("c"), ["2001:db8::2"]);
}

#[test]
fn a_pinned_pool_of_one_family_comes_before_an_open_one_of_both() {
    let mut cluster = Cluster::new(&[
        pool("both", &["192.0.2.0/24", "2001:db8::/64"]),
        pinned("mine", &["198.51.100.0/24"], "default", 0),
    ]);
    cluster.apply(dual("a", PREFER));
    assert_eq!(cluster.status("a"), ["198.51.100.0"]);
    cluster.apply(dual("b", REQUIRE));
    assert_eq!(cluster.pool_of("b").as_deref(), Some("both"));
}

#[test]
fn preferring_both_on_a_single_stack_cluster_comes_to_rest() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::/64"])]);
    cluster.apply(Service {
        ip_family_policy: PREFER,
        ..service("a")
    });
    assert_eq!(cluster.status("a"), ["192.0.2.0"]);
    assert_eq!(cluster.writes.len(), 1);
}

#[test]
fn one_that_becomes_dual_stack_gets_a_second_address_of_its_pool() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::/64"])]);
    cluster.apply(service("a"));
    cluster.reasons();
    cluster.apply(dual("a", PREFER));
    assert_eq!(cluster.status("a"), ["192.0.2.0", "2001:db8::"]);
    assert_eq!(cluster.reasons(), ["IPAllocated"]);
}

#[test]
fn a_missing_second_address_is_told_once_and_given_as_soon_as_there_is_one() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::1"])]);
    cluster.apply(v6("six"));
    cluster.apply(service("a"));
    cluster.reasons();
    for _ in 0..3 {
        cluster.apply(dual("a", PREFER));
    }
    assert_eq!(cluster.reasons(), ["AdditionalAssignFailed"]);
    cluster.delete("six");
    assert_eq!(cluster.status("a"), ["192.0.2.0", "2001:db8::1"]);
}

#[test]
fn a_pool_of_one_family_says_nothing_and_serves_more_when_it_grows() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.0/24"])]);
    cluster.apply(dual("a", PREFER));
    assert_eq!(cluster.reasons(), ["IPAllocated"]);
    cluster.configure(&[pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    assert_eq!(cluster.status("a"), ["192.0.2.0", "2001:db8::"]);
}

#[test]
fn one_that_becomes_single_stack_gives_an_address_back() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::/64"])]);
    cluster.apply(dual("a", REQUIRE));
    cluster.apply(service("a"));
    assert_eq!(cluster.status("a"), ["192.0.2.0"]);
}

#[test]
fn two_addresses_asked_for_are_written_as_asked() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.0/24", "2001:db8::/64"])]);
    let asking = |name: &str, text: &str| Service {
        requested_ips: Some(text.to_owned()),
        ..dual(name, PREFER)
    };
    cluster.apply(asking("a", "2001:db8::7, 192.0.2.7"));
    assert_eq!(cluster.status("a"), ["2001:db8::7", "192.0.2.7"]);
    cluster.apply(asking("b", "192.0.2.8"));
    assert!(cluster.why("b").contains("does not match the IP family"));
}

#[test]
fn two_addresses_of_two_pools_are_refused() {
    let mut cluster = Cluster::new(&[
        pool("four", &["192.0.2.0/24"]),
        pool("six", &["2001:db8::/64"]),
    ]);
    cluster.apply(Service {
        requested_ips: Some("192.0.2.7,2001:db8::7".to_owned()),
        ..dual("a", REQUIRE)
    });
    assert!(cluster.why("a").contains("are of two pools (four, six)"));
    cluster.apply(Service {
        requested_pool: Some("four".to_owned()),
        ..dual("b", REQUIRE)
    });
    assert!(cluster.why("b").contains("pool four has no IPv6 addresses"));
}
