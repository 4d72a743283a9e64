//! How far a peer of a group has been told.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use ironlb_model::Family;

use super::super::batch::Batch;
use super::family_of;
use super::table::Table;
use crate::wire::{AfiSafi, RefreshKind, RouteRefresh};

/// Where a peer is. Of what it has been told, nothing else is kept.
#[derive(Debug)]
pub(in super::super) struct Member {
    /// The peer has been told what is in the log up to here, itself included.
    pub(super) cursor: u64,
    /// Prefixes of which the peer may believe what is wrong, for another reason than the log.
    pub(super) repairs: BTreeSet<IpNet>,
    /// Whether it has not been told everything once.
    pub(super) is_initial: bool,
    /// The families that it has asked for again.
    refreshes: BTreeMap<Family, Refresh>,
}

/// How far a family has been told again.
#[derive(Clone, Copy, Debug)]
struct Refresh {
    /// The last prefix told; `None` before the first.
    told: Option<IpNet>,
    /// Whether it stands between BoRR and EoRR (RFC 7313).
    framed: bool,
}

impl Member {
    /// A peer that has been told nothing.
    pub(in super::super) const fn new() -> Self {
        Self {
            cursor: 0,
            repairs: BTreeSet::new(),
            is_initial: true,
            refreshes: BTreeMap::new(),
        }
    }

    /// Whether it has been told everything once, End-of-RIB included.
    pub(in super::super) const fn is_complete(&self) -> bool {
        !self.is_initial
    }

    /// Asks for `family` again, from the beginning when that is under way already.
    pub(super) fn refresh(&mut self, family: Family, framed: bool) {
        let told = None;
        self.refreshes.insert(family, Refresh { told, framed });
    }

    /// Whether there is something to tell it when the log ends at `latest`.
    pub(super) fn wants(&self, latest: u64) -> bool {
        self.cursor < latest
            || self.is_initial
            || !self.repairs.is_empty()
            || !self.refreshes.is_empty()
    }

    /// It has been told what is in the log up to `cursor`.
    pub(super) fn advance(&mut self, cursor: u64, table: &Table) {
        if !self.repairs.is_empty() {
            for prefix in table.told(self.cursor, cursor) {
                self.repairs.remove(&prefix);
            }
        }
        self.cursor = cursor;
    }

    /// Takes repairs out, as many as go at once.
    pub(super) fn take_repairs(&mut self, table: &Table) -> Batch {
        let mut batch = Batch::default();
        while !batch.is_full()
            && let Some(prefix) = self.repairs.pop_first()
        {
            batch.add(prefix, table.get(prefix));
        }
        batch
    }

    /// The next messages of a family that is told again.
    pub(super) fn take_refresh(&mut self, table: &Table, max_length: usize) -> Option<Vec<u8>> {
        let (family, refresh) = self.refreshes.first_key_value()?;
        let (family, Refresh { told, framed }) = (*family, *refresh);
        let mut bytes = Vec::new();
        if told.is_none() && framed {
            mark(family, RefreshKind::Begin, &mut bytes);
        }
        let (mut batch, mut last) = (Batch::default(), None);
        let routes = table.announced_after(family, told);
        for (prefix, encoding) in routes.take_while(|(prefix, _)| family_of(*prefix) == family) {
            batch.add(prefix, Some(encoding));
            if batch.is_full() {
                last = Some(prefix);
                break;
            }
        }
        batch.write(max_length, &mut bytes);
        if last.is_some() {
            let told = last;
            self.refreshes.insert(family, Refresh { told, framed });
            return Some(bytes);
        }
        self.refreshes.remove(&family);
        if framed {
            mark(family, RefreshKind::End, &mut bytes);
        }
        Some(bytes)
    }
}

fn mark(family: Family, kind: RefreshKind, to: &mut Vec<u8>) {
    let family = AfiSafi::from(family);
    RouteRefresh { family, kind }.encode(to);
}
