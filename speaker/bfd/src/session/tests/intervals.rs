//! How often packets go, and what is agreed on by polls.

use super::*;

#[test]
fn packets_are_slow_until_up_and_then_as_fast_as_agreed() {
    let mut bench = Bench::standard();
    let slow = bench.pass(ms(20_000));
    assert!(
        gaps(&slow)
            .iter()
            .all(|gap| *gap >= ms(750) && *gap <= ms(1_000))
    );
    assert!(
        slow.iter()
            .all(|(_, out)| matches!(out, Output::Send(packet)
        if packet.desired_min_tx == ms(1_000) && packet.required_min_rx == ms(300)))
    );
    bench.hear(packet(Down));
    bench.hear(packet(Up));
    let fast = bench.pass_hearing(
        Packet {
            is_final: true,
            ..packet(Up)
        },
        ms(20_000),
    );
    let gaps = gaps(&fast);
    assert!(gaps.len() > 66, "{}", gaps.len());
    assert!(gaps.iter().all(|gap| *gap >= ms(225) && *gap <= ms(300)));
}

#[test]
fn the_jitter_uses_its_whole_range_and_less_of_it_when_no_packet_may_be_lost() {
    for (multiplier, most) in [(3, 300), (2, 300), (1, 270)] {
        let settings = Settings {
            detect_multiplier: multiplier,
            ..Settings::default()
        };
        let mut bench = Bench::up(settings);
        let gaps = gaps(&bench.pass_hearing(packet(Up), ms(200_000)));
        let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*least >= ms(225) && *least < ms(228), "{least:?}");
        assert!(
            *longest <= ms(most) && *longest > ms(most - 3),
            "{longest:?}"
        );
    }
}

#[test]
fn the_peer_s_slower_wish_is_met_and_zero_means_nothing_at_all() {
    let mut bench = Bench::up(Settings::default());
    let slower = Packet {
        required_min_rx: ms(2_000),
        ..packet(Up)
    };
    let gaps = gaps(&bench.pass_hearing(slower, ms(60_000)));
    assert!(
        gaps.iter()
            .all(|gap| *gap >= ms(1_500) && *gap <= ms(2_000))
    );
    let none = Packet {
        required_min_rx: Duration::ZERO,
        ..packet(Up)
    };
    bench.hear(none);
    assert_eq!(times(&bench.pass_hearing(none, ms(60_000))), []);
    assert_eq!(bench.session.state(), Up);
    // A poll is answered even so (§6.8.7).
    let answer = bench.hear(Packet { poll: true, ..none });
    assert!(sent(&answer)[0].is_final);
    // Once it is gone, its wish is too.
    bench.pass(ms(900));
    assert_eq!(bench.session.state(), Down);
    assert!(times(&bench.pass(ms(5_000))).len() >= 5);
}

#[test]
fn a_faster_wish_of_the_peer_takes_effect_before_the_next_slow_packet() {
    let mut bench = Bench::up(Settings::default());
    bench.hear(Packet {
        required_min_rx: ms(10_000),
        ..packet(Up)
    });
    assert_eq!(bench.session.transmit_interval(), ms(10_000));
    bench.hear(packet(Up));
    assert!(bench.session.deadline().unwrap() <= bench.now + ms(300));
}

#[test]
fn coming_up_starts_a_poll_that_lasts_until_it_is_answered() {
    let mut bench = Bench::standard();
    bench.hear(packet(Down));
    let first = sent(&bench.hear(packet(Up)));
    assert_eq!(first.len(), 1);
    assert!(first[0].poll && first[0].desired_min_tx == ms(300));
    for (_, output) in bench.pass_hearing(packet(Up), ms(3_000)) {
        assert!(matches!(output, Output::Send(packet) if packet.poll && !packet.is_final));
    }
    bench.hear(Packet {
        is_final: true,
        ..packet(Up)
    });
    for (_, output) in bench.pass_hearing(packet(Up), ms(3_000)) {
        assert!(matches!(output, Output::Send(packet) if !packet.poll));
    }
}

#[test]
fn a_poll_is_answered_at_once_and_never_with_a_poll() {
    // While our own poll is not answered.
    let mut bench = Bench::standard();
    bench.hear(packet(Down));
    bench.hear(packet(Up));
    let answer = sent(&bench.hear(Packet {
        poll: true,
        ..packet(Up)
    }));
    assert_eq!(answer.len(), 1);
    assert!(answer[0].is_final && !answer[0].poll);
    assert_eq!(answer[0].your_discriminator, THEIRS);
}

#[test]
fn a_slower_rate_is_not_used_before_the_peer_has_answered() {
    let mut bench = Bench::up(Settings::default());
    let slower = Settings {
        transmit_interval: ms(900),
        ..Settings::default()
    };
    let told = sent(&bench.give(Input::Change(slower)));
    assert!(told[0].poll && told[0].desired_min_tx == ms(900));
    let before = gaps(&bench.pass_hearing(packet(Up), ms(5_000)));
    assert!(before.iter().all(|gap| *gap <= ms(300)));
    bench.hear(Packet {
        is_final: true,
        ..packet(Up)
    });
    let after = gaps(&bench.pass_hearing(packet(Up), ms(9_000)));
    assert!(after.iter().all(|gap| *gap >= ms(675)), "{after:?}");
}

#[test]
fn a_faster_rate_is_not_expected_before_the_peer_has_answered() {
    let slow = Settings {
        receive_interval: ms(900),
        ..Settings::default()
    };
    let mut bench = Bench::up(slow);
    let from_slow = Packet {
        desired_min_tx: ms(100),
        ..packet(Up)
    };
    bench.hear(from_slow);
    assert_eq!(bench.session.detection_time(), ms(2_700));
    bench.give(Input::Change(Settings {
        receive_interval: ms(100),
        ..Settings::default()
    }));
    bench.hear(from_slow);
    assert_eq!(bench.session.detection_time(), ms(2_700));
    bench.hear(Packet {
        is_final: true,
        ..from_slow
    });
    assert_eq!(bench.session.detection_time(), ms(300));
}

#[test]
fn a_slower_rate_that_we_ask_for_is_reckoned_with_at_once() {
    let mut bench = Bench::up(Settings::default());
    bench.give(Input::Change(Settings {
        receive_interval: ms(2_000),
        ..Settings::default()
    }));
    assert_eq!(bench.session.detection_time(), ms(6_000));
    // Nothing came in between: the running timer is a new one, too.
    assert!(
        bench
            .pass(ms(5_999))
            .iter()
            .all(|(_, out)| matches!(out, Output::Send(_)))
    );
}

#[test]
fn a_change_during_a_poll_is_polled_for_anew() {
    let mut bench = Bench::up(Settings::default());
    for interval in [600, 900] {
        bench.give(Input::Change(Settings {
            transmit_interval: ms(interval),
            ..Settings::default()
        }));
    }
    let answer = Packet {
        is_final: true,
        ..packet(Up)
    };
    bench.hear(answer);
    assert_eq!(bench.session.transmit_interval(), ms(300));
    let next = bench.pass(ms(300));
    assert!(matches!(next[0].1, Output::Send(packet) if packet.poll));
    bench.hear(answer);
    assert_eq!(bench.session.transmit_interval(), ms(900));
}

#[test]
fn a_new_multiplier_is_told_at_once_without_a_poll() {
    let mut bench = Bench::up(Settings::default());
    let told = sent(&bench.give(Input::Change(Settings {
        detect_multiplier: 5,
        ..Settings::default()
    })));
    assert_eq!((told[0].detect_multiplier, told[0].poll), (5, false));
    assert_eq!(
        bench.give(Input::Change(bench.session.settings().clone())),
        []
    );
}

#[test]
fn demand_mode_is_honoured_and_never_asked_for() {
    let mut bench = Bench::up(Settings::default());
    let demand = Packet {
        demand: true,
        ..packet(Up)
    };
    bench.hear(demand);
    assert_eq!(times(&bench.pass_hearing(demand, ms(10_000))), []);
    // The peer still has to send, for we did not ask.
    let outputs = bench.pass(ms(900));
    assert!(
        outputs
            .iter()
            .any(|(_, out)| *out == Output::Down(Reason::DetectionTimeExpired))
    );
    assert!(
        outputs
            .iter()
            .all(|(_, out)| !matches!(out, Output::Send(packet) if packet.demand))
    );
}

#[test]
fn a_change_is_polled_for_in_demand_mode_too() {
    let mut bench = Bench::up(Settings::default());
    let demand = Packet {
        demand: true,
        ..packet(Up)
    };
    bench.hear(demand);
    bench.give(Input::Change(Settings {
        transmit_interval: ms(500),
        ..Settings::default()
    }));
    assert!(times(&bench.pass_hearing(demand, ms(3_000))).len() >= 6);
    bench.hear(Packet {
        is_final: true,
        ..demand
    });
    assert_eq!(times(&bench.pass_hearing(demand, ms(3_000))), []);
}
