//! A router that does anything at all, at any time; and then comes to its senses. Whatever it did: never more than one connection
//! of each direction beside the session, never one dialled beside a session, never a word on one that is gone; and a session as
//! soon as the router behaves, from whatever state that is.
//!
//! `SEED=… cargo test -p ironlb-bgp --test peers wayward` runs one history again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironlb_bgp::peer::Settings;
use ironlb_bgp::wire::{AfiSafi, Capabilities, GracefulRestart, Notification, Reason};
use ironlb_bgp::{Connection, Direction, Input, Output, Peer, State, Stop};
use ironlb_model::Time;

use crate::messages::{
    Said, announce, capabilities, encode_open, keepalive, notification, open, read, withdraw,
};
use crate::random::{Random, any_settings};
use crate::sample::{ASNS, settings, socket};

/// What a router does once it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    /// Takes our connections, and makes none.
    Answers,
    /// Connects every second, and takes none of ours.
    Connects,
    /// Both.
    Both,
}

struct Wayward {
    now: Time,
    peer: Peer,
    /// What there is on our side, and how far it is.
    open: BTreeMap<Connection, End>,
    /// Those on which something was sent that it has not read, and so is sent again.
    unread: BTreeSet<Connection>,
    session: Option<Connection>,
    accepted: u64,
    /// The last byte of its BGP identifier once it behaves: below or above ours.
    identifier: u8,
    sense: Option<Sense>,
}

/// A connection as the router has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// We dial.
    Dialled,
    Open,
    /// It has lost its memory, and resets the connection when something comes.
    Forgotten,
}

impl Wayward {
    fn new(settings: Settings, seed: u64) -> Self {
        Self {
            now: Time::from_secs(1),
            peer: Peer::new(Time::from_secs(1), settings, seed, seed.is_multiple_of(2)),
            open: BTreeMap::new(),
            unread: BTreeSet::new(),
            session: None,
            accepted: 0,
            identifier: if seed % 4 < 2 { 0 } else { 2 },
            sense: None,
        }
    }

    fn give(&mut self, input: Input) {
        self.peer.handle(self.now, input);
        self.carry_out();
    }

    fn say(&mut self, connection: Connection, bytes: &[u8]) {
        self.peer.receive(self.now, connection, bytes);
        self.carry_out();
    }

    fn accept(&mut self) -> Connection {
        self.accepted += 1;
        let number = self.accepted;
        let connection = Connection::inbound(number);
        self.open.insert(connection, End::Open);
        self.give(Input::Accepted {
            number,
            local: socket(0, 179),
            remote: socket(1, 40_000),
        });
        connection
    }

    fn connect(&mut self, connection: Connection) {
        self.open.insert(connection, End::Open);
        self.give(Input::Connected {
            connection,
            local: socket(0, 40_000),
            remote: socket(1, 179),
        });
    }

    fn close(&mut self, connection: Connection) {
        let error = Some("connection reset by peer".to_owned());
        self.give(Input::Closed { connection, error });
        assert!(!self.open.contains_key(&connection));
    }

    fn read(&mut self, connection: Connection) {
        self.unread.remove(&connection);
        self.give(Input::Drained(connection));
    }

    fn of(&self, end: End) -> Vec<Connection> {
        let all = self.open.iter().filter(|(_, one)| **one == end);
        all.map(|(connection, _)| *connection).collect()
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(due) = self.peer.deadline().filter(|due| *due <= end) {
            at_once = if due <= self.now { at_once + 1 } else { 0 };
            assert!(at_once < 20, "woken again and again at {}", self.now);
            self.now = self.now.max(due);
            self.give(Input::Tick);
        }
        self.now = end;
    }

    fn carry_out(&mut self) {
        let mut replies = Vec::new();
        while let Some(output) = self.peer.poll() {
            match output {
                Output::Connect(connection) => {
                    assert!(self.open.insert(connection, End::Dialled).is_none());
                    replies.push((connection, Vec::new()));
                }
                Output::Send { connection, bytes } => {
                    assert!(self.open.contains_key(&connection), "{connection} is gone");
                    self.unread.insert(connection);
                    replies.push((connection, read(&bytes)));
                }
                Output::Close(connection) => {
                    assert!(self.open.remove(&connection).is_some(), "closed twice");
                }
                Output::Up { connection, .. } => {
                    assert_eq!(self.session.replace(connection), None);
                }
                Output::Down(_) => assert!(self.session.take().is_some()),
                Output::Failed(_) | Output::Resend { .. } => {}
            }
        }
        self.judge();
        for (connection, said) in replies {
            self.reply(connection, &said);
        }
    }

    fn judge(&self) {
        for direction in [Direction::Outbound, Direction::Inbound] {
            let beside = self.open.keys().filter(|connection| {
                connection.direction == direction && Some(**connection) != self.session
            });
            assert!(beside.count() <= 1, "{:?}", self.open);
        }
        let dials = self.open.values().any(|end| *end == End::Dialled);
        assert!(self.session.is_none() || !dials, "dials beside a session");
        let is_up = self.peer.state() == State::Established;
        assert_eq!(self.session.is_some(), is_up);
        // Where there is something to come, somebody waits for it; and for nothing where there is nothing.
        let state = self.peer.state();
        if state == State::Idle && self.open.is_empty() && self.peer.status().next_attempt.is_none()
        {
            return;
        }
        if !self.open.is_empty() && state < State::Established {
            assert!(self.peer.deadline().is_some(), "{state} has no timer");
        }
    }

    /// What the router does with something of ours, once it behaves.
    fn reply(&mut self, connection: Connection, said: &[Said]) {
        let Some(end) = self.open.get(&connection).copied() else {
            return;
        };
        match (self.sense, end) {
            (None, _) => {}
            (Some(Sense::Connects), End::Dialled) | (Some(_), End::Forgotten) => {
                self.close(connection)
            }
            (Some(_), End::Dialled) => self.connect(connection),
            (Some(_), End::Open) => {
                self.read(connection);
                for one in said {
                    match one {
                        Said::Open(_) => self.greet(connection),
                        Said::Keepalive => self.say(connection, &keepalive()),
                        _ => {}
                    }
                }
            }
        }
    }

    fn greet(&mut self, connection: Connection) {
        let mut good = open(ASNS[1], capabilities(ASNS[1]));
        good.router_id = [192, 0, 2, self.identifier].into();
        self.say(connection, &encode_open(&good));
    }

    /// Behaves from now on. Gives whether the session is up in time.
    fn come_to_its_senses(&mut self, sense: Sense, within: Duration) -> bool {
        self.sense = Some(sense);
        let began = self.now;
        for connection in self.of(End::Open) {
            // One that only takes connections cannot tell us that it has forgotten a session without keepalives.
            if sense == Sense::Answers || self.unread.contains(&connection) {
                self.close(connection);
            } else {
                self.open.insert(connection, End::Forgotten);
            }
        }
        for connection in self.of(End::Dialled) {
            self.reply(connection, &[]);
        }
        while self.now.since(began) < within {
            let is_new = |connection| self.open.get(&connection) != Some(&End::Forgotten);
            if self.session.is_some_and(is_new) {
                return true;
            }
            if sense != Sense::Answers && self.of(End::Open).is_empty() {
                self.accept();
            }
            self.pass(Duration::from_secs(1));
        }
        false
    }
}

/// An OPEN that is good more often than not.
fn any_open(random: &mut Random) -> Vec<u8> {
    let restart = GracefulRestart {
        notification: random.below(2) == 0,
        restart_time: 60,
        ..Default::default()
    };
    let offered = Capabilities {
        multiprotocol: match random.below(8) {
            0 => [AfiSafi::IPV6_UNICAST].into(),
            _ => [AfiSafi::IPV4_UNICAST].into(),
        },
        graceful_restart: (random.below(2) == 0).then_some(restart),
        bfd_strict: random.below(2) == 0,
        ..capabilities(ASNS[1])
    };
    let mut open = open(ASNS[1], offered);
    open.hold_time = [0, 3, 90][random.below(3) as usize];
    // Below and above ours.
    open.router_id = [192, 0, 2, 2 * random.below(2) as u8].into();
    encode_open(&open)
}

fn words(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..=2 => any_open(random),
        3..=5 => [any_open(random), keepalive()].concat(),
        6 => keepalive(),
        7 => [keepalive(), announce(0, random.below(80) as u32)].concat(),
        8 => withdraw(0, 40),
        _ => match random.below(3) {
            0 => vec![0; 19],
            1 => notification(&Notification::new(Reason::UNSUPPORTED_PARAMETER)),
            _ => notification(&Notification::new(Reason::COLLISION)),
        },
    }
}

fn disturb(router: &mut Wayward, steady: bool, random: &mut Random) {
    let open = router.of(End::Open);
    let some = |random: &mut Random| {
        let at = random.below(open.len().max(1) as u64) as usize;
        open.get(at).copied()
    };
    match random.below(16) {
        0..=2 => {
            router.accept();
        }
        3..=4 => {
            for connection in router.of(End::Dialled) {
                match random.below(4) {
                    0 => router.close(connection),
                    _ => router.connect(connection),
                }
            }
        }
        5..=8 => {
            if let Some(connection) = some(random) {
                router.say(connection, &words(random));
            }
        }
        9 => {
            if let Some(connection) = some(random) {
                router.close(connection);
            }
        }
        10 => {
            if let Some(connection) = some(random) {
                router.read(connection);
            }
        }
        11 if !steady => {
            let settings = any_settings(0, random);
            router.give(Input::Configure(Box::new(settings)));
        }
        12 => router.give(match random.below(3) {
            0 => Input::BfdDown,
            1 => Input::BfdOff,
            _ => Input::BfdUp,
        }),
        13 => router.give(match random.below(6) {
            0 => Input::Stop(Stop::Upgrade),
            1 => Input::Reset("again".to_owned()),
            _ => Input::Start,
        }),
        14 if router.peer.has_room() => {
            let routes = announce(0, 300);
            router.peer.send(router.now, routes.into());
            router.carry_out();
        }
        _ => {}
    }
    let pause = [0, 0, 100, 2_000, 12_000, 100_000][random.below(6) as usize];
    router.pass(Duration::from_millis(random.below(pause + 1)));
}

fn history(seed: u64) {
    let mut random = Random(seed);
    // Nobody comes to the rescue with other settings, which make all that was suffered forgotten.
    let steady = random.below(2) == 0;
    let begin = match steady {
        true => settings(0),
        false => any_settings(0, &mut random),
    };
    let mut router = Wayward::new(begin, seed);
    router.give(Input::Start);
    for _ in 0..random.below(60) {
        disturb(&mut router, steady, &mut random);
    }
    let sense = [Sense::Answers, Sense::Connects, Sense::Both][random.below(3) as usize];
    router.give(Input::Configure(Box::new(settings(0))));
    router.give(Input::Start);
    let from = router.peer.state();
    let bound = match sense {
        Sense::Answers => BACK_OFF,
        Sense::Connects | Sense::Both => MET,
    };
    assert!(
        router.come_to_its_senses(sense, bound),
        "seed {seed}: {sense:?} from {from}: {:?}",
        router.peer
    );
    router.give(Input::Stop(Stop::Deconfigured));
    assert!(
        router.open.is_empty() && router.session.is_none(),
        "seed {seed}"
    );
    router.pass(Duration::from_secs(3_600));
    assert_eq!(
        (router.peer.deadline(), router.peer.state()),
        (None, State::Idle)
    );
}

#[expect(clippy::disallowed_methods, reason = "a test has an environment")]
#[test]
fn whatever_a_router_did_it_has_its_session_when_it_behaves() {
    if let Ok(seed) = std::env::var("SEED") {
        return history(seed.parse().expect("SEED is a number"));
    }
    for seed in 0..4_000 {
        history(seed);
    }
}

/// How long a router that takes our connections waits for one at most: for as long as we leave one alone that has refused us.
const BACK_OFF: Duration = Duration::from_secs(121);
/// How long one does that connects: it is refused for five seconds at most.
const MET: Duration = Duration::from_secs(8);
