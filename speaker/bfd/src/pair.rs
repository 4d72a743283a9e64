//! Two nodes on a wire that loses, delays and reorders, in virtual time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Family, Mac, Time};
use proptest::prelude::*;

use crate::random::Random;
use crate::sessions::{Datagram, EchoFrame, Input, Key, Output, SINGLE_HOP_PORT, Sessions};
use crate::settings::Settings;
use crate::status::{Reason, Status};
use crate::wire::{Diagnostic, Packet, State};

/// One end.
struct Side {
    address: IpAddr,
    peer: IpAddr,
    sessions: Sessions,
    settings: Settings,
    /// Whether its kernel sends echo packets back.
    reflects: bool,
    /// Whether it is told what passes.
    overhears: bool,
    /// Ups and downs with their time.
    history: Vec<(Time, Status)>,
    heard: u32,
}

impl Side {
    fn new(number: u8, settings: Settings) -> Self {
        Self {
            address: [192, 0, 2, number].into(),
            peer: [192, 0, 2, 3 - number].into(),
            sessions: Sessions::new(number.into()),
            settings,
            reflects: true,
            overhears: false,
            history: Vec::new(),
            heard: 0,
        }
    }

    fn key(&self) -> Key {
        Key {
            peer: self.peer,
            local: None,
            interface: None,
            vrf: None,
            multihop: false,
        }
    }

    fn status(&self) -> Option<Status> {
        self.sessions.status(self.key())
    }

    fn is_up(&self) -> bool {
        self.status() == Some(Status::Up)
    }

    fn downs(&self) -> Vec<Reason> {
        let down = |(_, status): &(Time, Status)| match status {
            Status::Down(reason) => Some(*reason),
            _ => None,
        };
        self.history.iter().filter_map(down).collect()
    }
}

/// What is under way.
#[derive(Clone, Debug)]
enum Load {
    Control(Vec<u8>),
    /// Back at the sender.
    Echo(Vec<u8>),
}

struct Pair {
    now: Time,
    sides: [Side; 2],
    wire: BTreeMap<(Time, u32), (usize, Load)>,
    count: u32,
    random: Random,
    /// Of packets to each side.
    loss: [f64; 2],
    delay: Duration,
    jitter: Duration,
}

impl Pair {
    fn new(seed: u64, left: Settings, right: Settings) -> Self {
        let mut pair = Self {
            now: Time::from_secs(1),
            sides: [Side::new(1, left), Side::new(2, right)],
            wire: BTreeMap::new(),
            count: 0,
            random: Random::new(seed),
            loss: [0.0; 2],
            delay: Duration::from_micros(200),
            jitter: Duration::ZERO,
        };
        for side in 0..2 {
            pair.want(side);
        }
        pair
    }

    fn standard() -> Self {
        Self::new(1, Settings::default(), Settings::default())
    }

    fn want(&mut self, side: usize) {
        let (key, settings) = (self.sides[side].key(), self.sides[side].settings.clone());
        self.give(side, Input::Want(key, settings));
    }

    fn change(&mut self, side: usize, settings: Settings) {
        self.sides[side].settings = settings;
        self.want(side);
    }

    fn unwant(&mut self, side: usize) {
        let key = self.sides[side].key();
        self.give(side, Input::Unwant(key));
    }

    /// As after a crash: nothing is known, and the discriminators are others.
    fn restart(&mut self, side: usize) {
        let seed = self.random.next();
        self.sides[side].sessions = Sessions::new(seed);
        self.sides[side].overhears = false;
        self.want(side);
    }

    fn give(&mut self, side: usize, input: Input<'_>) {
        let now = self.now;
        self.sides[side].sessions.handle(now, input);
        while let Some(output) = self.sides[side].sessions.poll() {
            match output {
                Output::Send(key, packet) => {
                    assert_eq!(key, self.sides[side].key());
                    self.transmit(side, &packet);
                }
                Output::Echo(frame) => self.transmit_echo(side, frame),
                Output::Overhear(2, Family::V4) => self.sides[side].overhears = true,
                Output::Ignore(2, Family::V4) => self.sides[side].overhears = false,
                Output::Overhear(..) | Output::Ignore(..) => panic!("{output:?}"),
                Output::Up(_) => self.sides[side].history.push((now, Status::Up)),
                Output::Down(_, reason) => {
                    self.sides[side].history.push((now, Status::Down(reason)));
                }
                Output::Closed(_) => assert_eq!(self.sides[side].status(), None),
            }
        }
    }

    fn transmit(&mut self, from: usize, packet: &Packet) {
        assert!(!(packet.poll && packet.is_final));
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        self.carry(1 - from, Load::Control(bytes), 1);
    }

    fn transmit_echo(&mut self, from: usize, frame: EchoFrame) {
        assert!(self.sides[from].is_up());
        assert_eq!((frame.interface, frame.to), (2, mac(1 - from)));
        if self.sides[1 - from].reflects {
            self.carry(from, Load::Echo(frame.packet), 2);
        }
    }

    fn carry(&mut self, to: usize, load: Load, ways: u32) {
        if self.random.share() < self.loss[to] {
            return;
        }
        let delay = self.delay + self.jitter.mul_f64(self.random.share());
        self.count += 1;
        self.wire
            .insert((self.now + delay * ways, self.count), (to, load));
    }

    /// To the next event, if there is one until `end`.
    fn step(&mut self, end: Time) -> bool {
        let arrival = self.wire.first_key_value().map(|((time, _), _)| *time);
        let deadlines = self.sides.iter().map(|side| side.sessions.deadline());
        let Some(next) = deadlines.chain([arrival]).flatten().min() else {
            return false;
        };
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        if arrival == Some(next) {
            self.arrive();
            return true;
        }
        for side in 0..2 {
            if self.sides[side].sessions.deadline() == Some(next) {
                self.give(side, Input::Tick);
                let deadline = self.sides[side].sessions.deadline();
                assert!(
                    deadline.is_none_or(|due| due > self.now),
                    "a tick did nothing"
                );
            }
        }
        true
    }

    fn arrive(&mut self) {
        let Some((_, (to, load))) = self.wire.pop_first() else {
            return;
        };
        match load {
            Load::Control(payload) => {
                self.sides[to].heard += 1;
                let datagram = Datagram {
                    from: self.sides[to].peer,
                    to: self.sides[to].address,
                    interface: 2,
                    vrf: None,
                    multihop: false,
                    ttl: 255,
                    payload: &payload,
                };
                let packet = ip_packet(&datagram);
                self.give(to, Input::Datagram(datagram));
                self.overhear(to, &packet);
            }
            Load::Echo(packet) => self.overhear(to, &packet),
        }
    }

    fn overhear(&mut self, side: usize, packet: &[u8]) {
        if self.sides[side].overhears {
            self.give(side, Input::Overheard(2, mac(1 - side), packet));
        }
    }

    fn run(&mut self, period: Duration) {
        let end = self.now + period;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `condition`, and says how long that took.
    fn until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !condition(self) {
            assert!(self.step(start + limit), "not within {limit:?}");
        }
        self.now.since(start)
    }

    fn both_up(&self) -> bool {
        self.sides.iter().all(Side::is_up)
    }

    fn come_up(&mut self) -> Duration {
        self.until(LIMIT, Self::both_up)
    }

    fn downs(&self) -> usize {
        self.sides.iter().map(|side| side.downs().len()).sum()
    }
}

fn mac(side: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(side).unwrap()])
}

/// The IPv4 packet that a datagram came in, without sums.
fn ip_packet(datagram: &Datagram<'_>) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (datagram.from, datagram.to) else {
        panic!("{datagram:?}")
    };
    let udp = u16::try_from(8 + datagram.payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 0, 0, 0, datagram.ttl, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    for field in [49_152, SINGLE_HOP_PORT, udp, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(datagram.payload);
    packet
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn every(milliseconds: u64, multiplier: u8) -> Settings {
    Settings {
        detect_multiplier: multiplier,
        transmit_interval: ms(milliseconds),
        receive_interval: ms(milliseconds),
        ..Settings::default()
    }
}

const LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(300);

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
