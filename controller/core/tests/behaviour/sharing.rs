//! Services that share an address.

use ironlb_model::{IpFamilyPolicy, Port, Protocol, Service, TrafficPolicy};

use crate::cluster::{Cluster, dual, labels, pool, port, service};

fn sharing(name: &str, key: &str, ports: &[u16]) -> Service {
    Service {
        sharing_key: Some(key.to_owned()),
        ports: ports
            .iter()
            .map(|number| port(Protocol::Tcp, *number))
            .collect(),
        ..service(name)
    }
}

fn local(service: Service, app: &str) -> Service {
    Service {
        traffic_policy: TrafficPolicy::Local,
        selector: labels(&[("app", app)]),
        ..service
    }
}

fn asking(service: Service, ip: &str) -> Service {
    Service {
        requested_ips: Some(ip.to_owned()),
        ..service
    }
}

#[test]
fn a_sharing_key_leads_to_the_address_that_it_has_already() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("gap"));
    cluster.apply(sharing("a", "k", &[80]));
    cluster.delete("gap");
    cluster.apply(sharing("b", "k", &[443]));
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
    let usage = cluster.controller.pool_usage()[&Cluster::pool_name("first")];
    assert_eq!(usage.v4.in_use, 1);
}

#[test]
fn an_address_is_refused_for_each_of_these_reasons() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(sharing("a", "k", &[80]));
    let on = |service| asking(service, "192.0.2.1");
    let cases = [
        (on(sharing("b", "other", &[81])), "with another sharing key"),
        (on(sharing("b", "k", &[81, 80])), "on the same port 80/TCP"),
        (on(service("b")), "is in use by default/a; to share it"),
        (
            on(local(sharing("b", "k", &[81]), "x")),
            "with other endpoints",
        ),
    ];
    for (wish, why) in cases {
        cluster.delete("b");
        cluster.apply(wish);
        let found = cluster.why("b");
        assert!(found.contains(why), "{found:?} should say {why:?}");
    }
}

#[test]
fn the_same_port_of_another_protocol_is_another_port() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(sharing("a", "k", &[53]));
    cluster.apply(Service {
        ports: vec![Port {
            protocol: Protocol::Udp,
            ..port(Protocol::Udp, 53)
        }],
        ..sharing("b", "k", &[])
    });
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn local_services_share_when_their_selectors_are_the_same() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.2"])]);
    cluster.apply(local(sharing("a", "k", &[80]), "x"));
    cluster.apply(local(sharing("b", "k", &[443]), "x"));
    cluster.apply(local(sharing("c", "k", &[444]), "y"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
    assert_eq!(cluster.status("c"), ["192.0.2.2"]);
}

#[test]
fn local_without_a_selector_is_not_like_cluster() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.2"])]);
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(Service {
        traffic_policy: TrafficPolicy::Local,
        ..sharing("b", "k", &[443])
    });
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
}

#[test]
fn an_address_stays_shared_though_a_service_without_ports_leaves() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(sharing("portless", "k", &[]));
    cluster.delete("portless");
    cluster.apply(sharing("b", "k", &[443]));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn the_only_one_on_an_address_may_change_its_key() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(sharing("a", "l", &[80]));
    cluster.apply(sharing("b", "l", &[443]));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn one_of_many_that_changes_its_key_moves_and_the_others_stay() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(sharing("b", "k", &[443]));
    cluster.reasons();
    cluster.apply(sharing("a", "l", &[80]));
    assert_eq!(cluster.status("a"), ["192.0.2.2"]);
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
    assert_eq!(cluster.reasons(), ["ClearAssignment", "IPAllocated"]);
}

#[test]
fn a_port_that_is_taken_moves_the_one_that_adds_it() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(sharing("b", "k", &[443]));
    cluster.apply(sharing("b", "k", &[443, 80]));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.status("b"), ["192.0.2.2"]);
}

#[test]
fn a_port_that_becomes_free_lets_in_the_one_that_waits_for_it() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(sharing("a", "k", &[80, 81]));
    cluster.apply(sharing("b", "k", &[81]));
    assert!(cluster.status("b").is_empty());
    cluster.apply(sharing("a", "k", &[80]));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn one_that_gets_an_address_lets_in_those_with_its_key() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1"])]);
    cluster.apply(service("owner"));
    cluster.apply(sharing("a", "k", &[80]));
    cluster.apply(sharing("b", "k", &[443]));
    cluster.delete("owner");
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn both_families_of_a_key_are_found_in_one_pool() {
    let mut cluster = Cluster::new(&[
        pool("a", &["192.0.2.1-192.0.2.9", "2001:db8::1-2001:db8::9"]),
        pool(
            "b",
            &["198.51.100.1-198.51.100.9", "2001:db8:1::1-2001:db8:1::9"],
        ),
    ]);
    let both = |name: &str, number: u16| Service {
        ip_family_policy: IpFamilyPolicy::RequireDualStack,
        cluster_ips: dual("x", IpFamilyPolicy::RequireDualStack).cluster_ips,
        ..sharing(name, "k", &[number])
    };
    cluster.apply(Service {
        requested_pool: Some("b".to_owned()),
        ..both("one", 80)
    });
    cluster.apply(both("two", 443));
    assert_eq!(cluster.status("two"), cluster.status("one"));
    assert_eq!(cluster.pool_of("two").as_deref(), Some("b"));
}
