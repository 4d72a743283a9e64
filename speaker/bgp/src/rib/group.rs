//! An update group: peers that are told the same in the same words.
//!
//! Each prefix has one place in a log, that of its last change; when it changes again it moves to the end. A peer has a cursor in
//! the log: what is behind it is what the peer has still to be told, each prefix once and in its latest state, however long the
//! peer has not listened. A prefix that has gone stays in the log as long as there is a peer that was told of it and not yet of
//! its end. So the group never holds more than its routes and those that its peers still believe in.

mod member;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ipnet::IpNet;
use ironlb_model::{Family, Name};

pub(super) use member::Member;
use table::{Encodings, Table};

use super::batch::{Batch, Encoding};
use super::intended::Change;
use crate::policy::{Export, Unsendable};
use crate::route::{Audience, RouteAttributes};
use crate::wire::end_of_rib;

/// Peers that are told the same, and what that is.
pub(super) struct Group {
    audience: Audience,
    export: Export,
    encodings: Encodings,
    table: Table,
    unsendable: BTreeMap<IpNet, Unsendable>,
    members: BTreeMap<Name, Member>,
    /// Stretches of the log that were written already, oldest first, none outdated.
    chunks: VecDeque<Chunk>,
    written: Written,
}

/// How much was encoded, for all peers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How often something was encoded.
    pub times: u64,
    /// Bytes, each counted once however many peers it went to.
    pub bytes: u64,
}

/// The messages that take a peer from one place in the log to another.
struct Chunk {
    from: u64,
    to: u64,
    bytes: Arc<[u8]>,
}

impl Group {
    pub(super) fn new<'a>(
        audience: Audience,
        export: Export,
        routes: impl Iterator<Item = (IpNet, &'a Arc<RouteAttributes>)>,
    ) -> Self {
        let mut group = Self {
            audience,
            export,
            encodings: Encodings::new(),
            table: Table::default(),
            unsendable: BTreeMap::new(),
            members: BTreeMap::new(),
            chunks: VecDeque::new(),
            written: Written::default(),
        };
        let told = routes.filter_map(|(prefix, attributes)| {
            let encoding = group.encoding(prefix, Some(attributes))?;
            Some((prefix, encoding))
        });
        group.table = Table::of(told.collect());
        group
    }

    pub(super) const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Whether peers with these belong to it.
    pub(super) fn is_for(&self, audience: &Audience, export: &Export) -> bool {
        self.audience == *audience && self.export == *export
    }

    pub(super) const fn export(&self) -> &Export {
        &self.export
    }

    pub(super) const fn members(&self) -> &BTreeMap<Name, Member> {
        &self.members
    }

    pub(super) const fn written(&self) -> Written {
        self.written
    }

    pub(super) const fn unsendable(&self) -> &BTreeMap<IpNet, Unsendable> {
        &self.unsendable
    }

    /// The prefixes that it announces.
    pub(super) fn announced(&self) -> impl Iterator<Item = IpNet> {
        self.table.announced().map(|(prefix, _)| prefix)
    }

    /// How many prefixes it keeps, those included that have gone and of which a peer must yet be told.
    pub(super) fn kept(&self) -> usize {
        self.table.len()
    }

    /// Takes changes in; those that announce first.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        let furthest = self.furthest();
        for announces in [true, false] {
            let changes = changes.iter();
            for change in changes.filter(|change| change.attributes.is_some() == announces) {
                self.set(change.prefix, change.attributes.as_ref(), furthest);
            }
        }
        if self.table.is_worth_collecting() {
            let mut cursors: Vec<u64> = self.members.values().map(|peer| peer.cursor).collect();
            cursors.sort_unstable();
            self.table.collect(&cursors);
        }
    }

    /// All its peers are another audience from now on, or are told otherwise. What stays as it is, is not told again.
    pub(super) fn become_for<'a>(
        &mut self,
        audience: Audience,
        export: Export,
        routes: impl Iterator<Item = (IpNet, &'a Arc<RouteAttributes>)>,
    ) {
        self.audience = audience;
        self.export = export;
        self.encodings.forget();
        let announce = |(prefix, attributes): (IpNet, &Arc<RouteAttributes>)| Change {
            prefix,
            attributes: Some(Arc::clone(attributes)),
        };
        let mut changes: Vec<Change> = routes.map(announce).collect();
        let wanted: BTreeSet<IpNet> = changes.iter().map(|change| change.prefix).collect();
        let known = self.table.announced().map(|(prefix, _)| prefix);
        let gone = known.chain(self.unsendable.keys().copied());
        let gone: BTreeSet<IpNet> = gone.filter(|prefix| !wanted.contains(prefix)).collect();
        changes.extend(gone.into_iter().map(|prefix| Change {
            prefix,
            attributes: None,
        }));
        self.apply(&changes);
    }

    /// `furthest` is the cursor of the peer that has been told most.
    fn set(&mut self, prefix: IpNet, attributes: Option<&Arc<RouteAttributes>>, furthest: u64) {
        self.unsendable.remove(&prefix);
        let encoding = self.encoding(prefix, attributes);
        if let Some(place) = self.table.set(prefix, encoding, furthest) {
            let is_sound = |chunk: &Chunk| place <= chunk.from || place > chunk.to;
            self.chunks.retain(is_sound);
        }
    }

    /// How `prefix` is announced with these attributes; `None` when it is not, or cannot be.
    fn encoding(
        &mut self,
        prefix: IpNet,
        attributes: Option<&Arc<RouteAttributes>>,
    ) -> Option<Arc<Encoding>> {
        let family = family_of(prefix);
        let route = attributes.filter(|_| self.export.negotiated.exchanges(family))?;
        match self.encodings.of(&self.export, family, route) {
            Ok(encoding) => Some(encoding),
            Err(reason) => {
                self.unsendable.insert(prefix, reason);
                None
            }
        }
    }

    fn furthest(&self) -> u64 {
        let cursors = self.members.values().map(|peer| peer.cursor);
        cursors.max().unwrap_or(0)
    }

    /// Adds a peer to be told everything.
    pub(super) fn join(&mut self, peer: Name, member: Member) {
        self.members.insert(peer, member);
    }

    /// Adds a peer that comes from `other`: it is told what differs from what it believes.
    pub(super) fn move_from(&mut self, other: &mut Self, peer: &Name) {
        let Some(mut member) = other.members.remove(peer) else {
            return;
        };
        let (former, table) = (&other.table, &self.table);
        let unsure = former.since(member.cursor).map(|(_, prefix)| prefix);
        let repairs = unsure.chain(former.differences(table));
        let matters = |prefix: &IpNet| {
            table.get(*prefix).is_some() || former.may_be_known(*prefix, member.cursor)
        };
        member.repairs.extend(repairs.filter(matters));
        member.cursor = self.table.latest();
        self.members.insert(peer.clone(), member);
    }

    pub(super) fn leave(&mut self, peer: &Name) {
        self.members.remove(peer);
    }

    /// Asks for all routes of `family` again, for one peer.
    pub(super) fn refresh(&mut self, peer: &Name, family: Family, framed: bool) {
        if let Some(member) = self.members.get_mut(peer)
            && self.export.negotiated.exchanges(family)
        {
            member.refresh(family, framed);
        }
    }

    /// Whether there is something to send to `peer`.
    pub(super) fn has_output(&self, peer: &Name) -> bool {
        let member = self.members.get(peer);
        member.is_some_and(|member| member.wants(self.table.latest()))
    }

    /// How many prefixes `peer` has still to be told of.
    pub(super) fn pending(&self, peer: &Name) -> usize {
        let behind = |member: &Member| {
            let since = self.table.since(member.cursor).count();
            since.saturating_add(member.repairs.len())
        };
        self.members.get(peer).map_or(0, behind)
    }

    /// The next messages for `peer`.
    pub(super) fn poll(&mut self, peer: &Name) -> Option<Arc<[u8]>> {
        while self.has_output(peer) {
            let bytes = self.next(peer)?;
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
        None
    }

    /// A step for `peer`, which has something to be told; what comes of it may be empty.
    fn next(&mut self, peer: &Name) -> Option<Arc<[u8]>> {
        let max_length = self.export.max_length;
        let cursor = self.members.get(peer)?.cursor;
        if cursor < self.table.latest() {
            let (bytes, to) = self.chunk(cursor);
            self.members.get_mut(peer)?.advance(to, &self.table);
            self.forget_what_all_know();
            return Some(bytes);
        }
        // Whatever else a peer is told is in the log before its cursor: so a cursor says enough of what a peer may know.
        let member = self.members.get_mut(peer)?;
        if !member.repairs.is_empty() {
            let batch = member.take_repairs(&self.table);
            return Some(self.written.write(batch, max_length));
        }
        if member.is_initial {
            member.is_initial = false;
            return Some(self.ends_of_rib());
        }
        let bytes = member.take_refresh(&self.table, max_length)?;
        self.written.count(&bytes);
        Some(bytes.into())
    }

    fn forget_what_all_know(&mut self) {
        let latest = self.table.latest();
        if self.members.values().all(|peer| peer.cursor == latest) {
            self.table.collect(&[latest]);
        }
    }

    /// What is behind `from` in the log, as far as it goes at once, and where that ends.
    fn chunk(&mut self, from: u64) -> (Arc<[u8]>, u64) {
        if let Some(chunk) = self.chunks.iter().find(|chunk| chunk.from == from) {
            return (Arc::clone(&chunk.bytes), chunk.to);
        }
        let (batch, to) = self.table.batch(from);
        let bytes = self.written.write(batch, self.export.max_length);
        self.chunks.push_back(Chunk {
            from,
            to,
            bytes: Arc::clone(&bytes),
        });
        while self.chunks.len() > CHUNKS || self.chunk_bytes() > CHUNKS_BYTES {
            self.chunks.pop_front();
        }
        (bytes, to)
    }

    fn chunk_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    fn ends_of_rib(&self) -> Arc<[u8]> {
        let mut bytes = Vec::new();
        let negotiated = &self.export.negotiated;
        let families = Family::ALL.into_iter();
        for family in families.filter(|family| negotiated.exchanges(*family)) {
            end_of_rib(family, &mut bytes);
        }
        bytes.into()
    }
}

impl Written {
    fn write(&mut self, batch: Batch, max_length: usize) -> Arc<[u8]> {
        let mut bytes = Vec::new();
        batch.write(max_length, &mut bytes);
        self.count(&bytes);
        bytes.into()
    }

    fn count(&mut self, bytes: &[u8]) {
        self.times = self.times.saturating_add(u64::from(!bytes.is_empty()));
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }
}

/// The family of a prefix.
pub(super) const fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

/// How many chunks are kept for peers that follow, at most.
const CHUNKS: usize = 16;
/// How many bytes they may have together: 50,000 host routes of IPv4, more than twice.
const CHUNKS_BYTES: usize = 512 * 1024;
