//! Who is on which address, and the pools' view of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ironlb_model::{Name, Pool, Range, ServiceKey};

use crate::pool::PoolState;
use crate::pools::Pools;
use crate::share::{Conflict, SharedAddresses, Sharing, Tenants};

/// Every address that is not free: those that Services have, and those that are in a status though nobody is to have
/// them. The pools are kept in step.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) pools: Pools,
    pub(crate) shared: SharedAddresses,
    tenants: BTreeMap<Numbered, Tenants>,
    published: BTreeMap<Numbered, BTreeSet<ServiceKey>>,
    /// Counts what may help a Service that was refused.
    pub(crate) revision: u64,
}

/// An address, in the order of addresses, compared as a number: IPv6 takes no longer than IPv4 that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbered(IpAddr);

impl Ord for Numbered {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (IpAddr::V4(one), IpAddr::V4(other)) => one.to_bits().cmp(&other.to_bits()),
            (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits().cmp(&other.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
            (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Numbered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ledger {
    /// The Services that have `address`, in order of their keys.
    pub(crate) fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let tenants = self.tenants.get(&Numbered(address));
        tenants.into_iter().flat_map(Tenants::services)
    }

    /// Puts a Service on an address that [`admit`](Self::admit) has let it on.
    pub(crate) fn occupy(
        &mut self,
        service: &ServiceKey,
        pool: &Name,
        sharing: Option<&Sharing>,
        address: IpAddr,
    ) {
        match self.tenants.get_mut(&Numbered(address)) {
            Some(tenants) => tenants.insert(service, sharing),
            None => {
                self.tenants
                    .insert(Numbered(address), Tenants::new(service, sharing));
                if !self.published.contains_key(&Numbered(address)) {
                    self.pools.take(address);
                }
            }
        }
        if let Some(sharing) = sharing {
            self.shared.insert(sharing, pool, address);
            self.revision += 1;
        }
    }

    /// Takes a Service off an address, where it was on these terms.
    pub(crate) fn vacate(
        &mut self,
        service: &ServiceKey,
        pool: &Name,
        sharing: Option<&Sharing>,
        address: IpAddr,
    ) {
        if let Some(tenants) = self.tenants.get_mut(&Numbered(address))
            && tenants.remove(service, sharing)
        {
            self.tenants.remove(&Numbered(address));
            if !self.published.contains_key(&Numbered(address)) {
                self.pools.give_back(address);
            }
        }
        if let Some(sharing) = sharing {
            self.shared.remove(sharing, pool, address);
        }
        self.revision += 1;
    }

    /// Notes that `service` has `address` in its status, or may have.
    pub(crate) fn publish(&mut self, service: &ServiceKey, address: IpAddr) {
        let publishers = self.published.entry(Numbered(address)).or_default();
        let first = publishers.is_empty();
        publishers.insert(service.clone());
        if first && !self.tenants.contains_key(&Numbered(address)) {
            self.pools.take(address);
        }
    }

    /// Takes a note of [`publish`](Self::publish) back.
    pub(crate) fn unpublish(&mut self, service: &ServiceKey, address: IpAddr) {
        let Some(publishers) = self.published.get_mut(&Numbered(address)) else {
            return;
        };
        self.revision += u64::from(publishers.remove(service));
        if publishers.is_empty() {
            self.published.remove(&Numbered(address));
            if !self.tenants.contains_key(&Numbered(address)) {
                self.pools.give_back(address);
            }
        }
    }

    /// Whether a Service may have an address, beside those that have it or have it in their status. One that
    /// `has` it in its own status already need not mind what others' statuses say.
    pub(crate) fn admit(
        &self,
        service: &ServiceKey,
        sharing: Option<&Sharing>,
        address: IpAddr,
        has: bool,
    ) -> Result<(), Conflict> {
        if let Some(publishers) = self.published.get(&Numbered(address))
            && !publishers.contains(service)
            && !has
            && let Some(by) = publishers.first().cloned()
        {
            return Err(Conflict::Published { by });
        }
        match self.tenants.get(&Numbered(address)) {
            None => Ok(()),
            Some(tenants) => tenants.admit(service, sharing),
        }
    }

    /// Replaces pools: takes out those named, then puts those given in. Returns what was taken out.
    pub(crate) fn replace_pools(&mut self, out: &[Name], put: &[&Pool]) -> Vec<Pool> {
        self.revision += 1;
        let out: Vec<Pool> = out
            .iter()
            .filter_map(|name| self.pools.remove(name))
            .collect();
        for pool in put {
            let state = PoolState::new((*pool).clone(), |range| self.used(range).into_iter());
            self.pools.insert(state);
        }
        out
    }

    /// The addresses of `range` that are not free, ascending.
    fn used(&self, range: &Range) -> Vec<IpAddr> {
        let all = numbered(range);
        let mut used: Vec<IpAddr> = self.tenants.range(all.clone()).map(|(a, _)| a.0).collect();
        let held = used.len();
        used.extend(self.published.range(all).map(|(address, _)| address.0));
        if used.len() > held {
            used.sort_unstable();
            used.dedup();
        }
        used
    }

    /// The Services on an address of `old` for which the pools have changed, if only by whom they are for. A Service
    /// may come twice.
    pub(crate) fn affected<'a>(&'a self, old: &'a Pool) -> impl Iterator<Item = &'a ServiceKey> {
        let new = self.pools.get(&old.name);
        let fence_moved = new.is_none_or(|new| new.pool.allocation != old.allocation);
        let stays = move |address: IpAddr| {
            !fence_moved
                && new.is_some_and(|new| new.allows(address))
                && self.pools.of_address(address) == Some(&old.name)
        };
        let tenants = old
            .ranges
            .iter()
            .flat_map(|range| self.tenants.range(numbered(range)));
        tenants
            .filter(move |(address, _)| !stays(address.0))
            .flat_map(|(_, tenants)| tenants.services())
    }
}

fn numbered(range: &Range) -> RangeInclusive<Numbered> {
    Numbered(range.first())..=Numbered(range.last())
}
