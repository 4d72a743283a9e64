//! Two nodes on a wire that loses, delays and reorders, in virtual time.

mod behaviour;
mod history;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Family, Mac, Time};

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
