//! How a router opens a session: what it says, whom it takes, and which of two connections stays.

use std::collections::BTreeSet;

use ironlb_bgp::wire::{AfiSafi, Capabilities, GracefulRestart, Notification, Open, Reason};
use ironlb_model::{Family, Time};

use super::ending::End;
use super::session::{Phase, Session};
use super::{Act, NodeAddress, Router, Traits};
use crate::bgp::told;

impl Router {
    pub(super) fn open_message(&self, now: Time) -> Open {
        let Traits {
            asn,
            hold_time,
            families,
            ..
        } = &self.traits;
        let restart = |restart_time| GracefulRestart {
            restarting: self.restarting.is_some_and(|until| now < until),
            notification: self.traits.keeps_over_notification,
            restart_time,
            families: families
                .iter()
                .map(|family| (AfiSafi::from(*family), true))
                .collect(),
        };
        Open {
            asn: *asn,
            hold_time: *hold_time,
            router_id: self.id,
            capabilities: Capabilities {
                multiprotocol: families
                    .iter()
                    .map(|family| AfiSafi::from(*family))
                    .collect(),
                route_refresh: true,
                extended_next_hop: [(AfiSafi::IPV4_UNICAST, 2)].into(),
                extended_message: self.traits.extended_message,
                graceful_restart: self.traits.restart_time.map(restart),
                four_octet_as: self.traits.four_octet_as.then_some(*asn),
                enhanced_route_refresh: self.traits.enhanced_refresh,
                bfd_strict: self.traits.bfd_strict,
                ..Capabilities::default()
            },
        }
    }

    pub(super) fn opened(&mut self, now: Time, pipe: u64, theirs: Open) {
        let Some(session) = self.sessions.get_mut(&pipe) else {
            return;
        };
        let node = session.node;
        if !session.opened(theirs.clone()) {
            let reason = Notification::new(Reason::UNSUPPORTED_CAPABILITY);
            return self.close(now, pipe, End::Said(reason));
        }
        let Some(stays) = self.collide(now, pipe, &theirs) else {
            return;
        };
        for other in stays {
            self.close(now, other, End::Said(Notification::new(Reason::COLLISION)));
        }
        self.check_restart(node, &theirs);
        let watched = self.watched.contains(&node);
        if let Some(session) = self.sessions.get_mut(&pipe)
            && session.is_strict()
            && !watched
        {
            session.waits = true;
        } else {
            self.accept(now, pipe);
        }
    }

    /// The node is welcome.
    pub(super) fn accept(&mut self, now: Time, pipe: u64) {
        if let Some(session) = self.sessions.get_mut(&pipe) {
            session.waits = false;
        }
        let mut bytes = Vec::new();
        ironlb_bgp::wire::encode_keepalive(&mut bytes);
        self.acts.push(Act::Send(pipe, bytes));
        self.confirm(now, pipe);
    }

    /// The session is up when both have said that the other is welcome.
    pub(super) fn confirm(&mut self, now: Time, pipe: u64) {
        let session = self.sessions.get(&pipe);
        let both = |one: &Session| one.phase == Phase::Confirm && one.confirmed && !one.waits;
        if session.is_some_and(both) {
            self.established(now, pipe);
        }
    }

    /// RFC 4271 §6.8: which connections have to go for this one; `None` when it is the one.
    fn collide(&mut self, now: Time, pipe: u64, theirs: &Open) -> Option<Vec<u64>> {
        let (node, dialled) = self
            .sessions
            .get(&pipe)
            .map(|one| (one.node, one.dialled))?;
        let others = self.sessions.iter();
        let others = others.filter(|(other, one)| **other != pipe && one.node == node);
        let found: Vec<(u64, bool, bool)> = others
            .filter(|(_, one)| one.phase != Phase::Open)
            .map(|(other, one)| (*other, one.is_up(), one.knows_restart()))
            .collect();
        let we_win = (self.id, self.traits.asn) > (theirs.router_id, theirs.asn);
        let mut losing = Vec::new();
        for (other, up, knows_restart) in found {
            if up && knows_restart && !dialled {
                self.end(now, other, &End::Replaced);
                self.acts.push(Act::Close(other));
            } else if up || we_win != dialled {
                self.close(now, pipe, End::Said(Notification::new(Reason::COLLISION)));
                return None;
            } else {
                losing.push(other);
            }
        }
        Some(losing)
    }

    /// A node whose routes are kept must say that it went on forwarding (RFC 4724 §4.2); else they go.
    fn check_restart(&mut self, node: NodeAddress, theirs: &Open) {
        let restart = theirs.capabilities.graceful_restart.as_ref();
        let forwarded =
            |family: Family| restart.and_then(|one| one.families.get(&family.into()).copied());
        let Some(neighbour) = self.neighbours.get_mut(&node) else {
            return;
        };
        let families: BTreeSet<Family> = neighbour.stale().map(told::family_of).collect();
        for family in families {
            match forwarded(family) {
                Some(true) => {}
                Some(false) => {
                    let why = format!("{theirs:?}");
                    self.found(
                        "a node that restarts goes on forwarding, and says so",
                        node,
                        &why,
                    );
                    return;
                }
                None => neighbour.sweep(family),
            }
        }
    }
}
