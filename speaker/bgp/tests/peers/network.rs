//! Two peers, and a TCP between them that has delays, can be cut, and loses its memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ironlb_bgp::peer::Settings;
use ironlb_bgp::wire::{Framer, Kind};
use ironlb_bgp::{Cause, Connection, Direction, Input, Output, Peer, State};
use ironlb_model::Time;

use crate::messages::{Said, read};
use crate::sample::{settings, socket};

pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) sides: [Side; 2],
    /// One way.
    pub(crate) delay: Duration,
    /// Whether packets are lost. A connection that lost one never recovers: it is reset when there is a way again.
    pub(crate) cut: bool,
    /// What is done to bytes on their way.
    pub(crate) mangle: Option<fn(u64, &mut [u8])>,
    links: Vec<Link>,
    /// Who has sent something that was lost, on which connection: it is sent again, and answered by a reset.
    lost: Vec<(usize, usize)>,
    packets: BTreeMap<(Time, u64), Packet>,
    serial: u64,
}

pub(crate) struct Side {
    pub(crate) peer: Peer,
    /// Whether connections are taken.
    pub(crate) listening: bool,
    /// Whether it reads what arrives.
    pub(crate) reading: bool,
    /// What is to be sent as there is room.
    pub(crate) routes: VecDeque<Vec<u8>>,
    /// Up and down, as they happened.
    pub(crate) history: Vec<(Time, Change)>,
    traces: BTreeMap<Connection, Trace>,
    /// The connection of the session that is up.
    session: Option<Connection>,
    inbound: u64,
    /// How often it was woken at this moment.
    woken: (Time, u32),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Up,
    Down(Cause),
    Failed(Cause),
}

/// A TCP connection.
struct Link {
    dialler: usize,
    ends: [Option<Connection>; 2],
    broken: bool,
    /// What has arrived for each side and was not read.
    unread: [Vec<Vec<u8>>; 2],
}

enum Packet {
    Syn(usize),
    SynAck(usize),
    Refused(usize),
    Bytes(usize, usize, Vec<u8>),
    Fin(usize, usize),
    Reset(usize, usize),
    /// Of everything up to this many sends.
    Drained(usize, Connection, u64),
}

/// What a connection has seen, to prove that it was closed as it should.
#[derive(Default)]
struct Trace {
    link: usize,
    sends: u64,
    last_sent: Option<Said>,
    heard: Framer,
    notified: bool,
    lost: bool,
    ended: bool,
}

impl Network {
    /// Two peers with these settings, Idle.
    pub(crate) fn new(settings: [Settings; 2], seed: u64) -> Self {
        let [one, other] = settings;
        Self {
            now: Time::ZERO,
            sides: [Side::new(one, seed), Side::new(other, seed + 1)],
            delay: Duration::from_millis(1),
            cut: false,
            mangle: None,
            links: Vec::new(),
            lost: Vec::new(),
            packets: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Two with our usual settings, each changed by `change`, and started.
    pub(crate) fn started(change: impl Fn(&mut Settings)) -> Self {
        let mut both = [settings(0), settings(1)];
        both.iter_mut().for_each(change);
        let mut network = Self::new(both, 1);
        network.start();
        network
    }

    pub(crate) fn start(&mut self) {
        self.handle(0, Input::Start);
        self.handle(1, Input::Start);
    }

    /// The same when both are up.
    pub(crate) fn up(change: impl Fn(&mut Settings)) -> Self {
        let mut network = Self::started(change);
        assert!(
            network.until(Duration::from_secs(60), Self::both_up),
            "{:?}",
            network.histories()
        );
        network
    }

    pub(crate) fn both_up(&self) -> bool {
        self.sides
            .iter()
            .all(|side| side.peer.state() == State::Established)
    }

    pub(crate) fn state(&self, side: usize) -> State {
        self.sides[side].peer.state()
    }

    pub(crate) fn histories(&self) -> [&[(Time, Change)]; 2] {
        [&self.sides[0].history, &self.sides[1].history]
    }

    /// The last reason why a side's session was down.
    pub(crate) fn last_down(&self, side: usize) -> Option<&Cause> {
        self.sides[side]
            .history
            .iter()
            .rev()
            .find_map(|(_, change)| match change {
                Change::Down(cause) => Some(cause),
                _ => None,
            })
    }

    /// How often a side's session came up.
    pub(crate) fn ups(&self, side: usize) -> usize {
        self.sides[side]
            .history
            .iter()
            .filter(|(_, change)| *change == Change::Up)
            .count()
    }

    /// Time passes.
    pub(crate) fn run(&mut self, duration: Duration) {
        self.until(duration, |_| false);
    }

    /// Until something is so; whether it became so in time.
    pub(crate) fn until(&mut self, within: Duration, so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + within;
        while !so(self) {
            if !self.step(end) {
                return so(self);
            }
        }
        true
    }

    /// Something happens at a side.
    pub(crate) fn handle(&mut self, side: usize, input: Input) {
        self.sides[side].peer.handle(self.now, input);
        self.drain(side);
    }

    /// The speaker at a side dies, and another begins: its connections are closed, or where `silently` just forgotten.
    pub(crate) fn replace(&mut self, side: usize, settings: Settings, silently: bool) {
        self.sides[side].session = None;
        let traces = std::mem::take(&mut self.sides[side].traces);
        for (connection, trace) in traces.into_iter().filter(|(_, trace)| !trace.ended) {
            let link = trace.link;
            if self.links[link].ends[side] == Some(connection) {
                self.leave(side, link, silently);
            }
        }
        let seed = self.serial;
        let inbound = self.sides[side].inbound;
        self.sides[side].peer = Peer::new(self.now, settings, seed, true);
        self.sides[side].inbound = inbound;
        self.handle(side, Input::Start);
    }

    /// A side reads again what it left unread.
    pub(crate) fn read_on(&mut self, side: usize) {
        self.sides[side].reading = true;
        for link in 0..self.links.len() {
            let unread = std::mem::take(&mut self.links[link].unread[side]);
            if unread.is_empty() {
                continue;
            }
            for bytes in unread {
                self.deliver(link, side, &bytes);
            }
            let open = self.links[link].ends[1 - side];
            let sent = open.and_then(|end| self.sides[1 - side].has_sent(end));
            if let (Some(connection), Some(sends)) = (open, sent) {
                self.send_packet(Duration::ZERO, Packet::Drained(1 - side, connection, sends));
            }
        }
    }

    /// Whether nothing is left: no timer, no connection, nothing on its way.
    pub(crate) fn is_still(&self) -> bool {
        let idle = |side: &Side| {
            side.peer.deadline().is_none() && side.traces.values().all(|trace| trace.ended)
        };
        self.packets.is_empty() && self.sides.iter().all(idle)
    }

    /// The next thing that happens; false when there is none before `end`.
    fn step(&mut self, end: Time) -> bool {
        if !self.cut {
            for (link, side) in std::mem::take(&mut self.lost) {
                self.send_packet(self.delay * 2, Packet::Reset(link, side));
            }
        }
        let packet = self.packets.keys().next().map(|(at, _)| *at);
        let wakes = self.sides.iter().filter_map(|side| side.peer.deadline());
        let Some(at) = wakes.chain(packet).min().filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        match self
            .packets
            .first_entry()
            .filter(|entry| entry.key().0 <= at)
        {
            Some(entry) => {
                let packet = entry.remove();
                self.arrive(packet);
            }
            None => self.wake(),
        }
        true
    }

    fn wake(&mut self) {
        for side in 0..2 {
            if self.sides[side]
                .peer
                .deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.sides[side].count_wake(self.now);
                self.handle(side, Input::Tick);
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Syn(link) => self.syn(link),
            Packet::SynAck(link) => self.syn_ack(link),
            Packet::Refused(link) => {
                self.closed(link, self.links[link].dialler, Some("connection refused"))
            }
            Packet::Bytes(link, to, bytes) => self.bytes(link, to, bytes),
            Packet::Fin(link, to) if !self.lost(link) => self.closed(link, to, None),
            Packet::Fin(..) => {}
            Packet::Reset(link, to) => self.closed(link, to, Some("connection reset by peer")),
            Packet::Drained(side, connection, sends) => {
                if self.sides[side].has_sent(connection) == Some(sends) {
                    self.handle(side, Input::Drained(connection));
                }
            }
        }
    }

    fn syn(&mut self, link: usize) {
        if self.lost(link) {
            return;
        }
        let acceptor = 1 - self.links[link].dialler;
        if !self.sides[acceptor].listening {
            self.send_packet(self.delay, Packet::Refused(link));
            return;
        }
        let side = &mut self.sides[acceptor];
        let connection = Connection::inbound(side.inbound);
        side.inbound += 1;
        side.begin(connection, link);
        self.links[link].ends[acceptor] = Some(connection);
        self.send_packet(self.delay, Packet::SynAck(link));
        let number = connection.number;
        let (local, remote) = (socket(acceptor, 179), socket(1 - acceptor, 40_000));
        self.handle(
            acceptor,
            Input::Accepted {
                number,
                local,
                remote,
            },
        );
    }

    fn syn_ack(&mut self, link: usize) {
        let dialler = self.links[link].dialler;
        let Some(connection) = self.links[link].ends[dialler].filter(|_| !self.lost(link)) else {
            return;
        };
        let (local, remote) = (socket(dialler, 40_000), socket(1 - dialler, 179));
        self.handle(
            dialler,
            Input::Connected {
                connection,
                local,
                remote,
            },
        );
    }

    fn bytes(&mut self, link: usize, to: usize, bytes: Vec<u8>) {
        if self.lost(link) {
            self.lost.push((link, 1 - to));
            return;
        }
        if self.sides[to].reading {
            self.deliver(link, to, &bytes);
        } else {
            self.links[link].unread[to].push(bytes);
        }
    }

    /// In two pieces, so that messages are cut.
    fn deliver(&mut self, link: usize, to: usize, bytes: &[u8]) {
        let middle = self.serial as usize % (bytes.len() + 1);
        for piece in [&bytes[..middle], &bytes[middle..]] {
            let Some(connection) = self.links[link].ends[to] else {
                return;
            };
            self.sides[to].trace(connection).hears(piece);
            self.sides[to].peer.receive(self.now, connection, piece);
            self.drain(to);
        }
    }

    fn closed(&mut self, link: usize, side: usize, error: Option<&str>) {
        let Some(connection) = self.links[link].ends[side] else {
            return;
        };
        self.sides[side].trace(connection).lost = true;
        let error = error.map(str::to_owned);
        self.handle(side, Input::Closed { connection, error });
    }

    /// Whether a packet is lost now, and its connection with it.
    fn lost(&mut self, link: usize) -> bool {
        self.links[link].broken |= self.cut;
        self.links[link].broken
    }

    /// A side's end of a connection is gone; the other learns of it unless `silently`.
    fn leave(&mut self, side: usize, link: usize, silently: bool) {
        let other = 1 - side;
        if silently {
            self.links[link].broken = true;
        } else {
            self.send_packet(self.delay, Packet::Fin(link, other));
        }
        self.links[link].ends[side] = None;
    }

    fn drain(&mut self, side: usize) {
        let mut excused = false;
        let mut closed = Vec::new();
        loop {
            while let Some(output) = self.sides[side].peer.poll() {
                excused |= matches!(
                    output,
                    Output::Down(Cause::Replaced | Cause::Upgrade) | Output::Failed(Cause::Upgrade)
                );
                if let Output::Close(connection) = output {
                    closed.push(connection);
                }
                self.carry_out(side, output);
            }
            let here = &mut self.sides[side];
            let ready = here.peer.has_room();
            match ready.then(|| here.routes.pop_front()).flatten() {
                Some(routes) => here.peer.send(self.now, routes.into()),
                None => break,
            }
        }
        for connection in closed {
            self.sides[side].judge_close(connection, excused);
        }
        self.sides[side].judge_connections();
    }

    fn carry_out(&mut self, side: usize, output: Output) {
        match output {
            Output::Connect(connection) => {
                let link = self.links.len();
                let mut ends = [None, None];
                ends[side] = Some(connection);
                self.links.push(Link {
                    dialler: side,
                    ends,
                    broken: false,
                    unread: [Vec::new(), Vec::new()],
                });
                self.sides[side].begin(connection, link);
                self.send_packet(self.delay, Packet::Syn(link));
            }
            Output::Send { connection, bytes } => self.send(side, connection, &bytes),
            Output::Close(connection) => {
                let link = self.sides[side].trace(connection).link;
                assert_eq!(
                    self.links[link].ends[side],
                    Some(connection),
                    "closed twice"
                );
                self.leave(side, link, false);
            }
            Output::Up { connection, .. } => {
                let former = self.sides[side].session.replace(connection);
                assert_eq!(former, None, "up twice");
                self.sides[side].history.push((self.now, Change::Up));
            }
            Output::Down(cause) => {
                let former = self.sides[side].session.take();
                assert!(former.is_some(), "down and was not up");
                self.sides[side]
                    .history
                    .push((self.now, Change::Down(cause)));
            }
            Output::Failed(cause) => self.sides[side]
                .history
                .push((self.now, Change::Failed(cause))),
            Output::Resend { .. } => {}
        }
    }

    fn send(&mut self, side: usize, connection: Connection, bytes: &[u8]) {
        let trace = self.sides[side].trace(connection);
        trace.sends(bytes);
        let mut bytes = bytes.to_vec();
        let (link, sends) = (trace.link, trace.sends);
        let other = 1 - side;
        if let Some(mangle) = self.mangle {
            mangle(self.serial, &mut bytes);
        }
        self.send_packet(self.delay, Packet::Bytes(link, other, bytes));
        if self.sides[other].reading {
            self.send_packet(Duration::ZERO, Packet::Drained(side, connection, sends));
        }
    }

    fn send_packet(&mut self, after: Duration, packet: Packet) {
        self.serial += 1;
        self.packets.insert((self.now + after, self.serial), packet);
    }
}

impl Side {
    fn new(settings: Settings, seed: u64) -> Self {
        Self {
            peer: Peer::new(Time::ZERO, settings, seed, false),
            listening: true,
            reading: true,
            routes: VecDeque::new(),
            history: Vec::new(),
            traces: BTreeMap::new(),
            session: None,
            inbound: 0,
            woken: (Time::ZERO, 0),
        }
    }

    fn begin(&mut self, connection: Connection, link: usize) {
        let trace = Trace {
            link,
            ..Trace::default()
        };
        let former = self.traces.insert(connection, trace);
        assert!(
            former.is_none_or(|former| former.ended),
            "a number is used twice"
        );
    }

    fn trace(&mut self, connection: Connection) -> &mut Trace {
        self.traces
            .get_mut(&connection)
            .expect("a connection that there is")
    }

    /// How often something was sent on a connection that is open.
    fn has_sent(&self, connection: Connection) -> Option<u64> {
        let trace = self.traces.get(&connection).filter(|trace| !trace.ended);
        trace.map(|trace| trace.sends)
    }

    /// We say why we close, unless the peer did, or nobody is there, or silence is what was agreed on.
    fn judge_close(&mut self, connection: Connection, excused: bool) {
        let trace = self.trace(connection);
        assert!(!trace.ended, "{connection} was closed twice");
        trace.ended = true;
        let told = matches!(trace.last_sent, Some(Said::Notification(_)));
        let nothing_said = trace.last_sent.is_none();
        let silent = trace.notified || trace.lost || nothing_said || excused;
        assert!(
            told || silent,
            "{connection} was closed without a NOTIFICATION"
        );
    }

    /// Beside the session there is one connection of each direction at most, and none that is still dialled.
    fn judge_connections(&self) {
        let open = self.traces.iter().filter(|(_, trace)| !trace.ended);
        let beside = open.filter(|(connection, _)| Some(**connection) != self.session);
        let beside: Vec<(Direction, bool)> = beside
            .map(|(connection, trace)| (connection.direction, trace.sends == 0))
            .collect();
        for direction in [Direction::Outbound, Direction::Inbound] {
            let count = beside.iter().filter(|one| one.0 == direction).count();
            assert!(count <= 1, "{count} connections: {direction:?}");
        }
        let dials = beside.contains(&(Direction::Outbound, true));
        assert!(self.session.is_none() || !dials, "dials beside a session");
        let is_up = self.peer.state() == State::Established;
        assert_eq!(self.session.is_some(), is_up);
    }

    fn count_wake(&mut self, now: Time) {
        let (at, count) = self.woken;
        self.woken = if at == now { (at, count + 1) } else { (now, 1) };
        assert!(self.woken.1 < 20, "woken again and again at {now}");
    }
}

impl Trace {
    fn hears(&mut self, bytes: &[u8]) {
        self.heard.set_extended(true);
        self.heard.push(bytes);
        while let Ok(Some(frame)) = self.heard.next() {
            self.notified |= frame.kind == Kind::Notification;
        }
    }

    fn sends(&mut self, bytes: &[u8]) {
        self.sends += 1;
        assert!(
            !self.ended,
            "something is sent on a connection that was closed"
        );
        for said in read(bytes) {
            let after = matches!(self.last_sent, Some(Said::Notification(_)));
            assert!(!after, "{said:?} is sent after a NOTIFICATION");
            self.last_sent = Some(said);
        }
    }
}
