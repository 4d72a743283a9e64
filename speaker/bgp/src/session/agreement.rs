//! What we offer in our OPEN, and what the two OPENs agree on.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ironlb_model::Family;
use ironlb_model::bgp::PeerAsn;

use super::State;
use crate::collision::Rank;
use crate::wire::framer::{MAX_LENGTH, MAX_LENGTH_EXTENDED};
use crate::wire::{AfiSafi, Capabilities, GracefulRestart, Negotiated, Notification, Open, Reason};

/// What a session is, once it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The AS number that we show: `localASN` where there is one (RFC 7705).
    pub local_asn: u32,
    /// The peer's AS number.
    pub peer_asn: u32,
    /// Our BGP identifier.
    pub local_router_id: Ipv4Addr,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The peer's own name, where it says one.
    pub peer_name: Option<String>,
    /// After how long without a message the session ends; zero for never (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// How often we send a KEEPALIVE, at least; zero for never.
    pub keepalive_time: Duration,
    /// How UPDATEs are read and written.
    pub wire: Negotiated,
    /// The longest message that we may send (RFC 8654).
    pub max_length: usize,
    /// Whether both sides know ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Whether a refresh is framed by BoRR and EoRR (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Whether the session waits for BFD: both sides said so (draft-ietf-idr-bgp-bfd-strict-mode §6).
    pub bfd_strict: bool,
    /// The graceful restart that we offered; `None` when the peer does not know it, and so keeps nothing.
    pub local_restart: Option<GracefulRestart>,
    /// The graceful restart that the peer offered.
    pub peer_restart: Option<GracefulRestart>,
}

impl Agreement {
    /// Whether routes outlive a NOTIFICATION too: both sides said so (RFC 8538 §2).
    pub fn keeps_over_notification(&self) -> bool {
        let both = [&self.local_restart, &self.peer_restart];
        both.into_iter()
            .all(|side| side.as_ref().is_some_and(|side| side.notification))
    }

    /// The peer's rank against ours.
    pub(crate) const fn peer_rank(&self) -> Rank {
        Rank {
            router_id: self.peer_router_id,
            asn: self.peer_asn,
        }
    }

    pub(crate) fn set_keepalive_time(&mut self, configured: Duration) {
        self.keepalive_time = keepalive_time(configured, self.hold_time);
    }

    /// Whether the peer keeps our routes of any family when the connection breaks.
    pub fn peer_keeps_routes(&self) -> bool {
        self.peer_restart.is_some()
            && self
                .local_restart
                .as_ref()
                .is_some_and(|ours| !ours.families.is_empty())
    }
}

/// Our side of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) open: Open,
    pub(crate) peer_asn: PeerAsn,
    pub(crate) families: BTreeSet<Family>,
    pub(crate) keepalive_time: Duration,
}

impl Offer {
    /// Our rank against another connection's.
    pub(crate) const fn rank(&self) -> Rank {
        Rank {
            router_id: self.open.router_id,
            asn: self.open.asn,
        }
    }

    /// Whether it is without any capability.
    pub(crate) fn is_plain(&self) -> bool {
        self.open.capabilities == Capabilities::default()
    }

    /// Whether an OPEN of `other` says the same to a session in this state: but for the restart bit, which is no setting, and once
    /// it is up for the wait for BFD, which is over (draft-ietf-idr-bgp-bfd-strict-mode §8.1).
    pub(crate) fn same_open(&self, other: &Self, state: State) -> bool {
        let still = |offer: &Self| {
            let mut open = offer.open.clone();
            open.capabilities.bfd_strict &= state < State::Established;
            if let Some(restart) = &mut open.capabilities.graceful_restart {
                restart.restarting = false;
            }
            open
        };
        still(self) == still(other) && self.families == other.families
    }

    /// Judges the peer's OPEN.
    ///
    /// # Errors
    /// When it is not whom we expect, or nothing can be exchanged.
    pub(crate) fn judge(
        &self,
        theirs: &Open,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Agreement, Refusal> {
        self.check_asn(theirs.asn)?;
        let internal = theirs.asn == self.open.asn;
        self.check_identifier(theirs, internal)?;
        let families = self.common_families(&theirs.capabilities)?;
        let (we, they) = (&self.open.capabilities, &theirs.capabilities);
        let hold_time = Duration::from_secs(self.open.hold_time.min(theirs.hold_time).into());
        let extended = we.extended_message && they.extended_message;
        Ok(Agreement {
            local,
            remote,
            local_asn: self.open.asn,
            peer_asn: theirs.asn,
            local_router_id: self.open.router_id,
            peer_router_id: theirs.router_id,
            peer_name: they.fqdn.as_ref().map(|name| name.host.clone()),
            hold_time,
            keepalive_time: keepalive_time(self.keepalive_time, hold_time),
            wire: Negotiated {
                four_octet_as: we.four_octet_as.is_some() && they.four_octet_as.is_some(),
                internal,
                ipv4: families.contains(&Family::V4),
                ipv6: families.contains(&Family::V6),
                extended_next_hop: we.ipv4_over_ipv6() && they.ipv4_over_ipv6(),
            },
            max_length: if extended {
                MAX_LENGTH_EXTENDED
            } else {
                MAX_LENGTH
            },
            route_refresh: we.route_refresh && they.route_refresh,
            enhanced_route_refresh: we.enhanced_route_refresh && they.enhanced_route_refresh,
            bfd_strict: we.bfd_strict && they.bfd_strict,
            local_restart: they
                .graceful_restart
                .as_ref()
                .and_then(|_| we.graceful_restart.clone()),
            peer_restart: we
                .graceful_restart
                .as_ref()
                .and_then(|_| they.graceful_restart.clone()),
        })
    }

    /// RFC 4271 §6.2, with what the configuration asks for.
    pub(crate) fn check_asn(&self, theirs: u32) -> Result<(), Refusal> {
        let ours = self.open.asn;
        let (right, wanted) = match self.peer_asn {
            PeerAsn::Number(number) => (theirs == number, format!("must have {number}")),
            PeerAsn::External => (
                theirs != ours,
                format!("must have another than ours, {ours}"),
            ),
            PeerAsn::Internal => (theirs == ours, format!("must have ours, {ours}")),
        };
        if right {
            return Ok(());
        }
        Err(refusal(
            Reason::BAD_PEER_AS,
            Vec::new(),
            format!("the peer has AS number {theirs}, but {wanted}"),
        ))
    }

    /// RFC 6286 §2.2: equal identifiers are allowed between different ASes.
    fn check_identifier(&self, theirs: &Open, internal: bool) -> Result<(), Refusal> {
        if !internal || theirs.router_id != self.open.router_id {
            return Ok(());
        }
        let detail = format!(
            "the peer has our own BGP identifier, {}, in our own AS",
            theirs.router_id
        );
        Err(refusal(Reason::BAD_IDENTIFIER, Vec::new(), detail))
    }

    /// RFC 4760 §8. Without the capability on either side there is IPv4 alone.
    fn common_families(&self, theirs: &Capabilities) -> Result<BTreeSet<Family>, Refusal> {
        let ours = offered(&self.open.capabilities);
        let common: BTreeSet<_> = ours
            .intersection(&offered(theirs))
            .filter_map(|family| family.family())
            .collect();
        let common: BTreeSet<_> = common.intersection(&self.families).copied().collect();
        if common.is_empty() {
            let detail = format!(
                "the peer offers {}, we {}",
                list(&offered(theirs)),
                list(&ours)
            );
            return Err(refusal(
                Reason::UNSUPPORTED_CAPABILITY,
                multiprotocol(&self.families),
                detail,
            ));
        }
        Ok(common)
    }
}

/// Why a peer's OPEN is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it is told.
    pub(crate) notification: Notification,
    /// What was found and what is allowed, for our own log.
    pub(crate) why: String,
}

const fn refusal(reason: Reason, data: Vec<u8>, why: String) -> Refusal {
    let notification = Notification { reason, data };
    Refusal { notification, why }
}

fn offered(capabilities: &Capabilities) -> BTreeSet<AfiSafi> {
    if capabilities.multiprotocol.is_empty() {
        return BTreeSet::from([AfiSafi::IPV4_UNICAST]);
    }
    capabilities.multiprotocol.clone()
}

fn list(families: &BTreeSet<AfiSafi>) -> String {
    let words: Vec<_> = families.iter().map(ToString::to_string).collect();
    words.join(" and ")
}

/// The capabilities that the peer should have, as the data of a NOTIFICATION lists them (RFC 5492 §5).
fn multiprotocol(families: &BTreeSet<Family>) -> Vec<u8> {
    let each = families.iter().map(|family| AfiSafi::from(*family));
    each.flat_map(|family| {
        let [high, low] = family.afi.to_be_bytes();
        [1, 4, high, low, 0, family.safi]
    })
    .collect()
}

/// As configured, but at least three in a hold time, and no more than one in a second (RFC 4271 §4.4).
fn keepalive_time(configured: Duration, hold_time: Duration) -> Duration {
    if hold_time.is_zero() {
        return Duration::ZERO;
    }
    let third = hold_time / 3;
    let asked = if configured.is_zero() {
        third
    } else {
        configured
    };
    asked.min(third).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "192.0.2.1:179";

    fn offer(asn: u32, families: &[Family]) -> Offer {
        Offer {
            open: open(asn, 1, families),
            peer_asn: PeerAsn::Number(65_001),
            families: families.iter().copied().collect(),
            keepalive_time: Duration::ZERO,
        }
    }

    fn open(asn: u32, router_id: u32, families: &[Family]) -> Open {
        Open {
            asn,
            hold_time: 90,
            router_id: router_id.into(),
            capabilities: Capabilities {
                multiprotocol: families
                    .iter()
                    .map(|family| AfiSafi::from(*family))
                    .collect(),
                ..Capabilities::default()
            },
        }
    }

    fn judge(offer: &Offer, theirs: &Open) -> Result<Agreement, Refusal> {
        let address = ADDRESS.parse().unwrap();
        offer.judge(theirs, address, address)
    }

    #[test]
    fn a_peer_must_have_the_as_number_that_is_configured() {
        let mut offer = offer(65_000, &[Family::V4]);
        let cases = [
            (PeerAsn::Number(65_001), 65_001, true),
            (PeerAsn::Number(65_001), 65_002, false),
            (PeerAsn::External, 65_002, true),
            (PeerAsn::External, 65_000, false),
            (PeerAsn::Internal, 65_000, true),
            (PeerAsn::Internal, 65_001, false),
        ];
        for (peer_asn, theirs, accepted) in cases {
            offer.peer_asn = peer_asn;
            let verdict = judge(&offer, &open(theirs, 2, &[Family::V4]));
            assert_eq!(verdict.is_ok(), accepted, "{peer_asn:?} {theirs}");
            if let Err(error) = verdict {
                assert_eq!(error.notification.reason, Reason::BAD_PEER_AS);
                assert!(error.why.contains(&theirs.to_string()), "{error:?}");
            }
        }
    }

    #[test]
    fn whether_a_peer_is_internal_is_judged_by_the_number_that_it_is_shown() {
        let mut offer = offer(65_100, &[Family::V4]);
        offer.peer_asn = PeerAsn::Internal;
        let agreement = judge(&offer, &open(65_100, 2, &[Family::V4])).unwrap();
        assert!(agreement.wire.internal);
        assert_eq!(agreement.local_asn, 65_100);
    }

    #[test]
    fn our_own_identifier_is_refused_from_an_internal_peer_only() {
        let mut offer = offer(65_000, &[Family::V4]);
        assert!(judge(&offer, &open(65_001, 1, &[Family::V4])).is_ok());
        offer.peer_asn = PeerAsn::Internal;
        let error = judge(&offer, &open(65_000, 1, &[Family::V4])).unwrap_err();
        assert_eq!(error.notification.reason, Reason::BAD_IDENTIFIER);
    }

    #[test]
    fn what_both_offer_is_exchanged() {
        let both = [Family::V4, Family::V6];
        type Exchanged = Option<(bool, bool)>;
        let cases: [(&[Family], &[Family], Exchanged); 6] = [
            (&both, &both, Some((true, true))),
            (&both, &[Family::V6], Some((false, true))),
            (&[Family::V4], &both, Some((true, false))),
            (&both, &[], Some((true, false))),
            (&[Family::V6], &[], None),
            (&[Family::V6], &[Family::V4], None),
        ];
        for (ours, theirs, common) in cases {
            let verdict = judge(&offer(65_000, ours), &open(65_001, 2, theirs));
            let exchanged = verdict
                .as_ref()
                .ok()
                .map(|agreed| (agreed.wire.ipv4, agreed.wire.ipv6));
            assert_eq!(exchanged, common, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn a_peer_without_our_family_is_told_which_capability_it_lacks() {
        let error = judge(&offer(65_000, &[Family::V6]), &open(65_001, 2, &[])).unwrap_err();
        assert_eq!(error.notification.reason, Reason::UNSUPPORTED_CAPABILITY);
        assert_eq!(error.notification.data, [1, 4, 0, 2, 0, 1]);
        assert_eq!(error.why, "the peer offers IPv4 unicast, we IPv6 unicast");
    }

    #[test]
    fn the_shorter_hold_time_holds_and_zero_is_the_shortest() {
        let offer = offer(65_000, &[Family::V4]);
        for (theirs, agreed, keepalive) in [(30, 30, 10), (180, 90, 30), (0, 0, 0), (3, 3, 1)] {
            let mut open = open(65_001, 2, &[Family::V4]);
            open.hold_time = theirs;
            let agreement = judge(&offer, &open).unwrap();
            assert_eq!(agreement.hold_time.as_secs(), agreed);
            assert_eq!(agreement.keepalive_time.as_secs(), keepalive);
        }
    }

    #[test]
    fn a_configured_keepalive_time_counts_while_it_is_short_enough() {
        let seconds = Duration::from_secs;
        assert_eq!(keepalive_time(seconds(5), seconds(90)), seconds(5));
        assert_eq!(keepalive_time(seconds(60), seconds(90)), seconds(30));
        assert_eq!(
            keepalive_time(Duration::from_millis(100), seconds(90)),
            seconds(1)
        );
        assert_eq!(keepalive_time(seconds(5), Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_capability_counts_when_both_sides_have_it() {
        let mut offer = offer(65_000, &[Family::V4]);
        let mut theirs = open(65_001, 2, &[Family::V4]);
        offer.open.capabilities.extended_message = true;
        theirs.capabilities.four_octet_as = Some(65_001);
        let agreement = judge(&offer, &theirs).unwrap();
        assert!(!agreement.wire.four_octet_as);
        assert_eq!(agreement.max_length, 4_096);

        theirs.capabilities.extended_message = true;
        offer.open.capabilities.four_octet_as = Some(65_000);
        let agreement = judge(&offer, &theirs).unwrap();
        assert!(agreement.wire.four_octet_as);
        assert_eq!(agreement.max_length, 65_535);
    }

    #[test]
    fn a_large_as_number_of_ours_is_agreed_on_with_a_peer_that_cannot_say_it() {
        let mut offer = offer(4_200_000_000, &[Family::V4]);
        offer.open.capabilities.four_octet_as = Some(4_200_000_000);
        let agreement = judge(&offer, &open(65_001, 2, &[Family::V4])).unwrap();
        assert!(!agreement.wire.internal && !agreement.wire.four_octet_as);
        assert_eq!(agreement.local_asn, 4_200_000_000);
    }

    #[test]
    fn the_restart_bit_alone_makes_no_other_open() {
        let mut offer = offer(65_000, &[Family::V4]);
        offer.open.capabilities.graceful_restart = Some(GracefulRestart::default());
        let mut other = offer.clone();
        if let Some(restart) = &mut other.open.capabilities.graceful_restart {
            restart.restarting = true;
        }
        assert!(offer.same_open(&other, State::OpenConfirm));
        other.open.hold_time = 30;
        assert!(!offer.same_open(&other, State::OpenConfirm));
        let mut waiting = offer.clone();
        waiting.open.capabilities.bfd_strict = true;
        assert!(!offer.same_open(&waiting, State::OpenConfirm));
        assert!(offer.same_open(&waiting, State::Established));
    }
}
