//! The routes of a group, and the log of their changes.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ironlb_model::Family;

use super::super::batch::{Batch, Encoding};
use super::super::intern::Interner;
use crate::policy::{Export, Unsendable};
use crate::route::RouteAttributes;

/// Prefixes, each with its place in the log.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<IpNet, Entry>,
    /// Prefixes in the order of their last change, and how each is announced since: what a peer is told is read off here.
    log: BTreeMap<u64, (IpNet, Option<Arc<Encoding>>)>,
    /// Of these, the ones that have gone.
    gone: BTreeMap<u64, IpNet>,
    latest: u64,
    /// How many gone ones there may be before it is looked whether they are still needed.
    collect_at: usize,
}

#[derive(Debug)]
struct Entry {
    /// Place in the log of its first announcement: a peer whose cursor is not before it may have been told.
    created: u64,
    /// Place in the log.
    place: u64,
    /// `None` when it has gone.
    encoding: Option<Arc<Encoding>>,
}

impl Entry {
    /// Whether a peer with this cursor may have been told of it.
    const fn may_be_known(&self, cursor: u64) -> bool {
        self.created <= cursor
    }
}

impl Table {
    /// One that announces these, each prefix once. It is made at one go: a peer that has just come waits for it.
    pub(super) fn of(routes: Vec<(IpNet, Arc<Encoding>)>) -> Self {
        let entry = |(place, (prefix, encoding)): (u64, &(IpNet, Arc<Encoding>))| {
            let entry = Entry {
                created: place,
                place,
                encoding: Some(Arc::clone(encoding)),
            };
            (*prefix, entry)
        };
        let entries: BTreeMap<_, _> = (1..).zip(&routes).map(entry).collect();
        let logged = |(place, (prefix, encoding))| (place, (prefix, Some(encoding)));
        let log: BTreeMap<_, _> = (1..).zip(routes).map(logged).collect();
        Self {
            latest: log.last_key_value().map_or(0, |(place, _)| *place),
            entries,
            log,
            ..Self::default()
        }
    }

    /// The end of the log; 0 when there is none.
    pub(super) const fn latest(&self) -> u64 {
        self.latest
    }

    /// How many prefixes are kept, gone ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How `prefix` is announced; `None` when it is not.
    pub(super) fn get(&self, prefix: IpNet) -> Option<&Arc<Encoding>> {
        self.entries.get(&prefix)?.encoding.as_ref()
    }

    /// Whether a peer with this cursor may have been told of `prefix`.
    pub(super) fn may_be_known(&self, prefix: IpNet, cursor: u64) -> bool {
        let entry = self.entries.get(&prefix);
        entry.is_some_and(|entry| entry.may_be_known(cursor))
    }

    /// Announces `prefix`, or, without an encoding, ends it. Gives the place in the log that it had, when that changes.
    ///
    /// `furthest` is the cursor of the peer that has been told most.
    pub(super) fn set(
        &mut self,
        prefix: IpNet,
        encoding: Option<Arc<Encoding>>,
        furthest: u64,
    ) -> Option<u64> {
        let next = self.latest.saturating_add(1);
        let Some(entry) = self.entries.get_mut(&prefix) else {
            if encoding.is_some() {
                let (created, place) = (next, next);
                self.log.insert(next, (prefix, encoding.clone()));
                let entry = Entry {
                    created,
                    place,
                    encoding,
                };
                self.entries.insert(prefix, entry);
                self.latest = next;
            }
            return None;
        };
        if entry.encoding == encoding {
            return None;
        }
        let former = std::mem::replace(&mut entry.place, next);
        self.log.remove(&former);
        self.gone.remove(&former);
        if encoding.is_none() && !entry.may_be_known(furthest) {
            self.entries.remove(&prefix);
            return Some(former);
        }
        if encoding.is_none() {
            self.gone.insert(next, prefix);
        }
        self.log.insert(next, (prefix, encoding.clone()));
        entry.encoding = encoding;
        self.latest = next;
        Some(former)
    }

    /// What changed behind `cursor`, in order.
    pub(super) fn since(&self, cursor: u64) -> impl Iterator<Item = (u64, IpNet)> {
        let behind = self.log.range((Excluded(cursor), Unbounded));
        behind.map(|(place, (prefix, _))| (*place, *prefix))
    }

    /// What a peer with this cursor is to be told, as far as it goes at once, and where that ends.
    pub(super) fn batch(&self, cursor: u64) -> (Batch, u64) {
        let mut batch = Batch::default();
        for (place, (prefix, encoding)) in self.log.range((Excluded(cursor), Unbounded)) {
            if self.is_to_tell(*prefix, encoding.as_ref(), cursor) {
                batch.add(*prefix, encoding.as_ref());
            }
            if batch.is_full() {
                return (batch, *place);
            }
        }
        (batch, self.latest)
    }

    /// What a peer is told that goes from one cursor to the other.
    pub(super) fn told(&self, from: u64, to: u64) -> impl Iterator<Item = IpNet> {
        let behind = self.log.range((Excluded(from), Unbounded));
        let places = behind.take_while(move |(place, _)| **place <= to);
        let told = places.filter(move |(_, (prefix, encoding))| {
            self.is_to_tell(*prefix, encoding.as_ref(), from)
        });
        told.map(|(_, (prefix, _))| *prefix)
    }

    /// Whether a peer with this cursor is to be told that `prefix` is announced like this. The end of a route matters only to one
    /// that may have been told of it.
    fn is_to_tell(&self, prefix: IpNet, encoding: Option<&Arc<Encoding>>, cursor: u64) -> bool {
        encoding.is_some() || self.may_be_known(prefix, cursor)
    }

    /// What is announced, in order of prefix.
    pub(super) fn announced(&self) -> impl Iterator<Item = (IpNet, &Arc<Encoding>)> {
        let all = self.entries.iter();
        all.filter_map(|(prefix, entry)| Some((*prefix, entry.encoding.as_ref()?)))
    }

    /// What is announced behind `after`, or from the first of `family` on.
    pub(super) fn announced_after(
        &self,
        family: Family,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, &Arc<Encoding>)> {
        let first = match (after, family) {
            (Some(prefix), _) => Excluded(prefix),
            (None, Family::V4) => Included(IpNet::V4(Ipv4Net::default())),
            (None, Family::V6) => Included(IpNet::V6(Ipv6Net::default())),
        };
        let behind = self.entries.range((first, Unbounded));
        behind.filter_map(|(prefix, entry)| Some((*prefix, entry.encoding.as_ref()?)))
    }

    /// The prefixes that the two do not announce alike.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = IpNet> + 'a {
        let ours = self.announced();
        let ours = ours.filter(|(prefix, encoding)| other.get(*prefix) != Some(*encoding));
        let theirs = other.announced();
        let theirs = theirs.filter(|(prefix, _)| self.get(*prefix).is_none());
        ours.chain(theirs).map(|(prefix, _)| prefix)
    }

    /// Whether so many prefixes have gone since it was looked last that it is worth another look which are needed.
    pub(super) fn is_worth_collecting(&self) -> bool {
        self.gone.len() >= self.collect_at.max(FEW)
    }

    /// Drops the gone prefixes of whose end no peer is to be told any more. `cursors` are those of all peers, sorted.
    pub(super) fn collect(&mut self, cursors: &[u64]) {
        let Self {
            entries, log, gone, ..
        } = self;
        gone.retain(|place, prefix| {
            let created = entries.get(prefix).map_or(0, |entry| entry.created);
            let told = cursors.partition_point(|cursor| *cursor < created);
            let needed = cursors.get(told).is_some_and(|cursor| cursor < place);
            if !needed {
                entries.remove(prefix);
                log.remove(place);
            }
            needed
        });
        self.collect_at = self.gone.len().saturating_mul(2);
    }
}

/// What attributes are as bytes. Equal bytes are kept once, though they may come of different attributes.
#[derive(Debug)]
pub(super) struct Encodings {
    known: BTreeMap<(Family, Arc<RouteAttributes>), Encoded>,
    all: Interner<Encoding>,
    /// The one asked for last: neighbours in a table are mostly alike.
    last: Option<((Family, Arc<RouteAttributes>), Encoded)>,
}

type Encoded = Result<Arc<Encoding>, Unsendable>;

impl Encodings {
    pub(super) const fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            all: Interner::new(),
            last: None,
        }
    }

    /// They are to be made anew, of another policy.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.last = None;
    }

    pub(super) fn of(
        &mut self,
        export: &Export,
        family: Family,
        route: &Arc<RouteAttributes>,
    ) -> Encoded {
        if let Some(((last_family, last), encoded)) = &self.last
            && *last_family == family
            && Arc::ptr_eq(last, route)
        {
            return encoded.clone();
        }
        let encoded = self.find(export, family, route);
        self.last = Some(((family, Arc::clone(route)), encoded.clone()));
        encoded
    }

    fn find(&mut self, export: &Export, family: Family, route: &Arc<RouteAttributes>) -> Encoded {
        let key = (family, Arc::clone(route));
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        let encoded = export.encode(family, route);
        let encoding = encoded.map(|bytes| self.all.intern(&Arc::new(Encoding::new(bytes))));
        self.known.insert(key, encoding.clone());
        encoding
    }
}

/// Gone prefixes that are not worth a look.
const FEW: usize = 64;
/// How many encodings are known by their attributes at most; one that is not costs a microsecond.
const KNOWN: usize = 4096;
