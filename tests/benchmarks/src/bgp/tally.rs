//! What went by on a connection, message by message.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use ironlb_bgp::wire::{Framer, Message, Negotiated};

/// Counts what one side of a session says. Clones are the same.
#[derive(Clone)]
pub(crate) struct Tally {
    counts: Arc<(Mutex<Counts>, Condvar)>,
    /// How many prefixes are expected.
    expected: u64,
}

/// What was said until now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Octets of all messages: the payload of TCP.
    pub(crate) bytes: u64,
    /// UPDATEs with a prefix.
    pub(crate) updates: u64,
    pub(crate) announced: u64,
    pub(crate) withdrawn: u64,
    /// End-of-RIB markers.
    pub(crate) ends: u64,
    /// When 99 % of the prefixes expected had been announced.
    pub(crate) nearly: Option<Instant>,
    /// When the last UPDATE with a prefix was there.
    pub(crate) last: Option<Instant>,
}

impl Tally {
    pub(crate) fn new(expected: u64) -> Self {
        Self {
            counts: Arc::default(),
            expected,
        }
    }

    /// Waits until `condition` holds, and gives what there was then.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Counts) -> bool,
    ) -> anyhow::Result<Counts> {
        let (counts, changed) = &*self.counts;
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(counts, limit, |counts| !condition(counts));
        let (counts, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(
            !timeout.timed_out(),
            "{what}: not within {limit:?}, {counts:?}"
        );
        Ok(*counts)
    }

    pub(crate) fn now(&self) -> Counts {
        *self.counts.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, seen: Counts) {
        let (counts, changed) = &*self.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.bytes += seen.bytes;
        counts.updates += seen.updates;
        counts.announced += seen.announced;
        counts.withdrawn += seen.withdrawn;
        counts.ends += seen.ends;
        counts.last = seen.last.or(counts.last);
        if counts.announced * 100 >= self.expected * 99 {
            counts.nearly = counts.nearly.or(seen.last);
        }
        changed.notify_all();
    }
}

/// Reads the bytes that a tally counts.
pub(crate) struct Reader {
    framer: Framer,
    tally: Tally,
}

impl Reader {
    /// From the first byte of a session on.
    pub(crate) fn new(tally: Tally) -> Self {
        let mut framer = Framer::new();
        framer.set_extended(true);
        Self { framer, tally }
    }

    /// Takes what arrived just now.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut seen = Counts {
            bytes: bytes.len() as u64,
            ..Counts::default()
        };
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next().context("the header of a message")? {
            let Ok(Message::Update(update)) = Message::decode(frame, &WIRE) else {
                continue;
            };
            let announced = update.routes_announced().count() as u64;
            let withdrawn = update.routes_withdrawn().count() as u64;
            seen.announced += announced;
            seen.withdrawn += withdrawn;
            if announced + withdrawn > 0 {
                seen.updates += 1;
                seen.last = Some(now);
            }
            seen.ends += u64::from(update.end_of_rib.is_some());
        }
        self.tally.add(seen);
        Ok(())
    }
}

/// What all sessions here agree on.
pub(super) const WIRE: Negotiated = Negotiated {
    four_octet_as: true,
    internal: false,
    ipv4: true,
    ipv6: false,
    extended_next_hop: false,
};
