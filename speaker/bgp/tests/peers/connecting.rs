//! Dialling, listening, and how long we leave a peer alone.

use std::time::Duration;

use ironlb_bgp::wire::{Notification, Reason};
use ironlb_bgp::{Cause, Input, Output, Settings, State};

use crate::messages::{notification, notified};
use crate::router::{Router, dialled};
use crate::sample::settings;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn nothing_happens_before_the_start() {
    let mut router = Router::idle(settings(0));
    assert_eq!(router.peer.deadline(), None);
    assert_eq!(router.handle(Input::Tick), []);
    let (connection, outputs) = router.accept();
    assert_eq!(
        notified(&outputs, connection).unwrap().reason,
        Reason::CONNECTION_REJECTED
    );
    assert_eq!(router.peer.state(), State::Idle);
}

#[test]
fn a_started_peer_is_dialled_at_once_and_a_second_start_changes_nothing() {
    let mut router = Router::idle(settings(0));
    let outputs = router.handle(Input::Start);
    assert!(dialled(&outputs).is_some());
    assert_eq!(router.peer.state(), State::Connect);
    assert_eq!(router.handle(Input::Start), []);
}

#[test]
fn a_passive_peer_is_never_dialled_and_can_connect() {
    let mut router = Router::idle(Settings {
        passive: true,
        ..settings(0)
    });
    assert_eq!(router.handle(Input::Start), []);
    assert_eq!(
        (router.peer.state(), router.peer.deadline()),
        (State::Active, None)
    );
    let (connection, _) = router.accept();
    router.bring(connection, State::Established);
    assert_eq!(router.peer.state(), State::Established);
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    assert_eq!(router.next_dial(seconds(10_000)), None);
    assert_eq!(router.peer.state(), State::Active);
}

#[test]
fn a_connection_that_cannot_be_had_is_tried_again_ever_more_rarely() {
    let mut router = Router::idle(settings(0));
    let mut connection = dialled(&router.handle(Input::Start)).unwrap();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let error = Some("connection refused".to_owned());
        let outputs = router.handle(Input::Closed { connection, error });
        assert_eq!(outputs[0], Output::Close(connection));
        assert!(matches!(&outputs[1], Output::Failed(Cause::Unreachable(_))));
        assert_eq!(router.peer.state(), State::Active);
        let (next, wait) = router.next_dial(seconds(60)).unwrap();
        connection = next;
        waits.push(wait);
    }
    for (wait, longest) in waits.iter().zip([1, 2, 4, 8, 15, 15, 15, 15]) {
        assert!(
            *wait <= seconds(longest) && *wait >= seconds(longest) * 3 / 4,
            "{waits:?}"
        );
    }
}

#[test]
fn a_connection_that_takes_too_long_is_given_up() {
    let mut router = Router::idle(settings(0));
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    let outputs = router.wait(seconds(10));
    assert_eq!(outputs[0], Output::Close(connection));
    let error = router.peer.status().last_local_error.unwrap();
    assert_eq!(error.cause.to_string(), "no connection: no answer");
    assert!(dialled(&router.wait(seconds(2))).is_some());
}

#[test]
fn a_connection_that_comes_too_late_is_closed() {
    let mut router = Router::idle(settings(0));
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let outputs = router.handle(Input::Connected {
        connection,
        local: "192.0.2.1:40000".parse().unwrap(),
        remote: "192.0.2.2:179".parse().unwrap(),
    });
    assert_eq!(outputs, [Output::Close(connection)]);
}

/// How long we wait after each of `times` refusals.
fn refusals(times: usize, refuse: impl Fn(&mut Router, ironlb_bgp::Connection)) -> Vec<Duration> {
    let mut router = Router::idle(settings(0));
    let mut connection = dialled(&router.handle(Input::Start)).unwrap();
    let mut waits = Vec::new();
    for _ in 0..times {
        router.connect(connection);
        refuse(&mut router, connection);
        let (next, wait) = router.next_dial(seconds(1_000)).unwrap();
        connection = next;
        waits.push(wait);
    }
    waits
}

fn assert_growing(waits: &[Duration]) {
    for (wait, longest) in waits.iter().zip([1, 2, 4, 8, 16, 32, 64, 120, 120, 120]) {
        assert!(
            *wait <= seconds(longest) && *wait >= seconds(longest) * 3 / 4,
            "{waits:?}"
        );
    }
}

#[test]
fn a_peer_that_accepts_and_then_refuses_us_is_left_alone_for_longer_each_time() {
    let refusal = notification(&Notification::new(Reason::CONNECTION_REJECTED));
    assert_growing(&refusals(10, |router, connection| {
        router.say(connection, &refusal);
    }));
}

#[test]
fn so_is_one_that_closes_without_a_word() {
    assert_growing(&refusals(10, |router, connection| {
        router.handle(Input::Closed {
            connection,
            error: None,
        });
    }));
}

#[test]
fn so_is_one_that_refuses_us_just_after_the_session_came_up() {
    let refusal = notification(&Notification::new(Reason::CONFIGURATION_CHANGE));
    assert_growing(&refusals(10, |router, connection| {
        router.bring(connection, State::Established);
        assert_eq!(router.peer.state(), State::Established);
        router.say(connection, &refusal);
    }));
}

#[test]
fn so_is_one_that_we_refuse() {
    assert_growing(&refusals(10, |router, connection| {
        router.say(connection, &[0; 19]);
    }));
}

#[test]
fn while_it_is_left_alone_its_connections_are_refused() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let refusal = notification(&Notification::new(Reason::CONNECTION_REJECTED));
    router.say(connection.unwrap(), &refusal);
    assert_eq!(router.peer.state(), State::Idle);
    let (connection, outputs) = router.accept();
    assert_eq!(
        notified(&outputs, connection).unwrap().reason,
        Reason::CONNECTION_REJECTED
    );
}

#[test]
fn one_that_was_mended_may_come_before_we_dial_again() {
    let mut router = Router::idle(Settings {
        connect_time: seconds(100),
        ..settings(0)
    });
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.connect(connection);
    router.say(connection, &[0; 19]);
    router.wait(seconds(5));
    let next = router.peer.status().next_attempt.unwrap();
    assert!(next >= ironlb_model::Time::from_secs(75), "{next}");
    let (connection, _) = router.accept();
    router.bring(connection, State::Established);
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn a_rejection_does_not_hide_why_it_came_to_that() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let told = |reason| notification(&Notification::new(reason));
    router.say(connection.unwrap(), &told(Reason::BAD_PEER_AS));
    let (connection, _) = router.next_dial(seconds(10)).unwrap();
    router.connect(connection);
    router.say(connection, &told(Reason::CONNECTION_REJECTED));
    let error = |router: &Router| router.peer.status().last_remote_error.unwrap().cause;
    assert_eq!(
        error(&router),
        Cause::Received(Notification::new(Reason::BAD_PEER_AS))
    );

    // After a session it is news again.
    let (connection, _) = router.next_dial(seconds(10)).unwrap();
    router.connect(connection);
    router.bring(connection, State::Established);
    router.wait(seconds(1));
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let (connection, _) = router.next_dial(seconds(100)).unwrap();
    router.connect(connection);
    router.say(connection, &told(Reason::CONNECTION_REJECTED));
    assert_eq!(
        error(&router),
        Cause::Received(Notification::new(Reason::CONNECTION_REJECTED))
    );
}

#[test]
fn after_a_session_that_was_stable_we_dial_soon_and_listen_at_once() {
    let refusal = notification(&Notification::new(Reason::ADMIN_RESET));
    let mut router = Router::idle(Settings {
        connect_time: seconds(120),
        hold_time: Duration::ZERO,
        ..settings(0)
    });
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.connect(connection);
    router.bring(connection, State::Established);
    router.wait(seconds(60));
    router.say(connection, &refusal);
    assert_eq!(router.peer.state(), State::Active);
    let (_, wait) = router.next_dial(seconds(10)).unwrap();
    assert!(wait <= seconds(1), "{wait:?}");
}

#[test]
fn a_configured_connect_time_is_the_time_between_attempts() {
    let mut router = Router::idle(Settings {
        connect_time: seconds(40),
        ..settings(0)
    });
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    let (_, wait) = router.next_dial(seconds(100)).unwrap();
    assert!(wait >= seconds(30) && wait <= seconds(40), "{wait:?}");
}

#[test]
fn a_way_that_is_there_again_ends_the_wait() {
    let mut router = Router::idle(Settings {
        connect_time: seconds(100),
        ..settings(0)
    });
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    assert!(dialled(&router.handle(Input::BfdUp)).is_some());
}

#[test]
fn a_peer_that_connects_gets_time_before_we_dial_beside_it() {
    let mut router = Router::idle(settings(0));
    let connection = dialled(&router.handle(Input::Start)).unwrap();
    router.handle(Input::Closed {
        connection,
        error: None,
    });
    router.accept();
    let (_, wait) = router.next_dial(seconds(100)).unwrap();
    assert!(wait >= seconds(10), "{wait:?}");
}

#[test]
fn a_session_that_was_stable_makes_earlier_refusals_forgotten() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let mut connection = connection.unwrap();
    for _ in 0..5 {
        router.say(connection, &[0; 19]);
        let (next, _) = router.next_dial(seconds(100)).unwrap();
        connection = router.connect(next);
    }
    router.bring(connection, State::Established);
    router.wait(seconds(60));
    for _ in 0..2 {
        router.say(connection, &[0; 19]);
        let (next, wait) = router.next_dial(seconds(100)).unwrap();
        assert!(wait <= seconds(1), "{wait:?}");
        connection = router.connect(next);
    }
}

#[test]
fn a_peer_that_can_be_reached_again_is_tried_often_again() {
    let mut router = Router::idle(settings(0));
    let mut connection = dialled(&router.handle(Input::Start)).unwrap();
    let fail = |router: &mut Router, connection| {
        let error = None;
        router.handle(Input::Closed { connection, error });
        router.next_dial(seconds(100)).unwrap()
    };
    for _ in 0..5 {
        (connection, _) = fail(&mut router, connection);
    }
    router.connect(connection);
    (connection, _) = fail(&mut router, connection);
    let (_, wait) = fail(&mut router, connection);
    assert!(wait <= seconds(1), "{wait:?}");
}
