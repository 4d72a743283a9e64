//! Graceful restart (RFC 4724, RFC 8538), ours and the peer's.

use std::collections::BTreeMap;
use std::time::Duration;

use ironlb_bgp::wire::{AfiSafi, GracefulRestart, Notification, Reason};
use ironlb_bgp::{Cause, Input, Output, Peer, Settings, State, Stop};
use ironlb_model::{Family, Time};

use crate::messages::{announce, encode_open, keepalive, notification, notified, said, sent_open};
use crate::network::Network;
use crate::router::Router;
use crate::sample::settings;

fn restarting(side: usize) -> Settings {
    Settings {
        restart_time: Some(Duration::from_secs(120)),
        ..settings(side)
    }
}

/// A router that restarts gracefully, with a session with us.
fn router(notification: bool) -> (Router, ironlb_bgp::Connection) {
    let mut router = Router::idle(restarting(0));
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    open(&mut router, connection, notification);
    (router, connection)
}

fn open(
    router: &mut Router,
    connection: ironlb_bgp::Connection,
    notification: bool,
) -> Vec<Output> {
    let mut open = Router::open();
    open.capabilities.graceful_restart = Some(GracefulRestart {
        restarting: false,
        notification,
        restart_time: 60,
        families: BTreeMap::from([(AfiSafi::IPV4_UNICAST, true)]),
    });
    let mut outputs = router.say(connection, &encode_open(&open));
    outputs.extend(router.say(connection, &keepalive()));
    outputs
}

/// The capability in our OPEN on a connection that is accepted after `age`.
fn offered(restarted: bool, age: Duration) -> GracefulRestart {
    let mut router = Router::idle(restarting(0));
    router.peer = Peer::new(Time::ZERO, restarting(0), 1, restarted);
    router.handle(Input::Start);
    router.wait(age);
    let (connection, outputs) = router.accept();
    sent_open(&outputs, connection)
        .capabilities
        .graceful_restart
        .unwrap()
}

#[test]
fn what_we_offer_says_that_forwarding_goes_on_and_notifications_cost_nothing() {
    let offered = offered(false, Duration::ZERO);
    assert_eq!(
        (
            offered.restarting,
            offered.notification,
            offered.restart_time
        ),
        (false, true, 120)
    );
    assert_eq!(
        offered.families,
        BTreeMap::from([(AfiSafi::IPV4_UNICAST, true)])
    );
}

#[test]
fn a_restarted_speaker_says_so_until_the_peer_would_have_given_up() {
    assert!(offered(true, Duration::ZERO).restarting);
    assert!(offered(true, Duration::from_secs(119)).restarting);
    assert!(!offered(true, Duration::from_secs(120)).restarting);
    assert!(!offered(false, Duration::ZERO).restarting);
}

#[test]
fn after_the_first_session_it_says_so_no_longer() {
    let mut router = Router::idle(restarting(0));
    router.peer = Peer::new(Time::ZERO, restarting(0), 1, true);
    router.handle(Input::Start);
    let (first, _) = router.accept();
    router.bring(first, State::Established);
    router.handle(Input::Reset(String::new()));
    let (second, outputs) = router.accept();
    let open = sent_open(&outputs, second);
    assert!(!open.capabilities.graceful_restart.unwrap().restarting);
}

#[test]
fn a_new_connection_of_a_peer_that_restarts_gracefully_replaces_the_old_one() {
    let (mut router, old) = router(false);
    router.wait(Duration::from_secs(1));
    let (new, _) = router.accept();
    assert_eq!(router.peer.state(), State::Established);
    let outputs = open(&mut router, new, false);
    assert_eq!(
        said(&outputs, old),
        [],
        "the old connection is closed without a word"
    );
    assert!(outputs.contains(&Output::Close(old)));
    assert!(outputs.contains(&Output::Down(Cause::Replaced)));
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Up { connection, .. } if *connection == new))
    );
}

#[test]
fn one_that_was_on_its_way_before_the_session_was_up_does_not() {
    let mut router = Router::idle(restarting(0));
    router.handle(Input::Start);
    let first = router.connect(ironlb_bgp::Connection {
        direction: ironlb_bgp::Direction::Outbound,
        number: 0,
    });
    let (second, _) = router.accept();
    router.wait(Duration::from_secs(1));
    open(&mut router, first, false);
    let outputs = open(&mut router, second, false);
    assert_eq!(
        notified(&outputs, second).unwrap().reason,
        Reason::COLLISION
    );
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn while_a_peer_restarts_its_last_counts_are_shown_until_it_is_too_late() {
    let (mut router, connection) = router(false);
    router.say(connection, &announce(0, 7));
    router.wait(Duration::from_secs(1));
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let status = router.peer.status();
    assert_eq!(status.received[&Family::V4].prefixes, 7);
    assert_eq!(status.expected_back, Some(Time::from_secs(61)));
    router.wait(Duration::from_secs(60));
    let status = router.peer.status();
    assert_eq!((status.received.len(), status.expected_back), (0, None));
}

#[test]
fn a_peer_that_is_stopped_is_not_waited_for() {
    let (mut router, connection) = router(false);
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    assert!(router.peer.status().expected_back.is_some());
    router.handle(Input::Stop(Stop::Deconfigured));
    assert_eq!(router.peer.status().expected_back, None);
    assert_eq!(router.peer.deadline(), None);
}

#[test]
fn a_peer_that_is_back_is_counted_anew() {
    let (mut router, connection) = router(false);
    router.say(connection, &announce(0, 7));
    router.wait(Duration::from_secs(60));
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let (connection, _) = router.accept();
    open(&mut router, connection, false);
    let status = router.peer.status();
    assert_eq!(
        (status.received[&Family::V4].prefixes, status.expected_back),
        (0, None)
    );
    assert_eq!(status.flaps, 1);
}

#[test]
fn over_a_notification_a_peer_is_expected_back_only_where_both_said_so() {
    let reset = Notification::new(Reason::ADMIN_RESET);
    for (both, told, expected) in [
        (false, reset.clone(), false),
        (true, reset.clone(), true),
        (true, reset.into_hard_reset(), false),
    ] {
        let (mut router, connection) = router(both);
        router.say(connection, &notification(&told));
        assert_eq!(
            router.peer.status().expected_back.is_some(),
            expected,
            "{both} {told}"
        );
    }
}

#[test]
fn a_shutdown_is_a_hard_reset_where_routes_would_outlive_a_notification() {
    for both in [false, true] {
        let (mut router, connection) = router(both);
        let outputs = router.handle(Input::Stop(Stop::Shutdown("bye".to_owned())));
        let told = notified(&outputs, connection).unwrap();
        assert_eq!(told.is_hard_reset(), both);
        assert_eq!(told.cause().reason, Reason::ADMIN_SHUTDOWN);
        assert_eq!(router.peer.status().expected_back, None);
        assert_eq!(router.peer.deadline(), None);
    }
}

#[test]
fn too_many_prefixes_are_a_hard_reset_as_well() {
    let (mut router, connection) = router(true);
    router.say(connection, &announce(0, 9));
    let settings = Settings {
        maximum_prefixes: Some(8),
        ..restarting(0)
    };
    let outputs = router.handle(Input::Configure(Box::new(settings)));
    let told = notified(&outputs, connection).unwrap();
    assert!(told.is_hard_reset());
    assert_eq!(told.cause().reason, Reason::MAX_PREFIXES);
}

#[test]
fn a_change_of_the_settings_is_none_so_that_the_routes_stay() {
    let (mut router, connection) = router(true);
    let settings = Settings {
        hold_time: Duration::from_secs(30),
        ..restarting(0)
    };
    let outputs = router.handle(Input::Configure(Box::new(settings)));
    assert_eq!(
        notified(&outputs, connection).unwrap(),
        Notification::new(Reason::CONFIGURATION_CHANGE)
    );
}

#[test]
fn a_speaker_that_is_replaced_has_its_session_again_within_seconds() {
    for silently in [false, true] {
        let mut network =
            Network::up(|settings| settings.restart_time = Some(Duration::from_secs(120)));
        network.run(Duration::from_secs(100));
        network.replace(0, restarting(0), silently);
        let ups = network.ups(1);
        let again = network.until(Duration::from_secs(5), |network| {
            network.both_up() && network.ups(1) > ups
        });
        assert!(again, "{silently}: {:?}", network.histories());
    }
}
