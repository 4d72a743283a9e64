//! The end of a session by our own will, and that nothing is left then.

use std::time::Duration;

use ironlb_bgp::wire::{Notification, Reason};
use ironlb_bgp::{Input, Output, Settings, State, Stop};

use crate::messages::{notified, said};
use crate::network::Network;
use crate::router::Router;
use crate::sample::settings;

const STATES: [State; 6] = [
    State::Idle,
    State::Active,
    State::Connect,
    State::OpenSent,
    State::OpenConfirm,
    State::Established,
];

#[test]
fn a_stop_leaves_nothing_in_any_state_and_is_said_where_there_is_a_connection() {
    for state in STATES {
        let (mut router, connection) = Router::in_state(state);
        let outputs = router.handle(Input::Stop(Stop::Shutdown("maintenance".to_owned())));
        if let Some(connection) = connection {
            let told = notified(&outputs, connection).unwrap();
            assert_eq!(told.reason, Reason::ADMIN_SHUTDOWN, "{state}");
            assert_eq!(told.text().as_deref(), Some("maintenance"));
        }
        let closed = outputs
            .iter()
            .any(|output| matches!(output, Output::Close(_)));
        assert_eq!(closed, state >= State::Connect, "{state}");
        assert_eq!(
            (router.peer.state(), router.peer.deadline()),
            (State::Idle, None),
            "{state}"
        );
        assert!(!router.peer.has_room());
        assert_eq!(router.handle(Input::Tick), []);
    }
}

#[test]
fn a_stop_while_a_peer_is_left_alone_leaves_nothing() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    router.say(connection.unwrap(), &[0; 19]);
    assert!(router.peer.deadline().is_some());
    router.handle(Input::Stop(Stop::Deconfigured));
    assert_eq!(router.peer.deadline(), None);
}

#[test]
fn a_peer_that_is_not_configured_any_longer_is_told_so() {
    let (mut router, connection) = Router::established();
    let outputs = router.handle(Input::Stop(Stop::Deconfigured));
    assert_eq!(
        notified(&outputs, connection).unwrap(),
        Notification::new(Reason::PEER_DECONFIGURED)
    );
}

#[test]
fn a_stopped_peer_can_be_started_again() {
    let (mut router, _) = Router::established();
    router.handle(Input::Stop(Stop::Shutdown(String::new())));
    router.handle(Input::Start);
    assert_eq!(router.peer.state(), State::Connect);
}

#[test]
fn a_reset_closes_the_session_with_the_operators_words_and_begins_anew_soon() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let (mut router, connection) = Router::in_state(state);
        let outputs = router.handle(Input::Reset("new optics".to_owned()));
        let told = notified(&outputs, connection.unwrap()).unwrap();
        assert_eq!(
            (told.reason, told.text().as_deref()),
            (Reason::ADMIN_RESET, Some("new optics"))
        );
        let (_, wait) = router.next_dial(Duration::from_secs(10)).unwrap();
        assert!(wait <= Duration::from_secs(1), "{state}");
    }
}

#[test]
fn a_reset_ends_the_wait_of_a_peer_that_is_left_alone() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    router.say(connection.unwrap(), &[0; 19]);
    assert_eq!(router.peer.state(), State::Idle);
    router.handle(Input::Reset(String::new()));
    assert_eq!(router.peer.state(), State::Connect);
}

#[test]
fn a_reset_of_a_stopped_peer_does_not_start_it() {
    let (mut router, _) = Router::in_state(State::Idle);
    assert_eq!(router.handle(Input::Reset(String::new())), []);
    assert_eq!(router.peer.state(), State::Idle);
}

#[test]
fn bfd_down_ends_an_established_session_at_once_and_no_other() {
    for state in STATES {
        let (mut router, connection) = Router::in_state(state);
        let outputs = router.handle(Input::BfdDown);
        let told = connection.and_then(|connection| notified(&outputs, connection));
        let expected = (state == State::Established).then_some(Reason::BFD_DOWN);
        assert_eq!(told.map(|told| told.reason), expected, "{state}");
    }
}

#[test]
fn for_an_upgrade_the_connection_is_closed_without_a_word_where_words_would_cost_the_routes() {
    let restarting = Settings {
        restart_time: Some(Duration::from_secs(120)),
        ..settings(0)
    };
    // Whether the router knows graceful restart, and RFC 8538.
    for (knows, keeps) in [(None, false), (Some(false), true), (Some(true), false)] {
        let mut router = Router::idle(restarting.clone());
        router.handle(Input::Start);
        let (connection, _) = router.accept();
        let mut open = Router::open();
        open.capabilities.graceful_restart =
            knows.map(|notification| ironlb_bgp::wire::GracefulRestart {
                notification,
                restart_time: 120,
                ..ironlb_bgp::wire::GracefulRestart::default()
            });
        router.say(connection, &crate::messages::encode_open(&open));
        router.say(connection, &crate::messages::keepalive());
        let outputs = router.handle(Input::Stop(Stop::Upgrade));
        assert_eq!(said(&outputs, connection).is_empty(), keeps, "{knows:?}");
        assert!(outputs.contains(&Output::Close(connection)));
    }
}

#[test]
fn two_that_are_stopped_leave_nothing() {
    let mut network = Network::up(|_| {});
    network.handle(0, Input::Stop(Stop::Shutdown("bye".to_owned())));
    network.handle(1, Input::Stop(Stop::Deconfigured));
    network.run(Duration::from_secs(10));
    assert!(network.is_still());
    assert_eq!([network.state(0), network.state(1)], [State::Idle; 2]);
}
