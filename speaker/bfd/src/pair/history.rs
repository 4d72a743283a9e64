//! Whatever may happen to two sides, one thing after another.

use proptest::prelude::*;

use super::*;

/// Anything that may happen to a pair.
#[derive(Clone, Debug)]
enum Event {
    Pass(u16),
    Change(usize, Settings),
    Unwant(usize),
    Want(usize),
    Restart(usize),
    Loss(f64, f64),
    Delay(u8, u8),
    Reflects(usize, bool),
    /// A packet of the peer's with some fields as they come.
    Forged(usize, [u8; 24], bool),
    Junk(usize, Vec<u8>),
    EarlyTick(usize),
}

fn settings() -> impl Strategy<Value = Settings> {
    let interval = || (10..3_000u64).prop_map(ms);
    let maybe = || prop::option::of((10..500u64).prop_map(ms));
    (1..10u8, interval(), interval(), maybe(), maybe()).prop_map(
        |(detect_multiplier, transmit_interval, receive_interval, echo, reflect)| Settings {
            detect_multiplier,
            transmit_interval,
            receive_interval,
            echo,
            reflect,
            ..Settings::default()
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let side = || 0..2usize;
    prop_oneof![
        4 => (0..5_000u16).prop_map(Event::Pass),
        2 => (side(), settings()).prop_map(|(side, settings)| Event::Change(side, settings)),
        1 => side().prop_map(Event::Unwant),
        1 => side().prop_map(Event::Want),
        1 => side().prop_map(Event::Restart),
        1 => (0.0..1.0f64, 0.0..1.0f64).prop_map(|(left, right)| Event::Loss(left, right)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(delay, jitter)| Event::Delay(delay, jitter)),
        1 => (side(), any::<bool>()).prop_map(|(side, reflects)| Event::Reflects(side, reflects)),
        2 => (side(), any::<[u8; 24]>(), any::<bool>())
            .prop_map(|(side, bytes, known)| Event::Forged(side, bytes, known)),
        1 => (side(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(side, bytes)| Event::Junk(side, bytes)),
        1 => side().prop_map(Event::EarlyTick),
    ]
}

impl Pair {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass(milliseconds) => self.run(ms(milliseconds.into())),
            Event::Change(side, settings) => self.change(side, settings),
            Event::Unwant(side) => self.unwant(side),
            Event::Want(side) => self.want(side),
            Event::Restart(side) => self.restart(side),
            Event::Loss(left, right) => self.loss = [left, right],
            Event::Delay(delay, jitter) => {
                self.delay = ms(delay.into());
                self.jitter = ms(jitter.into());
            }
            Event::Reflects(side, reflects) => self.sides[side].reflects = reflects,
            Event::Forged(side, mut bytes, known) => {
                bytes[0] = 0x20 | bytes[0] & 0x1f;
                bytes[1] &= 0xfa;
                bytes[3] = 24;
                let session = self.sides[side].sessions.views().next();
                let number = session.map_or(0, |view| view.session.discriminator());
                let number = if known { number } else { 0 };
                bytes[8..12].copy_from_slice(&number.to_be_bytes());
                self.carry(side, Load::Control(bytes.to_vec()), 1);
            }
            Event::Junk(side, bytes) => {
                self.carry(side, Load::Control(bytes.clone()), 1);
                self.carry(side, Load::Echo(bytes), 1);
            }
            Event::EarlyTick(side) => self.give(side, Input::Tick),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_correct_peer_is_up_again_and_stays(
        seed in any::<u64>(),
        left in settings(),
        right in settings(),
        history in prop::collection::vec(events(), 0..60),
    ) {
        let mut pair = Pair::new(seed, left, right);
        for event in history {
            pair.happen(event);
        }
        // Whatever is under way has arrived; from here on the wire and both sides are as they should be.
        pair.run(ms(1_000));
        pair.loss = [0.0, 0.0];
        (pair.delay, pair.jitter) = (ms(1), Duration::ZERO);
        for side in 0..2 {
            pair.sides[side].reflects = true;
            pair.want(side);
        }
        // A forged packet may have said: nothing, for up to 255 times 71 minutes; or give nothing back for so long.
        let settled = |pair: &Pair| pair.both_up()
            && pair.sides.iter().all(|side| {
                let view = side.sessions.views().next().unwrap();
                view.session.last_packet().is_some_and(|packet| packet.state == State::Up)
                    && view.session.detection_time() <= Duration::from_secs(60)
                    && view.session.transmit_interval() <= Duration::from_secs(3)
            });
        pair.until(Duration::from_secs(14 * 24 * 3_600), settled);
        pair.run(Duration::from_secs(40));
        let before = pair.downs();
        pair.run(Duration::from_secs(60));
        prop_assert!(pair.both_up());
        prop_assert_eq!(pair.downs(), before);
        // And nothing is left of it when it is no longer wanted.
        for side in 0..2 {
            pair.unwant(side);
        }
        pair.run(Duration::from_secs(60));
        for side in &pair.sides {
            prop_assert_eq!(side.status(), None);
            prop_assert_eq!(side.sessions.deadline(), None);
            prop_assert!(!side.overhears);
            prop_assert!(side.sessions.views().next().is_none());
        }
    }
}

/// Found by the property above: after this each change of one side met one of the other on the wire, at its pace, for ever.
#[test]
fn packets_that_cross_do_not_take_a_session_down_again_and_again() {
    let settings = |detect_multiplier, transmit, receive, echo, reflect| Settings {
        detect_multiplier,
        transmit_interval: ms(transmit),
        receive_interval: ms(receive),
        echo,
        reflect,
        ..Settings::default()
    };
    let left = settings(2, 1712, 10, Some(ms(456)), None);
    let right = settings(1, 1064, 496, None, Some(ms(282)));
    let mut pair = Pair::new(1_862_839_056_379_923_890, left, right);
    let forged = [
        [
            242, 2, 49, 239, 211, 203, 236, 225, 225, 221, 48, 216, 169, 40, 109, 165, 177, 193,
            162, 38, 213, 224, 31, 26,
        ],
        [
            47, 233, 35, 46, 85, 8, 202, 241, 190, 32, 168, 14, 27, 196, 85, 16, 110, 178, 35, 251,
            45, 206, 175, 238,
        ],
    ];
    for event in [
        Event::Pass(1932),
        Event::Change(0, settings(2, 10, 459, Some(ms(10)), None)),
        Event::Pass(468),
        Event::Change(1, settings(1, 10, 10, None, None)),
        Event::Unwant(1),
        Event::Change(1, settings(4, 219, 2231, None, Some(ms(442)))),
        Event::Forged(1, forged[0], true),
        Event::Delay(192, 16),
        Event::Forged(0, forged[1], true),
        Event::Pass(1000),
        Event::Want(1),
    ] {
        pair.happen(event);
    }
    (pair.delay, pair.jitter) = (ms(1), Duration::ZERO);
    pair.run(ms(10_000));
    let before = pair.downs();
    pair.run(ms(10_000));
    assert!(pair.both_up());
    assert_eq!(pair.downs(), before);
}
