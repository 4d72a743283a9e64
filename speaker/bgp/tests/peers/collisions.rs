//! Two connections at once (RFC 4271 §6.8), as one side sees them, and as both do.

use std::time::Duration;

use ironlb_bgp::wire::{Notification, Open, Reason};
use ironlb_bgp::{Connection, Direction, Input, Output, Settings, State};

use crate::messages::{Said, encode_open, keepalive, notification, notified, said};
use crate::network::Network;
use crate::router::{Router, dialled};
use crate::sample::{ASNS, settings};

/// A router with two connections to us, both in OpenSent on our side: the one that we dialled, and the one that it did.
fn both(our_settings: Settings) -> (Router, Connection, Connection) {
    let mut router = Router::idle(our_settings);
    let outbound = dialled(&router.handle(Input::Start)).unwrap();
    let (inbound, _) = router.accept();
    router.connect(outbound);
    (router, outbound, inbound)
}

#[test]
fn the_connection_of_the_higher_identifier_stays_whichever_open_comes_first() {
    for outbound_first in [true, false] {
        // Ours is 192.0.2.1.
        for (router_id, staying) in [
            ([192, 0, 2, 2], Direction::Inbound),
            ([10, 0, 0, 1], Direction::Outbound),
        ] {
            let (mut router, outbound, inbound) = both(settings(0));
            let open = encode_open(&Open {
                router_id: router_id.into(),
                ..Router::open()
            });
            let order = if outbound_first {
                [outbound, inbound]
            } else {
                [inbound, outbound]
            };
            let outputs = order
                .map(|connection| router.say(connection, &open))
                .concat();
            let (winner, loser) = match staying {
                Direction::Outbound => (outbound, inbound),
                Direction::Inbound => (inbound, outbound),
            };
            assert_eq!(notified(&outputs, loser).unwrap().reason, Reason::COLLISION);
            assert_eq!(notified(&outputs, winner), None);
            router.say(winner, &keepalive());
            assert_eq!(router.peer.state(), State::Established);
            assert_eq!(
                router.peer.status().last_local_error,
                None,
                "a collision is no error"
            );
        }
    }
}

#[test]
fn where_identifiers_are_equal_the_higher_as_number_decides() {
    let (mut router, outbound, inbound) = both(settings(0));
    let open = encode_open(&Open {
        router_id: settings(0).router_id,
        ..Router::open()
    });
    assert!(ASNS[1] > ASNS[0]);
    let outputs = [inbound, outbound]
        .map(|connection| router.say(connection, &open))
        .concat();
    assert_eq!(
        notified(&outputs, outbound).unwrap().reason,
        Reason::COLLISION
    );
    assert_eq!(notified(&outputs, inbound), None);
}

#[test]
fn the_loser_is_not_told_that_it_is_welcome() {
    let (mut router, outbound, inbound) = both(settings(0));
    let open = encode_open(&Router::open());
    router.say(inbound, &open);
    let outputs = router.say(outbound, &open);
    let told = said(&outputs, outbound);
    assert!(
        matches!(told.as_slice(), [Said::Notification(_)]),
        "{told:?}"
    );
}

#[test]
fn a_peer_that_knows_another_connection_is_left_alone_for_longer_each_time() {
    let collision = notification(&Notification::new(Reason::COLLISION));
    let mut router = Router::idle(settings(0));
    let mut connection = dialled(&router.handle(Input::Start)).unwrap();
    for longest in [1, 2, 4, 8] {
        router.connect(connection);
        router.bring(connection, State::Established);
        router.say(connection, &collision);
        assert_eq!(router.peer.state(), State::Active, "it may come to us");
        let (next, wait) = router.next_dial(Duration::from_secs(100)).unwrap();
        assert!(wait >= Duration::from_secs(longest) * 3 / 4, "{wait:?}");
        connection = next;
    }
}

#[test]
fn a_connection_beside_one_that_is_up_is_closed_when_its_open_comes() {
    let (mut router, connection) = Router::established();
    let (second, outputs) = router.accept();
    assert_eq!(notified(&outputs, second), None);
    let outputs = router.say(second, &encode_open(&Router::open()));
    assert_eq!(
        notified(&outputs, second).unwrap().reason,
        Reason::COLLISION
    );
    // One that had lost its memory would reset the old connection now.
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
    assert_eq!(router.peer.state(), State::Established);
    assert!(router.say(connection, &keepalive()).is_empty());
}

#[test]
fn dialling_ends_when_the_session_is_up() {
    let mut router = Router::idle(settings(0));
    let outbound = dialled(&router.handle(Input::Start)).unwrap();
    let (inbound, _) = router.accept();
    let outputs = router.bring(inbound, State::Established);
    assert!(outputs.contains(&Output::Close(outbound)), "{outputs:?}");
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn a_second_connection_of_the_peer_takes_the_place_of_one_that_led_nowhere() {
    for state in [State::OpenSent, State::OpenConfirm] {
        let mut router = Router::idle(Settings {
            passive: true,
            ..settings(0)
        });
        router.handle(Input::Start);
        let (first, _) = router.accept();
        router.bring(first, state);
        let (second, outputs) = router.accept();
        assert_eq!(notified(&outputs, first).unwrap().reason, Reason::COLLISION);
        router.bring(second, State::Established);
        assert_eq!(router.peer.state(), State::Established);
    }
}

#[test]
fn a_peer_that_connects_without_end_holds_no_more_than_one_connection() {
    let (mut router, _) = Router::in_state(State::Active);
    let mut open = 0;
    for _ in 0..1_000 {
        let (_, outputs) = router.accept();
        open += 1;
        open -= outputs
            .iter()
            .filter(|output| matches!(output, Output::Close(_)))
            .count();
        assert!(open <= 1);
    }
}

#[test]
fn a_peer_that_connects_without_end_is_not_dialled_beside_what_we_have_dialled() {
    let (mut router, _, _) = both(settings(0));
    for _ in 0..10 {
        let (_, outputs) = router.accept();
        assert_eq!(dialled(&outputs), None);
        assert_eq!(router.next_dial(Duration::from_secs(11)), None);
    }
}

#[test]
fn the_winner_of_a_collision_is_asked_whether_the_peer_still_knows_it() {
    let mut router = Router::idle(Settings {
        router_id: [192, 0, 2, 9].into(),
        ..settings(0)
    });
    let outbound = dialled(&router.handle(Input::Start)).unwrap();
    router.connect(outbound);
    router.bring(outbound, State::OpenConfirm);
    let (inbound, _) = router.accept();
    let outputs = router.say(inbound, &encode_open(&Router::open()));
    let refused = notified(&outputs, inbound).unwrap();
    assert_eq!(refused.reason, Reason::COLLISION);
    assert_eq!(said(&outputs, outbound), [Said::Keepalive]);
}

#[test]
fn when_the_winner_of_a_collision_fails_we_dial_again() {
    let (mut router, outbound, inbound) = both(settings(0));
    let open = encode_open(&Router::open());
    router.say(outbound, &open);
    router.say(inbound, &open);
    router.handle(Input::Closed {
        connection: inbound,
        error: None,
    });
    assert!(router.next_dial(Duration::from_secs(10)).is_some());
}

#[test]
fn when_the_winner_of_a_collision_hangs_we_dial_beside_it() {
    let (mut router, outbound, inbound) = both(settings(0));
    let open = encode_open(&Router::open());
    router.say(outbound, &open);
    router.say(inbound, &open);
    assert_eq!(router.peer.state(), State::OpenConfirm);
    assert!(router.next_dial(Duration::from_secs(10)).is_some());
}

#[test]
fn two_that_dial_at_the_same_moment_get_one_session() {
    for seed in 0..50 {
        let mut network = Network::new([settings(0), settings(1)], seed);
        network.delay = Duration::from_millis(seed * 7);
        network.start();
        assert!(
            network.until(Duration::from_secs(5), Network::both_up),
            "seed {seed}: {:?}",
            network.histories()
        );
        network.run(Duration::from_secs(600));
        assert_eq!(
            [network.ups(0), network.ups(1)],
            [1, 1],
            "seed {seed}: {:?}",
            network.histories()
        );
    }
}

#[test]
fn two_with_graceful_restart_that_dial_at_the_same_moment_get_one_session_too() {
    for delay in 0..50 {
        let mut network =
            Network::started(|settings| settings.restart_time = Some(Duration::from_secs(120)));
        network.delay = Duration::from_millis(delay);
        assert!(
            network.until(Duration::from_secs(20), Network::both_up),
            "{:?}",
            network.histories()
        );
        network.run(Duration::from_secs(600));
        assert!(network.both_up());
        assert!(
            network.ups(0) <= 2 && network.ups(1) <= 2,
            "{:?}",
            network.histories()
        );
    }
}
