//! A map whose keys are addresses.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ironlb_model::addr::{address, number};
use ironlb_model::{Family, Range};

/// Values by address, in the order of addresses. Both families are kept as numbers of one type, each for itself, so that IPv6
/// takes no longer than IPv4.
#[derive(Debug)]
pub(crate) struct ByAddress<T> {
    v4: BTreeMap<u128, T>,
    v6: BTreeMap<u128, T>,
}

impl<T> ByAddress<T> {
    pub(crate) fn get(&self, address: IpAddr) -> Option<&T> {
        self.of(Family::of(address)).get(&number(address))
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.get(address).is_some()
    }

    pub(crate) fn entry(&mut self, address: IpAddr) -> Entry<'_, u128, T> {
        let values = match Family::of(address) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        values.entry(number(address))
    }

    /// Those within a range, ascending.
    pub(crate) fn range(&self, range: &Range) -> impl Iterator<Item = (IpAddr, &T)> {
        let family = range.family();
        let within = range.first_number()..=range.last_number();
        let values = self.of(family).range(within);
        values.map(move |(number, value)| (address(family, *number), value))
    }

    const fn of(&self, family: Family) -> &BTreeMap<u128, T> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl<T> Default for ByAddress<T> {
    fn default() -> Self {
        Self {
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
        }
    }
}
