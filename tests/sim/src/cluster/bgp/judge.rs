//! What must be true of what a speaker says to a router, given what it has been told; and what must be true in time.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use ironlb_bgp::Direction;
use ironlb_bgp::wire::{Notification, Open, Reason};
use ironlb_model::bgp::PeerEndpoint;
use ironlb_model::{BgpPeer, Family, Name};
use ironlb_speaker_core::peers::Target;

use super::past::LAG;
use super::{Cluster, Event};
use crate::bgp::said::Statement;
use crate::bgp::tcp::Side;
use crate::bgp::told::{self, Told};

impl Cluster {
    /// A speaker says something on a connection.
    pub(super) fn judge_said(&mut self, machine: usize, peer: &Name, pipe: u64, bytes: &[u8]) {
        let theirs = self.bgp.pipes.get(pipe);
        let theirs = theirs.and_then(|pipe| pipe.end(Side::Router).open.clone());
        let node = self.bgp.node_mut(machine);
        let Some(said) = node.and_then(|node| node.said.get_mut(&pipe)) else {
            return;
        };
        let mut is_up = said.confirmed;
        let statements = match said.hear(bytes, theirs.as_ref()) {
            Ok(statements) => statements,
            Err(why) => {
                let detail = format!("speaker {machine} to {peer}: {why}");
                return self.violated(
                    "every message is one that may be sent there and then",
                    detail,
                );
            }
        };
        let mut intended = None;
        for statement in statements {
            self.count_statement(&statement);
            match statement {
                Statement::Keepalive => self.judge_welcome(machine, peer, pipe, &mut is_up),
                Statement::Open(open) => self.judge_open(machine, peer, pipe, &open),
                Statement::Notification(why) => self.judge_end(machine, peer, pipe, &why),
                Statement::Route(prefix, told, same) => {
                    let intended = intended.get_or_insert_with(|| {
                        self.intended(machine, peer, pipe).unwrap_or_default()
                    });
                    let right = intended.get(&prefix).cloned();
                    self.judge_route(
                        machine,
                        peer,
                        pipe,
                        (prefix, told.as_ref(), same),
                        right.as_ref(),
                    );
                }
                Statement::EndOfRib(family) => {
                    self.note(format_args!("speaker {machine} to {peer}: end of {family}"));
                    self.check_table(
                        machine,
                        peer,
                        pipe,
                        Some(family),
                        "End-of-RIB comes when everything was said",
                    );
                }
            }
        }
    }

    /// The first KEEPALIVE says that the router is welcome.
    fn judge_welcome(&mut self, machine: usize, peer: &Name, number: u64, is_up: &mut bool) {
        let Some(pipe) = self.bgp.pipes.get(number) else {
            return;
        };
        let open = |side| pipe.end(side).open.as_ref();
        let opens = open(Side::Node).zip(open(Side::Router));
        let strict = opens.is_some_and(|(ours, theirs)| told::strict(ours, theirs));
        let first = !std::mem::replace(is_up, true);
        if !first || !strict {
            return;
        }
        self.counts.strict += 1;
        if !self.watches(machine, pipe.remote.ip()) {
            let detail = format!("speaker {machine} to {peer}");
            self.violated(
                "where both are strict, no session is up before its BFD",
                detail,
            );
        }
    }

    fn count_statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Route(..) => self.counts.routes += 1,
            Statement::Keepalive => self.counts.keepalives += 1,
            Statement::EndOfRib(_) => self.counts.ends_of_rib += 1,
            Statement::Open(_) | Statement::Notification(_) => {}
        }
    }

    fn judge_route(
        &mut self,
        machine: usize,
        peer: &Name,
        pipe: u64,
        (prefix, told, same): (IpNet, Option<&Told>, bool),
        right: Option<&Told>,
    ) {
        self.note(format_args!(
            "speaker {machine} to {peer}: {prefix} {told:?}"
        ));
        let synced = self
            .speakers
            .get(machine)
            .is_some_and(|host| host.common.informer.is_synced());
        if !synced {
            let detail = format!("speaker {machine} to {peer}: {prefix}");
            return self.violated("nothing is announced before everything was read", detail);
        }
        let node = self.bgp.node(machine);
        let said = node.and_then(|node| node.said.get(&pipe));
        let again = said.is_some_and(|said| said.again.contains(&told::family_of(prefix)));
        if same && told.is_some() && !again {
            let detail = format!("speaker {machine} to {peer}: {prefix} {told:?}");
            return self.violated("nothing is announced twice", detail);
        }
        if Told::is_like(told, right) || self.was_intended((machine, peer, pipe), prefix, told) {
            return;
        }
        let detail = format!("speaker {machine} to {peer}: {prefix} {told:?}, should be {right:?}");
        self.violated(
            "a router is told what is the node's to announce, as it is to be",
            detail,
        );
    }

    /// What has been said on a connection is what should have been, for one family or for all.
    fn check_table(
        &mut self,
        machine: usize,
        peer: &Name,
        pipe: u64,
        family: Option<Family>,
        invariant: &'static str,
    ) {
        let Some(intended) = self.intended(machine, peer, pipe) else {
            return;
        };
        let node = self.bgp.node(machine);
        let Some(said) = node.and_then(|node| node.said.get(&pipe)) else {
            return;
        };
        let differing: BTreeMap<IpNet, Option<Told>> = said
            .table
            .keys()
            .chain(intended.keys())
            .filter(|prefix| family.is_none_or(|family| told::family_of(**prefix) == family))
            .map(|prefix| (*prefix, said.table.get(prefix).cloned()))
            .filter(|(prefix, told)| !Told::is_like(told.as_ref(), intended.get(prefix)))
            .collect();
        for (prefix, told) in differing {
            if !self.was_intended((machine, peer, pipe), prefix, told.as_ref()) {
                let right = intended.get(&prefix);
                let detail =
                    format!("speaker {machine}, {peer}: {prefix} is {told:?}, should be {right:?}");
                self.violated(invariant, detail);
            }
        }
    }

    /// Some time after a speaker has been told something.
    pub(super) fn check_routes(&mut self, machine: usize, life: u64) {
        let Some(host) = self.speakers.get(machine) else {
            return;
        };
        let lives = host.common.alive && host.common.life == life;
        if let Some(node) = self.bgp.node_mut(machine) {
            node.check_is_due = false;
        }
        if !lives {
            return;
        }
        let Some(node) = self.bgp.node(machine) else {
            return;
        };
        let mut open = Vec::new();
        for (pipe, said) in &node.said {
            let flows = self.bgp.pipes.get(*pipe).is_some_and(|pipe| {
                let end = pipe.end(Side::Node);
                end.known && !end.waits_for_room
            });
            let Some((peer, _)) = node.by_pipe.get(pipe) else {
                continue;
            };
            if said.is_open() && !said.ended.is_empty() && flows {
                open.push((peer.clone(), *pipe));
            }
        }
        for (peer, pipe) in open {
            self.check_table(
                machine,
                &peer,
                pipe,
                None,
                "no route outlives its reason, and none is late",
            );
        }
    }

    /// A speaker has been told something: soon its routers must know.
    pub(in crate::cluster) fn expect_routes(&mut self, machine: usize) {
        let Some(host) = self.speakers.get(machine).filter(|_| self.bgp.is_on()) else {
            return;
        };
        let life = host.common.life;
        if let Some(node) = self.bgp.node_mut(machine).filter(|node| !node.check_is_due) {
            node.check_is_due = true;
            self.bgp_after(CHECK, Event::RoutesDue { machine, life });
        }
    }

    fn judge_open(&mut self, machine: usize, peer: &Name, pipe: u64, open: &Open) {
        if let Some(pipe) = self.bgp.pipes.get_mut(pipe) {
            pipe.end_mut(Side::Node).open = Some(open.clone());
        }
        let Some(config) = self.peer_config(machine, peer) else {
            return;
        };
        let node = self.bgp.node(machine);
        let is_back = node.is_some_and(|node| node.was_up.contains(peer));
        let plain = open.capabilities == ironlb_bgp::wire::Capabilities::default();
        let restart = open.capabilities.graceful_restart.as_ref();
        let forwards = restart
            .is_none_or(|one| !one.families.is_empty() && one.families.values().all(|kept| *kept));
        let asn = config.local_asn.unwrap_or(config.my_asn);
        let strict = config.bfd_strict && config.bfd_profile.is_some();
        let right = open.asn == asn
            && u64::from(open.hold_time) == config.hold_time.as_secs()
            && (plain || restart.is_some() == config.graceful_restart)
            && (plain || open.capabilities.bfd_strict == strict)
            && restart.is_none_or(|one| u64::from(one.restart_time) == config.restart_time.as_secs())
            && forwards
            // Once a session was up the speaker is back.
            && !restart.is_some_and(|one| one.restarting && is_back);
        if !right && !self.config_is_new(machine) {
            let detail = format!("speaker {machine} to {peer}: {open:?} for {config:?}");
            self.violated("an OPEN says what is configured", detail);
        }
    }

    /// Whether the speaker was given another configuration just now.
    fn config_is_new(&self, machine: usize) -> bool {
        self.bgp
            .node(machine)
            .is_none_or(|node| node.changed_while_ending)
    }

    /// A peer as the speaker knows it.
    pub(super) fn peer_config(&self, machine: usize, peer: &Name) -> Option<BgpPeer> {
        let seen = &self.speakers.get(machine)?.common.informer.seen;
        let node = &self.machines.get(machine)?.name;
        // A node that is not known keeps the peers that it has, and hears of no others.
        seen.nodes.get(node)?;
        seen.config.as_ref()?.peers.get(peer).cloned()
    }

    /// A speaker ends a session, and says why.
    fn judge_end(&mut self, machine: usize, peer: &Name, pipe: u64, why: &Notification) {
        self.note(format_args!("speaker {machine} to {peer}: {why}"));
        let Some(node) = self.bgp.node(machine) else {
            return;
        };
        let opens = self.bgp.pipes.get(pipe).and_then(|pipe| {
            let open = |side| pipe.end(side).open.as_ref();
            open(Side::Node).zip(open(Side::Router))
        });
        let both_keep = opens.is_some_and(|(ours, theirs)| {
            let keeps = |open: &Open| {
                let restart = open.capabilities.graceful_restart.as_ref();
                restart.is_some_and(|one| one.notification)
            };
            keeps(ours) && keeps(theirs)
        });
        let leaves_nothing = node
            .said
            .get(&pipe)
            .is_none_or(|said| said.table.is_empty());
        let borne = node.said.get(&pipe).map_or(0, |said| said.borne);
        let (is_ending, was_up) = (node.ending.is_some(), node.up.contains(peer));
        let reason = why.cause().reason;
        let is_final = [Reason::ADMIN_SHUTDOWN, Reason::PEER_DECONFIGURED].contains(&reason);
        if is_ending && reason == Reason::ADMIN_SHUTDOWN && !leaves_nothing {
            let detail = format!("speaker {machine} to {peer}");
            self.violated("who leaves withdraws before the session ends", detail);
        }
        if was_up && is_final && both_keep && !why.is_hard_reset() {
            let detail = format!("speaker {machine} to {peer}: {why}");
            self.violated(
                "routes that are to go do not outlive a NOTIFICATION",
                detail,
            );
        }
        if reason.code == Reason::UPDATE.code && borne > 0 {
            let detail = format!("speaker {machine} to {peer}: {why}");
            self.violated("what RFC 7606 bears costs no session", detail);
        }
        self.counts.endings += u64::from(was_up);
    }

    /// Where a speaker connects, and with which password.
    pub(super) fn check_target(&mut self, machine: usize, peer: &Name, target: &Target) {
        let Some(config) = self.peer_config(machine, peer) else {
            return;
        };
        let place = PeerEndpoint::Address(target.remote.ip());
        if (&place, target.remote.port()) != (&config.endpoint, config.port) {
            let detail = format!("speaker {machine}, {peer}: {}", target.remote);
            return self.violated("a peer is spoken with where it is configured to be", detail);
        }
        let node = self.bgp.node(machine);
        let password = match node.and_then(|node| node.password(&config)) {
            Some(password) => password,
            // In doubt it is spoken with as before, but never for the first time, nor without a password.
            None if target.password.is_some()
                && node.is_some_and(|node| node.was_aimed.contains(peer)) =>
            {
                return;
            }
            None => {
                let detail = format!("speaker {machine}, {peer}");
                return self.violated("a peer waits for its password", detail);
            }
        };
        let found = target
            .password
            .as_ref()
            .map(|password| password.0.to_string());
        if found != password {
            let detail = format!("speaker {machine}, {peer}: {found:?}, should be {password:?}");
            self.violated("a peer is spoken to with its password", detail);
        }
    }

    /// Whether a speaker has no more connections with a peer than it needs.
    pub(in crate::cluster) fn check_connections(&mut self, machine: usize) {
        let Some(node) = self.bgp.node(machine) else {
            return;
        };
        let mut counts: BTreeMap<&Name, [usize; 2]> = BTreeMap::new();
        for (peer, connection) in node.connections.keys() {
            let [outbound, inbound] = counts.entry(peer).or_default();
            match connection.direction {
                Direction::Outbound => *outbound += 1,
                Direction::Inbound => *inbound += 1,
            }
        }
        let too_many = counts.into_iter().find(|(peer, [outbound, inbound])| {
            let session = usize::from(node.up.contains(*peer));
            let most = 1 + session;
            *outbound > most || *inbound > most || outbound + inbound > 2 + session
        });
        if let Some((peer, [outbound, inbound])) = too_many {
            let detail =
                format!("speaker {machine}, {peer}: {outbound} outbound, {inbound} inbound");
            self.violated(
                "beside a session there is a connection of each direction at most",
                detail,
            );
        }
    }

    /// Whether a session that is up has heard of its router within the hold time.
    pub(super) fn check_silence(&mut self, machine: usize, life: u64, number: u64) {
        let lives = self.lives(machine, life);
        let (Some(pipe), Some(node)) = (self.bgp.pipes.get(number), self.bgp.node(machine)) else {
            return;
        };
        let (Some(said), true) = (node.said.get(&number), lives) else {
            return;
        };
        let opens = pipe
            .end(Side::Node)
            .open
            .as_ref()
            .zip(pipe.end(Side::Router).open.as_ref());
        let hold = opens.map_or(0, |(ours, theirs)| ours.hold_time.min(theirs.hold_time));
        if hold == 0 || !said.is_open() {
            return;
        }
        let until = said.heard + Duration::from_secs(hold.into()) + LAG;
        if self.now < until {
            let event = Event::Silence {
                machine,
                life,
                pipe: number,
            };
            return self.bgp_after(until.since(self.now), event);
        }
        let detail = format!(
            "speaker {machine}, {:?}: heard at {}",
            pipe.remote, said.heard
        );
        self.violated(
            "no session stays up without a word for the hold time",
            detail,
        );
    }

    /// A speaker has read what a router sent: more prefixes than it takes end the session.
    pub(super) fn check_received(&mut self, machine: usize, peer: &Name, pipe: u64) {
        let (Some(node), Some(config)) = (self.bgp.node(machine), self.peer_config(machine, peer))
        else {
            return;
        };
        let Some(said) = node.said.get(&pipe).filter(|said| said.is_open()) else {
            return;
        };
        let _ = said;
        let router = self.bgp.pipes.get(pipe).map(|pipe| pipe.router);
        let Some(router) = router.and_then(|router| self.bgp.routers.get(router)) else {
            return;
        };
        let unread = self
            .bgp
            .pipes
            .get(pipe)
            .is_none_or(|pipe| !pipe.end(Side::Router).outgoing.is_empty());
        let sent = router
            .session_on(pipe)
            .map_or(0, |session| session.announced());
        let most = config.maximum_prefixes.unwrap_or(u32::MAX);
        if sent > most && !unread && !self.config_is_new(machine) {
            let detail = format!("speaker {machine}, {peer}: {sent} of {most}");
            self.violated("more prefixes than are taken end the session", detail);
        }
    }
}

/// How long after news it is looked at what came of them.
const CHECK: Duration = Duration::from_secs(1);
