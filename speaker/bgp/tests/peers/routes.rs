//! Routes in both directions, as far as a session has to do with them.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_bgp::wire::{AfiSafi, Negotiated, Open, Reason, RefreshKind, RouteRefresh, end_of_rib};
use ironlb_bgp::{Count, Input, Output, Settings, State};
use ironlb_model::Family;

use crate::messages::{announce, encode_open, keepalive, notified, route_refresh, withdraw};
use crate::network::Network;
use crate::router::Router;
use crate::sample::settings;

fn count(router: &Router) -> Count {
    router.peer.status().received[&Family::V4]
}

#[test]
fn routes_of_the_peer_are_counted_each_once() {
    let (mut router, connection) = Router::established();
    router.say(connection, &announce(0, 5_000));
    router.say(connection, &announce(100, 100));
    assert_eq!(count(&router).prefixes, 5_000);
    router.say(connection, &withdraw(0, 10));
    router.say(connection, &withdraw(0, 10));
    assert_eq!(count(&router).prefixes, 4_990);
}

#[test]
fn without_a_maximum_the_count_stops_and_the_session_does_not() {
    let (mut router, connection) = Router::established();
    router.say(connection, &announce(0, 100_000));
    let count = count(&router);
    assert_eq!((count.prefixes, count.at_least), (16_384, true));
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn one_prefix_more_than_allowed_ends_the_session() {
    let mut router = Router::idle(Settings {
        maximum_prefixes: Some(20),
        ..settings(0)
    });
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    router.bring(connection, State::Established);
    assert_eq!(router.say(connection, &announce(0, 20)), []);
    assert_eq!(router.say(connection, &announce(0, 20)), []);
    let told = notified(&router.say(connection, &announce(20, 1)), connection).unwrap();
    assert_eq!(
        (told.reason, told.data),
        (Reason::MAX_PREFIXES, vec![0, 1, 1, 0, 0, 0, 20])
    );
    let error = router.peer.status().last_local_error.unwrap();
    assert!(
        error
            .cause
            .to_string()
            .ends_with("the peer announces more than 20 IPv4 prefixes")
    );
}

#[test]
fn end_of_rib_is_noted() {
    let (mut router, connection) = Router::established();
    assert!(!count(&router).complete);
    let mut bytes = Vec::new();
    end_of_rib(Family::V4, &mut bytes);
    router.say(connection, &bytes);
    assert!(count(&router).complete);
}

#[test]
fn an_update_that_is_only_partly_wrong_withdraws_its_routes_and_keeps_the_session() {
    let (mut router, connection) = Router::established();
    router.say(connection, &announce(0, 3));
    // ORIGIN is the first attribute: header 19, two lengths 4, flags, type and length 3.
    let mut wrong = announce(0, 1);
    assert_eq!(wrong[23..26], [0x40, 1, 1]);
    wrong[26] = 9;
    assert_eq!(router.say(connection, &wrong), []);
    assert_eq!(count(&router).prefixes, 2);
    assert_eq!(router.peer.status().faults.treated_as_withdrawn, 1);
}

#[test]
fn an_update_that_cannot_be_read_ends_the_session() {
    let (mut router, connection) = Router::established();
    let mut wrong = announce(0, 1);
    wrong[19..21].copy_from_slice(&[0xff, 0xff]);
    let told = notified(&router.say(connection, &wrong), connection).unwrap();
    assert_eq!(told.reason, Reason::MALFORMED_ATTRIBUTE_LIST);
}

/// What a ROUTE-REFRESH brings in a session where the router knows refresh, and enhanced refresh, or does not.
fn refreshed(known: bool, enhanced: bool, family: AfiSafi, kind: RefreshKind) -> Vec<Output> {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let mut open = Router::open();
    open.capabilities.route_refresh = known;
    open.capabilities.enhanced_route_refresh = enhanced;
    router.say(connection, &encode_open(&open));
    router.say(connection, &keepalive());
    router.say(connection, &route_refresh(RouteRefresh { family, kind }))
}

#[test]
fn a_refresh_asks_for_the_routes_again_framed_where_both_know_that() {
    let (ipv4, request) = (AfiSafi::IPV4_UNICAST, RefreshKind::Request);
    for framed in [false, true] {
        let resend = Output::Resend {
            family: Family::V4,
            framed,
        };
        assert_eq!(refreshed(true, framed, ipv4, request), [resend]);
    }
}

#[test]
fn a_peer_may_ask_because_we_offered_it_whether_it_did_or_not() {
    let resend = Output::Resend {
        family: Family::V4,
        framed: false,
    };
    let request = RefreshKind::Request;
    assert_eq!(
        refreshed(false, false, AfiSafi::IPV4_UNICAST, request),
        [resend]
    );
}

#[test]
fn a_refresh_that_was_not_agreed_on_is_ignored() {
    let (ipv4, request) = (AfiSafi::IPV4_UNICAST, RefreshKind::Request);
    assert_eq!(refreshed(true, true, AfiSafi::IPV6_UNICAST, request), []);
    assert_eq!(
        refreshed(true, true, AfiSafi { afi: 25, safi: 65 }, request),
        []
    );
    assert_eq!(refreshed(true, true, ipv4, RefreshKind::Unknown(9)), []);
}

#[test]
fn routes_that_a_refresh_of_the_peer_leaves_out_are_gone_at_its_end() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let mut open = Router::open();
    open.capabilities.enhanced_route_refresh = true;
    router.say(connection, &encode_open(&open));
    router.say(connection, &keepalive());
    router.say(connection, &announce(0, 10));
    let mark = |kind| {
        route_refresh(RouteRefresh {
            family: AfiSafi::IPV4_UNICAST,
            kind,
        })
    };
    router.say(connection, &mark(RefreshKind::Begin));
    router.say(connection, &announce(4, 3));
    assert_eq!(count(&router).prefixes, 10);
    router.say(connection, &mark(RefreshKind::End));
    assert_eq!(count(&router).prefixes, 3);
}

#[test]
fn there_is_room_for_routes_when_the_session_is_up_and_what_was_sent_is_gone() {
    let (mut router, connection) = Router::in_state(State::OpenConfirm);
    assert!(!router.peer.has_room());
    router.say(connection.unwrap(), &keepalive());
    let now = router.now;
    let batch: std::sync::Arc<[u8]> = announce(0, 1_000).into();
    let mut sent = 0;
    while router.peer.has_room() {
        router.peer.send(now, batch.clone());
        sent += batch.len();
    }
    assert!((65_536..65_536 + batch.len()).contains(&sent), "{sent}");
    router.handle(Input::Drained(connection.unwrap()));
    assert!(router.peer.has_room());
    let updates = sent.div_ceil(4_096) as u64;
    assert!(router.peer.status().counters.sent.updates >= updates);
}

#[test]
fn extended_messages_are_agreed_on_and_taken() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let mut open = Router::open();
    open.capabilities.extended_message = true;
    router.say(connection, &encode_open(&open));
    router.say(connection, &keepalive());
    assert_eq!(router.peer.status().agreement.unwrap().max_length, 65_535);
    let mut long = Vec::new();
    let attributes = ironlb_bgp::wire::Attributes::default();
    let next_hop = ironlb_bgp::wire::NextHop::V4([192, 0, 2, 2].into());
    let negotiated = Negotiated {
        four_octet_as: true,
        internal: false,
        ipv4: true,
        ipv6: false,
        extended_next_hop: false,
    };
    let attributes = ironlb_bgp::wire::EncodedAttributes::new(
        &attributes,
        next_hop,
        Family::V4,
        &negotiated,
        4096,
    )
    .unwrap();
    let prefixes = (0..10_000u32).map(|number| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        ipnet::IpNet::new(address.into(), 32).unwrap()
    });
    let messages = ironlb_bgp::wire::pack(&attributes, prefixes, 65_535, &mut long);
    assert_eq!(messages, 1);
    router.say(connection, &long);
    assert_eq!(count(&router).prefixes, 10_000);
}

#[test]
fn messages_are_counted_both_ways() {
    let (mut router, connection) = Router::established();
    router.say(
        connection,
        &[announce(0, 1), keepalive(), withdraw(0, 1)].concat(),
    );
    let counters = router.peer.status().counters;
    assert_eq!((counters.received.opens, counters.sent.opens), (1, 1));
    assert_eq!(
        (counters.received.keepalives, counters.sent.keepalives),
        (2, 1)
    );
    assert_eq!(
        (counters.received.updates, counters.received.total()),
        (2, 5)
    );
}

#[test]
fn ten_thousand_routes_reach_a_peer_that_reads_slowly_and_one_that_stops_for_a_while() {
    let mut network = Network::up(|settings| settings.families = BTreeSet::from([Family::V4]));
    for batch in 0..100 {
        let routes = announce(batch * 100, 100);
        let twice = [routes.clone(), routes].concat();
        network.sides[0].routes.push_back(twice);
    }
    network.sides[1].reading = false;
    network.handle(0, Input::Tick);
    network.run(Duration::from_secs(60));
    let waiting = network.sides[0].routes.len();
    assert!(
        (30..50).contains(&waiting),
        "{waiting} wait until there is room"
    );
    network.read_on(1);
    network.run(Duration::from_secs(10));
    assert_eq!(
        network.sides[1].peer.status().received[&Family::V4].prefixes,
        10_000
    );
    assert_eq!(network.ups(0), 1);
}

#[test]
fn routes_are_taken_on_a_session_without_a_hold_time() {
    let mut router = Router::idle(settings(0));
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    let open = Open {
        hold_time: 0,
        ..Router::open()
    };
    router.say(connection, &encode_open(&open));
    router.say(connection, &keepalive());
    router.say(connection, &announce(0, 1));
    assert_eq!(count(&router).prefixes, 1);
}
