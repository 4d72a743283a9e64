//! What a speaker had been told a moment ago: what it sends now may have been decided then.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use ironlb_model::{Link, Name, Time};

use super::{Cluster, Node};
use crate::bgp::rules::{Exchange, Rules, Standing, may_be_far};
use crate::bgp::told::{Table, Told};
use crate::watch::{Notice, Seen};

/// How something was before it changed.
#[derive(Debug)]
pub(in crate::cluster) enum Before {
    /// An object.
    Seen(Notice),
    /// The node's links.
    Links(BTreeMap<u32, Link>),
    /// Since when it was excluded.
    Excluded(Option<Time>),
}

/// All that decides what a peer is told.
#[derive(Clone, Debug)]
struct World {
    seen: Seen,
    links: BTreeMap<u32, Link>,
    excluded: Option<Time>,
}

impl Cluster {
    /// Takes down how something is, before a speaker is told that it has changed.
    fn remember(&mut self, machine: usize, before: Before) {
        let now = self.now;
        if let Some(node) = self.bgp.node_mut(machine) {
            node.past.push_back((now, before));
            while node
                .past
                .front()
                .is_some_and(|(at, _)| now.since(*at) > LAG)
            {
                node.past.pop_front();
            }
        }
    }

    /// A speaker is about to be told something by its watches.
    pub(in crate::cluster) fn remember_seen(&mut self, machine: usize, notice: &Notice) {
        if !self.bgp.is_on() {
            return;
        }
        let key = notice.key();
        let seen = self
            .speakers
            .get(machine)
            .map(|host| &host.common.informer.seen);
        let before = seen.and_then(|seen| seen.object(&key));
        let before = before.map_or_else(|| Notice::Deleted(key), Notice::Applied);
        self.remember(machine, Before::Seen(before));
    }

    /// A speaker is about to be told of a link.
    pub(in crate::cluster) fn remember_links(&mut self, machine: usize) {
        if let Some(host) = self.speakers.get(machine).filter(|_| self.bgp.is_on()) {
            let links = host.links().clone();
            self.remember(machine, Before::Links(links));
        }
    }

    /// What a speaker should have told a peer on a connection, by all that it knows.
    pub(super) fn intended(&self, machine: usize, peer: &Name, pipe: u64) -> Option<Table> {
        let host = self.speakers.get(machine)?;
        let excluded = self.bgp.node(machine)?.excluded;
        let seen = &host.common.informer.seen;
        self.intended_by(
            (seen, host.links(), excluded),
            (machine, peer, pipe),
            self.now,
        )
    }

    /// Whether a peer may have been told so of a prefix at any moment of the last [`LAG`]. Of an address that has lost its
    /// pool nobody can say; nor when the configuration has changed while the speaker was about to end.
    pub(super) fn was_intended(
        &self,
        (machine, peer, pipe): (usize, &Name, u64),
        prefix: IpNet,
        told: Option<&Told>,
    ) -> bool {
        let (Some(host), Some(node)) = (self.speakers.get(machine), self.bgp.node(machine)) else {
            return true;
        };
        let mut world = World {
            seen: host.common.informer.seen.clone(),
            links: host.links().clone(),
            excluded: node.excluded,
        };
        if node.changed_while_ending {
            return true;
        }
        let long_ago = Time::ZERO + self.now.since(Time::ZERO + LAG);
        let flags = &self.profile.flags;
        let holds = |world: &World, at: Time| {
            let rules = Rules::of(&world.seen, flags, "");
            let world = (&world.seen, &world.links, world.excluded);
            let table = self.intended_by(world, (machine, peer, pipe), at);
            let right = |table: Table| Told::is_like(told, table.get(&prefix));
            rules.has_outlived(prefix) || table.is_none_or(right)
        };
        // It may not have been woken yet for what was due since.
        if holds(&world, self.now) || holds(&world, long_ago) {
            return true;
        }
        for (at, before) in node.past.iter().rev() {
            if holds(&world, (*at).max(long_ago)) {
                return true;
            }
            if self.now.since(*at) > LAG {
                return false;
            }
            world.undo(before);
            if holds(&world, *at) {
                return true;
            }
        }
        holds(&world, long_ago)
    }

    fn intended_by(
        &self,
        (seen, links, excluded): (&Seen, &BTreeMap<u32, Link>, Option<Time>),
        (machine, peer, pipe): (usize, &Name, u64),
        at: Time,
    ) -> Option<Table> {
        let name = self.machines.get(machine)?.name.clone();
        let node = self.bgp.node(machine)?;
        let pipe = self.bgp.pipes.get(pipe)?;
        let ends = (pipe.local.ip(), pipe.remote.ip());
        let ours = pipe.end(crate::bgp::tcp::Side::Node).open.as_ref()?;
        let theirs = pipe.end(crate::bgp::tcp::Side::Router).open.as_ref()?;
        let Some(config) = seen
            .config
            .as_ref()
            .and_then(|config| config.peers.get(peer))
        else {
            return Some(Table::new());
        };
        let exchange = Exchange::of(ours, theirs, ends, links, !may_be_far(config))?;
        let restart = |open: &ironlb_bgp::wire::Open| open.capabilities.graceful_restart.is_some();
        let keeps = config.graceful_restart && restart(ours) && restart(theirs);
        let standing = node.standing(config, excluded, keeps, at);
        let rules = Rules::of(seen, &self.profile.flags, &name);
        Some(rules.intended(peer, &exchange, standing))
    }

    /// A speaker has another configuration or another Secret: it knows how to speak with these peers.
    pub(in crate::cluster) fn note_aimed(&mut self, machine: usize) {
        let Some(host) = self.speakers.get(machine) else {
            return;
        };
        let config = host.common.informer.seen.config.clone().unwrap_or_default();
        if let Some(node) = self.bgp.node_mut(machine) {
            let known = config
                .peers
                .values()
                .filter(|peer| node.password(peer).is_some());
            let known: Vec<Name> = known.map(|peer| peer.name.clone()).collect();
            node.was_aimed.extend(known);
        }
    }

    /// A speaker is about to be told of another configuration, which counts no more when it is about to end.
    pub(in crate::cluster) fn note_change_while_ending(&mut self, machine: usize) {
        if let Some(node) = self.bgp.node_mut(machine) {
            node.changed_while_ending |= node.ending.is_some();
        }
    }

    /// The speaker has been told of nodes or the configuration: the node may be excluded now.
    pub(in crate::cluster) fn follow_exclusion(&mut self, machine: usize, synced: bool) {
        let now = self.now;
        if let Some(node) = self.bgp.node_mut(machine) {
            node.is_ready |= synced;
        }
        let (Some(host), Some(name)) = (
            self.speakers.get(machine),
            self.machines
                .get(machine)
                .map(|machine| machine.name.clone()),
        ) else {
            return;
        };
        if !synced && !self.bgp.node(machine).is_some_and(|node| node.is_ready) {
            return;
        }
        let Some(known) = host.common.informer.seen.nodes.get(&name) else {
            return;
        };
        let is_excluded = self.profile.flags.exclude(known);
        let Some(before) = self.bgp.node(machine).map(|node| node.excluded) else {
            return;
        };
        let after = match (is_excluded, before) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) if synced => Some(Time::ZERO),
            (true, None) => Some(now),
        };
        if before != after {
            self.remember(machine, Before::Excluded(before));
            if let Some(node) = self.bgp.node_mut(machine) {
                node.excluded = after;
            }
        }
    }
}

impl World {
    fn undo(&mut self, before: &Before) {
        match before {
            Before::Seen(Notice::Applied(object)) => self.seen.apply(object),
            Before::Seen(Notice::Deleted(key)) => self.seen.delete(key),
            Before::Links(links) => self.links.clone_from(links),
            Before::Excluded(excluded) => self.excluded = *excluded,
        }
    }
}

impl Node {
    /// What the node's routes are worth to a peer; `keeps` says that it keeps them over a restart.
    fn standing(
        &self,
        peer: &ironlb_model::BgpPeer,
        excluded: Option<Time>,
        keeps: bool,
        at: Time,
    ) -> Standing {
        let drained = |since: Time| match since {
            Time::ZERO => Time::ZERO,
            since => since + peer.drain_time,
        };
        let left = excluded.map(drained);
        let ending = self.ending.filter(|_| !keeps || excluded.is_some());
        let ended = ending.map(|since| since + peer.drain_time);
        match left.into_iter().chain(ended).min() {
            Some(gone) if gone <= at => Standing::Gone,
            Some(_) => Standing::Leaving,
            None if peer.graceful_shutdown => Standing::Leaving,
            None => Standing::Serving,
        }
    }
}

/// How old what is sent may be: changes go out together when they come within 10 ms, and a process may be woken late.
pub(super) const LAG: Duration = Duration::from_millis(150);
