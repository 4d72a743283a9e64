//! Who is on which address, and the pools' view of it.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ironlb_model::{Name, Pool, Range, ServiceKey};

use crate::by_address::ByAddress;
use crate::pool::PoolState;
use crate::pools::Pools;
use crate::share::{Conflict, SharedAddresses, Sharing, Tenants};

/// Every address that is not free: those that Services have, and those that are in a status though nobody is to have
/// them. The pools are kept in step.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) pools: Pools,
    pub(crate) shared: SharedAddresses,
    tenants: ByAddress<Tenants>,
    published: ByAddress<BTreeSet<ServiceKey>>,
    /// Counts what may help a Service that was refused.
    pub(crate) revision: u64,
}

impl Ledger {
    /// The Services that have `address`, in order of their keys.
    pub(crate) fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let tenants = self.tenants.get(address);
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
        match self.tenants.entry(address) {
            Entry::Occupied(tenants) => tenants.into_mut().insert(service, sharing),
            Entry::Vacant(free) => {
                free.insert(Tenants::new(service, sharing));
                if !self.published.contains(address) {
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
        if let Entry::Occupied(mut tenants) = self.tenants.entry(address)
            && tenants.get_mut().remove(service, sharing)
        {
            tenants.remove();
            if !self.published.contains(address) {
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
        let publishers = self.published.entry(address).or_default();
        let first = publishers.is_empty();
        publishers.insert(service.clone());
        if first && !self.tenants.contains(address) {
            self.pools.take(address);
        }
    }

    /// Takes a note of [`publish`](Self::publish) back.
    pub(crate) fn unpublish(&mut self, service: &ServiceKey, address: IpAddr) {
        let Entry::Occupied(mut publishers) = self.published.entry(address) else {
            return;
        };
        self.revision += u64::from(publishers.get_mut().remove(service));
        if publishers.get().is_empty() {
            publishers.remove();
            if !self.tenants.contains(address) {
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
        if let Some(publishers) = self.published.get(address)
            && !publishers.contains(service)
            && !has
            && let Some(by) = publishers.first().cloned()
        {
            return Err(Conflict::Published { by });
        }
        match self.tenants.get(address) {
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
        let mut used: Vec<IpAddr> = self.tenants.range(range).map(|(ip, _)| ip).collect();
        let held = used.len();
        used.extend(self.published.range(range).map(|(ip, _)| ip));
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
            .flat_map(|range| self.tenants.range(range));
        tenants
            .filter(move |(address, _)| !stays(*address))
            .flat_map(|(_, tenants)| tenants.services())
    }
}
