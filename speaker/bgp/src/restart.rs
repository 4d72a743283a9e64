//! Graceful restart (RFC 4724, RFC 8538), both roles, as far as they go for a speaker that announces only.
//!
//! **We restart.** The packets of our routes are forwarded by the kernel, which a restart of the speaker does not touch: F is set
//! for every family. R is set until the first session is up, or the restart time is over. RFC 4724 §4.1 has a restarting
//! speaker defer its route selection until its peers have sent End-of-RIB; we select nothing, so nothing is deferred on the
//! peers' account. What must wait is our own End-of-RIB: the peer removes what was not announced before it, so whoever owns the
//! session sends routes, and End-of-RIB, only once everything is known that it is to announce.
//!
//! **The peer restarts.** We keep no routes that could become stale. What there is of the helper's role is the capability, the
//! new connection that replaces the old one ([`Peer`](crate::Peer)), End-of-RIB as a mark on the count, and for how long the
//! peer is expected back: until then its last counts are shown.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_model::{Family, Time};

use crate::session::{Agreement, Cause};
use crate::wire::{AfiSafi, GracefulRestart, Notification, Reason};

/// Why a peer is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Our operator wants it so, and may say why to the peer's (RFC 9003). The peer removes our routes.
    Shutdown(String),
    /// It is not configured any longer. The peer removes our routes.
    Deconfigured,
    /// The speaker is about to be replaced: a peer with graceful restart keeps our routes until we are back.
    Upgrade,
}

impl Stop {
    /// What the peer is told. `None` when it must not be told anything, or it would remove our routes.
    pub(crate) fn notification(&self, agreement: Option<&Agreement>) -> Option<Notification> {
        let final_one = |notification| Some(hard(notification, agreement));
        match self {
            Self::Shutdown(text) => {
                final_one(Notification::with_text(Reason::ADMIN_SHUTDOWN, text))
            }
            Self::Deconfigured => final_one(Notification::new(Reason::PEER_DECONFIGURED)),
            Self::Upgrade => {
                let silent = agreement.is_some_and(|agreed| {
                    agreed.peer_keeps_routes() && !agreed.keeps_over_notification()
                });
                (!silent).then(|| Notification::with_text(Reason::ADMIN_RESET, "restarting"))
            }
        }
    }

    /// The same for our own log.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Shutdown(text) if text.is_empty() => "stopped".to_owned(),
            Self::Shutdown(text) => format!("stopped: {text}"),
            Self::Deconfigured => "the peer is not configured any longer".to_owned(),
            Self::Upgrade => "the speaker restarts".to_owned(),
        }
    }
}

/// Makes sure that routes do not outlive `notification`: where they would, it becomes a hard reset (RFC 8538 §3.1).
pub(crate) fn hard(notification: Notification, agreement: Option<&Agreement>) -> Notification {
    if agreement.is_some_and(Agreement::keeps_over_notification) {
        return notification.into_hard_reset();
    }
    notification
}

/// What we offer: F for every family, as the kernel goes on forwarding; N, so that a NOTIFICATION costs no routes.
pub(crate) fn capability(
    families: &BTreeSet<Family>,
    restart_time: Duration,
    restarting: bool,
) -> GracefulRestart {
    let seconds = u16::try_from(restart_time.as_secs()).unwrap_or(u16::MAX);
    GracefulRestart {
        restarting,
        notification: true,
        restart_time: seconds.min(MAX_RESTART_TIME),
        families: families
            .iter()
            .map(|family| (AfiSafi::from(*family), true))
            .collect(),
    }
}

/// Whether we have restarted, as our first OPENs say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarting {
    until: Option<Time>,
}

impl Restarting {
    /// `until` when the peer may have kept routes of the speaker before us.
    pub(crate) const fn new(until: Option<Time>) -> Self {
        Self { until }
    }

    /// The R bit of an OPEN sent now.
    pub(crate) fn bit(self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// A session is up: we are back.
    pub(crate) const fn over(&mut self) {
        self.until = None;
    }
}

/// When a peer whose session ended so is expected back at the latest; `None` when it does not restart gracefully.
pub(crate) fn expected_back(now: Time, agreement: &Agreement, cause: &Cause) -> Option<Time> {
    let restart = agreement.peer_restart.as_ref()?;
    let survives = match cause {
        Cause::Lost(_) => true,
        Cause::Received(notification) | Cause::Sent { notification, .. } => {
            agreement.keeps_over_notification() && !notification.is_hard_reset()
        }
        Cause::Unreachable(_) | Cause::Replaced | Cause::Upgrade => false,
    };
    let keeps = survives && !restart.families.is_empty() && restart.restart_time > 0;
    keeps.then(|| now + Duration::from_secs(restart.restart_time.into()))
}

/// In seconds; it has twelve bits (RFC 4724 §3).
const MAX_RESTART_TIME: u16 = 4_095;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::Negotiated;

    /// An agreement where the sides offered graceful restart (`None`: did not) with or without the N bit.
    pub(crate) fn agreement(ours: Option<bool>, theirs: Option<bool>) -> Agreement {
        let address = "192.0.2.1:179".parse().unwrap();
        let offer = |side: Option<bool>, other: Option<bool>| {
            side.and_then(|notification| {
                other.map(|_| GracefulRestart {
                    notification,
                    ..capability(
                        &BTreeSet::from([Family::V4]),
                        Duration::from_secs(120),
                        false,
                    )
                })
            })
        };
        Agreement {
            local: address,
            remote: address,
            local_asn: 65_000,
            peer_asn: 65_001,
            local_router_id: 1.into(),
            peer_router_id: 2.into(),
            peer_name: None,
            hold_time: Duration::from_secs(90),
            keepalive_time: Duration::from_secs(30),
            wire: Negotiated {
                four_octet_as: true,
                internal: false,
                ipv4: true,
                ipv6: false,
                extended_next_hop: false,
            },
            max_length: 4_096,
            bfd_strict: false,
            route_refresh: true,
            enhanced_route_refresh: true,
            local_restart: offer(ours, theirs),
            peer_restart: offer(theirs, ours),
        }
    }

    const ALL: [(Option<bool>, Option<bool>); 4] = [
        (None, None),
        (Some(true), None),
        (Some(true), Some(false)),
        (Some(true), Some(true)),
    ];

    #[test]
    fn over_an_upgrade_routes_are_kept_in_the_way_that_the_peer_knows() {
        let told = ALL.map(|(ours, theirs)| {
            let agreement = agreement(ours, theirs);
            Stop::Upgrade
                .notification(Some(&agreement))
                .map(|told| told.reason)
        });
        let reset = Some(Reason::ADMIN_RESET);
        assert_eq!(told, [reset, reset, None, reset]);
    }

    #[test]
    fn a_shutdown_removes_the_routes_whatever_was_agreed() {
        let told = ALL.map(|(ours, theirs)| {
            let agreement = agreement(ours, theirs);
            let told = Stop::Shutdown("bye".to_owned())
                .notification(Some(&agreement))
                .unwrap();
            assert_eq!(told.cause().reason, Reason::ADMIN_SHUTDOWN);
            assert_eq!(told.text().as_deref(), Some("bye"));
            told.is_hard_reset()
        });
        assert_eq!(told, [false, false, false, true]);
    }

    #[test]
    fn the_restart_bit_is_set_until_we_are_back_or_too_late() {
        let mut restarting = Restarting::new(Some(Time::from_secs(120)));
        assert!(restarting.bit(Time::from_secs(119)));
        assert!(!restarting.bit(Time::from_secs(120)));
        restarting.over();
        assert!(!restarting.bit(Time::ZERO));
        assert!(!Restarting::new(None).bit(Time::ZERO));
    }

    #[test]
    fn the_restart_time_fits_its_twelve_bits() {
        let families = BTreeSet::from([Family::V4]);
        let long = capability(&families, Duration::from_secs(1_000_000), true);
        assert_eq!(long.restart_time, 4_095);
        assert!(long.restarting && long.notification);
        assert!(long.families[&AfiSafi::IPV4_UNICAST]);
    }

    #[test]
    fn a_peer_is_expected_back_when_its_end_was_no_final_one() {
        let cease = Notification::new(Reason::ADMIN_RESET);
        let cases = [
            (agreement(Some(true), None), Cause::Lost(None), false),
            (agreement(Some(true), Some(false)), Cause::Lost(None), true),
            (
                agreement(Some(true), Some(false)),
                Cause::Received(cease.clone()),
                false,
            ),
            (
                agreement(Some(true), Some(true)),
                Cause::Received(cease.clone()),
                true,
            ),
            (
                agreement(Some(true), Some(true)),
                Cause::sent(cease.clone(), ""),
                true,
            ),
            (
                agreement(Some(true), Some(true)),
                Cause::Received(cease.into_hard_reset()),
                false,
            ),
            (agreement(Some(true), Some(true)), Cause::Replaced, false),
        ];
        for (agreement, cause, expected) in cases {
            let back = expected_back(Time::ZERO, &agreement, &cause);
            assert_eq!(back, expected.then_some(Time::from_secs(120)), "{cause}");
        }
    }
}
