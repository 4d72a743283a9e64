//! Several Services behind one prefix, and weights.

use ironlb_model::Community;

use super::*;

fn weight(megabits: u64) -> RouteAttributes {
    RouteAttributes {
        bandwidth: Some(megabits),
        ..RouteAttributes::default()
    }
}

/// The weight that the router has, in Mbit/s.
fn weight_of(router: &Router, prefix: &str) -> f32 {
    let crate::wire::ExtendedCommunity([.., a, b, c, d]) =
        router.attributes(prefix).extended_communities[0];
    f32::from_be_bytes([a, b, c, d]) / 125_000.0
}

#[test]
fn an_aggregate_stays_until_the_last_service_in_it_has_gone() {
    let mut rib = ready();
    let wide = net("10.0.0.0/24");
    rib.set_routes(Time::ZERO, &service("a"), [plain(wide)]);
    rib.set_routes(Time::ZERO, &service("b"), [plain(wide)]);
    let mut router = connect(&mut rib, "a", external());
    rib.set_routes(Time::from_millis(20), &service("a"), []);
    rib.tick(Time::from_millis(20));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.prefixes(), ["10.0.0.0/24"]);
    assert_eq!(router.announcements, 1);
    rib.set_routes(Time::from_millis(40), &service("b"), []);
    rib.tick(Time::from_millis(40));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 0);
}

#[test]
fn the_communities_of_all_services_in_an_aggregate_are_on_it() {
    let with = |low| RouteAttributes {
        communities: [Community::Standard(65000, low)].into(),
        ..RouteAttributes::default()
    };
    let wide = net("10.0.0.0/24");
    let both = [1, 2].map(|low| crate::wire::Community::new(65000, low));
    for order in [[1, 2], [2, 1]] {
        let mut rib = ready();
        for low in order {
            rib.set_routes(
                Time::ZERO,
                &service(&low.to_string()),
                [route(wide, with(low))],
            );
        }
        let mut router = connect(&mut rib, "a", external());
        assert_eq!(router.attributes("10.0.0.0/24").communities, both);
        rib.set_routes(Time::from_millis(20), &service("1"), []);
        rib.tick(Time::from_millis(20));
        router.catch_up(&mut rib, &name("a"));
        assert_eq!(router.attributes("10.0.0.0/24").communities, both[1..]);
    }
}

#[test]
fn advertisements_of_one_service_for_one_prefix_are_one_route() {
    let mut rib = ready();
    let both = [route(host(1), med(9)), route(host(1), med(3))];
    rib.set_routes(Time::ZERO, &service("a"), both);
    let router = connect(&mut rib, "a", external());
    assert_eq!(router.attributes("10.0.0.1/32").med, Some(3));
}

#[test]
fn host_bits_of_a_prefix_are_nobodys() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [plain(net("10.0.0.7/24"))]);
    let router = connect(&mut rib, "a", external());
    assert_eq!(router.prefixes(), ["10.0.0.0/24"]);
}

#[test]
fn a_weight_changes_at_most_once_in_ten_seconds() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [route(host(1), weight(100))]);
    let mut router = connect(&mut rib, "a", external());
    let mut changes = Vec::new();
    let mut last = 100.0;
    // Endpoints come one a second, for half a minute.
    for second in 1..=60 {
        let now = Time::from_secs(second);
        let endpoints = 1 + second.min(30);
        rib.set_routes(
            now,
            &service("a"),
            [route(host(1), weight(100 * endpoints))],
        );
        rib.tick(now);
        router.catch_up(&mut rib, &name("a"));
        let weight = weight_of(&router, "10.0.0.1/32");
        if weight != last {
            changes.push(second);
            last = weight;
        }
    }
    assert_eq!(changes, [10, 20, 30]);
    assert_eq!(last, 3100.0);
}

#[test]
fn a_weight_that_was_held_back_is_told_when_its_time_has_come() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [route(host(1), weight(100))]);
    let mut router = connect(&mut rib, "a", external());
    rib.set_routes(
        Time::from_secs(3),
        &service("a"),
        [route(host(1), weight(200))],
    );
    rib.tick(Time::from_secs(3));
    assert!(!rib.has_output(&name("a")));
    assert_eq!(rib.deadline(), Some(Time::from_secs(10)));
    rib.tick(Time::from_secs(10));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(weight_of(&router, "10.0.0.1/32"), 200.0);
    assert_eq!(rib.deadline(), None);
}

#[test]
fn a_weight_that_is_held_back_does_not_hold_back_the_rest() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [route(host(1), weight(100))]);
    let mut router = connect(&mut rib, "a", external());
    let changed = RouteAttributes {
        med: Some(4),
        ..weight(200)
    };
    rib.set_routes(Time::from_secs(3), &service("a"), [route(host(1), changed)]);
    rib.tick(Time::from_secs(3));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.attributes("10.0.0.1/32").med, Some(4));
    assert_eq!(weight_of(&router, "10.0.0.1/32"), 100.0);
    rib.set_routes(Time::from_secs(4), &service("a"), []);
    rib.tick(Time::from_secs(4));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 0);
}
