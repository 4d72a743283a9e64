//! When this node takes its leave, and of whom already.

use std::time::Duration;

use ironlb_bgp::Standing;
use ironlb_model::{BgpPeer, Time};

/// Whether this node is about to stop announcing: a load balancer that leaves says so first, and stays until its neighbours
/// have turned elsewhere (RFC 8326).
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// Since when the node is excluded from load balancing; `None` when it is not.
    excluded: Option<Time>,
    /// Since when the process is about to end.
    ending: Option<Time>,
}

impl Leave {
    /// Whether the node is excluded now. One that was before anything was announced has nothing to take leave of.
    pub(super) fn exclude(&mut self, now: Time, excluded: bool, announcing: bool) {
        if !excluded {
            self.excluded = None;
        } else if self.excluded.is_none() {
            self.excluded = Some(if announcing { now } else { Time::ZERO });
        }
    }

    /// The process is about to end.
    pub(super) fn end(&mut self, now: Time) {
        self.ending.get_or_insert(now);
    }

    pub(super) const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether routes are announced although the node is excluded.
    pub(super) const fn is_excluded(&self) -> bool {
        self.excluded.is_some()
    }

    /// Whether our routes are left with peers that keep them over the end of the process: the node itself stays.
    pub(super) const fn leaves_routes(&self) -> bool {
        self.ending.is_some() && self.excluded.is_none()
    }

    /// Until when a process that is about to end waits for `peer` to be told what has changed, where it keeps our routes.
    pub(super) fn waits_until(&self, peer: &BgpPeer) -> Option<Time> {
        self.ending.map(|since| since + peer.drain_time)
    }

    /// What our routes are worth to a peer now. `keeps` says that it keeps them over a restart (RFC 4724).
    pub(super) fn standing(&self, now: Time, peer: &BgpPeer, keeps: bool) -> Standing {
        match self.gone_at(peer, keeps) {
            Some(gone) if gone <= now => Standing::Gone,
            Some(_) => Standing::Leaving,
            None if peer.graceful_shutdown => Standing::Leaving,
            None => Standing::Serving,
        }
    }

    /// When `peer` is told nothing any more; `None` for never.
    pub(super) fn gone_at(&self, peer: &BgpPeer, keeps: bool) -> Option<Time> {
        let excluded = self.excluded.map(|since| since + drain(since, peer));
        let ending = self.ending.filter(|_| !(keeps && self.leaves_routes()));
        let ended = ending.map(|since| since + peer.drain_time);
        excluded.into_iter().chain(ended).min()
    }
}

/// A node that was excluded from the start has been gone ever since.
fn drain(since: Time, peer: &BgpPeer) -> Duration {
    if since == Time::ZERO {
        Duration::ZERO
    } else {
        peer.drain_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::peer;

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    #[test]
    fn who_stays_serves() {
        let leave = Leave::default();
        assert_eq!(leave.standing(at(9), &peer("p"), false), Standing::Serving);
        assert_eq!(leave.gone_at(&peer("p"), false), None);
    }

    #[test]
    fn a_peer_that_is_to_be_left_alone_is_told_so_for_ever() {
        let mut drained = peer("p");
        drained.graceful_shutdown = true;
        assert_eq!(
            Leave::default().standing(at(9), &drained, false),
            Standing::Leaving
        );
    }

    #[test]
    fn an_excluded_node_leaves_and_then_is_gone() {
        let mut leave = Leave::default();
        leave.exclude(at(10), true, true);
        leave.exclude(at(12), true, true);
        assert_eq!(leave.standing(at(14), &peer("p"), false), Standing::Leaving);
        assert_eq!(leave.standing(at(15), &peer("p"), false), Standing::Gone);
        leave.exclude(at(16), false, true);
        assert_eq!(leave.standing(at(16), &peer("p"), false), Standing::Serving);
    }

    #[test]
    fn a_node_that_was_excluded_from_the_start_never_announces() {
        let mut leave = Leave::default();
        leave.exclude(at(1), true, false);
        assert_eq!(leave.standing(at(1), &peer("p"), false), Standing::Gone);
    }

    #[test]
    fn a_process_that_ends_leaves_but_where_its_routes_are_kept() {
        let mut leave = Leave::default();
        leave.end(at(10));
        assert_eq!(leave.standing(at(11), &peer("p"), false), Standing::Leaving);
        assert_eq!(leave.gone_at(&peer("p"), false), Some(at(15)));
        assert_eq!(leave.standing(at(20), &peer("q"), true), Standing::Serving);
        leave.exclude(at(12), true, true);
        assert_eq!(leave.standing(at(13), &peer("q"), true), Standing::Leaving);
    }
}
