//! A Service gets an address, keeps it, and gives it back.

use crate::cluster::{Cluster, dual, key, labels, pinned, pool, service};
use ironlb_model::{Family, Ingress, IpFamilyPolicy, Pool, Service};

fn asking(name: &str, ips: &str) -> Service {
    Service {
        requested_ips: Some(ips.to_owned()),
        ..service(name)
    }
}

fn of_pool(name: &str, pool: &str) -> Service {
    Service {
        requested_pool: Some(pool.to_owned()),
        ..service(name)
    }
}

#[test]
fn a_service_gets_the_lowest_address_and_the_annotation_says_which_pool() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("web"));
    assert_eq!(cluster.status("web"), ["192.0.2.1"]);
    assert_eq!(cluster.pool_of("web").as_deref(), Some("first"));
    assert_eq!(cluster.reasons(), ["IPAllocated"]);
    assert_eq!(cluster.writes.len(), 1);
}

#[test]
fn nothing_is_written_before_everything_is_read() {
    let mut cluster = Cluster::new(&[]);
    cluster.controller = ironlb_controller_core::Controller::default();
    cluster.give(ironlb_controller_core::Input::Config(
        crate::cluster::config(&[pool("first", &["192.0.2.0/24"])]),
    ));
    cluster.give(ironlb_controller_core::Input::ServiceApplied(Box::new(
        service("web"),
    )));
    assert!(cluster.pending().is_empty());
    cluster.give(ironlb_controller_core::Input::Synced);
    assert_eq!(cluster.pending().len(), 1);
}

#[test]
fn a_restart_moves_nothing_and_writes_nothing() {
    let pools = [pool("first", &["192.0.2.1-192.0.2.9"])];
    let mut cluster = Cluster::new(&pools);
    for name in ["c", "a", "b"] {
        cluster.apply(service(name));
    }
    cluster.delete("c");
    cluster.writes.clear();
    cluster.start(&pools);
    assert_eq!(cluster.status("a"), ["192.0.2.2"]);
    assert_eq!(cluster.status("b"), ["192.0.2.3"]);
    assert!(cluster.writes.is_empty());
}

#[test]
fn the_address_of_a_deleted_service_goes_to_the_one_that_waits_longest() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(service("a"));
    let younger = Service {
        created: Some(20),
        ..service("b")
    };
    let older = Service {
        created: Some(10),
        ..service("c")
    };
    cluster.apply(younger);
    cluster.apply(older);
    assert_eq!(
        cluster.reasons(),
        ["IPAllocated", "AllocationFailed", "AllocationFailed"]
    );
    assert_eq!(
        cluster.why("b"),
        "no IPv4 address is free in pool first; add addresses to a pool, or delete a Service"
    );
    cluster.delete("a");
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
    assert!(cluster.status("b").is_empty());
    assert_eq!(cluster.reasons(), ["IPAllocated"]);
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_is_tidied_up() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(service("a"));
    cluster.apply(Service {
        is_load_balancer: false,
        ..service("a")
    });
    assert!(cluster.status("a").is_empty());
    assert_eq!(cluster.pool_of("a"), None);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_service_of_another_class_is_left_alone_and_its_address_not_given_away() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.2"])]);
    let mut foreign = Service {
        class: Some("other".to_owned()),
        ..service("foreign")
    };
    foreign.ingress = vec![Ingress {
        ip: "192.0.2.1".to_owned(),
        ..Ingress::default()
    }];
    cluster.apply(foreign);
    cluster.apply(service("web"));
    assert_eq!(cluster.status("web"), ["192.0.2.2"]);
    assert_eq!(cluster.writes.len(), 1);
    cluster.apply(asking("bold", "192.0.2.1"));
    assert_eq!(
        cluster.why("bold"),
        "192.0.2.1 is still in the status of default/foreign"
    );
}

#[test]
fn a_service_moves_to_the_address_it_asks_for() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    cluster.apply(asking("a", " 192.0.2.7 "));
    assert_eq!(cluster.status("a"), ["192.0.2.7"]);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_malformed_wish_leaves_the_address_and_says_so_once() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    cluster.reasons();
    cluster.apply(asking("a", "192.0.2.300"));
    cluster.apply(asking("a", "192.0.2.300"));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.reasons(), ["LoadBalancerFailed"]);
    assert!(
        cluster
            .why("a")
            .contains("\"192.0.2.300\" in it is not an IP address")
    );
}

#[test]
fn a_wish_can_not_be_met_for_each_of_these_reasons() {
    let pools = [
        pool("v4", &["192.0.2.0-192.0.2.9"]),
        pool("v6", &["2001:db8::/120"]),
        Pool {
            avoid_buggy_ips: true,
            ..pool("careful", &["198.51.100.0/24"])
        },
        pinned("fenced", &["203.0.113.0/24"], "elsewhere", 0),
    ];
    let mut cluster = Cluster::new(&pools);
    cluster.apply(asking("owner", "192.0.2.5"));
    let cases = [
        (asking("a", "10.0.0.1"), "10.0.0.1 is in no address pool"),
        (
            asking("a", "192.0.2.5"),
            "192.0.2.5 is in use by default/owner; to share it",
        ),
        (asking("a", "2001:db8::1"), "does not match the IP family"),
        (
            asking("a", "192.0.2.1,192.0.2.2"),
            "two addresses of the same IP family",
        ),
        (
            asking("a", "192.0.2.1,192.0.2.2,192.0.2.3"),
            "it asks for 3 addresses",
        ),
        (asking("a", "198.51.100.0"), "ends in .0 or .255"),
        (asking("a", "203.0.113.1"), "does not select its namespace"),
        (
            of_pool("a", "fenced"),
            "pool fenced is not for this Service",
        ),
        (
            of_pool("a", "nope"),
            "which does not exist; there are pools careful, fenced, v4 and 1 more",
        ),
        (of_pool("a", "v6"), "pool v6 has no IPv4 addresses"),
        (
            Service {
                load_balancer_ip: Some("192.0.2.1".to_owned()),
                ..asking("a", "192.0.2.1")
            },
            "remove one of them",
        ),
        (
            Service {
                requested_pool: Some("careful".to_owned()),
                ..asking("a", "192.0.2.1")
            },
            "which is of pool v4, and for pool \"careful\"",
        ),
        (
            Service {
                cluster_ips: Vec::new(),
                ..service("a")
            },
            "it has no cluster IP",
        ),
        (
            Service {
                ip_family_policy: IpFamilyPolicy::RequireDualStack,
                ..service("a")
            },
            "it requires dual stack",
        ),
    ];
    for (wish, why) in cases {
        cluster.delete("a");
        cluster.apply(wish);
        let found = cluster.why("a");
        assert!(found.contains(why), "{found:?} should say {why:?}");
        assert!(cluster.status("a").is_empty());
    }
}

#[test]
fn an_empty_annotation_asks_for_nothing() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(Service {
        requested_pool: Some(String::new()),
        requested_ips: Some(String::new()),
        load_balancer_ip: Some("192.0.2.1".to_owned()),
        sharing_key: Some(String::new()),
        ..service("a")
    });
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn a_pool_without_automatic_choice_is_used_when_asked_for() {
    let reserved = Pool {
        auto_assign: false,
        ..pool("reserved", &["192.0.2.1-192.0.2.2"])
    };
    let mut cluster = Cluster::new(&[reserved]);
    cluster.apply(service("a"));
    assert!(cluster.why("a").starts_with("no pool is for this Service"));
    cluster.apply(of_pool("b", "reserved"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
    cluster.apply(asking("c", "192.0.2.2"));
    assert_eq!(cluster.status("c"), ["192.0.2.2"]);
}

#[test]
fn pinned_pools_come_by_priority_then_by_name_then_the_pools_for_all() {
    let mut cluster = Cluster::new(&[
        pool("a-all", &["192.0.2.1"]),
        pinned("b-last", &["192.0.2.2"], "default", 0),
        pinned("d-second", &["192.0.2.3"], "default", 7),
        pinned("c-second", &["192.0.2.4"], "default", 7),
        pinned("e-first", &["192.0.2.5"], "default", 1),
        pinned("f-other", &["192.0.2.6"], "elsewhere", 1),
    ]);
    for name in ["s1", "s2", "s3", "s4", "s5", "s6"] {
        cluster.apply(service(name));
    }
    let pools: Vec<_> = ["s1", "s2", "s3", "s4", "s5", "s6"]
        .map(|name| cluster.pool_of(name))
        .into();
    let expected = ["e-first", "c-second", "d-second", "b-last", "a-all"];
    assert_eq!(pools[..5], expected.map(|name| Some(name.to_owned())));
    assert_eq!(pools[5], None);
}

#[test]
fn a_selector_that_matches_no_namespace_keeps_everybody_out() {
    let mut fenced = pool("fenced", &["192.0.2.1"]);
    let selector = ironlb_model::LabelSelector {
        match_labels: labels(&[("team", "a")]),
        ..ironlb_model::LabelSelector::default()
    };
    fenced.allocation = Some(ironlb_model::ServiceAllocation {
        namespace_selectors: vec![selector],
        ..ironlb_model::ServiceAllocation::default()
    });
    let mut cluster = Cluster::new(&[fenced]);
    cluster.apply(asking("a", "192.0.2.1"));
    assert!(cluster.why("a").contains("does not select its namespace"));
    cluster.give(ironlb_controller_core::Input::NamespaceApplied(
        ironlb_model::Namespace {
            name: "default".into(),
            labels: labels(&[("team", "a")]),
        },
    ));
    cluster.settle();
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    cluster.give(ironlb_controller_core::Input::NamespaceDeleted(
        "default".into(),
    ));
    cluster.settle();
    assert!(cluster.status("a").is_empty());
}

#[test]
fn a_status_that_says_the_same_in_other_words_is_not_written() {
    let pools = [pool("both", &["192.0.2.1", "2001:db8::1"])];
    let mut held = dual("a", IpFamilyPolicy::RequireDualStack);
    held.allocated_from = Some("both".to_owned());
    held.ingress = ["2001:DB8:0::1", "192.0.2.1"]
        .map(|ip| Ingress {
            ip: ip.to_owned(),
            ..Ingress::default()
        })
        .into();
    let cluster = Cluster::with_services(&pools, &[held]);
    assert!(cluster.writes.is_empty());
    assert_eq!(
        cluster.controller.address_of(&key("a")),
        crate::cluster::ips(&["2001:db8::1", "192.0.2.1"])
    );
}

#[test]
fn a_host_name_in_the_status_is_replaced() {
    let mut named = service("a");
    named.ingress = vec![Ingress {
        hostname: "lb.example".to_owned(),
        ..Ingress::default()
    }];
    let cluster = Cluster::with_services(&[pool("first", &["192.0.2.1"])], &[named]);
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn deprecated_annotations_are_mentioned_when_something_is_written() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(Service {
        deprecated_annotations: vec!["metallb.universe.tf/address-pool".to_owned()],
        ..service("a")
    });
    assert_eq!(cluster.reasons(), ["IPAllocated", "deprecatedAnnotation"]);
}

#[test]
fn counters_follow() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    cluster.apply(service("a"));
    let usage = cluster.controller.pool_usage()[&Cluster::pool_name("first")];
    assert_eq!((usage.v4.total, usage.v4.in_use), (256, 1));
    assert_eq!(
        (usage.v6.total, usage.of(Family::V6).available()),
        (1 << 64, 1 << 64)
    );
}
