//! How a router's sessions end, and which routes it keeps then (RFC 4724, RFC 8538).

use std::time::Duration;

use ironlb_bgp::wire::Notification;
use ironlb_model::Time;

use super::{Act, NodeAddress, Router};
use crate::bgp::told;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The connection broke.
    Lost,
    /// The node said so.
    Heard(Notification),
    /// We say so.
    Said(Notification),
    /// We say so, and keep nothing.
    Final(Notification),
    /// The node has restarted, and is here with another connection.
    Replaced,
}

impl Router {
    pub(super) fn tick_stale(&mut self, now: Time, node: NodeAddress) {
        let up = self.session(node).is_some();
        let Some(neighbour) = self.neighbours.get_mut(&node) else {
            return;
        };
        if neighbour.stale_until.is_none_or(|until| until > now) {
            return;
        }
        neighbour.stale_until = None;
        let left = neighbour.stale().count();
        neighbour.routes.retain(|_, (_, stale)| !*stale);
        if up && left > 0 {
            self.found(
                "End-of-RIB comes",
                node,
                &format!("{left} routes were stale"),
            );
        }
    }

    /// Ends a session with a NOTIFICATION.
    pub(super) fn close(&mut self, now: Time, pipe: u64, end: End) {
        if let End::Said(notification) | End::Final(notification) = &end {
            let mut bytes = Vec::new();
            notification.encode(&mut bytes);
            self.acts.push(Act::Send(pipe, bytes));
        }
        self.end(now, pipe, &end);
        self.acts.push(Act::Close(pipe));
    }

    pub(super) fn end(&mut self, now: Time, pipe: u64, end: &End) {
        let Some(session) = self.sessions.remove(&pipe) else {
            return;
        };
        if !session.is_up() {
            return;
        }
        self.acts.push(Act::Session(session.node, false));
        let neighbour = self.neighbours.entry(session.node).or_default();
        let over_notification = session.keeps_over_notification();
        let keeps = match end {
            End::Lost | End::Replaced => true,
            End::Heard(one) | End::Said(one) => over_notification && !one.is_hard_reset(),
            End::Final(_) => false,
        };
        match session.restart().filter(|_| keeps) {
            Some(restart) => {
                // What was stale already was not announced again.
                neighbour.routes.retain(|_, (_, stale)| !*stale);
                let families = &restart.families;
                let kept = |prefix| families.contains_key(&told::family_of(prefix).into());
                neighbour.routes.retain(|prefix, _| kept(*prefix));
                neighbour.mark(|_| true);
                let time = Duration::from_secs(restart.restart_time.into());
                neighbour.stale_until = Some(now + time);
            }
            None => neighbour.forget(),
        }
    }
}
