//! Two of us against each other, over a network that does what networks do.

use std::time::Duration;

use ironlb_bgp::wire::{Notification, Reason};
use ironlb_bgp::{Cause, Input, Settings, State, Stop};
use ironlb_model::bgp::PeerAsn;

use crate::messages::announce;
use crate::network::{Change, Network};
use crate::sample::settings;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn a_session_stays_up_for_a_day() {
    let mut network = Network::up(|settings| settings.hold_time = Duration::from_secs(9));
    network.run(seconds(86_400));
    assert_eq!(network.histories().map(<[_]>::len), [1, 1]);
    let keepalives = network.sides[0].peer.status().counters.sent.keepalives;
    assert!((28_800..=39_000).contains(&keepalives), "{keepalives}");
}

#[test]
fn one_that_only_listens_is_met_by_one_that_dials() {
    let mut both = [settings(0), settings(1)];
    both[1].passive = true;
    let mut network = Network::new(both, 1);
    network.sides[0].listening = false;
    network.start();
    assert!(network.until(seconds(1), Network::both_up));
}

#[test]
fn two_that_only_listen_never_meet() {
    let mut network = Network::started(|settings| settings.passive = true);
    network.run(seconds(10_000));
    assert_eq!([network.state(0), network.state(1)], [State::Active; 2]);
    assert!(
        network
            .sides
            .iter()
            .all(|side| side.peer.deadline().is_none())
    );
}

#[test]
fn a_cut_is_noticed_within_the_hold_time_by_both() {
    let mut network = Network::up(|settings| settings.hold_time = Duration::from_secs(9));
    network.run(seconds(100));
    network.cut = true;
    let down = |network: &Network| {
        network
            .sides
            .iter()
            .all(|side| side.peer.state() < State::OpenSent)
    };
    assert!(network.until(seconds(9), down));
    for side in 0..2 {
        let reason = network
            .last_down(side)
            .and_then(Cause::notification)
            .map(|told| told.reason);
        assert_eq!(reason, Some(Reason::HOLD_TIMER_EXPIRED));
    }
}

#[test]
fn after_a_cut_of_any_length_the_session_is_back_within_half_a_minute() {
    for length in [1, 5, 20, 90, 1_000, 100_000] {
        let mut network = Network::up(|settings| settings.hold_time = Duration::from_secs(9));
        network.run(seconds(100));
        network.cut = true;
        network.run(seconds(length));
        network.cut = false;
        network.run(seconds(10));
        assert!(
            network.until(seconds(20), Network::both_up),
            "{length} s: {:?}",
            network.histories()
        );
    }
}

#[test]
fn a_peer_that_lost_its_memory_is_met_again_within_seconds_whatever_the_hold_time() {
    for hold_time in [90, 0] {
        let mut network = Network::up(|settings| settings.hold_time = seconds(hold_time));
        network.run(seconds(100));
        let ups = network.ups(0);
        network.replace(1, settings(1), true);
        let again = network.until(seconds(5), |network| {
            network.both_up() && network.ups(0) > ups
        });
        assert!(again, "{hold_time}: {:?}", network.histories());
    }
}

#[test]
fn a_shutdown_reaches_the_other_side_with_its_text() {
    let mut network = Network::up(|_| {});
    network.handle(0, Input::Stop(Stop::Shutdown("power work".to_owned())));
    network.run(seconds(1));
    assert!(
        matches!(network.last_down(1), Some(Cause::Received(told)) if told.text().as_deref() == Some("power work")),
        "{:?}",
        network.histories()
    );
    let error = network.sides[1].peer.status().last_remote_error.unwrap();
    assert_eq!(
        error.cause.to_string(),
        "closed by the peer: administrative shutdown: power work"
    );
}

#[test]
fn a_peer_that_was_shut_down_is_not_pestered() {
    let mut network = Network::up(|_| {});
    network.run(seconds(100));
    network.handle(0, Input::Stop(Stop::Shutdown(String::new())));
    let before = network.sides[1].history.len();
    network.run(seconds(3_600));
    let attempts = network.sides[1].history.len() - before;
    assert!(attempts < 60, "{attempts} attempts in an hour");
    network.handle(0, Input::Start);
    assert!(
        network.until(seconds(5), Network::both_up),
        "the one that was shut down dials"
    );
}

#[test]
fn a_wrong_as_number_is_told_to_both_and_mended_without_a_wait() {
    let mut both = [settings(0), settings(1)];
    both[0].peer_asn = PeerAsn::Number(65_009);
    let mut network = Network::new(both, 1);
    network.start();
    network.run(seconds(600));
    assert_eq!(network.ups(0) + network.ups(1), 0);
    let local = network.sides[0].peer.status().last_local_error.unwrap();
    assert_eq!(
        local.cause.to_string(),
        "closed by us (bad peer AS): the peer has AS number 65001, but must have 65009"
    );
    let remote = network.sides[1].peer.status().last_remote_error.unwrap();
    assert_eq!(
        remote.cause,
        Cause::Received(Notification::new(Reason::BAD_PEER_AS))
    );
    network.handle(0, Input::Configure(Box::new(settings(0))));
    // The other side may refuse us for as long as it still leaves us alone.
    assert!(
        network.until(seconds(130), Network::both_up),
        "{:?}",
        network.histories()
    );
}

#[test]
fn one_that_refuses_cannot_drag_the_other_into_a_loop() {
    let mut both = [settings(0), settings(1)];
    both[1].peer_asn = PeerAsn::Number(65_009);
    let mut network = Network::new(both, 1);
    network.start();
    network.run(seconds(3_600));
    for side in 0..2 {
        let opens = network.sides[side].peer.status().counters.sent.opens;
        assert!(opens <= 80, "{opens} OPENs in an hour");
    }
}

#[test]
fn a_change_of_the_settings_costs_two_seconds_at_most() {
    let mut network = Network::up(|_| {});
    network.run(seconds(100));
    let changed = Settings {
        hold_time: seconds(30),
        ..settings(0)
    };
    network.handle(0, Input::Configure(Box::new(changed)));
    assert!(network.until(seconds(2), |network| network.both_up()
        && network.ups(1) == 2));
    let agreement = network.sides[1].peer.status().agreement.unwrap();
    assert_eq!(agreement.hold_time, seconds(30));
}

#[test]
fn bfd_brings_both_down_long_before_the_hold_time() {
    let mut network = Network::up(|_| {});
    network.run(seconds(100));
    network.cut = true;
    network.handle(0, Input::BfdDown);
    network.handle(1, Input::BfdDown);
    assert!(
        network
            .sides
            .iter()
            .all(|side| side.peer.state() < State::OpenSent)
    );
    network.run(seconds(5));
    network.cut = false;
    network.handle(0, Input::BfdUp);
    network.handle(1, Input::BfdUp);
    assert!(
        network.until(seconds(20), Network::both_up),
        "{:?}",
        network.histories()
    );
}

#[test]
fn one_that_reads_nothing_is_dropped_by_its_send_hold_time() {
    let mut network = Network::up(|_| {});
    network.run(seconds(100));
    network.sides[1].reading = false;
    // It would notice our silence by its own hold timer; this one is too busy to look.
    network.sides[0].routes.push_back(announce(0, 1));
    network.handle(0, Input::Tick);
    assert!(network.until(seconds(481), |network| network.last_down(0).is_some()));
}

#[test]
fn a_slow_network_makes_a_session_too() {
    let mut network = Network::started(|_| {});
    network.delay = seconds(3);
    assert!(
        network.until(seconds(60), Network::both_up),
        "{:?}",
        network.histories()
    );
    network.run(seconds(1_000));
    assert!(network.both_up());
}

#[test]
fn the_status_counts_flaps_and_knows_since_when() {
    let mut network = Network::up(|_| {});
    network.run(seconds(100));
    let status = network.sides[0].peer.status();
    assert!(network.now.since(status.since) >= seconds(99));
    network.handle(0, Input::Reset("again".to_owned()));
    network.until(seconds(5), Network::both_up);
    assert_eq!(network.sides[0].peer.status().flaps, 1);
    assert_eq!(network.sides[1].peer.status().flaps, 1);
    assert!(matches!(
        network.sides[1].history[1].1,
        Change::Down(Cause::Received(_))
    ));
}
