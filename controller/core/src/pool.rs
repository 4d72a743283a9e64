//! One pool's free addresses and its counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_model::addr::{address, number};
use ironlb_model::{Family, Pool, Range};

use crate::usage::Usage;

/// A pool, and which of its addresses are free.
///
/// Free addresses are kept as runs, by the pool entry they belong to and in ascending order, so that the lowest free
/// address of the first entry that has one is the first run's first. A run begins and ends with an address that may be
/// given away: those that `avoidBuggyIPs` leaves out are skipped at its ends and never counted, so they cost nothing.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) pool: Pool,
    /// By family, entry and last address: the first address. So the lowest is taken without moving its run.
    free: BTreeMap<(Family, u32, u128), u128>,
    /// Free addresses that are in no run, by family, entry and number: those to give when there is no other.
    kept_back: BTreeSet<(Family, u32, u128)>,
    usage: Usage,
}

impl PoolState {
    /// A pool of which `used` says, for a range, which of its addresses are in use, in ascending order.
    pub(crate) fn new<I>(pool: Pool, mut used: impl FnMut(&Range) -> I) -> Self
    where
        I: Iterator<Item = IpAddr>,
    {
        let mut state = Self {
            pool,
            free: BTreeMap::new(),
            kept_back: BTreeSet::new(),
            usage: Usage::default(),
        };
        let mut runs = Vec::new();
        for (entry, range) in (0..).zip(&state.pool.ranges) {
            let skip = Skip::new(&state.pool, range);
            let count = state.usage.of_mut(range.family());
            count.total = count.total.saturating_add(skip.usable());
            let mut first = skip.up(skip.first);
            for taken in used(range).map(number).filter(|taken| skip.allows(*taken)) {
                count.in_use += 1;
                if let (Some(from), Some(to)) = (first, below(taken).and_then(|n| skip.down(n)))
                    && from <= to
                {
                    runs.push(((range.family(), entry, to), from));
                }
                first = taken.checked_add(1).and_then(|next| skip.up(next));
            }
            if let (Some(from), Some(to)) = (first, skip.down(skip.last)) {
                runs.push(((range.family(), entry, to), from));
            }
        }
        state.free = runs.into_iter().collect();
        state
    }

    pub(crate) const fn usage(&self) -> Usage {
        self.usage
    }

    /// The lowest free address of the first entry that has one, those that are kept back aside.
    pub(crate) fn first_free(&self, family: Family) -> Option<IpAddr> {
        let (&(found, _, _), first) = self.free.range((family, 0, 0)..).next()?;
        (found == family).then(|| address(family, *first))
    }

    pub(crate) fn has_free(&self, family: Family) -> bool {
        self.first_free(family).is_some()
    }

    /// The lowest of the free addresses that are kept back, of the first entry that has one.
    pub(crate) fn first_kept_back(&self, family: Family) -> Option<IpAddr> {
        let (found, _, number) = self.kept_back.range((family, 0, 0)..).next()?;
        (*found == family).then(|| address(family, *number))
    }

    pub(crate) fn has_kept_back(&self, family: Family) -> bool {
        !self.kept_back.is_empty() && self.first_kept_back(family).is_some()
    }

    /// Whether `address` may be given away by this pool at all, free or not.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        !self.pool.avoid_buggy_ips || !is_buggy(address)
    }

    /// Marks an address of `entry` as used. It must be free, or one that the pool never gives away.
    pub(crate) fn take(&mut self, entry: u32, address: IpAddr) {
        let (family, number) = (Family::of(address), number(address));
        if self.take_up(family, entry, number) || self.cut(family, entry, number) {
            self.usage.of_mut(family).in_use += 1;
        }
    }

    /// Marks an address of `entry` as free again. It must be used, or one that the pool never gives away.
    pub(crate) fn give_back(&mut self, entry: u32, address: IpAddr) {
        let (family, number) = (Family::of(address), number(address));
        if self.join(family, entry, number) {
            let count = self.usage.of_mut(family);
            count.in_use = count.in_use.saturating_sub(1);
        }
    }

    /// Keeps a free address of `entry` back. Nothing changes for one that is used, or is kept back.
    pub(crate) fn keep_back(&mut self, entry: u32, address: IpAddr) {
        let (family, number) = (Family::of(address), number(address));
        if self.cut(family, entry, number) {
            self.kept_back.insert((family, entry, number));
        }
    }

    /// An address of `entry` that may be kept back is free like others.
    pub(crate) fn release(&mut self, entry: u32, address: IpAddr) {
        let (family, number) = (Family::of(address), number(address));
        if self.take_up(family, entry, number) {
            self.join(family, entry, number);
        }
    }

    /// Takes an address out of those that are kept back; `false` when it is none of them.
    fn take_up(&mut self, family: Family, entry: u32, number: u128) -> bool {
        !self.kept_back.is_empty() && self.kept_back.remove(&(family, entry, number))
    }

    /// Takes an address out of the run that has it; `false` when none has.
    fn cut(&mut self, family: Family, entry: u32, taken: u128) -> bool {
        let Some(skip) = self.skip(entry).filter(|skip| skip.allows(taken)) else {
            return false;
        };
        let Some((last, first)) = self.run_to(family, entry, taken) else {
            return false;
        };
        if taken < *first {
            return false;
        }
        let left = below(taken).and_then(|n| skip.down(n));
        let left = left.filter(|to| *first <= *to).map(|to| (to, *first));
        match taken.checked_add(1).and_then(|n| skip.up(n)) {
            Some(from) if from <= last => *first = from,
            _ => {
                self.free.remove(&(family, entry, last));
            }
        }
        if let Some((to, from)) = left {
            self.free.insert((family, entry, to), from);
        }
        true
    }

    /// Puts an address, which no run has, into the runs; `false` when it is never given away.
    fn join(&mut self, family: Family, entry: u32, freed: u128) -> bool {
        let Some(skip) = self.skip(entry).filter(|skip| skip.allows(freed)) else {
            return false;
        };
        let left = below(freed).and_then(|n| skip.down(n));
        let left = left.and_then(|to| self.free.remove(&(family, entry, to)));
        let first = left.unwrap_or(freed);
        let next = freed.checked_add(1).and_then(|n| skip.up(n));
        match self.run_to(family, entry, freed) {
            Some((_, start)) if Some(*start) == next => *start = first,
            _ => {
                self.free.insert((family, entry, freed), first);
            }
        }
        true
    }

    /// The first run of an entry that ends at `number` or above: its last address, and its first to change.
    fn run_to(&mut self, family: Family, entry: u32, number: u128) -> Option<(u128, &mut u128)> {
        let runs = (family, entry, number)..=(family, entry, u128::MAX);
        let (&(_, _, last), first) = self.free.range_mut(runs).next()?;
        Some((last, first))
    }

    fn skip(&self, entry: u32) -> Option<Skip> {
        let range = self.pool.ranges.get(usize::try_from(entry).ok()?)?;
        Some(Skip::new(&self.pool, range))
    }
}

/// Whether some old equipment takes `address` for a network or broadcast address (`avoidBuggyIPs`).
pub(crate) fn is_buggy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [.., 0 | 255]),
        IpAddr::V6(_) => false,
    }
}

/// Steps over the addresses of one pool entry that are never given away.
struct Skip {
    first: u128,
    last: u128,
    buggy: bool,
}

impl Skip {
    fn new(pool: &Pool, range: &Range) -> Self {
        Self {
            first: range.first_number(),
            last: range.last_number(),
            buggy: pool.avoid_buggy_ips && range.family() == Family::V4,
        }
    }

    fn allows(&self, number: u128) -> bool {
        !self.buggy || !matches!(number % 256, 0 | 255)
    }

    /// The lowest that may be given away, from `number` on.
    fn up(&self, number: u128) -> Option<u128> {
        (number..=self.last)
            .take(3)
            .find(|number| self.allows(*number))
    }

    /// The highest that may be given away, from `number` down.
    fn down(&self, number: u128) -> Option<u128> {
        (self.first..=number)
            .rev()
            .take(3)
            .find(|number| self.allows(*number))
    }

    /// How many may be given away; saturates.
    fn usable(&self) -> u128 {
        let all = (self.last - self.first).saturating_add(1);
        if !self.buggy {
            return all;
        }
        let up_to = |end: u128, rest: u128| (end + 255 - rest) / 256;
        let between = |rest| up_to(self.last + 1, rest) - up_to(self.first, rest);
        all - between(0) - between(255)
    }
}

fn below(number: u128) -> Option<u128> {
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    fn pool(ranges: &[(&str, &str)], avoid_buggy_ips: bool) -> Pool {
        let ranges = ranges
            .iter()
            .map(|(first, last)| Range::new(first.parse().unwrap(), last.parse().unwrap()).unwrap())
            .collect();
        Pool {
            avoid_buggy_ips,
            ..Pool::new("pool", ranges)
        }
    }

    fn empty(ranges: &[(&str, &str)], avoid_buggy_ips: bool) -> PoolState {
        PoolState::new(pool(ranges, avoid_buggy_ips), |_| std::iter::empty())
    }

    fn take_first(state: &mut PoolState, entry: u32, family: Family) -> Option<String> {
        let found = state.first_free(family)?;
        state.take(entry, found);
        Some(found.to_string())
    }

    #[test]
    fn entries_are_used_in_the_order_written_and_each_from_below() {
        let mut state = empty(&[("10.9.0.1", "10.9.0.2"), ("10.0.0.1", "10.0.0.1")], false);
        assert_eq!(take_first(&mut state, 0, Family::V4).unwrap(), "10.9.0.1");
        assert_eq!(take_first(&mut state, 0, Family::V4).unwrap(), "10.9.0.2");
        assert_eq!(take_first(&mut state, 1, Family::V4).unwrap(), "10.0.0.1");
        assert_eq!(take_first(&mut state, 0, Family::V4), None);
        assert_eq!(state.usage().v4.available(), 0);
    }

    #[test]
    fn buggy_addresses_are_skipped_and_not_counted() {
        let mut state = empty(&[("10.0.0.254", "10.0.1.1")], true);
        assert_eq!(state.usage().v4.total, 2);
        assert_eq!(take_first(&mut state, 0, Family::V4).unwrap(), "10.0.0.254");
        assert_eq!(take_first(&mut state, 0, Family::V4).unwrap(), "10.0.1.1");
        assert!(!state.has_free(Family::V4));
        assert!(!state.allows("10.0.1.0".parse().unwrap()));
    }

    #[test]
    fn a_pool_of_buggy_addresses_alone_has_none() {
        let state = empty(&[("10.0.0.255", "10.0.1.0")], true);
        assert_eq!(state.usage().v4.total, 0);
        assert!(!state.has_free(Family::V4));
    }

    #[test]
    fn the_whole_of_either_family_is_a_pool() {
        let mut all = empty(
            &[
                ("0.0.0.0", "255.255.255.255"),
                ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ],
            false,
        );
        assert_eq!(all.usage().v4.total, 1 << 32);
        assert_eq!(all.usage().v6.total, u128::MAX);
        assert_eq!(take_first(&mut all, 1, Family::V6).unwrap(), "::");
        all.take(
            1,
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
        );
        all.give_back(1, "::".parse().unwrap());
        assert_eq!(take_first(&mut all, 1, Family::V6).unwrap(), "::");
        let last = "255.255.255.255".parse().unwrap();
        all.take(0, last);
        all.give_back(0, last);
        assert_eq!(all.usage().v4.in_use, 0);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_addresses(
            avoid in any::<bool>(),
            first in 240u32..262,
            length in 0u32..24,
            steps in prop::collection::vec((0u8..6, 0u32..24), 0..80),
        ) {
            let base = u32::from(std::net::Ipv4Addr::new(10, 0, 0, 0));
            let at = |offset: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(base + offset));
            let range = Range::new(at(first), at(first + length)).unwrap();
            let mut pool = pool(&[], avoid);
            pool.ranges = vec![range];
            let usable: BTreeSet<IpAddr> = (first..=first + length).map(at)
                .filter(|address| !avoid || !is_buggy(*address)).collect();
            let mut free = usable.clone();
            let mut kept_back = BTreeSet::new();
            let mut state = PoolState::new(pool.clone(), |_| std::iter::empty());
            for (step, offset) in steps {
                let address = at(first + offset % (length + 1));
                let is_free = free.contains(&address);
                match step {
                    0 | 1 if is_free || !usable.contains(&address) => {
                        free.remove(&address);
                        kept_back.remove(&address);
                        state.take(0, address);
                    }
                    2 | 3 if !is_free => {
                        if usable.contains(&address) {
                            free.insert(address);
                        }
                        state.give_back(0, address);
                    }
                    4 => {
                        if is_free {
                            kept_back.insert(address);
                        }
                        state.keep_back(0, address);
                    }
                    5 => {
                        kept_back.remove(&address);
                        state.release(0, address);
                    }
                    _ => {}
                }
                let first = free.difference(&kept_back).next();
                prop_assert_eq!(state.first_free(Family::V4), first.copied());
                prop_assert_eq!(state.first_kept_back(Family::V4), kept_back.first().copied());
                prop_assert_eq!(state.usage().v4.total, usable.len() as u128);
                prop_assert_eq!(state.usage().v4.available(), free.len() as u128);
            }
            for address in kept_back {
                state.release(0, address);
            }
            let used: Vec<IpAddr> = usable.difference(&free).copied().collect();
            let again = PoolState::new(pool, |_| used.iter().copied());
            prop_assert_eq!(again.free, state.free);
            prop_assert_eq!(again.usage, state.usage);
        }
    }
}
