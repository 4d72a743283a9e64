//! What a peer's sessions have to say, and how much was said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::table;
use crate::io::{Connection, Output};
use crate::timers::Random;
use crate::wire::Kind;
use crate::wire::framer::HEADER_LENGTH;

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
    pub(crate) fn send(&mut self, connection: Connection, bytes: Arc<[u8]>) {
        kinds(&bytes).for_each(|kind| self.counters.sent.count(kind));
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

/// The types of the messages in `bytes`, which are whole.
fn kinds(bytes: &[u8]) -> impl Iterator<Item = Kind> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<HEADER_LENGTH>()?;
        let [.., high, low, number] = *header;
        let length = usize::from(u16::from_be_bytes([high, low])).max(HEADER_LENGTH);
        rest = rest.get(length..).unwrap_or_default();
        table::kind(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Notification, Reason, encode_keepalive};

    #[test]
    fn every_message_in_a_batch_is_counted() {
        let mut bytes = Vec::new();
        encode_keepalive(&mut bytes);
        Notification::new(Reason::CEASE).encode(&mut bytes);
        encode_keepalive(&mut bytes);
        let mut out = Outbox::new(1);
        out.send(Connection::inbound(1), bytes.into());
        let sent = out.counters().sent;
        assert_eq!(
            (sent.keepalives, sent.notifications, sent.total()),
            (2, 1, 3)
        );
    }

    #[test]
    fn what_is_no_message_is_not_counted_and_does_no_harm() {
        for bytes in [&[0; 5][..], &[0; 19], &[0xff; 40]] {
            assert_eq!(kinds(bytes).count(), 0);
        }
    }
}
