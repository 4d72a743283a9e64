//! What two sides do in one situation each.

use super::*;

#[test]
fn two_sides_that_start_together_are_up_after_a_few_packets() {
    let mut pair = Pair::standard();
    assert!(pair.come_up() < ms(5));
    pair.run(LONG);
    assert_eq!(pair.downs(), 0);
}

#[test]
fn a_passive_side_is_woken_and_two_never_meet() {
    let passive = Settings {
        passive: true,
        ..Settings::default()
    };
    let mut pair = Pair::new(1, passive.clone(), Settings::default());
    pair.come_up();
    let mut pair = Pair::new(1, passive.clone(), passive);
    pair.run(LONG);
    assert_eq!(pair.sides[0].heard + pair.sides[1].heard, 0);
}

#[test]
fn each_side_sends_as_fast_as_it_wants_and_the_other_can_take() {
    // Left sends every 300 ms at most, right takes one every 50 ms; right sends every 50 ms, left takes one every 100 ms.
    let left = Settings {
        receive_interval: ms(100),
        ..Settings::default()
    };
    let mut pair = Pair::new(1, left, every(50, 3));
    pair.come_up();
    pair.run(ms(5_000));
    let before = [0, 1].map(|side| pair.sides[side].heard);
    pair.run(ms(100_000));
    let [left, right] = [0, 1].map(|side| pair.sides[side].heard - before[side]);
    // 75 to 100 % of the interval, 87.5 % on average.
    assert!((1_090..1_200).contains(&left), "{left}");
    assert!((365..400).contains(&right), "{right}");
    let detection = |side: usize| {
        let sessions = &pair.sides[side].sessions;
        sessions.views().next().unwrap().session.detection_time()
    };
    assert_eq!(detection(0), ms(300));
    assert_eq!(detection(1), ms(900));
}

#[test]
fn a_cut_is_noticed_by_both_sides_within_the_detection_time() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed, every(50, 3), every(50, 3));
        pair.come_up();
        pair.run(ms(5_000 + seed * 7));
        pair.loss = [1.0, 1.0];
        let noticed = pair.until(LIMIT, |pair| !pair.sides.iter().any(Side::is_up));
        // The last packet was up to an interval ago.
        assert!(noticed <= ms(151) && noticed >= ms(100), "{noticed:?}");
        for side in &pair.sides {
            assert_eq!(side.downs(), [Reason::DetectionTimeExpired]);
        }
        pair.loss = [0.0, 0.0];
        assert!(pair.come_up() <= ms(1_010));
    }
}

#[test]
fn a_cut_in_one_direction_is_told_in_the_other() {
    let mut pair = Pair::standard();
    pair.come_up();
    pair.run(ms(5_000));
    pair.loss = [1.0, 0.0];
    pair.until(LIMIT, |pair| !pair.sides[1].is_up());
    assert_eq!(pair.sides[0].downs(), [Reason::DetectionTimeExpired]);
    let told = Reason::Neighbor(Diagnostic::DetectionTimeExpired);
    assert_eq!(pair.sides[1].downs(), [told]);
    pair.run(LONG);
    assert!(!pair.sides.iter().any(Side::is_up));
    assert_eq!(pair.downs(), 2);
    pair.loss = [0.0, 0.0];
    pair.come_up();
}

#[test]
fn some_loss_delay_and_reordering_do_no_harm() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, every(50, 5), every(50, 5));
        pair.loss = [0.02, 0.02];
        pair.delay = ms(20);
        pair.jitter = ms(30);
        pair.come_up();
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.downs(), 0, "seed {seed}");
    }
}

#[test]
fn heavy_loss_takes_it_down_and_it_always_comes_back() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, every(50, 3), every(50, 3));
        pair.loss = [0.6, 0.6];
        pair.run(Duration::from_secs(120));
        assert!(pair.downs() > 0);
        pair.loss = [0.0, 0.0];
        pair.come_up();
        let before = pair.downs();
        pair.run(LONG);
        assert_eq!(pair.downs(), before);
    }
}

#[test]
fn a_side_that_was_restarted_is_noticed_and_comes_up_again() {
    for side in 0..2 {
        let mut pair = Pair::standard();
        pair.come_up();
        pair.run(ms(5_000));
        pair.restart(side);
        pair.until(ms(900), |pair| !pair.sides[1 - side].is_up());
        assert!(pair.come_up() <= ms(2_000));
        assert_eq!(pair.sides[1 - side].downs().len(), 1);
        let before = pair.downs();
        pair.run(LONG);
        assert_eq!(pair.downs(), before);
    }
}

#[test]
fn no_change_of_intervals_takes_the_session_down_even_where_packets_are_lost() {
    let choices = [10, 50, 300, 1_000, 5_000];
    for seed in 0..30 {
        let mut pair = Pair::new(seed, every(300, 3), every(300, 3));
        pair.delay = ms(3);
        pair.come_up();
        for _ in 0..40 {
            let side = usize::from(pair.random.share() < 0.5);
            let mut pick = || choices[(pair.random.next() % 5) as usize];
            let settings = Settings {
                transmit_interval: ms(pick()),
                receive_interval: ms(pick()),
                ..every(300, 3)
            };
            pair.change(side, settings);
            // Also before the poll has ended.
            let pause = pair.random.next() % 8_000;
            pair.run(ms(pause));
        }
        assert_eq!(pair.downs(), 0, "seed {seed}");
        pair.run(Duration::from_secs(30));
        for side in 0..2 {
            let wanted = pair.sides[side].settings.transmit_interval;
            let taken = pair.sides[1 - side].settings.receive_interval;
            let view = pair.sides[side].sessions.views().next().unwrap();
            assert_eq!(view.session.transmit_interval(), wanted.max(taken));
            assert_eq!(view.remote_state(), State::Up);
            let other = pair.sides[1 - side].sessions.views().next().unwrap();
            assert_eq!(other.session.detection_time(), wanted.max(taken) * 3);
        }
    }
}

#[test]
fn a_planned_stop_is_a_different_end_to_the_peer_and_costs_no_detection_time() {
    let mut pair = Pair::standard();
    pair.come_up();
    pair.run(ms(5_000));
    pair.unwant(0);
    let known = pair.until(LIMIT, |pair| !pair.sides[1].is_up());
    assert!(known < ms(1), "{known:?}");
    assert_eq!(pair.sides[1].downs(), [Reason::NeighborAdminDown]);
    let closed = pair.until(LIMIT, |pair| pair.sides[0].status().is_none());
    assert!(closed < ms(1), "confirmed by the answer to the poll");
    assert_eq!(pair.sides[0].sessions.deadline(), None);
    pair.want(0);
    pair.come_up();
}

#[test]
fn a_planned_stop_survives_the_loss_of_the_first_packet() {
    let mut pair = Pair::new(1, Settings::default(), every(600, 5));
    pair.come_up();
    pair.run(ms(5_000));
    pair.loss = [0.0, 1.0];
    pair.unwant(0);
    pair.run(ms(1));
    pair.loss = [0.0, 0.0];
    pair.run(ms(3_500));
    assert_eq!(pair.sides[1].downs(), [Reason::NeighborAdminDown]);
    assert_eq!(pair.sides[0].status(), None);
}

fn echoing() -> Settings {
    Settings {
        echo: Some(ms(50)),
        reflect: Some(ms(50)),
        ..Settings::default()
    }
}

#[test]
fn with_echo_control_packets_are_slow_and_a_cut_is_found_by_echo() {
    let mut pair = Pair::new(1, echoing(), echoing());
    pair.come_up();
    pair.run(ms(5_000));
    let before = pair.sides[0].heard;
    pair.run(ms(100_000));
    assert!(pair.sides[0].heard - before < 140);
    assert_eq!(pair.downs(), 0);
    pair.loss = [1.0, 1.0];
    let noticed = pair.until(LIMIT, |pair| !pair.sides.iter().any(Side::is_up));
    assert!(noticed <= ms(151), "{noticed:?}");
    assert_eq!(pair.sides[0].downs(), [Reason::EchoFailed]);
}

#[test]
fn a_peer_whose_forwarding_fails_is_down_although_it_still_talks() {
    let mut pair = Pair::new(
        1,
        echoing(),
        Settings {
            echo: None,
            ..echoing()
        },
    );
    pair.come_up();
    pair.run(ms(5_000));
    pair.sides[1].reflects = false;
    let noticed = pair.until(LIMIT, |pair| !pair.sides[0].is_up());
    assert!(noticed <= ms(151), "{noticed:?}");
    pair.until(LIMIT, |pair| !pair.sides[1].is_up());
    assert_eq!(
        pair.sides[1].downs(),
        [Reason::Neighbor(Diagnostic::EchoFailed)]
    );
    pair.sides[1].reflects = true;
    pair.run(ms(10_000));
    assert!(pair.both_up());
    let before = pair.downs();
    pair.run(ms(60_000));
    assert_eq!(pair.downs(), before);
}
