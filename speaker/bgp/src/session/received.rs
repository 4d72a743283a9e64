//! How many routes a peer announces, and nothing else about them.
//!
//! Announcements less withdrawals would be wrong: a route that is announced again replaces itself, and one may be withdrawn
//! that was never there. So the prefixes are kept, as a set without attributes, up to a bound: the configured maximum, or
//! [`CAPACITY`] where there is none. A count at the bound is a lower limit until the session ends.

use std::collections::BTreeSet;

use ipnet::IpNet;
use ironlb_model::Family;

use crate::wire::{Action, AfiSafi, RefreshKind, Update};

/// What a peer has announced on a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    maximum: Option<u32>,
    ipv4: Prefixes,
    ipv6: Prefixes,
    faults: Faults,
}

/// The number of routes of a family that a peer announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Prefixes.
    pub prefixes: usize,
    /// Whether there may be more: as many as are counted at most have come.
    pub at_least: bool,
    /// Whether the peer has said that this was all of them (End-of-RIB, RFC 4724 §2).
    pub complete: bool,
}

/// How often an UPDATE was malformed and the session went on (RFC 7606).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Routes were taken without a malformed attribute.
    pub attributes_discarded: u64,
    /// Routes were treated as withdrawn.
    pub treated_as_withdrawn: u64,
}

/// More prefixes of a family than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    family: Family,
    maximum: u32,
}

impl Received {
    pub(crate) fn new(maximum: Option<u32>) -> Self {
        Self {
            maximum,
            ..Self::default()
        }
    }

    /// Counts what `update` says; tells which family has too many prefixes now.
    pub(crate) fn take(&mut self, update: &Update<'_>) -> Result<(), Exceeded> {
        match update.action() {
            Some(Action::AttributeDiscard) => {
                self.faults.attributes_discarded =
                    self.faults.attributes_discarded.saturating_add(1)
            }
            Some(Action::TreatAsWithdraw) => {
                self.faults.treated_as_withdrawn =
                    self.faults.treated_as_withdrawn.saturating_add(1)
            }
            Some(Action::SessionReset) | None => {}
        }
        if let Some(family) = update.end_of_rib {
            self.family_mut(family).complete = true;
        }
        for prefix in update.routes_withdrawn() {
            self.family_mut(Family::of(prefix.addr())).withdraw(prefix);
        }
        let capacity = self.capacity();
        for prefix in update.routes_announced() {
            self.family_mut(Family::of(prefix.addr()))
                .announce(prefix, capacity);
        }
        self.check()
    }

    /// The beginning or end of all routes once more (RFC 7313 §4).
    pub(crate) fn refreshed(&mut self, family: Family, kind: RefreshKind) {
        let prefixes = self.family_mut(family);
        match kind {
            RefreshKind::Begin => prefixes.begin_refresh(),
            RefreshKind::End => prefixes.stale.clear(),
            RefreshKind::Request | RefreshKind::Unknown(_) => {}
        }
    }

    /// Another maximum; tells which family has too many prefixes by it.
    pub(crate) fn set_maximum(&mut self, maximum: Option<u32>) -> Result<(), Exceeded> {
        self.maximum = maximum;
        self.check()
    }

    pub(crate) fn count(&self, family: Family) -> Count {
        let prefixes = self.family(family);
        Count {
            prefixes: prefixes.len(),
            at_least: prefixes.overflowed,
            complete: prefixes.complete,
        }
    }

    pub(crate) const fn faults(&self) -> Faults {
        self.faults
    }

    fn check(&self) -> Result<(), Exceeded> {
        let Some(maximum) = self.maximum else {
            return Ok(());
        };
        let limit = usize::try_from(maximum).unwrap_or(usize::MAX);
        let over = Family::ALL
            .into_iter()
            .find(|family| self.family(*family).len() > limit);
        over.map_or(Ok(()), |family| Err(Exceeded { family, maximum }))
    }

    /// One more than allowed, so that one too many is seen.
    fn capacity(&self) -> usize {
        let maximum = self
            .maximum
            .and_then(|maximum| usize::try_from(maximum).ok());
        maximum.map_or(CAPACITY, |maximum| maximum.saturating_add(1))
    }

    const fn family(&self, family: Family) -> &Prefixes {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
        }
    }

    const fn family_mut(&mut self, family: Family) -> &mut Prefixes {
        match family {
            Family::V4 => &mut self.ipv4,
            Family::V6 => &mut self.ipv6,
        }
    }
}

impl Exceeded {
    /// The data of the Cease: family and maximum (RFC 4486 §4).
    pub(crate) fn data(self) -> Vec<u8> {
        let family = AfiSafi::from(self.family);
        let mut data = family.afi.to_be_bytes().to_vec();
        data.push(family.safi);
        data.extend(self.maximum.to_be_bytes());
        data
    }

    /// In words.
    pub(crate) fn sentence(self) -> String {
        format!(
            "the peer announces more than {} {} prefixes",
            self.maximum, self.family
        )
    }
}

/// The prefixes of one family.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    current: BTreeSet<IpNet>,
    /// Those from before a refresh that has begun, and not announced again yet.
    stale: BTreeSet<IpNet>,
    overflowed: bool,
    complete: bool,
}

impl Prefixes {
    fn len(&self) -> usize {
        self.current.len().saturating_add(self.stale.len())
    }

    fn announce(&mut self, prefix: IpNet, capacity: usize) {
        self.stale.remove(&prefix);
        if self.len() < capacity || self.current.contains(&prefix) {
            self.current.insert(prefix);
        } else {
            self.overflowed = true;
        }
    }

    fn withdraw(&mut self, prefix: IpNet) {
        self.current.remove(&prefix);
        self.stale.remove(&prefix);
    }

    fn begin_refresh(&mut self) {
        self.stale.append(&mut self.current);
    }
}

/// How many prefixes of a family are counted where no maximum is configured: a router that sends a full table to a speaker,
/// which takes nothing of it, is not to fill the speaker's memory.
pub(crate) const CAPACITY: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(number: u32) -> IpNet {
        format!("{}/32", std::net::Ipv4Addr::from_bits(0x0a00_0000 + number))
            .parse()
            .unwrap()
    }

    fn announced(prefixes: impl Iterator<Item = u32>, capacity: usize) -> Prefixes {
        let mut set = Prefixes::default();
        for number in prefixes {
            set.announce(prefix(number), capacity);
        }
        set
    }

    #[test]
    fn a_route_announced_again_counts_once() {
        let set = announced([1, 2, 1, 1].into_iter(), CAPACITY);
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn a_route_withdrawn_that_was_never_there_changes_nothing() {
        let mut set = announced(0..3, CAPACITY);
        set.withdraw(prefix(7));
        assert_eq!(set.len(), 3);
        set.withdraw(prefix(1));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn memory_is_bounded_and_the_count_says_so() {
        let set = announced(0..100, 10);
        assert_eq!(set.len(), 10);
        assert!(set.overflowed);
        assert!(!announced(0..10, 10).overflowed);
    }

    #[test]
    fn one_prefix_too_many_is_seen_in_its_family() {
        let mut received = Received::new(Some(2));
        let capacity = received.capacity();
        for number in 0..5 {
            received.ipv4.announce(prefix(number), capacity);
        }
        let exceeded = received.check().unwrap_err();
        assert_eq!(exceeded.data(), [0, 1, 1, 0, 0, 0, 2]);
        assert_eq!(
            exceeded.sentence(),
            "the peer announces more than 2 IPv4 prefixes"
        );
        assert_eq!(received.set_maximum(Some(3)), Ok(()));
        assert_eq!(received.ipv4.len(), 3);
    }

    #[test]
    fn after_a_refresh_what_was_not_announced_again_is_gone() {
        let mut received = Received::new(None);
        for number in 0..4 {
            received.ipv4.announce(prefix(number), CAPACITY);
        }
        received.refreshed(Family::V4, RefreshKind::Begin);
        received.ipv4.announce(prefix(1), CAPACITY);
        received.ipv4.announce(prefix(9), CAPACITY);
        assert_eq!(received.count(Family::V4).prefixes, 5);
        received.refreshed(Family::V4, RefreshKind::End);
        assert_eq!(received.count(Family::V4).prefixes, 2);
    }
}
