//! Peers that share what is said, and those that fall behind.

use super::*;

fn stand(rib: &mut Rib, now: Time, peer: &Name, standing: Standing) {
    rib.retarget(now, peer, everybody(), standing);
}

#[test]
fn peers_that_hear_the_same_share_every_byte() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..5000).map(host).map(plain));
    let peers: Vec<Name> = (0..100)
        .map(|number| name(&format!("peer{number}")))
        .collect();
    for peer in &peers {
        rib.up(Time::ZERO, peer, everybody(), external());
    }
    let first = rib.poll(&peers[0]).unwrap();
    for peer in &peers[1..] {
        assert!(Arc::ptr_eq(&first, &rib.poll(peer).unwrap()));
    }
    let statistics = rib.statistics();
    assert_eq!((statistics.groups, statistics.kept), (1, 5000));
    assert_eq!(statistics.written.times, 1);
    for peer in &peers {
        while rib.poll(peer).is_some() {}
    }
    rib.set_routes(Time::from_millis(20), &service("b"), [plain(host(6000))]);
    rib.tick(Time::from_millis(20));
    for peer in &peers {
        while rib.poll(peer).is_some() {}
        assert!(rib.is_up_to_date(peer));
    }
    assert_eq!(rib.statistics().written.times, 2);
}

#[test]
fn what_makes_no_difference_to_a_peer_is_not_told() {
    let mut rib = ready();
    let preferring = |local_pref| RouteAttributes {
        local_pref,
        ..RouteAttributes::default()
    };
    rib.set_routes(Time::ZERO, &service("a"), [route(host(1), preferring(50))]);
    let (mut outside, mut inside) = (
        connect(&mut rib, "outside", external()),
        connect(&mut rib, "inside", internal()),
    );
    assert_eq!(rib.statistics().groups, 2);
    rib.set_routes(
        Time::from_millis(20),
        &service("a"),
        [route(host(1), preferring(70))],
    );
    rib.tick(Time::from_millis(20));
    outside.catch_up(&mut rib, &name("outside"));
    inside.catch_up(&mut rib, &name("inside"));
    assert_eq!(outside.announcements, 1);
    assert_eq!(inside.announcements, 2);
    assert_eq!(inside.attributes("10.0.0.1/32").local_pref, Some(70));
}

#[test]
fn audiences_hear_what_is_for_them() {
    let mut rib = ready();
    let (_, route) = plain(host(1));
    rib.set_routes(
        Time::ZERO,
        &service("a"),
        [(audience("other"), route), plain(host(2))],
    );
    let router = connect(&mut rib, "a", external());
    assert_eq!(router.prefixes(), ["10.0.0.2/32"]);
}

#[test]
fn a_peer_that_stands_still_gets_the_latest_state_and_holds_nobody_up() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), [plain(host(1)), plain(host(2))]);
    let (mut fast, mut slow) = (
        connect(&mut rib, "fast", external()),
        connect(&mut rib, "slow", external()),
    );
    for step in 1..=1000_u32 {
        let now = Time::from_millis(u64::from(step) * 20);
        rib.set_routes(now, &service("a"), [route(host(1), med(step))]);
        rib.tick(now);
        fast.catch_up(&mut rib, &name("fast"));
        assert_eq!(fast.attributes("10.0.0.1/32").med, Some(step));
    }
    let before = slow.updates;
    slow.catch_up(&mut rib, &name("slow"));
    assert_eq!(slow.routes, fast.routes);
    // One announcement, one withdrawal: not a thousand.
    assert_eq!(slow.updates, before + 2);
}

#[test]
fn a_peer_that_stands_still_costs_no_more_than_what_it_believes() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..100).map(host).map(plain));
    let mut fast = connect(&mut rib, "fast", external());
    connect(&mut rib, "stuck", external());
    rib.set_routes(Time::from_millis(20), &service("a"), []);
    for step in 1..20_000_u32 {
        let now = Time::from_millis(u64::from(step) * 20 + 20);
        rib.set_routes(now, &service("b"), [plain(host(1000 + step))]);
        rib.tick(now);
        fast.catch_up(&mut rib, &name("fast"));
        assert_eq!(fast.routes.len(), 1);
        // The hundred that it was told of, as many again before it is looked, what there is and what was before it.
        assert!(rib.statistics().kept <= 202, "{}", rib.statistics().kept);
    }
}

#[test]
fn a_peer_that_comes_back_is_told_everything_anew_and_a_lost_one_is_forgotten() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..100).map(host).map(plain));
    connect(&mut rib, "a", external());
    rib.set_routes(
        Time::from_millis(20),
        &service("a"),
        (0..50).map(host).map(plain),
    );
    rib.tick(Time::from_millis(20));
    rib.down(&name("a"));
    assert_eq!(rib.statistics(), Statistics::default());
    assert_eq!(rib.poll(&name("a")), None);
    let router = connect(&mut rib, "a", external());
    assert_eq!((router.routes.len(), router.idle), (50, 0));
    assert_eq!(router.complete.len(), 2);
}

#[test]
fn leaving_is_told_once_to_all_and_in_place() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..5000).map(host).map(plain));
    let names = ["a", "b", "c"].map(name);
    let mut routers = names
        .clone()
        .map(|peer| connect(&mut rib, &peer, internal()));
    let written = rib.statistics().written.times;
    let mut all_stand = |rib: &mut Rib, now, standing| {
        for peer in &names {
            stand(rib, now, peer, standing);
        }
        rib.tick(now);
        for (router, peer) in routers.iter_mut().zip(&names) {
            router.catch_up(rib, peer);
        }
        routers
            .iter()
            .map(|router| router.routes.clone())
            .collect::<Vec<_>>()
    };
    let left = all_stand(&mut rib, Time::from_millis(20), Standing::Leaving);
    for routes in &left {
        assert_eq!(routes.len(), 5000);
        for (attributes, _) in routes.values() {
            assert_eq!(attributes.local_pref, Some(0));
            let shutdown = crate::wire::Community::GRACEFUL_SHUTDOWN;
            assert_eq!(attributes.communities, [shutdown]);
        }
    }
    assert_eq!(rib.statistics().written.times, written + 1);
    let gone = all_stand(&mut rib, Time::from_millis(40), Standing::Gone);
    assert!(gone.iter().all(BTreeMap::is_empty));
    // What changes while nothing is announced is known when it is again.
    rib.set_routes(Time::from_millis(50), &service("a"), [plain(host(7))]);
    rib.tick(Time::from_millis(60));
    let back = all_stand(&mut rib, Time::from_millis(80), Standing::Serving);
    assert!(back.iter().all(|routes| routes.len() == 1));
    assert_eq!(routers.iter().map(|router| router.idle).sum::<usize>(), 0);
    assert_eq!(rib.statistics().groups, 1);
}

#[test]
fn one_peer_is_drained_and_the_others_hear_nothing_of_it() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), (0..100).map(host).map(plain));
    let (mut drained, mut other) = (
        connect(&mut rib, "drained", external()),
        connect(&mut rib, "other", external()),
    );
    let heard = other.bytes;
    stand(
        &mut rib,
        Time::from_millis(20),
        &name("drained"),
        Standing::Leaving,
    );
    rib.tick(Time::from_millis(20));
    drained.catch_up(&mut rib, &name("drained"));
    other.catch_up(&mut rib, &name("other"));
    assert_eq!(other.bytes, heard);
    assert_eq!(drained.announcements, 200);
    assert_eq!(rib.statistics().groups, 2);
    stand(
        &mut rib,
        Time::from_millis(40),
        &name("drained"),
        Standing::Serving,
    );
    rib.tick(Time::from_millis(40));
    drained.catch_up(&mut rib, &name("drained"));
    assert_eq!(drained.routes, other.routes);
    assert_eq!(rib.statistics().groups, 1);
}

#[test]
fn a_peer_that_is_told_by_others_hears_only_what_is_different() {
    let mut rib = ready();
    let (_, shared) = plain(host(1));
    let (_, only) = plain(host(2));
    let (_, further) = plain(host(3));
    rib.set_routes(
        Time::ZERO,
        &service("a"),
        [
            (everybody(), shared.clone()),
            (everybody(), only),
            (audience("other"), shared),
            (audience("other"), further),
        ],
    );
    let mut router = connect(&mut rib, "a", external());
    connect(&mut rib, "b", external());
    rib.retarget(
        Time::from_millis(20),
        &name("a"),
        audience("other"),
        Standing::Serving,
    );
    rib.tick(Time::from_millis(20));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.prefixes(), ["10.0.0.1/32", "10.0.0.3/32"]);
    assert_eq!((router.announcements, router.idle), (3, 0));
}

#[test]
fn a_peer_that_came_from_another_group_is_told_of_the_end_of_what_it_heard_there() {
    let mut rib = ready();
    let (_, known) = plain(host(1));
    let (other, there) = (audience("other"), [(audience("other"), known.clone())]);
    rib.set_routes(Time::ZERO, &service("a"), [(everybody(), known)]);
    let mut router = connect(&mut rib, "a", external());
    // Somebody else keeps the other group in being.
    rib.up(Time::ZERO, &name("b"), other.clone(), external());
    rib.retarget(Time::from_millis(20), &name("a"), other, Standing::Serving);
    rib.tick(Time::from_millis(20));
    // Before it is told that there is no such route there, there is, and then there is none again.
    rib.set_routes(Time::from_millis(40), &service("b"), there);
    rib.tick(Time::from_millis(40));
    router.read(&rib.poll(&name("a")).unwrap());
    rib.set_routes(Time::from_millis(60), &service("b"), []);
    rib.tick(Time::from_millis(60));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.routes.len(), 0);
}

#[test]
fn an_address_that_comes_later_is_the_next_hop_from_then_on() {
    let mut rib = ready();
    let both = [plain(host(1)), plain(net("2001:db8:1::/64"))];
    rib.set_routes(Time::ZERO, &service("a"), both);
    let mut export = external();
    let address = export.local.v6.take();
    let mut router = connect(&mut rib, "a", export.clone());
    assert_eq!(router.prefixes(), ["10.0.0.1/32"]);
    export.local.v6 = address;
    rib.relocate(Time::from_millis(20), &name("a"), export.local);
    rib.tick(Time::from_millis(20));
    router.catch_up(&mut rib, &name("a"));
    assert_eq!(router.prefixes(), ["10.0.0.1/32", "2001:db8:1::/64"]);
    assert_eq!((router.announcements, router.idle), (2, 0));
    assert_eq!(rib.unsendable(&name("a")).count(), 0);
}

#[test]
fn another_advertisement_among_those_that_tell_a_peer_is_no_reason_to_tell_it_all_again() {
    let mut rib = ready();
    let wanted = |audience: &Audience, hosts: std::ops::Range<u32>| {
        let audience = audience.clone();
        let routes = hosts.map(move |number| (audience.clone(), plain(host(number)).1));
        routes.collect::<Vec<_>>()
    };
    rib.set_routes(Time::ZERO, &service("a"), wanted(&everybody(), 0..5000));
    let names = ["a", "b", "c"].map(name);
    let mut routers = names
        .clone()
        .map(|peer| connect(&mut rib, &peer, external()));
    // Together into a new group; one alone into a new group; that one back into one that there is.
    let (first, second) = (audience("first"), audience("second"));
    let steps = [
        (20, [&first, &first, &first], 5001),
        (40, [&second, &first, &first], 5002),
        (60, [&first, &first, &first], 5003),
    ];
    for (milliseconds, targets, count) in steps {
        let now = Time::from_millis(milliseconds);
        for (peer, target) in names.iter().zip(targets) {
            rib.retarget(now, peer, target.clone(), Standing::Serving);
        }
        let audiences: BTreeSet<&Audience> = targets.into_iter().collect();
        let all = audiences.into_iter();
        let all = all.flat_map(|audience| wanted(audience, 0..count));
        rib.set_routes(now, &service("a"), all);
        rib.tick(now);
        for (router, peer) in routers.iter_mut().zip(&names) {
            router.catch_up(&mut rib, peer);
            assert_eq!(router.routes.len(), usize::try_from(count).unwrap());
            assert_eq!(router.announcements, router.routes.len());
        }
    }
}
