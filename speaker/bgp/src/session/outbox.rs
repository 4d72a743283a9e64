//! What a peer's sessions have to say, and how much was said.

use std::collections::VecDeque;
use std::time::Duration;

use crate::io::{Connection, Output};
use crate::timers::Random;
use crate::wire::{Framer, Kind};

/// Collects what is to be done, and counts messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    outputs: VecDeque<Output>,
    counters: Counters,
    random: Random,
}

/// The messages of a peer since the speaker knows it, over all its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the peer.
    pub received: Messages,
    /// To the peer.
    pub sent: Messages,
}

/// Messages by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPENs.
    pub opens: u64,
    /// UPDATEs, End-of-RIB included.
    pub updates: u64,
    /// NOTIFICATIONs.
    pub notifications: u64,
    /// KEEPALIVEs.
    pub keepalives: u64,
    /// ROUTE-REFRESHes, BoRR and EoRR included.
    pub route_refreshes: u64,
}

impl Messages {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.opens
            .saturating_add(self.updates)
            .saturating_add(self.notifications)
            .saturating_add(self.keepalives)
            .saturating_add(self.route_refreshes)
    }

    const fn count(&mut self, kind: Kind) {
        let counter = match kind {
            Kind::Open => &mut self.opens,
            Kind::Update => &mut self.updates,
            Kind::Notification => &mut self.notifications,
            Kind::Keepalive => &mut self.keepalives,
            Kind::RouteRefresh => &mut self.route_refreshes,
        };
        *counter = counter.saturating_add(1);
    }
}

impl Outbox {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            outputs: VecDeque::new(),
            counters: Counters::default(),
            random: Random::new(seed),
        }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Sends whole messages.
    pub(crate) fn send(&mut self, connection: Connection, bytes: Vec<u8>) {
        let mut framer = Framer::new();
        framer.set_extended(true);
        framer.push(&bytes);
        while let Ok(Some(frame)) = framer.next() {
            self.counters.sent.count(frame.kind);
        }
        self.push(Output::Send { connection, bytes });
    }

    pub(crate) fn close(&mut self, connection: Connection) {
        self.push(Output::Close(connection));
    }

    pub(crate) const fn received(&mut self, kind: Kind) {
        self.counters.received.count(kind);
    }

    pub(crate) const fn counters(&self) -> Counters {
        self.counters
    }

    /// See [`Random::jitter`].
    pub(crate) fn jitter(&mut self, interval: Duration) -> Duration {
        self.random.jitter(interval)
    }
}
