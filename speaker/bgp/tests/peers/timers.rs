//! Hold time, keepalives and the send hold time, kept by both sides.

use std::time::Duration;

use ironlb_bgp::wire::{Open, Reason};
use ironlb_bgp::{Connection, Input, Settings, State};

use crate::messages::{Said, announce, encode_open, keepalive, notified, said};
use crate::router::Router;
use crate::sample::settings;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn a_peer_that_sends_no_open_has_four_minutes() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    router.wait(seconds(239));
    assert_eq!(router.peer.state(), State::OpenSent);
    let outputs = router.wait(seconds(1));
    let told = notified(&outputs, connection.unwrap()).unwrap();
    assert_eq!(told.reason, Reason::HOLD_TIMER_EXPIRED);
}

#[test]
fn a_silent_peer_is_dropped_after_the_hold_time_in_open_confirm_and_established() {
    for state in [State::OpenConfirm, State::Established] {
        let (mut router, connection) = Router::in_state(state);
        router.wait(seconds(89));
        assert_eq!(router.peer.state(), state);
        let outputs = router.wait(seconds(1));
        let told = notified(&outputs, connection.unwrap()).unwrap();
        assert_eq!(told.reason, Reason::HOLD_TIMER_EXPIRED, "{state}");
        let error = router.peer.status().last_local_error.unwrap();
        assert_eq!(
            error.cause.to_string(),
            "closed by us (hold timer expired): nothing was heard for 90s"
        );
    }
}

#[test]
fn without_a_hold_time_a_session_is_not_waited_for_without_end() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let connection = connection.unwrap();
    let open = Open {
        hold_time: 0,
        ..Router::open()
    };
    router.say(connection, &encode_open(&open));
    assert_eq!(router.peer.state(), State::OpenConfirm);
    let outputs = router.wait(seconds(240));
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::HOLD_TIMER_EXPIRED);
}

#[test]
fn the_hold_time_begins_anew_when_the_session_is_up() {
    let (mut router, connection) = Router::in_state(State::OpenConfirm);
    router.wait(seconds(80));
    router.say(connection.unwrap(), &keepalive());
    router.wait(seconds(80));
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn keepalives_and_updates_keep_a_session() {
    let (mut router, connection) = Router::established();
    for message in [keepalive(), announce(1, 1), keepalive()] {
        router.wait(seconds(80));
        router.say(connection, &message);
    }
    assert_eq!(router.peer.state(), State::Established);
    let outputs = router.wait(seconds(90));
    assert!(notified(&outputs, connection).is_some());
}

/// The times of our keepalives in a session that the router keeps with one of its own every second.
fn keepalives(settings: Settings, hold_time: u16) -> (Router, Connection, Vec<Duration>) {
    let mut router = Router::idle(settings);
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    let open = Open {
        hold_time,
        ..Router::open()
    };
    router.say(connection, &encode_open(&open));
    router.handle(Input::Drained(connection));
    router.say(connection, &keepalive());
    let began = router.now;
    let mut times = Vec::new();
    for _ in 0..3_000 {
        let outputs = router.wait(Duration::from_millis(100));
        if said(&outputs, connection).contains(&Said::Keepalive) {
            times.push(router.now.since(began));
        }
        if hold_time > 0 {
            router.say(connection, &keepalive());
        }
    }
    (router, connection, times)
}

fn gaps(times: &[Duration]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn our_keepalives_come_within_a_third_of_the_agreed_hold_time_and_not_in_step() {
    let (_, _, times) = keepalives(settings(0), 30);
    let gaps = gaps(&times);
    let tick = Duration::from_millis(100);
    assert!(gaps.len() >= 29, "{}", gaps.len());
    assert!(
        gaps.iter()
            .all(|gap| *gap <= seconds(10) + tick && *gap >= Duration::from_millis(7_400)),
        "{gaps:?}"
    );
    assert!(gaps.iter().any(|gap| *gap != gaps[0]));
}

#[test]
fn a_shorter_configured_keepalive_time_counts() {
    let settings = Settings {
        keepalive_time: seconds(2),
        ..settings(0)
    };
    let (_, _, times) = keepalives(settings, 90);
    assert!(
        gaps(&times)
            .iter()
            .all(|gap| *gap <= Duration::from_millis(2_100))
    );
}

#[test]
fn without_a_hold_time_there_are_no_keepalives_and_silence_is_no_fault() {
    let (mut router, connection, times) = keepalives(settings(0), 0);
    assert_eq!(times, []);
    let outputs = router.wait(seconds(100_000));
    assert_eq!(said(&outputs, connection), []);
    assert_eq!(router.peer.state(), State::Established);
    assert_eq!(router.peer.deadline(), None);
}

#[test]
fn routes_spare_a_keepalive() {
    let (mut router, connection) = Router::established();
    for _ in 0..10 {
        router.say(connection, &keepalive());
        let outputs = router.wait(seconds(20));
        assert_eq!(said(&outputs, connection), []);
        let now = router.now;
        router.peer.send(now, announce(1, 1).into());
        router.handle(Input::Drained(connection));
    }
}

/// A router that sends keepalives and reads nothing, until we have had enough of it.
fn not_reading(router: &mut Router, connection: Connection) -> (Duration, Option<Reason>, usize) {
    let now = router.now;
    router.peer.send(now, announce(1, 1).into());
    let began = router.now;
    let mut sent = 0;
    for _ in 0..2_000 {
        router.now = router.now + seconds(1);
        let outputs = router.handle(Input::Tick);
        sent += said(&outputs, connection).len();
        if let Some(told) = notified(&outputs, connection) {
            return (router.now.since(began), Some(told.reason), sent);
        }
        router.say(connection, &keepalive());
    }
    (router.now.since(began), None, sent)
}

#[test]
fn a_peer_that_reads_nothing_is_dropped_after_the_send_hold_time() {
    let (mut router, connection) = Router::established();
    let (after, reason, sent) = not_reading(&mut router, connection);
    assert_eq!(
        (after, reason),
        (seconds(480), Some(Reason::SEND_HOLD_TIMER_EXPIRED))
    );
    // The UPDATE and the NOTIFICATION: keepalives do not pile up for one who does not read.
    assert_eq!(sent, 2);
}

#[test]
fn what_is_sent_meanwhile_does_not_give_a_peer_that_reads_nothing_more_time() {
    let (mut router, connection) = Router::established();
    for second in 0..=480 {
        router.now = ironlb_model::Time::from_secs(second);
        let outputs = router.handle(Input::Tick);
        if second == 480 {
            let told = notified(&outputs, connection).unwrap();
            assert_eq!(told.reason, Reason::SEND_HOLD_TIMER_EXPIRED);
            return;
        }
        router.say(connection, &keepalive());
        if second % 60 == 0 {
            let now = router.now;
            router.peer.send(now, announce(1, 1).into());
        }
    }
}

#[test]
fn the_send_hold_time_is_twice_a_long_hold_time() {
    let mut router = Router::idle(Settings {
        hold_time: seconds(600),
        ..settings(0)
    });
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    let open = Open {
        hold_time: 600,
        ..Router::open()
    };
    router.say(connection, &encode_open(&open));
    router.handle(Input::Drained(connection));
    router.say(connection, &keepalive());
    assert_eq!(not_reading(&mut router, connection).0, seconds(1_200));
}

#[test]
fn a_keepalive_that_had_to_wait_is_sent_as_soon_as_the_peer_reads() {
    let (mut router, connection) = Router::established();
    let now = router.now;
    router.peer.send(now, announce(1, 1).into());
    for _ in 0..80 {
        router.now = router.now + seconds(1);
        router.handle(Input::Tick);
    }
    let outputs = router.handle(Input::Drained(connection));
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert_eq!(router.handle(Input::Drained(connection)), []);
}

#[test]
fn an_early_tick_changes_nothing() {
    for state in [
        State::Idle,
        State::Active,
        State::Connect,
        State::OpenSent,
        State::OpenConfirm,
        State::Established,
    ] {
        let (mut router, _) = Router::in_state(state);
        let deadline = router.peer.deadline();
        assert_eq!(router.handle(Input::Tick), [], "{state}");
        assert_eq!(
            (router.peer.state(), router.peer.deadline()),
            (state, deadline)
        );
    }
}
