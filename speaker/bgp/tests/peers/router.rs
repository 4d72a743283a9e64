//! One peer of ours against a router that says what the test wants.

use std::time::Duration;

use ironlb_bgp::peer::Settings;
use ironlb_bgp::wire::Open;
use ironlb_bgp::{Connection, Input, Output, Peer, State};
use ironlb_model::Time;

use crate::messages::{self, capabilities, encode_open, keepalive};
use crate::sample::{ASNS, settings, socket};

pub(crate) struct Router {
    pub(crate) peer: Peer,
    pub(crate) now: Time,
    inbound: u64,
}

impl Router {
    /// A peer that is Idle.
    pub(crate) fn idle(settings: Settings) -> Self {
        Self {
            peer: Peer::new(Time::ZERO, settings, 1, false),
            now: Time::ZERO,
            inbound: 0,
        }
    }

    /// The same, with our usual settings, in a state; and the connection where there is one.
    pub(crate) fn in_state(state: State) -> (Self, Option<Connection>) {
        let mut router = Self::idle(Settings {
            passive: state == State::Active,
            ..settings(0)
        });
        if state == State::Idle {
            return (router, None);
        }
        router.handle(Input::Start);
        if state <= State::Connect {
            return (router, None);
        }
        let connection = router.connect(Connection {
            direction: ironlb_bgp::Direction::Outbound,
            number: 0,
        });
        router.bring(connection, state);
        (router, Some(connection))
    }

    pub(crate) fn established() -> (Self, Connection) {
        let (router, connection) = Self::in_state(State::Established);
        (router, connection.unwrap())
    }

    pub(crate) fn handle(&mut self, input: Input) -> Vec<Output> {
        self.peer.handle(self.now, input);
        self.drain()
    }

    /// The router says something.
    pub(crate) fn say(&mut self, connection: Connection, bytes: &[u8]) -> Vec<Output> {
        self.peer.receive(self.now, connection, bytes);
        self.drain()
    }

    /// The router takes our connection.
    pub(crate) fn connect(&mut self, connection: Connection) -> Connection {
        self.handle(Input::Connected {
            connection,
            local: socket(0, 40_000),
            remote: socket(1, 179),
        });
        self.handle(Input::Drained(connection));
        connection
    }

    /// The router connects to us.
    pub(crate) fn accept(&mut self) -> (Connection, Vec<Output>) {
        let connection = Connection::inbound(self.inbound);
        self.inbound += 1;
        let outputs = self.handle(Input::Accepted {
            number: connection.number,
            local: socket(0, 179),
            remote: socket(1, 40_000),
        });
        self.handle(Input::Drained(connection));
        (connection, outputs)
    }

    /// A connection on which our OPEN was sent goes on as it should.
    pub(crate) fn bring(&mut self, connection: Connection, state: State) -> Vec<Output> {
        let mut outputs = Vec::new();
        if state >= State::OpenConfirm {
            outputs.extend(self.say(connection, &encode_open(&Self::open())));
            self.handle(Input::Drained(connection));
        }
        if state >= State::Established {
            outputs.extend(self.say(connection, &keepalive()));
        }
        outputs
    }

    /// The OPEN that the router should send.
    pub(crate) fn open() -> Open {
        messages::open(ASNS[1], capabilities(ASNS[1]))
    }

    /// Time passes; the peer is woken when it asks to be, and the router takes everything.
    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<Output> {
        let end = self.now + duration;
        let mut outputs = Vec::new();
        while let Some(at) = self.peer.deadline().filter(|at| *at <= end) {
            assert!(at >= self.now, "a deadline has passed and was not served");
            self.now = at;
            let woken = self.handle(Input::Tick);
            for output in &woken {
                if let Output::Send { connection, .. } = output {
                    self.handle(Input::Drained(*connection));
                }
            }
            outputs.extend(woken);
            assert!(
                self.peer.deadline().is_none_or(|next| next > at),
                "it does not move on"
            );
        }
        self.now = end;
        outputs
    }

    /// The next connection that is dialled, and how long that took.
    pub(crate) fn next_dial(&mut self, within: Duration) -> Option<(Connection, Duration)> {
        let began = self.now;
        let end = self.now + within;
        while let Some(at) = self.peer.deadline().filter(|at| *at <= end) {
            self.now = at;
            let outputs = self.handle(Input::Tick);
            if let Some(connection) = dialled(&outputs) {
                return Some((connection, self.now.since(began)));
            }
        }
        None
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.peer.poll()).collect()
    }
}

pub(crate) fn dialled(outputs: &[Output]) -> Option<Connection> {
    outputs.iter().find_map(|output| match output {
        Output::Connect(connection) => Some(*connection),
        _ => None,
    })
}
