//! Status writes: one at a time, on the newest version, and no address in two statuses.

use std::time::Duration;

use ironlb_controller_core::{Input, WriteOutcome};
use ironlb_model::{Family, Ingress, IpFamilyPolicy, Service};

use crate::cluster::{Cluster, config, dual, ips, key, pinned, pool, service};

fn written(name: &str, outcome: WriteOutcome) -> Input {
    Input::Written {
        service: key(name),
        outcome,
    }
}

fn asking(name: &str, ip: &str) -> Service {
    Service {
        requested_ips: Some(ip.to_owned()),
        ..service(name)
    }
}

/// Changes the spec in the API and tells the controller; what it wants to write is left undone.
fn tell(cluster: &mut Cluster, service: Service) {
    let service = cluster.api.apply(service);
    cluster.give(Input::ServiceApplied(Box::new(service)));
}

#[test]
fn an_address_that_moves_away_is_given_on_only_when_the_status_says_so() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    tell(&mut cluster, asking("a", "192.0.2.5"));
    let moving = cluster.pending().pop_front().unwrap();
    cluster.apply(asking("b", "192.0.2.1"));
    assert_eq!(
        cluster.why("b"),
        "192.0.2.1 is still in the status of default/a"
    );
    let (outcome, _) = cluster.api.write(&moving);
    cluster.give(written("a", outcome));
    cluster.settle();
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_conflict_waits_for_the_newer_object() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    assert_eq!(cluster.pending().len(), 1);
    let newer = cluster.api.apply(service("a"));
    cluster.give(written("a", WriteOutcome::Conflict));
    assert!(cluster.pending().is_empty());
    cluster.give(Input::ServiceApplied(Box::new(newer.clone())));
    let writes = cluster.pending();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].resource_version, newer.resource_version);
}

#[test]
fn a_conflict_that_was_none_is_tried_again_in_the_end() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    cluster.pending();
    cluster.give(written("a", WriteOutcome::Conflict));
    cluster.now = cluster.controller.deadline().unwrap();
    cluster.give(Input::Tick);
    assert_eq!(cluster.pending().len(), 1);
    assert_eq!(cluster.controller.deadline(), None);
}

#[test]
fn failures_are_repeated_ever_more_slowly() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(cluster.pending().len(), 1);
        cluster.give(written("a", WriteOutcome::Failed));
        assert!(cluster.pending().is_empty());
        let deadline = cluster.controller.deadline().unwrap();
        waits.push(deadline.since(cluster.now));
        cluster.controller.handle(deadline, Input::Tick);
        cluster.now = deadline;
    }
    assert_eq!(waits[0], Duration::from_millis(250));
    assert_eq!(waits[1], Duration::from_millis(500));
    assert_eq!(waits[11], Duration::from_secs(60));
}

#[test]
fn an_early_tick_does_nothing() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    cluster.pending();
    cluster.give(written("a", WriteOutcome::Failed));
    cluster.give(Input::Tick);
    assert!(cluster.pending().is_empty());
    assert!(cluster.controller.deadline().is_some());
}

#[test]
fn an_object_older_than_our_write_is_not_believed() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    let stale = cluster.api.services[&key("a")].clone();
    cluster.settle();
    cluster.writes.clear();
    cluster.give(Input::ServiceApplied(Box::new(stale)));
    cluster.settle();
    assert!(cluster.writes.is_empty());
}

/// Somebody else writes `ip` into the status of `a`.
fn edit(cluster: &mut Cluster, ip: &str) {
    let mut edited = cluster.api.services[&key("a")].clone();
    edited.ingress = vec![Ingress {
        ip: ip.to_owned(),
        ..Ingress::default()
    }];
    let edited = cluster.api.store(edited);
    cluster.give(Input::ServiceApplied(Box::new(edited)));
    cluster.settle();
}

#[test]
fn a_status_that_somebody_else_changes_is_put_right() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    cluster.apply(service("b"));
    for forbidden in ["192.0.2.2", "198.51.100.1", "rubbish"] {
        edit(&mut cluster, forbidden);
        assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    }
}

#[test]
fn a_status_that_somebody_else_changes_to_what_it_may_have_stays() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    edit(&mut cluster, "192.0.2.8");
    assert_eq!(cluster.status("a"), ["192.0.2.8"]);
    cluster.apply(service("b"));
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
}

#[test]
fn a_move_whose_reason_ends_before_it_is_written_never_happens() {
    let open = pool("first", &["192.0.2.1-192.0.2.9"]);
    let fenced = pinned("first", &["192.0.2.1-192.0.2.9"], "elsewhere", 1);
    let second = pool("second", &["198.51.100.1-198.51.100.9"]);
    let mut cluster = Cluster::new(&[open.clone(), second.clone()]);
    cluster.apply(service("a"));
    cluster.give(Input::Config(config(&[fenced, second.clone()])));
    assert_eq!(cluster.pending().len(), 1);
    cluster.give(written("a", WriteOutcome::Failed));
    cluster.give(Input::Config(config(&[open, second])));
    cluster.now = cluster.controller.deadline().unwrap();
    cluster.give(Input::Tick);
    cluster.settle();
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn a_second_address_that_was_never_written_does_not_cost_the_first() {
    let mut cluster = Cluster::new(&[pool("both", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(dual("a", IpFamilyPolicy::PreferDualStack));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    let both = config(&[pool("both", &["192.0.2.1-192.0.2.9", "2001:db8::/64"])]);
    cluster.give(Input::Config(both));
    assert_eq!(cluster.pending().len(), 1);
    cluster.give(written("a", WriteOutcome::Conflict));
    let mut single = cluster.api.services[&key("a")].clone();
    single.ip_family_policy = IpFamilyPolicy::SingleStack;
    single.cluster_ips.truncate(1);
    let single = cluster.api.store(single);
    cluster.give(Input::ServiceApplied(Box::new(single)));
    assert!(cluster.pending().is_empty());
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn a_status_that_is_no_address_keeps_nothing_of_a_pool_that_is_gone() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    let mut edited = cluster.api.services[&key("a")].clone();
    edited.ingress[0].ip = "rubbish".to_owned();
    let edited = cluster.api.store(edited);
    cluster.give(Input::ServiceApplied(Box::new(edited)));
    assert_eq!(cluster.pending().len(), 1);
    let second = config(&[pool("second", &["198.51.100.1-198.51.100.9"])]);
    cluster.give(Input::Config(second));
    cluster.give(written("a", WriteOutcome::Failed));
    cluster.now = cluster.controller.deadline().unwrap();
    cluster.give(Input::Tick);
    cluster.settle();
    assert_eq!(cluster.status("a"), ["198.51.100.1"]);
}

#[test]
fn a_move_that_is_undone_before_it_is_written_never_happens() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(service("a"));
    let other = config(&[pool("other", &["198.51.100.1-198.51.100.9"])]);
    cluster.give(Input::Config(other));
    cluster.give(written("nobody", WriteOutcome::Done));
    let writes = cluster.pending();
    assert_eq!(writes.len(), 1);
    let first = config(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.give(Input::Config(first));
    cluster.give(written("a", WriteOutcome::Failed));
    cluster.now = cluster.controller.deadline().unwrap();
    cluster.give(Input::Tick);
    cluster.settle();
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
}

#[test]
fn a_write_to_a_deleted_service_does_not_count_for_its_successor() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    tell(&mut cluster, service("a"));
    assert_eq!(cluster.pending().len(), 1);
    cluster.api.services.remove(&key("a"));
    let successor = Service {
        uid: "second".into(),
        ..service("a")
    };
    let successor = cluster.api.apply(successor);
    cluster.give(Input::ServiceApplied(Box::new(successor.clone())));
    assert!(
        cluster.pending().is_empty(),
        "the first write is still under way"
    );
    cluster.give(written("a", WriteOutcome::Conflict));
    let writes = cluster.pending();
    assert_eq!(writes[0].resource_version, successor.resource_version);
}

#[test]
fn two_services_with_one_address_are_put_right_for_the_one_we_gave_it() {
    let with = |name: &str, pool: Option<&str>, created| Service {
        ingress: vec![Ingress {
            ip: "192.0.2.1".to_owned(),
            ..Ingress::default()
        }],
        allocated_from: pool.map(str::to_owned),
        created: Some(created),
        ..service(name)
    };
    let services = [
        with("a", None, 1),
        with("b", Some("first"), 3),
        with("c", Some("first"), 2),
    ];
    let mut cluster = Cluster::with_services(&[pool("first", &["192.0.2.1-192.0.2.9"])], &services);
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
    assert_eq!(cluster.status("a"), ["192.0.2.2"]);
    assert_eq!(cluster.status("b"), ["192.0.2.3"]);
    assert_eq!(
        cluster.reasons(),
        [
            "ClearAssignment",
            "IPAllocated",
            "ClearAssignment",
            "IPAllocated"
        ]
    );
}

#[test]
fn an_address_in_two_statuses_is_free_only_when_both_let_go() {
    let with = |name: &str, created| Service {
        ingress: vec![Ingress {
            ip: "192.0.2.1".to_owned(),
            ..Ingress::default()
        }],
        created: Some(created),
        ..service(name)
    };
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    for service in [with("a", 1), with("b", 2)] {
        let service = cluster.api.store(service);
        cluster.give(Input::ServiceApplied(Box::new(service)));
    }
    let writes = cluster.pending();
    cluster.api.services.remove(&key("a"));
    cluster.give(Input::ServiceDeleted(key("a")));
    cluster.apply(asking("c", "192.0.2.1"));
    assert!(
        cluster
            .why("c")
            .contains("still in the status of default/b")
    );
    for write in writes {
        let (outcome, _) = cluster.api.write(&write);
        cluster.give(Input::Written {
            service: write.service,
            outcome,
        });
    }
    cluster.settle();
    assert_eq!(cluster.status("c"), ["192.0.2.1"]);
}

#[test]
fn files_without_versions_are_written_again_without_waiting() {
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.give(Input::ServiceApplied(Box::new(service("a"))));
    assert_eq!(cluster.pending().len(), 1);
    cluster.give(Input::ServiceApplied(Box::new(asking("a", "192.0.2.7"))));
    assert!(cluster.pending().is_empty());
    cluster.give(written("a", WriteOutcome::Done));
    let writes = cluster.pending();
    assert_eq!(writes[0].ips, ips(&["192.0.2.7"]));
    cluster.give(written("a", WriteOutcome::Done));
    assert!(cluster.pending().is_empty());
}

#[test]
fn one_that_was_to_share_and_no_longer_does_stays_away_until_the_other_has_left() {
    let sharing = |name: &str, number| Service {
        sharing_key: Some("k".to_owned()),
        ports: vec![crate::cluster::port(ironlb_model::Protocol::Tcp, number)],
        ..service(name)
    };
    let mut cluster = Cluster::new(&[pool("first", &["192.0.2.1-192.0.2.9"])]);
    cluster.apply(sharing("a", 80));
    tell(&mut cluster, sharing("b", 443));
    assert_eq!(cluster.pending()[0].ips, ips(&["192.0.2.1"]));
    tell(&mut cluster, service("a"));
    assert_eq!(cluster.pending()[0].ips, ips(&["192.0.2.2"]));
    tell(&mut cluster, service("b"));
    cluster.give(written("b", WriteOutcome::Conflict));
    assert_eq!(cluster.pending()[0].ips, ips(&["192.0.2.3"]));
}

#[test]
fn one_that_asks_for_what_cannot_be_read_is_given_nothing_that_was_not_written_yet() {
    let mut cluster = Cluster::new(&[pool("pool", &["192.0.2.1", "2001:db8::1"])]);
    cluster.apply(service("a"));
    assert_eq!(cluster.status("a"), ["192.0.2.1"]);
    let moved = Service {
        cluster_ips: ips(&["fd00::1"]),
        ip_families: vec![Family::V6],
        ..service("a")
    };
    tell(&mut cluster, moved.clone());
    let write = cluster.pending().pop_front().unwrap();
    assert_eq!(write.ips, ips(&["2001:db8::1"]));
    let unreadable = Service {
        requested_ips: Some("2001:db8".to_owned()),
        ..moved
    };
    tell(&mut cluster, unreadable);
    let (outcome, _) = cluster.api.write(&write);
    assert_eq!(outcome, WriteOutcome::Conflict);
    cluster.give(written("a", outcome));
    cluster.settle();
    assert!(cluster.status("a").is_empty());
}
