//! A router: sessions with nodes, what it has been told, and what it keeps while a node's speaker restarts.
//!
//! A state machine like the cores: told what happens, it says what it does ([`Act`]). It is as strict as a router may be.

mod ending;
mod neighbour;
mod opening;
mod session;
mod traits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_bgp::wire::{AfiSafi, Notification, Open, Reason, RefreshKind, RouteRefresh};
use ironlb_model::{Family, Time};

use ending::End;
pub use neighbour::Neighbour;
pub use session::Session;
pub use traits::Traits;

use super::told;

/// Who a session is with: a machine, by its address of a family.
pub type NodeAddress = (usize, Family);

/// The router.
#[derive(Debug)]
pub struct Router {
    /// How it is set up.
    pub traits: Traits,
    /// Its BGP identifier.
    pub id: Ipv4Addr,
    /// Its addresses.
    pub addresses: [IpAddr; 2],
    /// Whether it has power.
    pub powered: bool,
    /// Whether its BGP runs.
    pub running: bool,
    /// Whether it takes its time to read.
    pub slow: bool,
    /// Whether it says nothing on the connections that it takes, and gives up its own.
    pub silent: bool,
    /// Counts its lives.
    pub life: u64,
    /// The prefixes that it announces beyond its own.
    pub flood: u32,
    /// The nodes with which its BFD is up.
    pub watched: BTreeSet<NodeAddress>,
    /// Whom it dials: the port, and when next.
    pub dials: BTreeMap<NodeAddress, (u16, Time)>,
    restarting: Option<Time>,
    sessions: BTreeMap<u64, Session>,
    neighbours: BTreeMap<NodeAddress, Neighbour>,
    acts: Vec<Act>,
}

/// Something that it does.
#[derive(Debug)]
pub enum Act {
    /// Send on a connection.
    Send(u64, Vec<u8>),
    /// Close a connection; what was sent goes out first.
    Close(u64),
    /// Connect to a node, at this port.
    Dial(NodeAddress, u16),
    /// A session is up, or was and is no more.
    Session(NodeAddress, bool),
    /// A node with which a session was up has said nothing for the hold time, since then.
    Silence(NodeAddress, Time),
    /// Something is not as it must be.
    Found(&'static str, String),
}
impl Router {
    /// The router `number`, running.
    pub fn new(number: u8, traits: Traits) -> Self {
        Self {
            traits,
            id: Ipv4Addr::new(198, 51, 100, 200 + number),
            addresses: [
                Ipv4Addr::new(198, 51, 100, 200 + number).into(),
                Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x200 + u16::from(number)).into(),
            ],
            powered: true,
            running: true,
            slow: false,
            silent: false,
            life: 0,
            flood: 0,
            watched: BTreeSet::new(),
            dials: BTreeMap::new(),
            restarting: None,
            sessions: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            acts: Vec::new(),
        }
    }

    /// Its address of a family.
    pub fn address(&self, family: Family) -> IpAddr {
        let [v4, v6] = self.addresses;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// What it does now; to be asked for after everything else here.
    pub fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// What it was told by a node.
    pub fn neighbour(&self, node: NodeAddress) -> Option<&Neighbour> {
        self.neighbours.get(&node)
    }

    /// All nodes that it knows.
    pub fn neighbours(&self) -> impl Iterator<Item = (NodeAddress, &Neighbour)> {
        self.neighbours.iter().map(|(node, one)| (*node, one))
    }

    /// The session with a node that is up, and its connection.
    pub fn session(&self, node: NodeAddress) -> Option<(u64, &Session)> {
        let mut sessions = self.sessions.iter();
        let up = sessions.find(|(_, session)| session.node == node && session.is_up());
        up.map(|(pipe, session)| (*pipe, session))
    }

    /// The session on a connection, at whatever stage.
    pub fn session_on(&self, pipe: u64) -> Option<&Session> {
        self.sessions.get(&pipe)
    }

    /// The OPEN that was sent on a connection.
    pub fn open_on(&self, pipe: u64) -> Option<&Open> {
        self.sessions.get(&pipe).map(Session::own_open)
    }

    /// The sessions that are up.
    pub fn sessions(&self) -> impl Iterator<Item = (u64, &Session)> {
        let all = self.sessions.iter().filter(|(_, session)| session.is_up());
        all.map(|(pipe, session)| (*pipe, session))
    }

    /// Its process or its host is gone, and what it knew of nodes with it.
    pub fn stop(&mut self) {
        self.life += 1;
        self.running = false;
        self.silent = false;
        self.sessions.clear();
        self.neighbours.clear();
        self.watched.clear();
        self.flood = 0;
    }

    /// Its process is back.
    pub fn start(&mut self, now: Time) {
        self.running = true;
        let time = self.traits.restart_time.map(u64::from);
        self.restarting = time.map(|seconds| now + Duration::from_secs(seconds));
        for (_, next) in self.dials.values_mut() {
            *next = now;
        }
    }

    /// A connection with a node is there; `dialled` by us, or accepted.
    pub fn connected(&mut self, now: Time, pipe: u64, node: NodeAddress, dialled: bool) {
        let ours = self.open_message(now);
        let mut bytes = Vec::new();
        ours.encode(&mut bytes);
        self.acts.push(Act::Send(pipe, bytes));
        self.sessions
            .insert(pipe, Session::new(now, node, dialled, ours));
    }

    /// Bytes have come.
    pub fn receive(&mut self, now: Time, pipe: u64, bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&pipe) {
            session.push(bytes);
        }
        while let Some(session) = self.sessions.get_mut(&pipe) {
            match session.next() {
                Ok(None) => return,
                Ok(Some(said)) => self.heard(now, pipe, said),
                Err(why) => {
                    let node = session.node;
                    self.found("every message is one that a router understands", node, &why);
                    self.end(now, pipe, &End::Lost);
                    self.acts.push(Act::Close(pipe));
                }
            }
        }
    }

    /// A connection is gone.
    pub fn lost(&mut self, now: Time, pipe: u64) {
        self.end(now, pipe, &End::Lost);
        self.acts.push(Act::Close(pipe));
    }

    /// When to [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Time> {
        if !self.running {
            return None;
        }
        let sessions = self.sessions.values().filter_map(Session::deadline);
        let stale = self.neighbours.values().filter_map(|one| one.stale_until);
        let dials = self
            .dials
            .iter()
            .filter(|(node, _)| !self.speaks_with(**node));
        let dials = dials.map(|(_, (_, next))| *next);
        sessions.chain(stale).chain(dials).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        let due = |session: &&Session| session.deadline().is_some_and(|due| due <= now);
        let sessions = self.sessions.iter().filter(|(_, session)| due(session));
        let pipes: Vec<u64> = sessions.map(|(pipe, _)| *pipe).collect();
        for pipe in pipes {
            self.tick_session(now, pipe);
        }
        let dials: Vec<NodeAddress> = self.dials.keys().copied().collect();
        for node in dials {
            let speaks = self.speaks_with(node);
            if let Some((port, next)) = self.dials.get_mut(&node).filter(|(_, next)| *next <= now) {
                *next = now + if self.silent { SILENT_REDIAL } else { REDIAL };
                if !speaks {
                    self.acts.push(Act::Dial(node, *port));
                }
            }
        }
        let nodes: Vec<NodeAddress> = self.neighbours.keys().copied().collect();
        for node in nodes {
            self.tick_stale(now, node);
        }
    }

    /// BFD has come up with a node: who waited for it may go on.
    pub fn bfd_up(&mut self, now: Time, node: NodeAddress) {
        self.watched.insert(node);
        let waiting = self
            .sessions
            .iter()
            .filter(|(_, one)| one.waits && one.node == node);
        let waiting: Vec<u64> = waiting.map(|(pipe, _)| *pipe).collect();
        for pipe in waiting {
            self.accept(now, pipe);
        }
    }

    /// BFD has lost a node.
    pub fn bfd_down(&mut self, now: Time, node: NodeAddress) {
        self.watched.remove(&node);
        if let Some((pipe, _)) = self.session(node) {
            self.close(now, pipe, End::Final(Notification::new(Reason::BFD_DOWN)));
        } else if let Some(neighbour) = self.neighbours.get_mut(&node) {
            neighbour.forget();
        }
    }

    /// Its operator ends a session.
    pub fn reset(&mut self, now: Time, pipe: u64, reason: Reason) {
        self.close(now, pipe, End::Said(Notification::new(reason)));
    }

    /// Its operator asks for a node's routes again.
    pub fn ask_again(&mut self, pipe: u64, family: Family) {
        let Some(session) = self.sessions.get_mut(&pipe) else {
            return;
        };
        if session.exchanges(family) {
            let mut bytes = Vec::new();
            let refresh = RouteRefresh {
                family: AfiSafi::from(family),
                kind: RefreshKind::Request,
            };
            refresh.encode(&mut bytes);
            self.acts.push(Act::Send(pipe, bytes));
        }
    }

    /// Sends something on a session as it is.
    pub fn send(&mut self, pipe: u64, bytes: Vec<u8>) {
        self.acts.push(Act::Send(pipe, bytes));
    }

    /// Announces more, or what it announced before, to everybody.
    pub fn announce_again(&mut self, flood: u32) {
        self.flood = flood;
        let total = self.traits.prefixes + flood;
        let address = self.addresses;
        for (pipe, session) in &mut self.sessions {
            if session.is_up() {
                let bytes = session.announce(address, total);
                self.acts.push(Act::Send(*pipe, bytes));
            }
        }
    }

    fn speaks_with(&self, node: NodeAddress) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.node == node && (session.is_up() || session.dialled))
    }

    fn heard(&mut self, now: Time, pipe: u64, said: session::Said) {
        let Some(session) = self.sessions.get_mut(&pipe) else {
            return;
        };
        session.heard = now;
        match said {
            session::Said::Open(open) => self.opened(now, pipe, open),
            session::Said::Keepalive => {
                session.confirmed = true;
                self.confirm(now, pipe);
            }
            session::Said::Routes { told, withdrawn } => {
                let neighbour = self.neighbours.entry(session.node).or_default();
                for prefix in withdrawn {
                    neighbour.routes.remove(&prefix);
                }
                for (prefix, told) in told {
                    neighbour.routes.insert(prefix, (told, false));
                }
            }
            session::Said::EndOfRib(family) | session::Said::EndOfRefresh(family) => {
                let neighbour = self.neighbours.entry(session.node).or_default();
                neighbour.sweep(family);
            }
            session::Said::BeginOfRefresh(family) => {
                let neighbour = self.neighbours.entry(session.node).or_default();
                neighbour.mark(|prefix| told::family_of(prefix) == family);
            }
            session::Said::Notification(notification) => {
                self.end(now, pipe, &End::Heard(notification));
                self.acts.push(Act::Close(pipe));
            }
        }
    }

    fn established(&mut self, now: Time, pipe: u64) {
        let total = self.traits.prefixes + self.flood;
        let addresses = self.addresses;
        let Some(session) = self.sessions.get_mut(&pipe) else {
            return;
        };
        session.establish(now);
        let node = session.node;
        let mut bytes = session.announce(addresses, total);
        for family in Family::ALL {
            if session.exchanges(family) {
                ironlb_bgp::wire::end_of_rib(family, &mut bytes);
            }
        }
        self.acts.push(Act::Send(pipe, bytes));
        self.acts.push(Act::Session(node, true));
        let neighbour = self.neighbours.entry(node).or_default();
        if neighbour.stale_until.is_some() {
            neighbour.stale_until = Some(now + STALE);
        }
    }

    fn tick_session(&mut self, now: Time, pipe: u64) {
        let Some(session) = self.sessions.get_mut(&pipe) else {
            return;
        };
        if session.hold_expired(now) {
            let node = session.node;
            if session.is_up() {
                self.acts.push(Act::Silence(node, session.heard));
            }
            let reason = Notification::new(Reason::HOLD_TIMER_EXPIRED);
            return self.close(now, pipe, End::Said(reason));
        }
        if session.keepalive_due(now) {
            let mut bytes = Vec::new();
            ironlb_bgp::wire::encode_keepalive(&mut bytes);
            self.acts.push(Act::Send(pipe, bytes));
        }
    }

    fn found(&mut self, invariant: &'static str, node: NodeAddress, what: &str) {
        let id = self.id;
        let detail = format!("router {id}, node {node:?}: {what}");
        self.acts.push(Act::Found(invariant, detail));
    }
}

/// How often a node is dialled.
const REDIAL: Duration = Duration::from_secs(5);
/// The same while it is silent: longer than a speaker waits after each of these before it dials again itself.
const SILENT_REDIAL: Duration = Duration::from_secs(12);
/// How long routes stay stale once the node is back.
const STALE: Duration = Duration::from_secs(120);
