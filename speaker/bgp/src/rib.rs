//! Adj-RIB-Out (RFC 4271 §3.2): what every peer is to be told, and how far it has been told.
//!
//! Wishes of Services come in, and are merged by prefix for each [`Audience`]. Peers with the same audience and the same
//! [`Export`] are an update group: one table, one log of changes, every message encoded once. Nothing is queued for a peer; when
//! it can take more, it is told what has changed since it was told last.

mod batch;
mod group;
mod intended;
mod intern;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use ironlb_model::{Family, Name, ServiceKey, Time};

pub use group::Written;
use group::{Group, Member};
use intended::{Change, Intended};
use intern::Interner;
use window::Window;

use crate::policy::{Export, LocalAddresses, Standing, Unsendable};
use crate::route::{Audience, Route, RouteAttributes};

/// What is announced, to whom, and who knows it already.
///
/// 1. Tell it what is wanted: [`set_routes`](Self::set_routes), [`set_ready`](Self::set_ready) once everything has been told, and
///    [`retarget`](Self::retarget) when what a peer is told changes as a whole.
/// 2. Tell it of sessions: [`up`](Self::up), [`down`](Self::down), [`refresh`](Self::refresh).
/// 3. [`tick`](Self::tick) after each of these, and at [`deadline`](Self::deadline).
/// 4. [`poll`](Self::poll) for each peer whose connection can take more, until `None`. Ask only when what came before has been
///    written: what is not yet asked for is still up to date.
#[derive(Default)]
pub struct Rib {
    attributes: Interner<RouteAttributes>,
    /// What each Service wants.
    services: BTreeMap<ServiceKey, BTreeSet<(Audience, IpNet)>>,
    audiences: BTreeMap<Audience, Intended>,
    groups: BTreeMap<GroupId, Group>,
    next_group: GroupId,
    /// The peers that there is a session with, and their groups.
    peers: BTreeMap<Name, GroupId>,
    /// What peers are to be from the next flush on.
    retargets: BTreeMap<Name, (Audience, Export)>,
    window: Window,
    flushes: u64,
    is_ready: bool,
}

type GroupId = u64;

impl Rib {
    /// Nothing to announce, and nobody to be told.
    pub fn new() -> Self {
        Self::default()
    }

    /// `service` wants these routes announced and no others. Two of one prefix for one audience are merged.
    pub fn set_routes(
        &mut self,
        now: Time,
        service: &ServiceKey,
        routes: impl IntoIterator<Item = (Audience, Route)>,
    ) {
        let mut wanted: BTreeMap<(Audience, IpNet), Arc<RouteAttributes>> = BTreeMap::new();
        for (audience, Route { prefix, attributes }) in routes {
            let key = (audience, prefix.trunc());
            if let Some(other) = wanted.get_mut(&key) {
                Arc::make_mut(other).merge(&attributes);
            } else {
                wanted.insert(key, attributes);
            }
        }
        let keys: BTreeSet<_> = wanted.keys().cloned().collect();
        let former = self.services.remove(service).unwrap_or_default();
        for (audience, prefix) in former.difference(&keys) {
            self.set_route(now, service, audience, *prefix, None);
        }
        for ((audience, prefix), attributes) in wanted {
            let attributes = self.attributes.intern(&attributes);
            self.set_route(now, service, &audience, prefix, Some(attributes));
        }
        if !keys.is_empty() {
            self.services.insert(service.clone(), keys);
        }
    }

    fn set_route(
        &mut self,
        now: Time,
        service: &ServiceKey,
        audience: &Audience,
        prefix: IpNet,
        attributes: Option<Arc<RouteAttributes>>,
    ) {
        let intended = self.audiences.entry(audience.clone()).or_default();
        if intended.set(service, prefix, attributes) {
            self.window.open(now);
        }
    }

    /// All Services have said what they want: peers are told from now on, and End-of-RIB means it. Before, a restarted speaker
    /// would have its neighbours drop routes that they kept for it (RFC 4724 §4.1).
    pub fn set_ready(&mut self, now: Time) {
        self.flush(now);
        self.is_ready = true;
    }

    /// A session with `peer` is established. It is told everything, and then End-of-RIB for each family.
    pub fn up(&mut self, now: Time, peer: &Name, audience: Audience, export: Export) {
        self.down(peer);
        // What is not in the group now would come after End-of-RIB.
        self.flush(now);
        let id = self.group_for(audience, export);
        if let Some(group) = self.groups.get_mut(&id) {
            group.join(peer.clone(), Member::new());
        }
        self.peers.insert(peer.clone(), id);
    }

    /// The session with `peer` is over; what it has been told is forgotten.
    pub fn down(&mut self, peer: &Name) {
        self.retargets.remove(peer);
        let Some(id) = self.peers.remove(peer) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&id) {
            group.leave(peer);
        }
        self.drop_empty(id);
    }

    /// `peer` is told what this audience is, with this standing; what is different is announced in place. Without a session,
    /// nothing.
    pub fn retarget(&mut self, now: Time, peer: &Name, audience: Audience, standing: Standing) {
        self.change(now, peer, |target| {
            (target.0, target.1.standing) = (audience, standing);
        });
    }

    /// Our addresses on the session with `peer` are these, and so are the next hops. Without a session, nothing.
    pub fn relocate(&mut self, now: Time, peer: &Name, local: LocalAddresses) {
        self.change(now, peer, |target| target.1.local = local);
    }

    fn change(&mut self, now: Time, peer: &Name, change: impl FnOnce(&mut (Audience, Export))) {
        let Some((audience, export)) = self.target(peer) else {
            return;
        };
        let mut target = (audience.clone(), export.clone());
        change(&mut target);
        self.retargets.insert(peer.clone(), target);
        self.window.open(now);
    }

    /// What `peer` is told, and how; `None` without a session.
    pub fn target(&self, peer: &Name) -> Option<(&Audience, &Export)> {
        if let Some((audience, export)) = self.retargets.get(peer) {
            return Some((audience, export));
        }
        self.group_of(peer)
            .map(|group| (group.audience(), group.export()))
    }

    /// `peer` asks for all routes of `family` again (RFC 2918): between BoRR and EoRR when `framed` (RFC 7313).
    pub fn refresh(&mut self, peer: &Name, family: Family, framed: bool) {
        let id = self.peers.get(peer);
        if let Some(group) = id.and_then(|id| self.groups.get_mut(id)) {
            group.refresh(peer, family, framed);
        }
    }

    /// Lets changes out, when it is time.
    pub fn tick(&mut self, now: Time) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.flush(now);
        }
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Time> {
        let held = self.audiences.values().filter_map(Intended::deadline);
        self.window.due().into_iter().chain(held).min()
    }

    /// The next messages for `peer`, whole ones; `None` when it has been told everything.
    pub fn poll(&mut self, peer: &Name) -> Option<Arc<[u8]>> {
        let id = self.peers.get(peer).filter(|_| self.is_ready)?;
        self.groups.get_mut(id)?.poll(peer)
    }

    /// Whether there is something to send to `peer`.
    pub fn has_output(&self, peer: &Name) -> bool {
        self.is_ready
            && self
                .group_of(peer)
                .is_some_and(|group| group.has_output(peer))
    }

    /// Whether `peer` has been given everything that is wanted until now, End-of-RIB included, and what was changed in between
    /// too.
    pub fn is_up_to_date(&self, peer: &Name) -> bool {
        let is_told = |group: &Group| {
            let member = group.members().get(peer);
            member.is_some_and(Member::is_complete) && !group.has_output(peer)
        };
        self.is_ready && self.window.due().is_none() && self.group_of(peer).is_some_and(is_told)
    }

    /// How many prefixes `peer` has still to be told of; what waits for the next flush is not among them.
    pub fn pending(&self, peer: &Name) -> usize {
        self.group_of(peer).map_or(0, |group| group.pending(peer))
    }

    /// The routes that `peer` is told, in order of prefix.
    pub fn routes(&self, peer: &Name) -> impl Iterator<Item = (IpNet, &RouteAttributes)> {
        let group = self.group_of(peer);
        let intended = group.and_then(|group| self.audiences.get(group.audience()));
        let all = intended.into_iter().flat_map(Intended::routes);
        let announced: BTreeSet<IpNet> = group.into_iter().flat_map(Group::announced).collect();
        all.filter(move |(prefix, _)| announced.contains(prefix))
            .map(|(prefix, attributes)| (prefix, &**attributes))
    }

    /// The routes that `peer` should be told and cannot be, and why. Others only when [`flushes`](Self::flushes) is another.
    pub fn unsendable(&self, peer: &Name) -> impl Iterator<Item = (IpNet, Unsendable)> {
        let group = self.group_of(peer);
        let all = group.into_iter().flat_map(Group::unsendable);
        all.map(|(prefix, reason)| (*prefix, *reason))
    }

    /// How often changes were let out.
    pub const fn flushes(&self) -> u64 {
        self.flushes
    }

    /// How much there is, and was written since the groups that there are now came to be.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics {
            groups: self.groups.len(),
            ..Statistics::default()
        };
        for group in self.groups.values() {
            statistics.kept += group.kept();
            statistics.written.times += group.written().times;
            statistics.written.bytes += group.written().bytes;
        }
        statistics
    }

    fn flush(&mut self, now: Time) {
        self.window.close(now);
        self.flushes = self.flushes.saturating_add(1);
        let mut changes: Changes = BTreeMap::new();
        for (audience, intended) in &mut self.audiences {
            let settled = intended.settle(now, &mut self.attributes);
            if !settled.is_empty() {
                changes.insert(audience.clone(), settled);
            }
        }
        // First: what a peer believes is what its group was told until now, and what it is to be told is settled.
        self.carry_out_retargets(&changes);
        for group in self.groups.values_mut() {
            apply(group, &changes);
        }
        let told: BTreeSet<&Audience> = self.groups.values().map(Group::audience).collect();
        self.audiences
            .retain(|audience, intended| !intended.is_empty() || told.contains(audience));
    }

    /// A group of which all peers become the same changes as a whole. Otherwise its peers go, one by one, where they belong.
    fn carry_out_retargets(&mut self, changes: &Changes) {
        let mut moves: BTreeMap<GroupId, BTreeMap<Name, (Audience, Export)>> = BTreeMap::new();
        for (peer, target) in std::mem::take(&mut self.retargets) {
            let id = self.peers.get(&peer).copied();
            let group = id.and_then(|id| Some((id, self.groups.get(&id)?)));
            if let Some((id, _)) = group.filter(|(_, group)| !group.is_for(&target.0, &target.1)) {
                moves.entry(id).or_default().insert(peer, target);
            }
        }
        for (id, moves) in moves {
            if !self.change_together(id, &moves) {
                for (peer, (audience, export)) in moves {
                    self.move_peer(&peer, id, audience, export, changes);
                }
            }
        }
    }

    /// Changes a group as a whole, when all of its peers become the same, and there is no such group yet: what is different is
    /// encoded once for all of them.
    fn change_together(&mut self, id: GroupId, moves: &BTreeMap<Name, (Audience, Export)>) -> bool {
        let Some(target @ (audience, export)) = moves.values().next() else {
            return false;
        };
        let is_new = self.find_group(audience, export).is_none();
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        let together = moves.len() == group.members().len()
            && moves.values().all(|other| other == target)
            && is_new;
        if together {
            let routes = routes(&self.audiences, audience, export);
            group.become_for(audience.clone(), export.clone(), routes);
        }
        together
    }

    fn move_peer(
        &mut self,
        peer: &Name,
        from: GroupId,
        audience: Audience,
        export: Export,
        changes: &Changes,
    ) {
        let to = self.group_for(audience, export);
        let Some(mut former) = self.groups.remove(&from) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&to) {
            apply(group, changes);
            group.move_from(&mut former, peer);
            self.peers.insert(peer.clone(), to);
        }
        self.groups.insert(from, former);
        self.drop_empty(from);
    }

    fn group_of(&self, peer: &Name) -> Option<&Group> {
        self.groups.get(self.peers.get(peer)?)
    }

    fn find_group(&self, audience: &Audience, export: &Export) -> Option<GroupId> {
        let mut groups = self.groups.iter();
        groups
            .find(|(_, group)| group.is_for(audience, export))
            .map(|(id, _)| *id)
    }

    /// The group for these, which is made when there is none.
    fn group_for(&mut self, audience: Audience, export: Export) -> GroupId {
        if let Some(id) = self.find_group(&audience, &export) {
            return id;
        }
        let id = self.next_group;
        self.next_group = id.saturating_add(1);
        let routes = routes(&self.audiences, &audience, &export);
        let group = Group::new(audience.clone(), export, routes);
        self.groups.insert(id, group);
        id
    }

    fn drop_empty(&mut self, id: GroupId) {
        let group = self.groups.get(&id);
        if group.is_some_and(|group| group.members().is_empty()) {
            self.groups.remove(&id);
        }
    }
}

/// What has changed, for each audience.
type Changes = BTreeMap<Audience, Vec<Change>>;

/// Tells a group what has changed for its audience. A second time makes no difference.
fn apply(group: &mut Group, changes: &Changes) {
    if let Some(changes) = changes.get(group.audience())
        && group.export().standing != Standing::Gone
    {
        group.apply(changes);
    }
}

/// How much a [`Rib`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Update groups.
    pub groups: usize,
    /// Prefixes in all groups, those included that have gone and of whose end a peer has yet to be told.
    pub kept: usize,
    /// What was encoded.
    pub written: Written,
}

/// What a group of this audience is told.
fn routes<'a>(
    audiences: &'a BTreeMap<Audience, Intended>,
    audience: &Audience,
    export: &Export,
) -> impl Iterator<Item = (IpNet, &'a Arc<RouteAttributes>)> + use<'a> {
    let told = export.standing != Standing::Gone;
    let intended = audiences.get(audience).filter(|_| told);
    intended.into_iter().flat_map(Intended::routes)
}

#[cfg(test)]
mod tests;
