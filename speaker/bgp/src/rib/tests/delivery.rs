//! When and how changes reach a peer.

use super::*;

#[test]
fn the_first_change_after_a_quiet_time_goes_out_at_once_and_those_behind_it_together() {
    let mut rib = ready();
    let mut router = connect(&mut rib, "a", external());
    let at = |milliseconds: u32| Time::from_millis(1000 + u64::from(milliseconds));
    for (milliseconds, expected) in [(0, 1), (1, 1), (4, 1), (9, 1), (10, 4)] {
        rib.set_routes(
            at(milliseconds),
            &service(&milliseconds.to_string()),
            (milliseconds < 10).then(|| plain(host(milliseconds))),
        );
        rib.tick(at(milliseconds));
        router.catch_up(&mut rib, &name("a"));
        assert_eq!(router.routes.len(), expected, "{milliseconds}");
    }
    // Two of End-of-RIB, one for the first, one for the three.
    assert_eq!(router.updates, 4);
    assert_eq!(rib.deadline(), None);
}

#[test]
fn what_is_taken_back_within_the_window_is_never_told() {
    let mut rib = ready();
    let mut router = connect(&mut rib, "a", external());
    rib.set_routes(Time::ZERO, &service("a"), [plain(host(1))]);
    rib.tick(Time::ZERO);
    router.catch_up(&mut rib, &name("a"));
    let before = router.updates;
    rib.set_routes(
        Time::from_millis(1),
        &service("a"),
        [route(host(1), med(5))],
    );
    rib.set_routes(Time::from_millis(2), &service("a"), [plain(host(1))]);
    rib.set_routes(Time::from_millis(3), &service("b"), [plain(host(2))]);
    rib.set_routes(Time::from_millis(4), &service("b"), []);
    assert_eq!(rib.deadline(), Some(Time::from_millis(10)));
    rib.tick(Time::from_millis(10));
    assert!(!rib.has_output(&name("a")));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.updates, before);
    assert_eq!(rib.statistics().kept, 1);
}

#[test]
fn everything_is_told_at_first_and_then_the_end_of_each_family() {
    let mut rib = ready();
    rib.set_routes(
        Time::ZERO,
        &service("a"),
        [plain(host(1)), plain(net("2001:db8:1::/64"))],
    );
    let router = connect(&mut rib, "a", external());
    assert_eq!(router.prefixes(), ["10.0.0.1/32", "2001:db8:1::/64"]);
    assert_eq!(router.complete, Family::ALL);
    assert_eq!(router.updates, 4);
    assert!(rib.is_up_to_date(&name("a")));
}

#[test]
fn a_family_that_was_not_negotiated_is_left_out() {
    let mut rib = ready();
    let both = [plain(host(1)), plain(net("2001:db8:1::/64"))];
    rib.set_routes(Time::ZERO, &service("a"), both);
    let mut export = external();
    export.negotiated.ipv4 = false;
    let router = connect(&mut rib, "a", export);
    assert_eq!(router.prefixes(), ["2001:db8:1::/64"]);
    assert_eq!(router.complete, [Family::V6]);
    assert_eq!(rib.unsendable(&name("a")).count(), 0);
    assert_eq!(rib.routes(&name("a")).count(), 1);
}

#[test]
fn nothing_is_told_before_everything_is_known() {
    let mut rib = Rib::new();
    rib.set_routes(Time::ZERO, &service("a"), [plain(host(1))]);
    let mut router = connect(&mut rib, "a", external());
    assert_eq!(router.bytes, 0);
    assert!(!rib.has_output(&name("a")));
    rib.set_routes(Time::from_millis(1), &service("b"), [plain(host(2))]);
    rib.set_ready(Time::from_millis(2));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 2);
    assert_eq!(router.complete.len(), 2);
}

#[test]
fn a_route_that_cannot_be_told_is_named_with_its_reason() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [plain(host(1))]);
    let mut export = external();
    export.local.v4 = None;
    let router = connect(&mut rib, "a", export);
    assert_eq!(router.routes.len(), 0);
    let unsendable: Vec<_> = rib.unsendable(&name("a")).collect();
    assert_eq!(unsendable, [(host(1), Unsendable::NoNextHop(Family::V4))]);
    rib.set_routes(Time::from_millis(50), &service("a"), []);
    rib.tick(Time::from_millis(50));
    assert_eq!(rib.unsendable(&name("a")).count(), 0);
}

#[test]
fn a_route_too_long_for_usual_messages_is_told_to_those_who_take_longer_ones() {
    let mut rib = ready();
    let mut usual = connect(&mut rib, "usual", external());
    let extended = Export {
        max_length: 65535,
        ..external()
    };
    let mut extended = connect(&mut rib, "extended", extended);
    let communities = |count| RouteAttributes {
        communities: (0..count)
            .map(|low| ironlb_model::Community::Large(65000, 1, low))
            .collect(),
        ..RouteAttributes::default()
    };
    let long = [
        plain(host(1)),
        route(host(2), communities(400)),
        route(host(3), communities(6000)),
    ];
    rib.set_routes(Time::from_millis(20), &service("a"), long);
    rib.tick(Time::from_millis(20));
    usual.catch_up(&mut rib, &name("usual"));
    extended.catch_up(&mut rib, &name("extended"));
    assert_eq!(usual.prefixes(), ["10.0.0.1/32"]);
    assert_eq!(extended.prefixes(), ["10.0.0.1/32", "10.0.0.2/32"]);
    let told = extended.attributes("10.0.0.2/32");
    assert_eq!(told.large_communities.len(), 400);
    let unsendable = |peer: &str| {
        rib.unsendable(&name(peer))
            .map(|(prefix, reason)| format!("{prefix}: {reason}"))
            .collect::<Vec<_>>()
    };
    let of_two = "10.0.0.2/32: the attributes take 4824 bytes, and a message has room for 4056";
    let of_three = "the attributes take 72024 bytes, and a message has room for";
    assert_eq!(unsendable("usual")[0], of_two);
    assert_eq!(
        unsendable("usual")[1],
        format!("10.0.0.3/32: {of_three} 4056")
    );
    assert_eq!(
        unsendable("extended"),
        [format!("10.0.0.3/32: {of_three} 65495")]
    );

    // One that becomes too long is withdrawn: what it was is not true any more.
    rib.set_routes(
        Time::from_millis(40),
        &service("a"),
        [route(host(1), communities(400))],
    );
    rib.tick(Time::from_millis(40));
    usual.catch_up(&mut rib, &name("usual"));
    assert!(usual.prefixes().is_empty());
    assert_eq!(rib.routes(&name("usual")).count(), 0);
}

#[test]
fn a_refresh_is_framed_and_tells_one_family_again() {
    let mut rib = ready();
    let both = [plain(host(1)), plain(host(2)), plain(net("2001:db8::/64"))];
    rib.set_routes(Time::ZERO, &service("a"), both);
    let mut router = connect(&mut rib, "a", external());
    assert_eq!(router.announcements, 3);
    rib.refresh(&name("a"), Family::V4, true);
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(
        router.marks,
        [(RefreshKind::Begin, 3), (RefreshKind::End, 5)]
    );
    rib.refresh(&name("a"), Family::V6, false);
    router.catch_up(&mut rib, &name("a"));
    assert_eq!((router.marks.len(), router.announcements), (2, 6));
}

#[test]
fn changes_reach_the_peer_while_a_long_refresh_goes_on() {
    let mut rib = ready();
    let hosts = (0..60_000).map(host).map(plain);
    rib.set_routes(Time::ZERO, &service("a"), hosts);
    let mut router = connect(&mut rib, "a", external());
    rib.refresh(&name("a"), Family::V4, true);
    router.read(&rib.poll(&name("a")).unwrap());
    let first = router.announcements - 60_000;
    assert!(first > 0 && first < 60_000, "{first}");
    rib.set_routes(Time::from_millis(20), &service("b"), [plain(host(70_000))]);
    rib.tick(Time::from_millis(20));
    let change = rib.poll(&name("a")).unwrap();
    assert!(change.len() < 100);
    router.read(&change);
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 60_001);
    let ends = router.marks.iter().map(|(kind, _)| *kind);
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [RefreshKind::Begin, RefreshKind::End]
    );
}

#[test]
fn equal_host_routes_take_less_than_six_bytes_each() {
    for max_length in [4096, 65535] {
        let mut rib = ready();
        let hosts = (0..50_000).map(host).map(plain);
        rib.set_routes(Time::ZERO, &service("a"), hosts);
        let mut export = external();
        export.max_length = max_length;
        let router = connect(&mut rib, "a", export);
        assert_eq!(router.routes.len(), 50_000);
        // Exactly 5 for the prefix, the rest for headers and attributes.
        assert!(router.bytes < 50_000 * 51 / 10 + 1000, "{}", router.bytes);
    }
}

#[test]
fn many_withdrawals_keep_to_the_length_of_messages() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..50_000).map(host).map(plain));
    let mut router = connect(&mut rib, "a", external());
    rib.set_routes(Time::from_millis(20), &service("a"), []);
    rib.tick(Time::from_millis(20));
    let before = router.bytes;
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 0);
    assert!(router.bytes - before < 50_000 * 51 / 10);
    assert_eq!(rib.statistics().kept, 0);
}

#[test]
fn one_more_among_many_is_one_small_message() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..50_000).map(host).map(plain));
    let mut router = connect(&mut rib, "a", external());
    let before = (router.updates, router.bytes, router.idle);
    rib.set_routes(Time::from_millis(20), &service("b"), [plain(host(60_000))]);
    rib.tick(Time::from_millis(20));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.updates, before.0 + 1);
    assert!(router.bytes - before.1 < 60, "{}", router.bytes - before.1);
    assert_eq!(router.idle, before.2);
}

#[test]
fn narrow_routes_are_there_before_the_wide_one_goes() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [plain(net("10.0.0.0/24"))]);
    let mut router = connect(&mut rib, "a", external());
    rib.set_routes(Time::from_millis(20), &service("a"), [plain(host(1))]);
    rib.tick(Time::from_millis(20));
    let bytes = rib.poll(&name("a")).unwrap();
    let first = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    router.read(&bytes[..first]);
    assert_eq!(router.prefixes(), ["10.0.0.0/24", "10.0.0.1/32"]);
    router.read(&bytes[first..]);
    assert_eq!(router.prefixes(), ["10.0.0.1/32"]);
}
