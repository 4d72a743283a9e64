//! Sessions that wait for BFD (draft-ietf-idr-bgp-bfd-strict-mode).

use std::time::Duration;

use ironlb_bgp::peer::Settings;
use ironlb_bgp::wire::{Open, Reason};
use ironlb_bgp::{Cause, Connection, Input, Output, State};

use crate::messages::{
    Said, announce, capabilities, encode_open, keepalive, notified, open, said, sent_open,
};
use crate::network::Network;
use crate::router::Router;
use crate::sample::{ASNS, settings};

fn strict(hold_time: u64) -> Settings {
    Settings {
        bfd_strict: true,
        hold_time: Duration::from_secs(hold_time),
        ..settings(0)
    }
}

/// The router's OPEN, with the capability or without.
fn theirs(knows: bool) -> Open {
    let mut capabilities = capabilities(ASNS[1]);
    capabilities.bfd_strict = knows;
    open(ASNS[1], capabilities)
}

/// One that waits for BFD: both OPENs have been exchanged.
fn waiting(hold_time: u64) -> (Router, Connection) {
    let mut router = Router::idle(strict(hold_time));
    router.handle(Input::Start);
    let (connection, outputs) = router.accept();
    assert!(sent_open(&outputs, connection).capabilities.bfd_strict);
    let outputs = router.say(connection, &encode_open(&theirs(true)));
    assert_eq!(said(&outputs, connection), [], "no KEEPALIVE");
    assert_eq!(router.peer.state(), State::BfdUpPending);
    (router, connection)
}

fn is_up(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Up { .. }))
}

#[test]
fn the_keepalive_is_held_back_until_bfd_is_up() {
    let (mut router, connection) = waiting(90);
    // Nothing is sent meanwhile, however long that takes.
    assert_eq!(router.wait(Duration::from_secs(80)), []);
    let outputs = router.handle(Input::BfdUp);
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert_eq!(router.peer.state(), State::OpenConfirm);
    assert!(is_up(&router.say(connection, &keepalive())));
}

#[test]
fn where_the_peers_bfd_was_up_first_its_keepalive_is_remembered() {
    let (mut router, connection) = waiting(90);
    router.wait(Duration::from_secs(60));
    // More than one may come: each begins the hold time anew.
    for _ in 0..2 {
        assert_eq!(router.say(connection, &keepalive()), []);
        assert_eq!(router.peer.state(), State::BfdUpPending);
        router.wait(Duration::from_secs(60));
    }
    let outputs = router.handle(Input::BfdUp);
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert!(is_up(&outputs));
    assert_eq!(router.peer.state(), State::Established);
    // From now on it is a session as another.
    router.handle(Input::Drained(connection));
    let outputs = router.wait(Duration::from_secs(89));
    assert!(said(&outputs, connection).contains(&Said::Keepalive));
    let outputs = router.wait(Duration::from_secs(2));
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::HOLD_TIMER_EXPIRED);
}

#[test]
fn bfd_that_is_up_before_is_not_waited_for() {
    let mut router = Router::idle(strict(90));
    router.handle(Input::BfdUp);
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    let outputs = router.say(connection, &encode_open(&theirs(true)));
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert_eq!(router.peer.state(), State::OpenConfirm);
}

#[test]
fn bfd_that_begins_anew_is_waited_for() {
    let mut router = Router::idle(strict(90));
    router.handle(Input::BfdUp);
    router.handle(Input::BfdOff);
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    router.say(connection, &encode_open(&theirs(true)));
    assert_eq!(router.peer.state(), State::BfdUpPending);
}

#[test]
fn a_peer_without_the_capability_is_not_waited_for_and_neither_is_one_by_us() {
    for (we, they) in [(true, false), (false, true)] {
        let mut router = Router::idle(Settings {
            bfd_strict: we,
            ..settings(0)
        });
        router.handle(Input::Start);
        let (connection, outputs) = router.accept();
        assert_eq!(sent_open(&outputs, connection).capabilities.bfd_strict, we);
        let outputs = router.say(connection, &encode_open(&theirs(they)));
        assert_eq!(said(&outputs, connection), [Said::Keepalive]);
        assert!(is_up(&router.say(connection, &keepalive())));
        // Nor does BFD matter before the session is up.
        router.handle(Input::BfdUp);
        assert_eq!(router.peer.state(), State::Established);
    }
}

#[test]
fn the_hold_time_bounds_the_wait_and_says_what_was_waited_for() {
    let (mut router, connection) = waiting(90);
    let outputs = router.wait(Duration::from_secs(91));
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::HOLD_TIMER_EXPIRED);
    let why = failure(&outputs);
    assert!(why.contains("BFD has not come up within 90s"), "{why}");
}

#[test]
fn without_a_hold_time_the_wait_has_one_of_its_own() {
    let (mut router, connection) = waiting(0);
    assert_eq!(router.wait(Duration::from_secs(29)), []);
    let outputs = router.wait(Duration::from_secs(2));
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::BFD_DOWN);
    let why = failure(&outputs);
    assert!(why.contains("BFD has not come up within 30s"), "{why}");
    // It ends with the wait.
    let (mut router, connection) = waiting(0);
    router.handle(Input::BfdUp);
    router.say(connection, &keepalive());
    router.wait(Duration::from_secs(300));
    assert_eq!(router.peer.state(), State::Established);
}

fn failure(outputs: &[Output]) -> String {
    let failed = outputs.iter().find_map(|output| match output {
        Output::Failed(cause) => Some(cause.to_string()),
        _ => None,
    });
    failed.unwrap()
}

#[test]
fn bfd_that_goes_down_ends_what_had_to_wait_for_it_in_any_state() {
    for state in [State::BfdUpPending, State::OpenConfirm, State::Established] {
        let (mut router, connection) = waiting(90);
        if state > State::BfdUpPending {
            router.handle(Input::BfdUp);
        }
        if state > State::OpenConfirm {
            router.say(connection, &keepalive());
        }
        assert_eq!(router.peer.state(), state);
        let outputs = router.handle(Input::BfdDown);
        let told = notified(&outputs, connection).unwrap();
        assert_eq!(told.reason, Reason::BFD_DOWN, "{state}");
    }
}

#[test]
fn what_has_no_place_while_bfd_is_waited_for_ends_the_connection() {
    for (bytes, kind) in [(encode_open(&theirs(true)), 1), (announce(0, 1), 2)] {
        let (mut router, connection) = waiting(90);
        let outputs = router.say(connection, &bytes);
        let told = notified(&outputs, connection).unwrap();
        assert_eq!(told.reason, Reason::UNEXPECTED_IN_OPEN_SENT);
        assert_eq!(told.data, [kind]);
    }
}

#[test]
fn another_wish_begins_anew_but_for_a_session_that_is_up() {
    let unstrict = || {
        Input::Configure(Box::new(Settings {
            bfd_strict: false,
            ..strict(90)
        }))
    };
    let (mut router, connection) = waiting(90);
    let outputs = router.handle(unstrict());
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::CONFIGURATION_CHANGE);

    let (mut router, connection) = waiting(90);
    router.handle(Input::BfdUp);
    router.say(connection, &keepalive());
    assert_eq!(router.handle(unstrict()), []);
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn a_stop_is_said_while_bfd_is_waited_for() {
    let (mut router, connection) = waiting(90);
    let stop = ironlb_bgp::Stop::Shutdown("bye".to_owned());
    let outputs = router.handle(Input::Stop(stop));
    let told = notified(&outputs, connection).unwrap();
    assert_eq!(told.reason, Reason::ADMIN_SHUTDOWN);
    assert_eq!(router.peer.state(), State::Idle);
}

#[test]
fn two_that_wait_for_each_other_come_up_when_both_see_the_path() {
    let mut network = Network::started(|settings| settings.bfd_strict = true);
    network.run(Duration::from_secs(60));
    assert!(!network.both_up());
    network.handle(0, Input::BfdUp);
    network.run(Duration::from_secs(10));
    assert!(!network.both_up());
    network.handle(1, Input::BfdUp);
    assert!(network.until(Duration::from_secs(1), Network::both_up));
    network.run(Duration::from_secs(1_000));
    assert!(network.both_up());
    network.handle(0, Input::BfdDown);
    assert!(matches!(
        network.last_down(0),
        Some(Cause::Sent { notification, .. }) if notification.reason == Reason::BFD_DOWN
    ));
}

#[test]
fn two_that_see_no_path_try_again_and_again_and_not_in_a_loop() {
    let mut network = Network::started(|settings| settings.bfd_strict = true);
    network.run(Duration::from_secs(3_600));
    assert_eq!(network.ups(0) + network.ups(1), 0);
    for side in 0..2 {
        let opens = network.sides[side].peer.status().counters.sent.opens;
        assert!((5..=80).contains(&opens), "{opens} OPENs in an hour");
    }
    network.handle(0, Input::BfdUp);
    network.handle(1, Input::BfdUp);
    assert!(network.until(Duration::from_secs(130), Network::both_up));
}
