//! TCP between nodes and routers, as far as BGP can tell: bytes arrive in order, late, or not at all.
//!
//! It has no clock: whoever drives it says when something arrives. What is lost is sent again, after longer and longer
//! waits; what nobody reads fills the receiver's window and then the sender's buffer; a host that has lost its memory
//! answers with a reset.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use ironlb_bgp::wire::Open;
use ironlb_model::{Family, Time};

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The node's.
    Node,
    /// The router's.
    Router,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Node => Self::Router,
            Self::Router => Self::Node,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Pipe {
    /// The machine.
    pub machine: usize,
    /// The router.
    pub router: usize,
    /// The family of its addresses.
    pub family: Family,
    /// Who opened it.
    pub dialler: Side,
    /// The node's address.
    pub local: SocketAddr,
    /// The router's address.
    pub remote: SocketAddr,
    /// The password that the node uses.
    pub key: Option<String>,
    /// The one that the router uses.
    pub router_key: Option<String>,
    node: End,
    router_end: End,
}

/// What one host has of a connection.
#[derive(Debug, Default)]
pub struct End {
    /// Whether its kernel knows of the connection.
    pub known: bool,
    /// Whether a process has the socket.
    pub held: bool,
    /// What was sent and has not arrived yet.
    pub outgoing: VecDeque<u8>,
    /// Whether nothing more will be sent.
    pub finished: bool,
    /// What has arrived and was not read.
    pub unread: VecDeque<u8>,
    /// Whether everything has arrived that ever will.
    pub ended: bool,
    /// Whether something is on its way: an event will come.
    pub in_flight: bool,
    /// Whether its process is to be told when there is room again.
    pub waits_for_room: bool,
    /// The OPEN that was sent here.
    pub open: Option<Open>,
    retries: u32,
    lost_since: Option<Time>,
}

/// What came of something that was on its way.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// There is something to read.
    Data,
    /// There is no room at the receiver.
    NoRoom,
    /// The receiver knows nothing of it: the sender's connection is reset.
    Reset,
}

impl Pipe {
    /// One that `dialler` opens.
    pub fn new(
        (machine, router): (usize, usize),
        dialler: Side,
        (local, remote): (SocketAddr, SocketAddr),
        key: Option<String>,
    ) -> Self {
        let mut pipe = Self {
            machine,
            router,
            family: Family::of(local.ip()),
            dialler,
            local,
            remote,
            router_key: key.clone(),
            key,
            node: End::default(),
            router_end: End::default(),
        };
        let end = pipe.end_mut(dialler);
        (end.known, end.held) = (true, true);
        pipe
    }

    /// One of its ends.
    pub const fn end(&self, side: Side) -> &End {
        match side {
            Side::Node => &self.node,
            Side::Router => &self.router_end,
        }
    }

    /// One of its ends.
    pub const fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Node => &mut self.node,
            Side::Router => &mut self.router_end,
        }
    }

    /// The other side takes it.
    pub const fn accept(&mut self) {
        let side = self.dialler.other();
        let end = self.end_mut(side);
        (end.known, end.held) = (true, true);
    }

    /// Something that `from` sent gets through, or an attempt to send it. `window` is what a receiver keeps unread.
    pub fn arrive(&mut self, from: Side, window: usize) -> Arrival {
        let sender = self.end_mut(from);
        (sender.retries, sender.lost_since) = (0, None);
        let receiver = self.end(from.other());
        if !receiver.known {
            self.reset(from);
            return Arrival::Reset;
        }
        let held = receiver.held;
        let room = window.saturating_sub(receiver.unread.len());
        let sender = self.end_mut(from);
        let count = room.min(sender.outgoing.len());
        let data: Vec<u8> = sender.outgoing.drain(..count).collect();
        let (left, ended) = (!sender.outgoing.is_empty(), sender.finished);
        let receiver = self.end_mut(from.other());
        if held {
            receiver.unread.extend(data);
        }
        receiver.ended |= ended && !left;
        if left && count == 0 {
            return Arrival::NoRoom;
        }
        Arrival::Data
    }

    /// What `from` sent is lost. Gives how long until it is sent again; `None` when it has been tried for too long.
    pub fn lose(&mut self, now: Time, from: Side) -> Option<Duration> {
        let sender = self.end_mut(from);
        let since = *sender.lost_since.get_or_insert(now);
        if now.since(since) > USER_TIMEOUT {
            self.reset(from);
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << sender.retries.min(6));
        sender.retries += 1;
        Some(wait.min(LONGEST_WAIT))
    }

    /// The process of a side lets go of the socket, or ends: what the kernel has is still sent, then the end.
    pub fn finish(&mut self, side: Side, kept: usize) {
        let end = self.end_mut(side);
        end.held = false;
        end.finished = true;
        end.outgoing.truncate(kept);
        end.unread.clear();
    }

    /// The host of a side loses its memory.
    pub fn forget(&mut self, side: Side) {
        self.reset(side);
        self.end_mut(side).held = false;
    }

    /// A side's kernel gives the connection up. Its process has yet to hear of it.
    pub fn reset(&mut self, side: Side) {
        let end = self.end_mut(side);
        *end = End {
            held: end.held,
            open: end.open.take(),
            ..End::default()
        };
    }

    /// Whether nothing more can come of it.
    pub fn is_over(&self) -> bool {
        let over = |end: &End| !end.held && (!end.known || end.outgoing.is_empty());
        let waits = self.node.in_flight || self.router_end.in_flight;
        over(&self.node) && over(&self.router_end) && !waits
    }

    /// Whether `side` has something to send, or to say that there is no more, which is not on its way yet.
    pub fn has_to_send(&self, side: Side) -> bool {
        let (end, other) = (self.end(side), self.end(side.other()));
        let last = end.finished && !other.ended && other.known;
        end.known && !end.in_flight && (!end.outgoing.is_empty() || last)
    }
}

/// All connections, by number.
#[derive(Debug, Default)]
pub struct Pipes {
    pipes: BTreeMap<u64, Pipe>,
    added: u64,
}

impl Pipes {
    /// Adds one. Gives its number.
    pub fn add(&mut self, pipe: Pipe) -> u64 {
        self.added += 1;
        self.pipes.insert(self.added, pipe);
        self.added
    }

    /// The one of this number, while there is anything left of it.
    pub fn get(&self, number: u64) -> Option<&Pipe> {
        self.pipes.get(&number)
    }

    /// The same.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Pipe> {
        self.pipes.get_mut(&number)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Pipe)> {
        self.pipes.iter().map(|(number, pipe)| (*number, pipe))
    }

    /// Drops those of which nothing more can come.
    pub fn sweep(&mut self) {
        self.pipes.retain(|_, pipe| !pipe.is_over());
    }
}

/// A kernel's first retransmission.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Kernels go on up to two minutes; hold times make that hard to reach.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// What the shell sets (TCP_USER_TIMEOUT).
const USER_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> Pipe {
        let end = |text: &str| text.parse().unwrap();
        let ends = (end("198.51.100.10:40000"), end("198.51.100.200:179"));
        let mut pipe = Pipe::new((0, 0), Side::Node, ends, None);
        pipe.accept();
        pipe
    }

    #[test]
    fn what_nobody_reads_stays_with_the_sender() {
        let mut pipe = pipe();
        pipe.end_mut(Side::Node).outgoing.extend([0; 30]);
        assert_eq!(pipe.arrive(Side::Node, 20), Arrival::Data);
        assert_eq!(pipe.arrive(Side::Node, 20), Arrival::NoRoom);
        assert_eq!(pipe.end(Side::Node).outgoing.len(), 10);
        pipe.end_mut(Side::Router).unread.clear();
        assert_eq!(pipe.arrive(Side::Node, 20), Arrival::Data);
        assert_eq!(pipe.end(Side::Router).unread.len(), 10);
    }

    #[test]
    fn a_host_without_memory_answers_with_a_reset() {
        let mut pipe = pipe();
        pipe.forget(Side::Router);
        pipe.end_mut(Side::Node).outgoing.extend([0; 30]);
        assert_eq!(pipe.arrive(Side::Node, 20), Arrival::Reset);
        assert!(pipe.end(Side::Node).held && !pipe.end(Side::Node).known);
        pipe.finish(Side::Node, 0);
        assert!(pipe.is_over());
    }

    #[test]
    fn the_end_comes_after_all_that_was_sent() {
        let mut pipe = pipe();
        pipe.end_mut(Side::Node).outgoing.extend([0; 30]);
        pipe.finish(Side::Node, usize::MAX);
        pipe.arrive(Side::Node, 20);
        assert!(!pipe.end(Side::Router).ended);
        pipe.end_mut(Side::Router).unread.clear();
        pipe.arrive(Side::Node, 20);
        assert!(pipe.end(Side::Router).ended);
    }

    #[test]
    fn what_is_lost_is_sent_again_later_and_later_and_then_given_up() {
        let mut pipe = pipe();
        let mut now = Time::ZERO;
        let mut waits = Vec::new();
        while let Some(wait) = pipe.lose(now, Side::Node) {
            waits.push(wait);
            now = now + wait;
        }
        assert!(waits.is_sorted() && waits.len() > 10, "{waits:?}");
        assert!(now.since(Time::ZERO) > USER_TIMEOUT);
    }
}
