//! The allocator: requests in, addresses or a refusal out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::config::OnRemoval;
use ironlb_model::{Family, Labels, Name, Namespace, Pool, Range, ServiceKey};

use crate::pool::PoolState;
use crate::pools::Pools;
use crate::refusal::{Families, Names, Refusal};
use crate::share::{Conflict, SharedAddresses, Sharing, Tenants};
use crate::usage::Usage;

/// What a Service asks of the allocator.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Service.
    pub service: &'a ServiceKey,
    /// Its labels, for pools that choose Services by them.
    pub labels: &'a Labels,
    /// The families that it needs.
    pub families: Families,
    /// The pool that it asks for.
    pub pool: Option<&'a str>,
    /// The addresses that it asks for; none to leave the choice to us.
    pub addresses: &'a [IpAddr],
    /// On which terms it shares; `None` not to.
    pub sharing: Option<Sharing>,
}

/// What a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    pool: Name,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    sharing: Option<Box<Sharing>>,
}

impl Allocation {
    fn new(pool: Name, addresses: &[IpAddr], sharing: Option<Sharing>) -> Self {
        let mut allocation = Self {
            pool,
            v4: None,
            v6: None,
            sharing: sharing.map(Box::new),
        };
        for address in addresses {
            match address {
                IpAddr::V4(address) => allocation.v4 = Some(*address),
                IpAddr::V6(address) => allocation.v6 = Some(*address),
            }
        }
        allocation
    }

    /// The pool that the addresses are of, or were of until they left it (`onRemoval: Hold`).
    pub const fn pool(&self) -> &Name {
        &self.pool
    }

    /// The addresses, at most one of each family, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4.map(IpAddr::from);
        v4.into_iter().chain(self.v6.map(IpAddr::from))
    }
}

/// Which Service has which address.
///
/// An address is free when no Service has it and none has it *published*: still in its status, though it has been taken
/// away. So an address is given to another Service only after the API no longer says that the first one has it.
///
/// What it costs to allocate does not depend on how much is allocated already. Same calls in the same order, same result.
#[derive(Debug, Default)]
pub struct Allocator {
    pools: Pools,
    allocations: BTreeMap<ServiceKey, Allocation>,
    tenants: BTreeMap<IpAddr, Tenants>,
    published: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    shared: SharedAddresses,
    /// Services with an address that no pool has any more, or gives away any more.
    outside: BTreeSet<ServiceKey>,
    /// Counts what may help a Service that was refused.
    revision: u64,
}

impl Allocator {
    /// What `service` has.
    pub fn get(&self, service: &ServiceKey) -> Option<&Allocation> {
        self.allocations.get(service)
    }

    /// Every Service that has something, in order of its key.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Allocation)> {
        self.allocations.iter()
    }

    /// The Services that have `address`, in order of their keys.
    pub fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let tenants = self.tenants.get(&address);
        tenants.into_iter().flat_map(Tenants::services)
    }

    /// The pool that has `address`, used or not.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Name> {
        self.pools.of_address(address)
    }

    /// The counters of every pool.
    pub fn usage(&self) -> BTreeMap<Name, Usage> {
        let usage = |(name, state): (&Name, &PoolState)| (name.clone(), state.usage());
        self.pools.iter().map(usage).collect()
    }

    /// Whether there is no pool at all.
    pub fn has_no_pools(&self) -> bool {
        self.pools.is_empty()
    }

    /// Whether `service` has an address that only `onRemoval: Hold` lets it keep.
    pub fn is_outside(&self, service: &ServiceKey) -> bool {
        self.outside.contains(service)
    }

    /// Whether `pool` has addresses of `family` at all, free or not.
    pub(crate) fn pool_has(&self, pool: &str, family: Family) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|state| state.usage().of(family).total > 0)
    }

    /// Grows whenever something happens that may let a Service in that was refused.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Replaces the configured pools, no two of which overlap. Only those that differ are touched.
    ///
    /// The Services returned are those whose addresses may no longer be theirs, or be of another pool; nothing is taken
    /// from them here. Ask [`keep`](Self::keep) for each.
    pub fn set_pools(&mut self, pools: &BTreeMap<Name, Pool>) -> BTreeSet<ServiceKey> {
        let names: Vec<Name> = self.pools.iter().map(|(name, _)| name.clone()).collect();
        let is_new = |pool: &&Pool| {
            let old = self.pools.get(&pool.name);
            old.is_none_or(|old| old.pool != **pool)
        };
        let new: Vec<&Pool> = pools.values().filter(is_new).collect();
        let mut old = Vec::new();
        for name in names {
            let same = |state: &PoolState| pools.get(&name) == Some(&state.pool);
            if !self.pools.get(&name).is_some_and(same) {
                old.extend(self.pools.remove(&name));
            }
        }
        if old.is_empty() && new.is_empty() {
            return BTreeSet::new();
        }
        self.revision += 1;
        for pool in new {
            let state = PoolState::new(pool.clone(), |range| self.used(range).into_iter());
            self.pools.insert(state);
        }
        let mut affected = self.outside.clone();
        for pool in &old {
            self.collect_affected(pool, &mut affected);
        }
        affected
    }

    /// The addresses of `range` that are not free, ascending.
    fn used(&self, range: &Range) -> Vec<IpAddr> {
        let all = range.first()..=range.last();
        let mut used: Vec<IpAddr> = self.tenants.range(all.clone()).map(|(a, _)| *a).collect();
        let held = used.len();
        used.extend(self.published.range(all).map(|(address, _)| *address));
        if used.len() > held {
            used.sort_unstable();
            used.dedup();
        }
        used
    }

    fn collect_affected(&self, old: &Pool, affected: &mut BTreeSet<ServiceKey>) {
        let new = self.pools.get(&old.name);
        let fence_moved = new.is_none_or(|new| new.pool.allocation != old.allocation);
        for range in &old.ranges {
            for (address, tenants) in self.tenants.range(range.first()..=range.last()) {
                let stays = new.is_some_and(|new| new.allows(*address))
                    && self.pools.of_address(*address) == Some(&old.name);
                if fence_moved || !stays {
                    affected.extend(tenants.services().cloned());
                }
            }
        }
    }

    /// Takes a namespace's labels in; `true` when that may change which pools are for its Services.
    pub fn apply_namespace(&mut self, namespace: Namespace) -> bool {
        self.pools.apply_namespace(namespace) && self.namespaces_matter()
    }

    /// Forgets a namespace; `true` when that may change which pools are for its Services.
    pub fn delete_namespace(&mut self, name: &str) -> bool {
        self.pools.delete_namespace(name) && self.namespaces_matter()
    }

    fn namespaces_matter(&mut self) -> bool {
        let matter = self.pools.select_namespaces();
        self.revision += u64::from(matter);
        matter
    }

    /// Gives a Service what it asks for, in place of what it had.
    pub fn allocate(&mut self, request: &Request<'_>) -> Result<&Allocation, Refusal> {
        let pick = self.choose(request)?;
        Ok(self.hold(request, pick))
    }

    /// Lets a Service have `addresses`, which it has had before, where that is still allowed: they are of one pool that
    /// lets it in, and the others on them share with it. Without a pool, they stay only where `last_pool` says
    /// `onRemoval: Hold`.
    pub fn keep(
        &mut self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        last_pool: Option<&str>,
    ) -> Result<&Allocation, Refusal> {
        let held_by = last_pool
            .and_then(|name| self.pools.get(name))
            .filter(|state| state.pool.on_removal == OnRemoval::Hold)
            .map(|state| state.pool.name.clone());
        let pick = self.pick_exactly(request, addresses, held_by.as_ref())?;
        Ok(self.hold(request, pick))
    }

    /// Gives a Service that has one address a second one of the other family, from the same pool.
    pub fn extend(&mut self, request: &Request<'_>) -> Result<&Allocation, Refusal> {
        let Some(allocation) = self.allocations.get(request.service) else {
            return self.allocate(request);
        };
        let pool = allocation.pool.clone();
        let mut addresses: Vec<IpAddr> = allocation.addresses().collect();
        if let &[one] = addresses.as_slice() {
            let missing = Family::of(one).other();
            let found = self.address_in(request, &pool, missing);
            addresses.push(found.ok_or_else(|| self.lacks(&pool, missing))?);
        }
        Ok(self.hold(request, Pick { pool, addresses }))
    }

    /// Takes away what a Service has.
    pub fn release(&mut self, service: &ServiceKey) -> Option<Allocation> {
        let allocation = self.allocations.remove(service)?;
        self.outside.remove(service);
        for address in allocation.addresses() {
            self.vacate(service, &allocation, address);
        }
        Some(allocation)
    }

    /// Notes that `service` has `address` in its status, or may have: nobody else is given it.
    pub fn publish(&mut self, service: &ServiceKey, address: IpAddr) {
        let publishers = self.published.entry(address).or_default();
        let first = publishers.is_empty();
        publishers.insert(service.clone());
        if first && !self.tenants.contains_key(&address) {
            self.pools.take(address);
        }
    }

    /// Takes a note of [`publish`](Self::publish) back.
    pub fn unpublish(&mut self, service: &ServiceKey, address: IpAddr) {
        let Some(publishers) = self.published.get_mut(&address) else {
            return;
        };
        self.revision += u64::from(publishers.remove(service));
        if publishers.is_empty() {
            self.published.remove(&address);
            if !self.tenants.contains_key(&address) {
                self.pools.give_back(address);
            }
        }
    }

    /// The pinned pools that a request may be met from, best first; part of what makes two requests alike.
    pub(crate) fn pinned(&self, request: &Request<'_>) -> Vec<Name> {
        self.pools.pinned(request.service, request.labels)
    }

    fn choose(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        if !request.addresses.is_empty() {
            return self.choose_addresses(request);
        }
        match request.pool {
            Some(pool) => self.choose_in(request, pool),
            None => self.choose_anywhere(request),
        }
    }

    fn choose_addresses(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        let needed = match request.families {
            Families::PreferBoth(_) => Families::Both,
            needed => needed,
        };
        if !needed.accept(request.addresses) {
            return Err(Refusal::OtherFamily {
                addresses: request.addresses.to_vec(),
                needed,
            });
        }
        let pick = self.pick_exactly(request, request.addresses, None)?;
        match request.pool {
            Some(asked) if asked != &*pick.pool => Err(Refusal::OtherPool {
                addresses: request.addresses.to_vec(),
                asked: asked.to_owned(),
                actual: pick.pool,
            }),
            _ => Ok(pick),
        }
    }

    fn pick_exactly(
        &self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        held_by: Option<&Name>,
    ) -> Result<Pick, Refusal> {
        let mut pools = Vec::new();
        for address in addresses {
            let pool = self.pools.of_address(*address).or(held_by);
            pools.push(pool.ok_or(Refusal::OutsidePools(*address))?.clone());
        }
        pools.dedup();
        let [pool] = pools.as_slice() else {
            return Err(Refusal::TwoPools {
                addresses: addresses.to_vec(),
                pools,
            });
        };
        let state = self.pool(pool)?;
        self.enter(request, state)?;
        for address in addresses {
            if !state.allows(*address) && held_by != Some(pool) {
                return Err(Refusal::Buggy {
                    address: *address,
                    pool: pool.clone(),
                });
            }
            self.admit(request, *address)?;
        }
        Ok(Pick {
            pool: pool.clone(),
            addresses: addresses.to_vec(),
        })
    }

    fn choose_in(&self, request: &Request<'_>, pool: &str) -> Result<Pick, Refusal> {
        let state = self.pool(pool)?;
        self.enter(request, state)?;
        let name = &state.pool.name;
        let mut attempts = request.families.attempts().iter();
        let found = attempts.find_map(|families| self.pick(request, name, families));
        found.ok_or_else(|| {
            let lacking = |family: &Family| self.address_in(request, name, *family).is_none();
            let family = match request.families {
                Families::One(family) => family,
                Families::Both => {
                    let absent = |family: &Family| !self.pool_has(name, *family);
                    let mut all = Family::ALL.into_iter();
                    let absent = all.clone().find(absent);
                    absent.or_else(|| all.find(lacking)).unwrap_or(Family::V4)
                }
                Families::PreferBoth(family) if self.pool_has(name, family) => family,
                Families::PreferBoth(family) if self.pool_has(name, family.other()) => {
                    family.other()
                }
                Families::PreferBoth(family) => family,
            };
            self.lacks(name, family)
        })
    }

    /// Pools meant for the Service first, then those for everybody. Among either, a pool where its sharing key has an
    /// address already comes first.
    fn choose_anywhere(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        let pinned = self.pinned(request);
        let attempts = request.families.attempts();
        for families in attempts {
            let mut with_key = pinned.iter().filter(|pool| self.has_key(request, pool));
            let found = with_key
                .find_map(|pool| self.pick_shared(request, pool, families))
                .or_else(|| {
                    pinned
                        .iter()
                        .find_map(|pool| self.pick(request, pool, families))
                });
            if let Some(found) = found {
                return Ok(found);
            }
        }
        for families in attempts {
            let found = self
                .open_with_key(request)
                .find_map(|pool| self.pick_shared(request, pool, families))
                .or_else(|| {
                    let mut open = self.pools.open(families);
                    open.find_map(|pool| self.pick(request, pool, families))
                });
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(self.exhausted(request, &pinned))
    }

    fn has_key(&self, request: &Request<'_>, pool: &Name) -> bool {
        let sharing = request.sharing.as_ref();
        sharing.is_some_and(|sharing| self.shared.is_in(sharing, pool))
    }

    fn open_with_key<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = &'a Name> {
        let sharing = request.sharing.as_ref();
        let pools = sharing
            .into_iter()
            .flat_map(|sharing| self.shared.pools(sharing));
        pools.filter(|name| {
            let pool = self.pools.get(name).map(|state| &state.pool);
            pool.is_some_and(|pool| pool.auto_assign && pool.allocation.is_none())
        })
    }

    /// An address of each family from one pool, at least one of them shared.
    fn pick_shared(&self, request: &Request<'_>, pool: &Name, families: &[Family]) -> Option<Pick> {
        let mut shared = families
            .iter()
            .filter_map(|family| self.shared_address(request, pool, *family));
        shared.next()?;
        self.pick(request, pool, families)
    }

    /// An address of each family from one pool.
    fn pick(&self, request: &Request<'_>, pool: &Name, families: &[Family]) -> Option<Pick> {
        let addresses = families
            .iter()
            .map(|family| self.address_in(request, pool, *family))
            .collect::<Option<Vec<IpAddr>>>()?;
        Some(Pick {
            pool: pool.clone(),
            addresses,
        })
    }

    /// The address in `pool` that the sharing key has already, or the lowest free one.
    fn address_in(&self, request: &Request<'_>, pool: &Name, family: Family) -> Option<IpAddr> {
        self.shared_address(request, pool, family)
            .or_else(|| self.pools.get(pool)?.first_free(family))
    }

    fn shared_address(&self, request: &Request<'_>, pool: &Name, family: Family) -> Option<IpAddr> {
        let sharing = request.sharing.as_ref()?;
        let state = self.pools.get(pool)?;
        let mut addresses = self.shared.addresses(sharing, pool, family);
        addresses.find(|address| {
            self.pools.of_address(*address) == Some(pool)
                && state.allows(*address)
                && self.admit(request, *address).is_ok()
        })
    }

    /// Whether the others on `address`, or those who have it in their status, let the Service have it.
    fn admit(&self, request: &Request<'_>, address: IpAddr) -> Result<(), Refusal> {
        let taken = |conflict| Refusal::Taken { address, conflict };
        if let Some(publishers) = self.published.get(&address)
            && !publishers.contains(request.service)
            && !self.has(request.service, address)
            && let Some(by) = publishers.first().cloned()
        {
            return Err(taken(Conflict::Published { by }));
        }
        match self.tenants.get(&address) {
            None => Ok(()),
            Some(tenants) => tenants
                .admit(request.service, request.sharing.as_ref())
                .map_err(taken),
        }
    }

    fn has(&self, service: &ServiceKey, address: IpAddr) -> bool {
        let allocation = self.allocations.get(service);
        allocation.is_some_and(|allocation| allocation.addresses().any(|a| a == address))
    }

    fn pool(&self, name: &str) -> Result<&PoolState, Refusal> {
        self.pools.get(name).ok_or_else(|| Refusal::UnknownPool {
            pool: name.to_owned(),
            known: Names::of(self.pools.iter().map(|(name, _)| name)),
        })
    }

    fn enter(&self, request: &Request<'_>, state: &PoolState) -> Result<(), Refusal> {
        self.pools
            .admits(&state.pool, request.service, request.labels)
            .map_err(|fence| Refusal::Fenced {
                pool: state.pool.name.clone(),
                fence,
            })
    }

    fn lacks(&self, pool: &Name, family: Family) -> Refusal {
        let usage = self.pools.get(pool).map(PoolState::usage);
        match usage.map_or(0, |usage| usage.of(family).total) {
            0 => Refusal::NoFamily {
                pool: pool.clone(),
                family,
            },
            total => Refusal::Full {
                pool: pool.clone(),
                family,
                total,
            },
        }
    }

    fn exhausted(&self, request: &Request<'_>, pinned: &[Name]) -> Refusal {
        let open = self.pools.iter().filter(|(_, state)| {
            let pool = &state.pool;
            pool.auto_assign && pool.allocation.is_none()
        });
        let pools = Names::of(pinned.iter().chain(open.map(|(name, _)| name)));
        if pools.is_empty() {
            return Refusal::NoPoolForIt;
        }
        Refusal::Exhausted {
            families: request.families,
            pools,
        }
    }

    fn hold(&mut self, request: &Request<'_>, pick: Pick) -> &Allocation {
        let Pick { pool, addresses } = pick;
        let service = request.service;
        let allocation = Allocation::new(pool, &addresses, request.sharing.clone());
        if self.allocations.get(service) != Some(&allocation) {
            self.release(service);
            for address in allocation.addresses() {
                self.occupy(service, &allocation, address);
            }
        }
        let inside = |address: &IpAddr| {
            let state = self.pools.get(&allocation.pool);
            self.pools.of_address(*address) == Some(&allocation.pool)
                && state.is_some_and(|state| state.allows(*address))
        };
        if allocation.addresses().all(|address| inside(&address)) {
            self.outside.remove(service);
        } else {
            self.outside.insert(service.clone());
        }
        self.allocations
            .entry(service.clone())
            .and_modify(|held| held.clone_from(&allocation))
            .or_insert(allocation)
    }

    fn occupy(&mut self, service: &ServiceKey, allocation: &Allocation, address: IpAddr) {
        let sharing = allocation.sharing.as_deref();
        match self.tenants.get_mut(&address) {
            Some(tenants) => tenants.insert(service, sharing),
            None => {
                self.tenants.insert(address, Tenants::new(service, sharing));
                if !self.published.contains_key(&address) {
                    self.pools.take(address);
                }
            }
        }
        if let Some(sharing) = sharing {
            self.shared.insert(sharing, &allocation.pool, address);
            self.revision += 1;
        }
    }

    fn vacate(&mut self, service: &ServiceKey, allocation: &Allocation, address: IpAddr) {
        let sharing = allocation.sharing.as_deref();
        if let Some(tenants) = self.tenants.get_mut(&address)
            && tenants.remove(service, sharing)
        {
            self.tenants.remove(&address);
            if !self.published.contains_key(&address) {
                self.pools.give_back(address);
            }
        }
        if let Some(sharing) = sharing {
            self.shared.remove(sharing, &allocation.pool, address);
        }
        self.revision += 1;
    }
}

/// What a Service is to have.
struct Pick {
    pool: Name,
    addresses: Vec<IpAddr>,
}
