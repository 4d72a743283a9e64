//! Who is answered: the addresses that this node owns now, on which interfaces, and everything that follows from it.

mod claim;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::config::Gratuitous;
use ironlb_model::{Family, Mac, Time};
use thiserror::Error;

use crate::DecodeError;
use crate::burst::Bursts;
use crate::group::Groups;
use crate::judge::{self, Heard};
use claim::Claims;

/// Answers for the addresses that this node holds, announces them unasked when it should, and for nothing else.
///
/// - State: [`set_port`](Self::set_port), [`remove_port`](Self::remove_port), [`hold`](Self::hold),
///   [`release`](Self::release). Each says how things are now; to say it again changes nothing.
/// - What arrives: [`handle_frame`](Self::handle_frame), [`tick`](Self::tick).
/// - What must be done: [`poll`](Self::poll) until `None` after each of the above; [`deadline`](Self::deadline).
///
/// A frame is answered from the state of that moment: once [`release`](Self::release) has returned, nothing says the
/// address is here any more, but for frames that were polled before.
#[derive(Debug)]
pub struct Responder {
    ports: BTreeMap<u32, Port>,
    held: HashMap<IpAddr, Held, BuildHasherDefault<DefaultHasher>>,
    groups: Groups,
    bursts: Bursts,
    claims: Claims,
    outputs: VecDeque<Output>,
}

/// An interface that frames are sent and received on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its Ethernet address, given in every answer.
    pub mac: Mac,
    /// Whether IPv4 addresses are announced on it.
    pub arp: bool,
    /// Whether IPv6 addresses are announced on it.
    pub ndp: bool,
}

/// How an address is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Where it is announced.
    pub interfaces: Interfaces,
    /// The burst when it appears on an interface.
    pub gratuitous: Gratuitous,
    /// The longest time between two announcements after the burst; `None` for none.
    pub refresh: Option<Duration>,
}

/// On which ports an address is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// On each that there is, later ones included.
    All,
    /// On these, by index, as soon as they are there.
    Only(BTreeSet<u32>),
}

impl Interfaces {
    /// Whether `interface` is one of them.
    pub fn contains(&self, interface: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(interfaces) => interfaces.contains(&interface),
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Receive frames to this Ethernet group on an interface.
    Join {
        /// The interface's index.
        interface: u32,
        /// The group.
        group: Mac,
    },
    /// Stop receiving them. Not said for an interface that is gone: its memberships go with its socket.
    Leave {
        /// The interface's index.
        interface: u32,
        /// The group.
        group: Mac,
    },
    /// Send a whole Ethernet frame.
    Send {
        /// The interface's index.
        interface: u32,
        /// The frame, from destination address to payload.
        frame: Vec<u8>,
    },
    /// Somebody else has an address that we hold.
    Conflict(Conflict),
}

/// Somebody else has said that it has an address of ours, and we still held it two seconds later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{address} is also at {mac}, seen on interface {interface}")]
pub struct Conflict {
    /// The interface where it was heard.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Who says it has it.
    pub mac: Mac,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It asked for this address, and is answered.
    Answered(IpAddr),
    /// It says that this address of ours is somebody else's.
    Claimed(IpAddr),
    /// It is about nothing that is held on this interface.
    Foreign,
    /// It is not looked at further.
    Dropped(Dropped),
}

/// Why a frame is not looked at further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Dropped {
    /// It breaks a rule of its protocol.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Neither its Ethernet nor its IPv6 destination is us, or they contradict each other.
    #[error("the frame is not addressed to this node")]
    NotForUs,
    /// We sent it.
    #[error("the frame comes from this node")]
    Reflected,
    /// It came in where, or by a protocol that, we do not answer.
    #[error("the interface does not answer this protocol")]
    Unwanted,
}

/// What was done for an address since it is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests for it.
    pub requests_received: u64,
    /// Answers to them.
    pub responses_sent: u64,
    /// Announcements nobody asked for, in frames.
    pub gratuitous_sent: u64,
}

impl Responder {
    /// One that holds nothing. `seed` spreads the refreshes of different nodes.
    pub fn new(seed: u64) -> Self {
        Self {
            ports: BTreeMap::new(),
            held: HashMap::default(),
            groups: Groups::default(),
            bursts: Bursts::new(seed),
            claims: Claims::default(),
            outputs: VecDeque::new(),
        }
    }

    /// An interface is there, or has changed. Open its socket first: joins may follow.
    ///
    /// What is held on it begins its burst there when the interface is new or has another Ethernet address.
    pub fn set_port(&mut self, now: Time, interface: u32, port: Port) {
        let before = self.ports.insert(interface, port);
        if before == Some(port) {
            return;
        }
        for address in self.addresses() {
            let active = self.is_active(address, interface);
            let moved = before.is_none_or(|before| before.mac != port.mac);
            let was = before.is_some_and(|before| judge::carries(&before, Family::of(address)))
                && self.wants(address, interface);
            match (was, active) {
                (false, true) => self.attach(now, interface, address),
                (true, false) => self.detach(interface, address),
                (true, true) if moved => self.start_burst(now, interface, address),
                _ => {}
            }
        }
        self.announce_due(now);
    }

    /// An interface is gone, or not ours to answer on any more.
    pub fn remove_port(&mut self, interface: u32) {
        if self.ports.remove(&interface).is_none() {
            return;
        }
        self.groups.forget(interface);
        self.claims.forget_interface(interface);
        for address in self.held.keys() {
            self.bursts.stop((interface, *address));
        }
    }

    /// This node owns `address` now, this way. Its burst begins at once on every interface where it was not before.
    pub fn hold(&mut self, now: Time, address: IpAddr, holding: Holding) {
        let before = self.held.get(&address).map(|held| held.holding.clone());
        if before.as_ref() == Some(&holding) {
            return;
        }
        let was = self.active_on(address);
        let refreshed = before.is_some_and(|before| before.refresh != holding.refresh);
        self.held.entry(address).or_default().holding = holding.clone();
        let is = self.active_on(address);
        for interface in was.difference(&is) {
            self.detach(*interface, address);
        }
        for interface in is.difference(&was) {
            self.attach(now, *interface, address);
        }
        for interface in was.intersection(&is).filter(|_| refreshed) {
            let place = (*interface, address);
            self.bursts.refresh(now, place, holding.refresh);
        }
        // Only this address: how the others are held may be about to change too.
        for interface in is {
            if self.bursts.is_due(now, (interface, address)) {
                self.announce(interface, address);
            }
        }
    }

    /// This node does not own `address` any more: it is not answered, nor announced, from now on.
    pub fn release(&mut self, address: IpAddr) {
        for interface in self.active_on(address) {
            self.detach(interface, address);
        }
        self.held.remove(&address);
    }

    /// A frame came in. The answer, if any, is the next [`poll`](Self::poll).
    pub fn handle_frame(&mut self, now: Time, interface: u32, frame: &[u8]) -> Verdict {
        let Some(port) = self.ports.get(&interface) else {
            return Verdict::Dropped(Dropped::Unwanted);
        };
        match judge::hear(frame, port, |mac| self.is_own(mac)) {
            Ok(heard) => self.consider(now, interface, *port, &heard),
            Err(dropped) => Verdict::Dropped(dropped),
        }
    }

    /// The time of [`deadline`](Self::deadline) has come; harmless when early.
    pub fn tick(&mut self, now: Time) {
        while let Some(conflict) = self.claims.confirm(now) {
            self.outputs.push_back(Output::Conflict(conflict));
            self.announce(conflict.interface, conflict.address);
        }
        self.announce_due(now);
    }

    /// What to do next, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to [`tick`](Self::tick); `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        let both = [self.bursts.deadline(), self.claims.deadline()];
        both.into_iter().flatten().min()
    }

    /// Whether this node owns `address`, on whatever interface.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// Every address held, with its counters, in order.
    pub fn counters(&self) -> BTreeMap<IpAddr, Counters> {
        self.held
            .iter()
            .map(|(address, held)| (*address, held.counters))
            .collect()
    }

    /// What follows from a valid frame.
    fn consider(&mut self, now: Time, interface: u32, port: Port, heard: &Heard) -> Verdict {
        if let Some((address, mac)) = heard.claim
            && self.is_active(address, interface)
        {
            self.claims.hear(now, interface, address, mac);
            return Verdict::Claimed(address);
        }
        let Some(question) = heard.question else {
            return Verdict::Foreign;
        };
        let address = question.target();
        let Some(held) = self.held.get_mut(&address) else {
            return Verdict::Foreign;
        };
        if !held.holding.interfaces.contains(interface) {
            return Verdict::Foreign;
        }
        held.counters.requests_received = held.counters.requests_received.saturating_add(1);
        held.counters.responses_sent = held.counters.responses_sent.saturating_add(1);
        let frame = question.answer(&port);
        self.outputs.push_back(Output::Send { interface, frame });
        Verdict::Answered(address)
    }

    /// `address` appears on `interface`.
    fn attach(&mut self, now: Time, interface: u32, address: IpAddr) {
        if let IpAddr::V6(address) = address
            && let Some(group) = self.groups.join(interface, address)
        {
            self.outputs.push_back(Output::Join { interface, group });
        }
        self.start_burst(now, interface, address);
    }

    /// `address` disappears from `interface`.
    fn detach(&mut self, interface: u32, address: IpAddr) {
        self.bursts.stop((interface, address));
        self.claims.forget(interface, address);
        if let IpAddr::V6(address) = address
            && let Some(group) = self.groups.leave(interface, address)
        {
            self.outputs.push_back(Output::Leave { interface, group });
        }
    }

    fn start_burst(&mut self, now: Time, interface: u32, address: IpAddr) {
        if let Some(held) = self.held.get(&address) {
            let Holding {
                gratuitous,
                refresh,
                ..
            } = held.holding;
            self.bursts
                .start(now, (interface, address), gratuitous, refresh);
        }
    }

    fn announce_due(&mut self, now: Time) {
        while let Some((interface, address)) = self.bursts.due(now) {
            self.announce(interface, address);
        }
    }

    /// One announcement, in every form there is.
    fn announce(&mut self, interface: u32, address: IpAddr) {
        let (Some(port), Some(held)) = (self.ports.get(&interface), self.held.get_mut(&address))
        else {
            return;
        };
        for frame in judge::gratuitous(address, port) {
            held.counters.gratuitous_sent = held.counters.gratuitous_sent.saturating_add(1);
            self.outputs.push_back(Output::Send { interface, frame });
        }
    }

    /// Whether an Ethernet address is one of this node's ports.
    fn is_own(&self, mac: Mac) -> bool {
        self.ports.values().any(|port| port.mac == mac)
    }

    /// Whether `address` is answered for on `interface` now.
    fn is_active(&self, address: IpAddr, interface: u32) -> bool {
        self.wants(address, interface)
            && self
                .ports
                .get(&interface)
                .is_some_and(|port| judge::carries(port, Family::of(address)))
    }

    /// Whether `address` is held on `interface`, should it be there.
    fn wants(&self, address: IpAddr, interface: u32) -> bool {
        self.held
            .get(&address)
            .is_some_and(|held| held.holding.interfaces.contains(interface))
    }

    /// The interfaces where `address` is answered for now.
    fn active_on(&self, address: IpAddr) -> BTreeSet<u32> {
        self.ports
            .keys()
            .copied()
            .filter(|interface| self.is_active(address, *interface))
            .collect()
    }

    /// Every address held, in order.
    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.held.keys().copied().collect()
    }
}

/// An address that we own.
#[derive(Debug)]
struct Held {
    holding: Holding,
    counters: Counters,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            holding: Holding {
                interfaces: Interfaces::Only(BTreeSet::new()),
                gratuitous: Gratuitous::default(),
                refresh: None,
            },
            counters: Counters::default(),
        }
    }
}

#[cfg(test)]
mod tests;
