//! What is said and accepted until a session is up, in every state.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_bgp::wire::{
    AfiSafi, Capabilities, Notification, Open, Reason, RefreshKind, RouteRefresh,
};
use ironlb_bgp::{Connection, Input, Output, Settings, State, Stop};
use ironlb_model::Family;
use ironlb_model::bgp::PeerAsn;

use crate::messages::{
    self, Said, announce, capabilities, encode_open, keepalive, notified, route_refresh, said,
    sent_open,
};
use crate::router::{Router, dialled};
use crate::sample::{ASNS, settings};

#[test]
fn every_message_is_answered_in_every_state_as_the_rfc_has_it() {
    let refresh = RouteRefresh {
        family: AfiSafi::IPV4_UNICAST,
        kind: RefreshKind::Request,
    };
    type Answers = [Option<Reason>; 3];
    let messages: [(&str, Vec<u8>, Answers); 5] = [
        (
            "OPEN",
            encode_open(&Router::open()),
            [
                None,
                Some(Reason::UNEXPECTED_IN_OPEN_CONFIRM),
                Some(Reason::UNEXPECTED_IN_ESTABLISHED),
            ],
        ),
        (
            "KEEPALIVE",
            keepalive(),
            [Some(Reason::UNEXPECTED_IN_OPEN_SENT), None, None],
        ),
        (
            "UPDATE",
            announce(1, 1),
            [
                Some(Reason::UNEXPECTED_IN_OPEN_SENT),
                Some(Reason::UNEXPECTED_IN_OPEN_CONFIRM),
                None,
            ],
        ),
        (
            "ROUTE-REFRESH",
            route_refresh(refresh),
            [
                Some(Reason::UNEXPECTED_IN_OPEN_SENT),
                Some(Reason::UNEXPECTED_IN_OPEN_CONFIRM),
                None,
            ],
        ),
        ("garbage", vec![0; 19], [Some(Reason::NOT_SYNCHRONIZED); 3]),
    ];
    for (name, bytes, expected) in messages {
        for (state, expected) in [State::OpenSent, State::OpenConfirm, State::Established]
            .into_iter()
            .zip(expected)
        {
            let (mut router, connection) = Router::in_state(state);
            let connection = connection.unwrap();
            let outputs = router.say(connection, &bytes);
            let reason = notified(&outputs, connection).map(|told| told.reason);
            assert_eq!(reason, expected, "{name} in {state}");
            assert_eq!(
                router.peer.state() < State::OpenSent,
                expected.is_some(),
                "{name} in {state}"
            );
        }
    }
}

#[test]
fn an_unexpected_message_is_named_in_the_notification() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let outputs = router.say(connection, &announce(1, 1));
    assert_eq!(notified(&outputs, connection).unwrap().data, [2]);
}

#[test]
fn a_notification_ends_the_session_in_every_state_and_is_not_answered() {
    let bye = messages::notification(&Notification::new(Reason::ADMIN_SHUTDOWN));
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let (mut router, connection) = Router::in_state(state);
        let connection = connection.unwrap();
        let outputs = router.say(connection, &bye);
        assert_eq!(outputs[0], Output::Close(connection), "{state}");
        assert_eq!(said(&outputs, connection), [], "{state}");
        let error = router.peer.status().last_remote_error.unwrap();
        assert_eq!(
            error.cause.to_string(),
            "closed by the peer: administrative shutdown"
        );
    }
}

#[test]
fn a_connection_that_breaks_ends_the_session_in_every_state() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let (mut router, connection) = Router::in_state(state);
        let connection = connection.unwrap();
        let error = Some("connection reset by peer".to_owned());
        let outputs = router.handle(Input::Closed { connection, error });
        assert!(outputs.contains(&Output::Close(connection)), "{state}");
        let error = router.peer.status().last_local_error.unwrap();
        assert_eq!(
            error.cause.to_string(),
            "connection lost: connection reset by peer"
        );
    }
}

#[test]
fn both_opens_and_keepalives_make_a_session() {
    let (mut router, connection) = Router::in_state(State::Connect);
    assert!(connection.is_none());
    let connection = Connection {
        direction: ironlb_bgp::Direction::Outbound,
        number: 0,
    };
    router.connect(connection);
    let outputs = router.say(connection, &encode_open(&Router::open()));
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert_eq!(router.peer.state(), State::OpenConfirm);
    let outputs = router.say(connection, &keepalive());
    let [Output::Up { agreement, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    assert_eq!(agreement.peer_asn, ASNS[1]);
    assert_eq!(agreement.remote.to_string(), "192.0.2.2:179");
    assert!(agreement.wire.four_octet_as && agreement.wire.ipv4 && !agreement.wire.internal);
}

#[test]
fn messages_may_come_in_any_pieces_and_several_at_once() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let all = [encode_open(&Router::open()), keepalive(), announce(1, 3)].concat();
    let (last, first) = all.split_last().unwrap();
    for byte in first {
        router.say(connection, &[*byte]);
    }
    assert_eq!(router.peer.status().received[&Family::V4].prefixes, 0);
    router.say(connection, &[*last]);
    assert_eq!(router.peer.status().received[&Family::V4].prefixes, 3);
}

/// Our OPEN towards the router, with these settings.
fn our_open(settings: Settings) -> Open {
    let mut router = Router::idle(settings);
    router.handle(Input::Start);
    let (connection, outputs) = router.accept();
    sent_open(&outputs, connection)
}

#[test]
fn our_open_says_what_is_configured() {
    let open = our_open(settings(0));
    assert_eq!((open.asn, open.hold_time), (65_000, 90));
    assert_eq!(open.router_id.to_string(), "192.0.2.1");
    assert_eq!(
        open.capabilities.multiprotocol,
        BTreeSet::from([AfiSafi::IPV4_UNICAST])
    );
    assert!(open.capabilities.route_refresh && open.capabilities.enhanced_route_refresh);
    assert!(open.capabilities.extended_message);
    assert_eq!(open.capabilities.graceful_restart, None);
    assert!(open.capabilities.extended_next_hop.is_empty());
}

#[test]
fn a_local_asn_is_shown_in_place_of_ours() {
    let open = our_open(Settings {
        local_asn: Some(4_200_000_000),
        ..settings(0)
    });
    assert_eq!(open.asn, 4_200_000_000);
    assert_eq!(open.capabilities.four_octet_as, Some(4_200_000_000));
}

#[test]
fn with_dual_stack_both_families_are_offered_and_the_common_ones_taken() {
    let both = Settings {
        families: BTreeSet::from(Family::ALL),
        ..settings(0)
    };
    assert_eq!(our_open(both.clone()).capabilities.multiprotocol.len(), 2);
    for theirs in [&Family::ALL[..], &Family::ALL[1..]] {
        let mut router = Router::idle(both.clone());
        router.handle(Input::Start);
        let (connection, _) = router.accept();
        let mut open = Router::open();
        open.capabilities.multiprotocol =
            theirs.iter().map(|family| AfiSafi::from(*family)).collect();
        router.say(connection, &encode_open(&open));
        router.say(connection, &keepalive());
        let received = router.peer.status().received;
        assert_eq!(received.into_keys().collect::<Vec<_>>(), theirs);
    }
}

#[test]
fn ipv4_over_an_ipv6_connection_may_have_ipv6_next_hops() {
    let mut router = Router::idle(Settings {
        families: BTreeSet::from(Family::ALL),
        ..settings(0)
    });
    router.handle(Input::Start);
    let outputs = router.handle(Input::Accepted {
        number: 0,
        local: "[2001:db8::1]:179".parse().unwrap(),
        remote: "[2001:db8::2]:40000".parse().unwrap(),
    });
    let connection = Connection::inbound(0);
    let open = sent_open(&outputs, connection);
    assert!(open.capabilities.ipv4_over_ipv6());

    let mut theirs = Router::open();
    theirs.capabilities.multiprotocol = Family::ALL.map(AfiSafi::from).into();
    theirs.capabilities.extended_next_hop = open.capabilities.extended_next_hop;
    router.say(connection, &encode_open(&theirs));
    router.say(connection, &keepalive());
    assert!(
        router
            .peer
            .status()
            .agreement
            .unwrap()
            .wire
            .extended_next_hop
    );
}

#[test]
fn an_open_that_does_not_fit_is_refused_with_its_reason() {
    let good = Router::open();
    let bad: [(Open, Reason); 4] = [
        (
            messages::open(65_009, capabilities(65_009)),
            Reason::BAD_PEER_AS,
        ),
        (
            Open {
                hold_time: 2,
                ..good.clone()
            },
            Reason::UNACCEPTABLE_HOLD_TIME,
        ),
        (
            Open {
                router_id: 0.into(),
                ..good.clone()
            },
            Reason::BAD_IDENTIFIER,
        ),
        (
            Open {
                capabilities: Capabilities {
                    multiprotocol: BTreeSet::from([AfiSafi::IPV6_UNICAST]),
                    ..good.capabilities.clone()
                },
                ..good
            },
            Reason::UNSUPPORTED_CAPABILITY,
        ),
    ];
    for (open, reason) in bad {
        let (mut router, connection) = Router::in_state(State::OpenSent);
        let connection = connection.unwrap();
        let outputs = router.say(connection, &encode_open(&open));
        assert_eq!(notified(&outputs, connection).unwrap().reason, reason);
        assert!(router.peer.status().last_local_error.is_some());
    }
}

#[test]
fn another_version_is_refused_and_told_ours() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let mut open = encode_open(&Router::open());
    open[19] = 3;
    let told = notified(&router.say(connection, &open), connection).unwrap();
    assert_eq!(
        (told.reason, told.data),
        (Reason::UNSUPPORTED_VERSION, vec![0, 4])
    );
}

#[test]
fn an_internal_peer_is_recognised_and_our_own_identifier_is_not_taken_from_it() {
    let internal = Settings {
        peer_asn: PeerAsn::Internal,
        ..settings(0)
    };
    for (router_id, internal_session) in [([192, 0, 2, 2], true), ([192, 0, 2, 1], false)] {
        let mut router = Router::idle(internal.clone());
        router.handle(Input::Start);
        let (connection, _) = router.accept();
        let open = Open {
            router_id: router_id.into(),
            ..messages::open(ASNS[0], capabilities(ASNS[0]))
        };
        let outputs = router.say(connection, &encode_open(&open));
        let refused = notified(&outputs, connection).map(|told| told.reason);
        assert_eq!(
            refused,
            (!internal_session).then_some(Reason::BAD_IDENTIFIER)
        );
        router.say(connection, &keepalive());
        let agreement = router.peer.status().agreement;
        assert_eq!(
            agreement.is_some_and(|agreed| agreed.wire.internal),
            internal_session
        );
    }
}

#[test]
fn a_peer_that_knows_no_capabilities_is_tried_without_and_with_them_after_the_session() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let refusal = Notification::new(Reason::UNSUPPORTED_PARAMETER);
    router.say(connection.unwrap(), &messages::notification(&refusal));
    let (connection, _) = router.next_dial(Duration::from_secs(5)).unwrap();
    let outputs = router.handle(Input::Connected {
        connection,
        local: "192.0.2.1:40000".parse().unwrap(),
        remote: "192.0.2.2:179".parse().unwrap(),
    });
    let open = sent_open(&outputs, connection);
    assert_eq!(open.capabilities, Capabilities::default());

    router.say(
        connection,
        &encode_open(&messages::open(ASNS[1], Capabilities::default())),
    );
    let outputs = router.say(connection, &keepalive());
    let [Output::Up { agreement, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    assert!(agreement.wire.ipv4 && !agreement.wire.four_octet_as && !agreement.route_refresh);
    // What was not offered is not answered.
    let refresh = RouteRefresh {
        family: AfiSafi::IPV4_UNICAST,
        kind: RefreshKind::Request,
    };
    assert_eq!(router.say(connection, &route_refresh(refresh)), []);

    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let (connection, _) = router.next_dial(Duration::from_secs(5)).unwrap();
    let outputs = router.handle(Input::Connected {
        connection,
        local: "192.0.2.1:40000".parse().unwrap(),
        remote: "192.0.2.2:179".parse().unwrap(),
    });
    let open = sent_open(&outputs, connection);
    assert_ne!(open.capabilities, Capabilities::default());
}

#[test]
fn a_stop_forgets_that_a_peer_knew_no_capabilities() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let refusal = Notification::new(Reason::UNSUPPORTED_PARAMETER);
    router.say(connection.unwrap(), &messages::notification(&refusal));
    router.handle(Input::Stop(Stop::Deconfigured));
    router.handle(Input::Start);
    let (connection, outputs) = router.accept();
    let open = sent_open(&outputs, connection);
    assert_ne!(open.capabilities, Capabilities::default());
}

#[test]
fn an_open_without_capabilities_has_no_parameters_at_all() {
    let open = messages::open(ASNS[0], Capabilities::default());
    let bytes = encode_open(&open);
    assert_eq!((bytes.len(), bytes.last()), (29, Some(&0)));
}

#[test]
fn a_session_without_ipv4_is_not_tried_without_capabilities() {
    let mut router = Router::idle(Settings {
        families: BTreeSet::from([Family::V6]),
        ..settings(0)
    });
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.connect(connection);
    let refusal = Notification::new(Reason::UNSUPPORTED_PARAMETER);
    router.say(connection, &messages::notification(&refusal));
    router.wait(Duration::from_secs(3));
    let (connection, outputs) = router.accept();
    let open = sent_open(&outputs, connection);
    assert_ne!(open.capabilities, Capabilities::default());
}

#[test]
fn a_peer_without_any_capability_gets_a_plain_ipv4_session() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let open = messages::open(ASNS[1], Capabilities::default());
    router.say(connection, &encode_open(&open));
    router.say(connection, &keepalive());
    let agreement = router.peer.status().agreement.unwrap();
    assert!(agreement.wire.ipv4 && !agreement.wire.four_octet_as);
    assert_eq!(agreement.max_length, 4_096);
    assert_eq!(
        (agreement.peer_restart, agreement.local_restart),
        (None, None)
    );
}
