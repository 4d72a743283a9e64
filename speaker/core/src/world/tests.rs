use super::*;
use crate::fixtures::{config, ip, key, l2, node, pool, service, slice};

fn world() -> World {
    let mut world = World::new(None, false);
    let mut config = config([pool("a", &["192.0.2.0/25"]), pool("b", &["192.0.2.128/25"])]);
    config.l2_advertisements.insert("all".into(), l2("all"));
    world.set_config(Arc::new(config));
    world.apply_node(node("n1"));
    world.apply_service(&service("web", &["192.0.2.1"]));
    world.apply_service(&service("db", &["192.0.2.1"]));
    world.apply_service(&service("other", &["192.0.2.200"]));
    world
}

fn keys(names: &[&str]) -> Affected {
    names.iter().map(|name| key(name)).collect()
}

#[test]
fn a_service_event_affects_it_and_those_that_share_its_address() {
    let mut world = world();
    let moved = service("web", &["192.0.2.2"]);
    assert_eq!(world.apply_service(&moved), keys(&["db", "web"]));
    assert_eq!(world.apply_service(&moved), keys(&[]));
    let back = service("web", &["192.0.2.1"]);
    assert_eq!(world.apply_service(&back), keys(&["db", "web"]));
    assert_eq!(world.delete_service(&key("web")), keys(&["db", "web"]));
    assert_eq!(world.delete_service(&key("web")), keys(&[]));
    assert!(world.sharers(ip("192.0.2.2")).is_empty());
}

#[test]
fn endpoints_affect_their_service_and_its_sharers() {
    let mut world = world();
    assert_eq!(
        world.apply_endpoints(&slice("web", "s", &["n1"])),
        keys(&["db", "web"])
    );
    assert_eq!(
        world.apply_endpoints(&slice("web", "s", &["n1"])),
        keys(&[])
    );
    assert_eq!(
        world.delete_endpoints(&slice("web", "s", &[]).key),
        keys(&["db", "web"])
    );
    assert_eq!(
        world.apply_endpoints(&slice("unknown", "u", &["n1"])),
        keys(&[])
    );
}

#[test]
fn a_node_affects_nothing_unless_an_advertisement_sees_a_difference() {
    let mut world = world();
    let mut labelled = node("n1");
    labelled.labels.insert("zone".into(), "z".into());
    assert_eq!(world.apply_node(labelled.clone()), keys(&[]));
    labelled.network_unavailable = true;
    assert_eq!(world.apply_node(labelled), keys(&["db", "other", "web"]));
    assert_eq!(world.delete_node("unknown"), keys(&[]));
}

#[test]
fn a_configuration_affects_the_pools_that_it_changes() {
    let mut world = world();
    let mut changed = (**world.config()).clone();
    changed
        .pools
        .insert("b".into(), pool("b", &["192.0.2.129/32"]));
    assert_eq!(
        world.set_config(Arc::new(changed.clone())),
        keys(&["other"])
    );
    changed.l2_advertisements.clear();
    assert_eq!(
        world.set_config(Arc::new(changed.clone())),
        keys(&["db", "web"])
    );
    changed
        .pools
        .insert("c".into(), pool("c", &["192.0.2.200/32"]));
    assert_eq!(world.set_config(Arc::new(changed)), keys(&["other"]));
}

#[test]
fn a_configuration_affects_services_that_are_in_no_pool() {
    let mut world = world();
    let mut stray = service("stray", &["203.0.113.1"]);
    stray.allocated_from = Some("a".to_owned());
    world.apply_service(&stray);
    let mut holding = (**world.config()).clone();
    holding.pools.get_mut("a").unwrap().on_removal = OnRemoval::Hold;
    assert_eq!(world.set_config(Arc::new(holding)), keys(&["stray"]));
    let record = world.service(&key("stray")).unwrap();
    assert_eq!(
        world.pool_of(record, ip("203.0.113.1")).map(|name| &**name),
        Some("a")
    );
}

#[test]
fn a_pool_that_holds_an_address_comes_before_what_is_left_of_a_former_one() {
    let mut world = world();
    let mut without = (**world.config()).clone();
    without.pools.get_mut("b").unwrap().on_removal = OnRemoval::Hold;
    without.pools.remove("a");
    world.set_config(Arc::new(without));
    let address = ip("192.0.2.1");
    assert!(world.is_outlived(&key("web"), address));
    let mut held = service("web", &["192.0.2.1"]);
    held.allocated_from = Some("b".to_owned());
    world.apply_service(&held);
    let record = world.service(&key("web")).unwrap();
    let pool = world.pool_of(record, address);
    assert_eq!(pool.map(|name| &**name), Some("b"));
    assert!(!world.is_outlived(&key("web"), address));
    assert!(world.is_outlived(&key("db"), address));
}

#[test]
fn an_address_that_a_pool_held_stays_announced_when_the_pool_lets_go_of_it() {
    let held = ip("203.0.113.1");
    for removed in [false, true] {
        let mut world = world();
        let mut holding = (**world.config()).clone();
        holding.pools.get_mut("a").unwrap().on_removal = OnRemoval::Hold;
        world.set_config(Arc::new(holding.clone()));
        let mut stray = service("stray", &["203.0.113.1"]);
        stray.allocated_from = Some("a".to_owned());
        world.apply_service(&stray);
        if removed {
            holding.pools.remove("a");
        } else {
            holding.pools.get_mut("a").unwrap().on_removal = OnRemoval::Move;
        }
        world.set_config(Arc::new(holding));
        assert!(world.is_outlived(&key("stray"), held), "{removed}");
    }
}

#[test]
fn the_oldest_sharer_comes_first() {
    let mut world = world();
    let mut oldest = service("zoo", &["192.0.2.1"]);
    oldest.created = Some(-1);
    world.apply_service(&oldest);
    assert_eq!(
        world.sharers(ip("192.0.2.1")),
        [key("db"), key("web"), key("zoo")]
    );
    let mut dated = service("db", &["192.0.2.1"]);
    dated.created = Some(5);
    world.apply_service(&dated);
    assert_eq!(
        world.sharers(ip("192.0.2.1")),
        [key("web"), key("zoo"), key("db")]
    );
}

#[test]
fn a_service_of_a_foreign_class_is_let_go_of() {
    let mut world = world();
    let mut foreign = service("web", &["192.0.2.1"]);
    foreign.class = Some("example.com/lb".to_owned());
    assert_eq!(world.apply_service(&foreign), keys(&["db", "web"]));
    assert!(world.service(&key("web")).is_none());
}

#[test]
fn a_status_entry_without_address_is_skipped_and_a_wrong_one_remembered() {
    let mut wrong = service("web", &["192.0.2.1", "::ffff:192.0.2.1", "300.1.1.1"]);
    wrong.ingress.push(ironlb_model::Ingress {
        ip: String::new(),
        hostname: "example.com".to_owned(),
    });
    let record = Record::new(&wrong);
    assert_eq!(record.ips, [ip("192.0.2.1")]);
    assert_eq!(record.invalid_ip.as_deref(), Some("300.1.1.1"));
}
