//! Pools that could not be read when the speaker started: what they gave is announced all the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use ironlb_model::config::PoolsInError;
use ironlb_model::{Config, L2Advertisement, PoolSelection, Service};

use super::World;
use crate::decide::{self, Reason};
use crate::fixtures::{
    bgp, config, ip, key, l2, labels, node, peer, pool, selector, service, slice,
};

const LOST: &str = "192.0.2.1";

/// Pool `good` is there, and `lost`, with the label tier=gold, is in error.
fn in_error() -> Config {
    let mut config = config([pool("good", &["198.51.100.0/24"])]);
    config.pools_in_error = PoolsInError {
        labels: [("lost".into(), labels(&[("tier", "gold")]))].into(),
        may_be_more: false,
    };
    config
}

/// An advertisement for pools by name and by the label `tier`.
fn advertisement(names: &[&str], tier: Option<&str>) -> L2Advertisement {
    let selectors = tier.map(|tier| selector(&[("tier", tier)]));
    L2Advertisement {
        pools: PoolSelection {
            names: names.iter().map(|name| (*name).into()).collect(),
            selectors: selectors.into_iter().collect(),
        },
        ..l2("ad")
    }
}

fn web(from: Option<&str>) -> Service {
    Service {
        allocated_from: from.map(str::to_owned),
        ..service("web", &[LOST])
    }
}

fn world(mut config: Config, advertisement: L2Advertisement, service: &Service) -> World {
    let mut world = World::new(None, false);
    config
        .l2_advertisements
        .insert(advertisement.name.clone(), advertisement);
    world.set_config(Arc::new(config));
    world.apply_node(node("n1"));
    world.apply_endpoints(&slice("web", "web-1", &["n1"]));
    world.apply_service(service);
    world
}

/// Why the Service is not announced by layer 2; `None` when it is.
fn silence(world: &World) -> Option<Reason> {
    decide::layer2_on(world, &key("web"), &"n1".into()).err()
}

#[test]
fn an_address_of_a_pool_in_error_is_announced_by_what_selects_the_pool() {
    for (names, tier) in [
        (&[][..], None),
        (&["lost"], None),
        (&[], Some("gold")),
        (&["good"], Some("gold")),
    ] {
        let world = world(in_error(), advertisement(names, tier), &web(Some("lost")));
        assert_eq!(silence(&world), None, "{names:?} {tier:?}");
    }
    for (names, tier) in [(&["good"][..], None), (&[], Some("lead"))] {
        let world = world(in_error(), advertisement(names, tier), &web(Some("lost")));
        let reason = silence(&world);
        assert!(
            matches!(&reason, Some(Reason::NoMatchingAdvertisement { pool, .. }) if **pool == *"lost"),
            "{reason:?}"
        );
    }
}

#[test]
fn so_it_is_by_bgp() {
    let mut config = in_error();
    config.bgp_advertisements.insert("ad".into(), bgp("ad"));
    config.peers.insert("tor".into(), peer("tor"));
    let world = world(config, l2("all"), &web(Some("lost")));
    let routes = decide::bgp(&world, &key("web"), &"n1".into());
    assert_eq!(routes.map(|routes| routes.len()), Ok(1));
}

#[test]
fn nothing_else_is_announced_that_is_in_no_pool() {
    let not_allowed = Some(Reason::IpNotAllowed { ip: ip(LOST) });
    for from in [None, Some("good"), Some("unknown")] {
        let world = world(in_error(), l2("all"), &web(from));
        assert_eq!(silence(&world), not_allowed, "{from:?}");
    }
    let mut nameless = in_error();
    nameless.pools_in_error = PoolsInError {
        may_be_more: true,
        ..PoolsInError::default()
    };
    let world = world(nameless, l2("all"), &web(Some("lost")));
    assert_eq!(silence(&world), not_allowed);
}

#[test]
fn a_good_pool_that_has_the_address_comes_first() {
    let mut config = in_error();
    config
        .pools
        .insert("other".into(), pool("other", &["192.0.2.0/24"]));
    let world = world(config, advertisement(&["lost"], None), &web(Some("lost")));
    let reason = silence(&world);
    assert!(
        matches!(&reason, Some(Reason::NoMatchingAdvertisement { pool, .. }) if **pool == *"other"),
        "{reason:?}"
    );
}

#[test]
fn a_change_of_the_pools_in_error_affects_the_services_in_no_pool() {
    let mut world = world(in_error(), l2("all"), &web(Some("lost")));
    world.apply_service(&service("other", &["198.51.100.1"]));
    let mut config = (**world.config()).clone();
    config.pools_in_error.labels.clear();
    config
        .pools
        .insert("lost".into(), pool("lost", &["192.0.2.0/24"]));
    let only_web = BTreeSet::from([key("web")]);
    assert_eq!(world.set_config(Arc::new(config)), only_web);
    assert_eq!(silence(&world), None);
    assert!(!world.is_outlived(&key("web"), ip(LOST)));
}

#[test]
fn what_a_deleted_or_mended_pool_does_not_have_is_announced_until_it_is_moved() {
    let mended = pool("lost", &["192.0.2.128/25"]);
    for pools in [vec![], vec![mended]] {
        let mut world = world(
            in_error(),
            advertisement(&["lost"], None),
            &web(Some("lost")),
        );
        let mut config = (**world.config()).clone();
        config.pools_in_error.labels.clear();
        config
            .pools
            .extend(pools.into_iter().map(|pool| (pool.name.clone(), pool)));
        config.l2_advertisements.clear();
        assert!(
            world
                .set_config(Arc::new(config.clone()))
                .contains(&key("web"))
        );
        assert_eq!(silence(&world), None);
        assert!(world.is_outlived(&key("web"), ip(LOST)));

        world.apply_service(&service("web", &["198.51.100.7"]));
        world.set_config(Arc::new(config));
        world.apply_service(&web(Some("lost")));
        assert_eq!(silence(&world), Some(Reason::IpNotAllowed { ip: ip(LOST) }));
    }
}

#[test]
fn one_that_was_good_and_is_in_error_now_goes_on_by_the_new_advertisements() {
    let mut good = in_error();
    good.pools_in_error = PoolsInError::default();
    good.pools
        .insert("lost".into(), pool("lost", &["192.0.2.0/24"]));
    let mut world = world(good, l2("all"), &web(Some("lost")));
    let mut config = in_error();
    let selective = advertisement(&["good"], None);
    config.l2_advertisements.insert("ad".into(), selective);
    assert!(world.set_config(Arc::new(config)).contains(&key("web")));
    assert!(matches!(
        silence(&world),
        Some(Reason::NoMatchingAdvertisement { .. })
    ));
}
