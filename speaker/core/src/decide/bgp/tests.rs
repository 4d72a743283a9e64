use std::sync::Arc;

use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{Community, Config, PoolSelection, Service, TrafficPolicy};

use super::*;
use crate::fixtures::{self, config, key, labels, node, peer, pool, selector, service, slice};

/// Nodes a and b, peers tor and spine, one pool, one advertisement; `change` may change the configuration.
fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(None, false);
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config
        .bgp_advertisements
        .insert("all".into(), fixtures::bgp("all"));
    for name in ["tor", "spine"] {
        config.peers.insert(name.into(), peer(name));
    }
    change(&mut config);
    world.set_config(Arc::new(config));
    world.apply_node(node("a"));
    world.apply_node(node("b"));
    world
}

fn add(config: &mut Config, advertisement: BgpAdvertisement) {
    config
        .bgp_advertisements
        .insert(advertisement.name.clone(), advertisement);
}

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

/// Each route as `peer prefix localPref communities`, or the word for the reason.
fn routes(world: &World, name: &str, node: &str) -> Vec<String> {
    let line = |announcement| match announcement {
        Announcement::Bgp {
            peer,
            prefix,
            local_pref,
            attributes,
        } => {
            let communities = attributes.communities.iter();
            let communities: Vec<String> = communities.map(Community::to_string).collect();
            let local_pref = local_pref.map_or_else(|| "-".to_owned(), |value| value.to_string());
            format!("{peer} {prefix} {local_pref} {}", communities.join(","))
                .trim_end()
                .to_owned()
        }
        Announcement::Layer2 { .. } => panic!("not a route"),
    };
    match bgp(world, &key(name), &node.into()) {
        Ok(routes) => routes.into_iter().map(line).collect(),
        Err(reason) => vec![reason.word().to_owned()],
    }
}

#[test]
fn every_node_tells_every_peer_the_address_alone() {
    let mut world = world_with(|_| {});
    serve(
        &mut world,
        &service("web", &["192.0.2.1", "2001:db8::1"]),
        &["a"],
    );
    let expected = [
        "spine 192.0.2.1/32 -",
        "spine 2001:db8::1/128 -",
        "tor 192.0.2.1/32 -",
        "tor 2001:db8::1/128 -",
    ];
    assert_eq!(routes(&world, "web", "a"), expected);
    assert_eq!(routes(&world, "web", "b"), expected);
}

#[test]
fn prefixes_are_masked_to_the_aggregation_length() {
    let mut world = world_with(|config| {
        let mut advertisement = fixtures::bgp("all");
        advertisement.aggregation_length = 26;
        advertisement.aggregation_length_v6 = 64;
        add(config, advertisement);
        config.peers.remove("spine");
    });
    serve(
        &mut world,
        &service("web", &["192.0.2.77", "2001:db8::77"]),
        &["a"],
    );
    assert_eq!(
        routes(&world, "web", "a"),
        ["tor 192.0.2.64/26 -", "tor 2001:db8::/64 -"]
    );
}

#[test]
fn advertisements_for_one_route_add_their_communities_up() {
    let mut world = world_with(|config| {
        for (name, community) in [
            ("x", Community::Large(1, 2, 3)),
            ("y", Community::Standard(65000, 7)),
        ] {
            let mut advertisement = fixtures::bgp(name);
            advertisement.communities = [community, Community::Standard(65000, 1)].into();
            advertisement.local_pref = Some(100);
            add(config, advertisement);
        }
        let mut wide = fixtures::bgp("wide");
        wide.aggregation_length = 24;
        wide.peers = ["tor".into()].into();
        add(config, wide);
        config.bgp_advertisements.remove("all");
    });
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(
        routes(&world, "web", "a"),
        [
            "spine 192.0.2.1/32 100 65000:1,65000:7,large:1:2:3",
            "tor 192.0.2.0/24 -",
            "tor 192.0.2.1/32 100 65000:1,65000:7,large:1:2:3",
        ]
    );
}

#[test]
fn different_local_preferences_for_one_route_announce_nothing() {
    let preferring = |name: &str, local_pref, peer: &str| BgpAdvertisement {
        local_pref,
        peers: [peer.into()].into(),
        ..fixtures::bgp(name)
    };
    let mut world = world_with(|config| {
        config.bgp_advertisements.clear();
        add(config, preferring("x", Some(100), "tor"));
        add(config, preferring("y", Some(200), "spine"));
    });
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    assert_eq!(routes(&world, "web", "a").len(), 2);

    let mut changed = (**world.config()).clone();
    for other in [Some(99), Some(0)] {
        add(&mut changed, preferring("z", other, "tor"));
        world.set_config(Arc::new(changed.clone()));
        assert_eq!(routes(&world, "web", "a"), ["conflictingAdvertisements"]);
    }
    // Not set is 100.
    add(&mut changed, preferring("z", None, "tor"));
    world.set_config(Arc::new(changed.clone()));
    assert_eq!(
        routes(&world, "web", "a"),
        ["spine 192.0.2.1/32 200", "tor 192.0.2.1/32 100"]
    );
    add(&mut changed, preferring("x", Some(0), "tor"));
    world.set_config(Arc::new(changed));
    assert_eq!(routes(&world, "web", "a"), ["conflictingAdvertisements"]);
}

#[test]
fn advertisements_and_peers_both_select_nodes() {
    let mut world = world_with(|config| {
        let mut racked = peer("tor");
        racked.nodes = vec![selector(&[("rack", "1")])];
        config.peers.insert("tor".into(), racked);
        let mut advertisement = fixtures::bgp("all");
        advertisement.nodes = vec![selector(&[("edge", "yes")])];
        add(config, advertisement);
    });
    let mut edge = node("a");
    edge.labels = labels(&[("edge", "yes"), ("rack", "1")]);
    world.apply_node(edge.clone());
    serve(&mut world, &service("web", &["192.0.2.1"]), &["b"]);
    assert_eq!(
        routes(&world, "web", "a"),
        ["spine 192.0.2.1/32 -", "tor 192.0.2.1/32 -"]
    );
    assert_eq!(routes(&world, "web", "b"), ["noMatchingAdvertisement"]);
    edge.labels.remove("rack");
    assert_eq!(world.apply_node(edge), [key("web")].into());
    assert_eq!(routes(&world, "web", "a"), ["spine 192.0.2.1/32 -"]);
}

#[test]
fn without_any_peer_nobody_looks_for_one_that_selects_the_node() {
    let mut world = world_with(|config| config.peers.clear());
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let refusal = bgp(&world, &key("web"), &"a".into()).unwrap_err();
    assert_eq!(refusal.to_string(), "there is no BGPPeer");
}

#[test]
fn an_advertisement_tells_only_the_peers_it_names() {
    let mut world = world_with(|config| {
        let mut advertisement = fixtures::bgp("all");
        advertisement.peers = ["tor".into(), "absent".into()].into();
        add(config, advertisement);
    });
    serve(&mut world, &service("web", &["192.0.2.1"]), &["b"]);
    assert_eq!(routes(&world, "web", "a"), ["tor 192.0.2.1/32 -"]);
    let mut changed = (**world.config()).clone();
    changed.peers.remove("tor");
    assert_eq!(world.set_config(Arc::new(changed)), [key("web")].into());
    assert_eq!(routes(&world, "web", "a"), ["noMatchingPeer"]);
}

#[test]
fn an_advertisement_is_for_its_pools_and_services() {
    let mut world = world_with(|config| {
        let mut advertisement = fixtures::bgp("all");
        advertisement.pools = PoolSelection {
            names: ["first".into()].into(),
            ..PoolSelection::default()
        };
        advertisement.services = vec![selector(&[("tier", "web")])];
        add(config, advertisement);
        config
            .pools
            .insert("second".into(), pool("second", &["198.51.100.0/24"]));
    });
    let mut web = service("web", &["192.0.2.1"]);
    web.labels = labels(&[("tier", "web")]);
    serve(&mut world, &web, &["a"]);
    assert_eq!(routes(&world, "web", "a").len(), 2);
    serve(&mut world, &service("db", &["192.0.2.2"]), &["a"]);
    assert_eq!(routes(&world, "db", "a"), ["noMatchingAdvertisement"]);
    web.key = key("far");
    web.ingress[0].ip = "198.51.100.1".to_owned();
    serve(&mut world, &web, &["a"]);
    assert_eq!(routes(&world, "far", "a"), ["noMatchingAdvertisement"]);
}

#[test]
fn excluded_and_unavailable_nodes_send_no_routes() {
    let mut world = world_with(|_| {});
    serve(&mut world, &service("web", &["192.0.2.1"]), &["a"]);
    let mut excluded = node("a");
    excluded.labels = labels(&[(EXCLUDE_LABEL, "true")]);
    world.apply_node(excluded);
    let mut unavailable = node("b");
    unavailable.network_unavailable = true;
    world.apply_node(unavailable);
    assert_eq!(routes(&world, "web", "a"), ["nodeLabeledExcludeBalancers"]);
    assert_eq!(routes(&world, "web", "b"), ["nodeNetworkUnavailable"]);
    assert_eq!(routes(&world, "web", "c"), ["nodeUnknown"]);
}

#[test]
fn endpoints_decide_as_the_traffic_policy_says() {
    let mut world = world_with(|_| {});
    serve(&mut world, &service("web", &["192.0.2.1"]), &[]);
    assert_eq!(routes(&world, "web", "a"), ["noEndpoints"]);
    serve(&mut world, &local("web", &["192.0.2.1"]), &["b"]);
    assert_eq!(routes(&world, "web", "a"), ["noLocalEndpoints"]);
    assert_eq!(routes(&world, "web", "b").len(), 2);
}

#[test]
fn a_shared_address_is_announced_where_every_local_service_on_it_is_served() {
    let mut world = world_with(|_| {});
    world.apply_node(node("c"));
    serve(&mut world, &local("web", &["192.0.2.1"]), &["a", "b"]);
    serve(&mut world, &local("db", &["192.0.2.1"]), &["b", "c"]);
    serve(&mut world, &local("idle", &["192.0.2.1"]), &[]);
    assert_eq!(routes(&world, "web", "b").len(), 2);
    assert_eq!(routes(&world, "db", "b").len(), 2);
    assert_eq!(routes(&world, "web", "a"), ["noLocalEndpoints"]);
    assert_eq!(routes(&world, "db", "c"), ["noLocalEndpoints"]);
    world.apply_endpoints(&slice("db", "db", &["b"]));
    world.apply_endpoints(&slice("web", "web", &["a"]));
    assert_eq!(routes(&world, "db", "b").len(), 2);
    assert_eq!(routes(&world, "web", "a"), ["sharedIPWithoutCommonNode"]);
}

#[test]
fn an_address_outside_of_every_pool_holds_the_others_up_no_longer() {
    let mut world = world_with(|config| drop(config.peers.remove("tor")));
    serve(
        &mut world,
        &service("web", &["192.0.2.1", "203.0.113.1"]),
        &["a"],
    );
    assert_eq!(routes(&world, "web", "a"), ["spine 192.0.2.1/32 -"]);
    serve(&mut world, &service("stray", &["203.0.113.2"]), &["a"]);
    assert_eq!(routes(&world, "stray", "a"), ["ipNotAllowed"]);
}
