use std::collections::BTreeMap;
use std::sync::Arc;

use ironlb_model::config::PreferredNodes;
use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{Config, PoolSelection, Service, TrafficPolicy};

use super::*;
use crate::fixtures::{config, ip, key, l2, labels, node, pool, selector, service, slice};

/// Nodes a, b and c, one pool, and one advertisement that `change` may change.
fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(None, false);
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config.l2_advertisements.insert("all".into(), l2("all"));
    change(&mut config);
    world.set_config(Arc::new(config));
    for name in ["a", "b", "c"] {
        world.apply_node(node(name));
    }
    world
}

fn world() -> World {
    world_with(|_| {})
}

fn advertisement(config: &mut Config) -> &mut L2Advertisement {
    config.l2_advertisements.get_mut("all").unwrap()
}

/// A Service with one serving endpoint on each of `nodes`.
fn serve(world: &mut World, service: &Service, nodes: &[&str]) {
    world.apply_service(service);
    world.apply_endpoints(&slice(&service.key.name, &service.key.name, nodes));
}

fn local(name: &str, ips: &[&str]) -> Service {
    Service {
        traffic_policy: TrafficPolicy::Local,
        ..service(name, ips)
    }
}

/// Every address of a Service with its owner, or the word for the reason.
fn owners(world: &World, name: &str) -> BTreeMap<String, String> {
    let word = |result: Result<Owned<'_>, Reason>| match result {
        Ok(owned) => owned.node.to_string(),
        Err(reason) => reason.word().to_owned(),
    };
    match layer2(world, &key(name)) {
        Ok(owners) => owners
            .into_iter()
            .map(|(ip, owned)| (ip.to_string(), word(owned)))
            .collect(),
        Err(reason) => BTreeMap::from([(String::new(), reason.word().to_owned())]),
    }
}

fn owner(world: &World, name: &str) -> String {
    let owners: Vec<String> = owners(world, name).into_values().collect();
    assert!(owners.iter().all(|owner| owner == &owners[0]), "{owners:?}");
    owners[0].clone()
}

fn refusal_on(world: &World, name: &str, node: &str) -> String {
    let refusal = layer2_on(world, &key(name), &node.into()).unwrap_err();
    refusal.to_string()
}

#[test]
fn exactly_one_node_answers_for_an_address() {
    let mut world = world();
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let answers = |node: &str| layer2_on(&world, &key("web"), &node.into());
    let answering: Vec<&str> = ["a", "b", "c"]
        .into_iter()
        .filter(|node| answers(node).is_ok())
        .collect();
    assert_eq!(answering, [owner(&world, "web")]);
    let other = ["a", "b", "c"]
        .into_iter()
        .find(|node| *node != answering[0])
        .unwrap();
    assert_eq!(
        answers(other),
        Err(Reason::NotOwner {
            owner: answering[0].into()
        })
    );
}

#[test]
fn each_address_of_a_service_has_an_owner_of_its_own() {
    let mut world = world();
    let mut both = 0;
    for last in 1..=64 {
        let (v4, v6) = (format!("192.0.2.{last}"), format!("2001:db8::{last}"));
        serve(&mut world, &service("web", &[&v4, &v6]), &["a"]);
        let owners = owners(&world, "web");
        both += u32::from(owners[&v4] == owners[&v6]);
    }
    assert!((5..=45).contains(&both), "{both}");
}

#[test]
fn metallb_compat_lets_the_first_address_decide_for_all() {
    let compat = |config: &mut Config| advertisement(config).election = Election::MetallbCompat;
    let mut world = World::new(None, false);
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config.l2_advertisements.insert("all".into(), l2("all"));
    compat(&mut config);
    world.set_config(Arc::new(config));
    for name in ["node-a", "node-b", "node-c"] {
        world.apply_node(node(name));
    }
    serve(
        &mut world,
        &service("v4", &["192.0.2.10", "2001:db8::11"]),
        &["node-a"],
    );
    serve(
        &mut world,
        &service("v6", &["2001:db8::10", "192.0.2.11"]),
        &["node-a"],
    );
    assert_eq!(owner(&world, "v4"), "node-c");
    assert_eq!(owner(&world, "v6"), "node-b");
}

#[test]
fn excluded_and_unavailable_nodes_are_no_candidates() {
    let mut world = world();
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let mut excluded = node("a");
    excluded.labels = labels(&[(EXCLUDE_LABEL, "")]);
    world.apply_node(excluded);
    let mut unavailable = node("b");
    unavailable.network_unavailable = true;
    world.apply_node(unavailable);
    assert_eq!(owner(&world, "web"), "c");
    assert_eq!(
        refusal_on(&world, "web", "a"),
        "node \"a\" has the label node.kubernetes.io/exclude-from-external-load-balancers"
    );
    assert_eq!(
        refusal_on(&world, "web", "b"),
        "node \"b\" has the condition NetworkUnavailable"
    );
    assert_eq!(refusal_on(&world, "web", "z"), "node \"z\" is not known");
    world.delete_node("c");
    assert_eq!(owner(&world, "web"), "noEligibleNode");
}

#[test]
fn the_exclude_label_can_be_ignored() {
    let mut world = World::new(None, true);
    let mut config = config([pool("first", &["192.0.2.0/24"])]);
    config.l2_advertisements.insert("all".into(), l2("all"));
    world.set_config(Arc::new(config));
    let mut excluded = node("a");
    excluded.labels = labels(&[(EXCLUDE_LABEL, "")]);
    world.apply_node(excluded);
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(owner(&world, "web"), "a");
}

#[test]
fn a_node_with_a_drain_taint_is_no_candidate_and_other_taints_are_nothing() {
    let mut world = world().with_drain_taints(["leaving".to_owned()].into());
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let before = owner(&world, "web");
    let mut tainted = node(&before);
    tainted.taints = vec!["busy".to_owned()];
    assert!(world.apply_node(tainted.clone()).is_empty());
    assert_eq!(owner(&world, "web"), before);
    tainted.taints.push("leaving".to_owned());
    assert_eq!(world.apply_node(tainted).len(), 1);
    assert_ne!(owner(&world, "web"), before);
    assert_eq!(
        refusal_on(&world, "web", &before),
        format!("node {before:?} has the taint leaving")
    );
    world.apply_node(node(&before));
    assert_eq!(owner(&world, "web"), before);
}

#[test]
fn a_local_service_is_answered_where_an_endpoint_serves() {
    let mut world = world();
    serve(&mut world, &local("web", &["192.0.2.1"]), &["b"]);
    assert_eq!(owner(&world, "web"), "b");
    assert_eq!(
        refusal_on(&world, "web", "a"),
        "externalTrafficPolicy is Local, and node \"a\" has no serving endpoint"
    );
    world.apply_endpoints(&slice("web", "web", &["gone"]));
    assert_eq!(owner(&world, "web"), "noEligibleNode");
    world.apply_endpoints(&slice("web", "web", &[]));
    assert_eq!(owner(&world, "web"), "noEndpoints");
}

#[test]
fn a_service_without_serving_endpoint_is_not_announced() {
    let mut world = world();
    world.apply_service(&service("web", &["192.0.2.1"]));
    assert_eq!(owner(&world, "web"), "noEndpoints");
}

#[test]
fn only_nodes_that_an_advertisement_selects_are_candidates() {
    let mut world = world_with(|config| {
        advertisement(config).nodes = vec![selector(&[("rack", "1")]), selector(&[("rack", "2")])];
    });
    let mut racked = node("b");
    racked.labels = labels(&[("rack", "2")]);
    world.apply_node(racked);
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(owner(&world, "web"), "b");
    assert_eq!(
        refusal_on(&world, "web", "a"),
        "no L2Advertisement for it selects node \"a\""
    );
}

#[test]
fn an_advertisement_is_for_its_pools_and_services() {
    let mut world = world_with(|config| {
        advertisement(config).services = vec![selector(&[("tier", "web")])];
        config
            .pools
            .insert("second".into(), pool("second", &["198.51.100.0/24"]));
        let mut second = l2("second");
        second.pools = PoolSelection {
            names: ["second".into()].into(),
            ..PoolSelection::default()
        };
        config.l2_advertisements.insert("second".into(), second);
    });
    let mut web = service("web", &["192.0.2.1"]);
    serve(&mut world, &web, &["a"]);
    assert_eq!(owner(&world, "web"), "noMatchingAdvertisement");
    web.labels = labels(&[("tier", "web")]);
    serve(&mut world, &web, &["a"]);
    assert!(["a", "b", "c"].contains(&&*owner(&world, "web")));
    serve(&mut world, &service("db", &["198.51.100.1"]), &["a"]);
    assert!(["a", "b", "c"].contains(&&*owner(&world, "db")));
    serve(&mut world, &service("stray", &["203.0.113.1"]), &["a"]);
    assert_eq!(owner(&world, "stray"), "ipNotAllowed");
}

#[test]
fn a_service_that_may_share_is_refused_by_service_selectors() {
    let mut world = world_with(|config| {
        advertisement(config).services = vec![selector(&[("tier", "web")])];
    });
    let mut web = service("web", &["192.0.2.1"]);
    web.labels = labels(&[("tier", "web")]);
    web.sharing_key = Some(String::new());
    serve(&mut world, &web, &["a"]);
    assert_eq!(owner(&world, "web"), "sharedIPWithServiceSelector");
}

#[test]
fn only_the_address_outside_of_every_pool_waits() {
    let mut world = world();
    serve(
        &mut world,
        &service("web", &["192.0.2.1", "2001:db9::1"]),
        &["a"],
    );
    let owners = owners(&world, "web");
    assert_eq!(owners["2001:db9::1"], "ipNotAllowed");
    assert!(["a", "b", "c"].contains(&&*owners["192.0.2.1"]));
    let node = Name::from(&*owners["192.0.2.1"]);
    assert_eq!(layer2_on(&world, &key("web"), &node).unwrap().len(), 1);
}

#[test]
fn a_status_without_address_or_with_a_wrong_one_is_not_announced() {
    let mut world = world();
    serve(&mut world, &service("none", &[]), &["a"]);
    assert_eq!(owner(&world, "none"), "noIPAllocated");
    serve(
        &mut world,
        &service("wrong", &["192.0.2.1", "banana"]),
        &["a"],
    );
    assert_eq!(
        layer2(&world, &key("wrong")).unwrap_err().to_string(),
        "its status holds \"banana\", which is no IP address"
    );
    assert_eq!(owner(&world, "absent"), "serviceDeleted");
}

#[test]
fn weights_of_all_advertisements_add_up_before_the_hash() {
    let preferring = |name: &str, weight, rack: &str| L2Advertisement {
        preferred_nodes: vec![PreferredNodes {
            weight,
            nodes: selector(&[("rack", rack)]),
        }],
        ..l2(name)
    };
    let mut world = world_with(|config| {
        let one = preferring("all", 60, "a");
        config.l2_advertisements.insert("all".into(), one);
        for name in ["x", "y"] {
            let both = preferring(name, 40, "b");
            config.l2_advertisements.insert(name.into(), both);
        }
    });
    for name in ["a", "b", "c"] {
        let mut racked = node(name);
        racked.labels = labels(&[("rack", name)]);
        world.apply_node(racked);
    }
    for last in 1..=32 {
        serve(
            &mut world,
            &service("web", &[&format!("192.0.2.{last}")]),
            &["a"],
        );
        assert_eq!(owner(&world, "web"), "b");
    }
}

#[test]
fn interfaces_add_up_over_the_advertisements_for_the_owner() {
    let on = |name: &str, interfaces: &[&str]| L2Advertisement {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        ..l2(name)
    };
    let interfaces = |world: &World| {
        let (_, owned) = layer2(world, &key("web")).unwrap().remove(0);
        owned.unwrap().interfaces
    };
    let mut advertisements = config([]).l2_advertisements;
    advertisements.insert("x".into(), on("x", &["eth0"]));
    advertisements.insert("y".into(), on("y", &["eth1", "eth0"]));
    let mut elsewhere = on("z", &[]);
    elsewhere.nodes = vec![selector(&[("rack", "9")])];
    advertisements.insert("z".into(), elsewhere);
    let mut world = world_with(|config| config.l2_advertisements = advertisements.clone());
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let both = ["eth0".to_owned(), "eth1".to_owned()];
    assert_eq!(interfaces(&world), Some(both.into()));

    advertisements.insert("w".into(), on("w", &[]));
    let mut world = world_with(|config| config.l2_advertisements = advertisements);
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(interfaces(&world), None);
}

#[test]
fn the_longest_burst_and_the_shortest_refresh_win() {
    let mut world = world_with(|config| {
        let mut other = l2("other");
        other.gratuitous = Gratuitous {
            count: 2,
            interval: Duration::from_secs(3),
        };
        other.refresh = Some(Duration::from_secs(60));
        config.l2_advertisements.insert("other".into(), other);
        advertisement(config).refresh = Some(Duration::from_secs(90));
    });
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let (_, owned) = layer2(&world, &key("web")).unwrap().remove(0);
    let owned = owned.unwrap();
    assert_eq!(owned.gratuitous.count, 5);
    assert_eq!(owned.gratuitous.interval, Duration::from_secs(3));
    assert_eq!(owned.refresh, Some(Duration::from_secs(60)));
}

#[test]
fn local_services_that_share_an_address_go_to_a_node_that_serves_them_all() {
    for last in 1..=32 {
        let address = format!("192.0.2.{last}");
        let mut world = world();
        serve(&mut world, &local("web", &[&address]), &["a", "b"]);
        serve(&mut world, &local("db", &[&address]), &["b", "c"]);
        serve(&mut world, &service("any", &[&address]), &["a"]);
        for name in ["web", "db", "any"] {
            assert_eq!(owner(&world, name), "b");
        }
    }
}

#[test]
fn a_service_with_no_node_in_common_stands_back_for_the_older_ones() {
    let mut world = world();
    let dated = |name, created| Service {
        created: Some(created),
        ..local(name, &["192.0.2.1"])
    };
    serve(&mut world, &dated("zoo", 1), &["a"]);
    serve(&mut world, &dated("web", 2), &["b", "c"]);
    serve(&mut world, &dated("any", 3), &["a", "b"]);
    assert_eq!(owner(&world, "zoo"), "a");
    assert_eq!(owner(&world, "any"), "a");
    assert_eq!(owner(&world, "web"), "sharedIPWithoutCommonNode");
    assert_eq!(
        layer2_on(&world, &key("web"), &"b".into())
            .unwrap_err()
            .to_string(),
        "no node can serve it together with default/zoo, which shares 192.0.2.1 and was there before"
    );
    world.apply_endpoints(&slice("web", "web", &["a"]));
    assert_eq!(owner(&world, "web"), "a");
}

#[test]
fn a_sharer_without_endpoints_has_no_say() {
    let mut world = world();
    serve(&mut world, &local("web", &["192.0.2.1"]), &["b"]);
    serve(&mut world, &local("db", &["192.0.2.1"]), &[]);
    assert_eq!(owner(&world, "web"), "b");
    assert_eq!(owner(&world, "db"), "noEndpoints");
}

fn compat(config: &mut Config) {
    advertisement(config).election = Election::MetallbCompat;
}

#[test]
fn in_metallb_compat_the_oldest_sharer_elects_for_all() {
    for last in 1..=32 {
        let (v4, v6) = (format!("192.0.2.{last}"), format!("2001:db8::{last}"));
        let old = service("zoo", &[&v6]);
        let young = Service {
            created: Some(1),
            ..service("app", &[&v4, &v6])
        };
        let mut world = world_with(compat);
        serve(&mut world, &young, &["a"]);
        let young_first = owner(&world, "app");
        serve(&mut world, &old, &["a"]);
        let both = owners(&world, "app");
        assert_eq!(both[&v6], owner(&world, "zoo"));
        assert_eq!(both[&v4], young_first);
        world.delete_service(&young.key);
        assert_eq!(both[&v6], owner(&world, "zoo"));
    }
}

#[test]
fn in_metallb_compat_sharers_without_a_common_node_are_not_announced_from_two() {
    let mut world = world_with(compat);
    serve(&mut world, &local("db", &["192.0.2.1"]), &["c"]);
    serve(&mut world, &local("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(owner(&world, "db"), "c");
    assert_eq!(owner(&world, "web"), "sharedIPWithoutCommonNode");
}

#[test]
fn the_owner_does_not_depend_on_the_order_of_events() {
    let names = ["web", "db", "any"];
    let build = |order: [usize; 3]| {
        let mut world = world();
        for index in order {
            serve(
                &mut world,
                &local(names[index], &["192.0.2.1"]),
                &["a", "b"],
            );
        }
        world.delete_node("c");
        world.apply_node(node("c"));
        owner(&world, "web")
    };
    assert_eq!(build([0, 1, 2]), build([2, 1, 0]));
    assert_eq!(build([0, 1, 2]), build([1, 0, 2]));
}

#[test]
fn the_answer_says_the_address_and_the_interfaces() {
    let mut world = world();
    serve(&mut world, &local("web", &["192.0.2.1"]), &["a"]);
    let announcement = Announcement::Layer2 {
        ip: ip("192.0.2.1"),
        interfaces: None,
    };
    assert_eq!(
        layer2_on(&world, &key("web"), &"a".into()),
        Ok(vec![announcement])
    );
}
