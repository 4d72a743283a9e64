//! The allocator: requests in, addresses or a refusal out.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::config::{OnRemoval, PoolsInError};
use ironlb_model::{Family, Labels, Name, Namespace, Pool, ServiceKey, Time};

use crate::choose::Pick;
use crate::ledger::Ledger;
use crate::pool::PoolState;
use crate::pools::Reach;
use crate::refusal::{Families, Refusal};
use crate::share::Sharing;
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
    /// The addresses that its status has now. That others have one of them in theirs too is no reason to take it away;
    /// one that its status does not have yet must have left theirs first.
    pub status: &'a [IpAddr],
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

    /// Whether nothing but the pool's name is different, and the ledger does not care about that.
    fn differs_by_pool_alone(&self, other: &Self) -> bool {
        let shares = self.sharing.is_some() || other.sharing.is_some();
        !shares && self.v4 == other.v4 && self.v6 == other.v6
    }

    /// The pool that the addresses are of; or were of until they left it (`onRemoval: Hold`), or as far as is known. Empty
    /// where nothing is known.
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
/// Some free addresses are *kept back*: those that nodes have, and those that cool down. Whoever asks for one gets it; a
/// choice that is left to us falls on one only when nothing else is free.
///
/// What it costs to allocate does not depend on how much is allocated already. Same calls in the same order, same result.
#[derive(Debug, Default)]
pub struct Allocator {
    pub(crate) ledger: Ledger,
    allocations: Allocations,
    /// Services with an address that no pool has any more, or gives away any more.
    outside: BTreeSet<ServiceKey>,
    pub(crate) in_error: PoolsInError,
}

/// Hashed, because the keys are long to compare, and never the same twice by chance: without a random key.
type Allocations = HashMap<ServiceKey, Allocation, BuildHasherDefault<DefaultHasher>>;

impl Allocator {
    /// What `service` has.
    pub fn get(&self, service: &ServiceKey) -> Option<&Allocation> {
        self.allocations.get(service)
    }

    /// Every Service that has something, in order of its key.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Allocation)> {
        self.allocations
            .iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
    }

    /// The Services that have `address`, in order of their keys.
    pub fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.ledger.services_of(address)
    }

    /// The pool that has `address`, used or not.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Name> {
        self.ledger.pools.of_address(address)
    }

    /// The counters of every pool.
    pub fn usage(&self) -> BTreeMap<Name, Usage> {
        let usage = |(name, state): (&Name, &PoolState)| (name.clone(), state.usage());
        self.ledger.pools.iter().map(usage).collect()
    }

    /// Whether there is no pool at all.
    pub fn has_no_pools(&self) -> bool {
        self.ledger.pools.is_empty()
    }

    /// Whether `service` has an address that only `onRemoval: Hold` lets it keep.
    pub fn is_outside(&self, service: &ServiceKey) -> bool {
        self.outside.contains(service)
    }

    /// Whether `pool` has addresses of `family` at all, free or not.
    pub(crate) fn pool_has(&self, pool: &str, family: Family) -> bool {
        let pool = self.ledger.pools.get(pool);
        pool.is_some_and(|state| state.usage().of(family).total > 0)
    }

    /// Grows whenever something happens that may let a Service in that was refused.
    pub(crate) const fn revision(&self) -> u64 {
        self.ledger.revision
    }

    /// Replaces the configured pools, no two of which overlap. Only those that differ are touched.
    ///
    /// The Services returned are those whose addresses may no longer be theirs, or be of another pool; nothing is taken
    /// from them here. Ask [`keep`](Self::keep) for each. In no order, and one may come twice.
    pub fn set_pools(&mut self, pools: &BTreeMap<Name, Pool>) -> Vec<ServiceKey> {
        let known = &self.ledger.pools;
        let is_same = |pool: &Pool| known.get(&pool.name).is_some_and(|old| old.pool == *pool);
        let new: Vec<&Pool> = pools.values().filter(|pool| !is_same(pool)).collect();
        let gone = |name: &&Name| !pools.contains_key(*name);
        let out: Vec<Name> = known
            .iter()
            .map(|(name, _)| name)
            .filter(gone)
            .chain(new.iter().map(|pool| &pool.name))
            .cloned()
            .collect();
        if out.is_empty() {
            return Vec::new();
        }
        let old = self.ledger.replace_pools(&out, &new);
        let affected = old.iter().flat_map(|pool| self.ledger.affected(pool));
        affected.chain(&self.outside).cloned().collect()
    }

    /// Replaces what is known of pools that could not be read. They have no address that anybody could be given; what is said
    /// to those who ask for one, and to those who have one, is another thing.
    pub fn set_pools_in_error(&mut self, pools: &PoolsInError) {
        if self.in_error != *pools {
            self.in_error = pools.clone();
            self.ledger.revision += 1;
        }
    }

    /// Whether `pool` is one that lets Services keep the addresses that leave it.
    pub(crate) fn holds(&self, pool: &str) -> bool {
        let state = self.ledger.pools.get(pool);
        state.is_some_and(|state| state.pool.on_removal == OnRemoval::Hold)
    }

    /// A node has exactly these addresses now; none when it is gone. Where the choice is left to us, they are given only when
    /// no other is free. Gives the Services that have one of them that no node had before, in no order.
    pub fn set_node(&mut self, node: &Name, addresses: &[IpAddr]) -> Vec<ServiceKey> {
        let new = self.ledger.pools.set_node(node, addresses);
        let holders = new.iter().flat_map(|ip| self.ledger.services_of(*ip));
        holders.cloned().collect()
    }

    /// The first of the nodes that have `address`, by name.
    pub fn node_of(&self, address: IpAddr) -> Option<&Name> {
        self.ledger.pools.node_of(address)
    }

    /// The time is now this; it never goes back. What is freed from now on begins to cool down now, where its pool says so, and
    /// what has cooled down is given like others.
    pub fn advance(&mut self, now: Time) {
        self.ledger.pools.advance(now);
    }

    /// Takes a namespace's labels in; `true` when that may change which pools are for its Services.
    pub fn apply_namespace(&mut self, namespace: Namespace) -> bool {
        self.ledger.pools.apply_namespace(namespace) && self.namespaces_matter()
    }

    /// Forgets a namespace; `true` when that may change which pools are for its Services.
    pub fn delete_namespace(&mut self, name: &str) -> bool {
        self.ledger.pools.delete_namespace(name) && self.namespaces_matter()
    }

    fn namespaces_matter(&mut self) -> bool {
        let matter = self.ledger.pools.select_namespaces();
        self.ledger.revision += u64::from(matter);
        matter
    }

    /// Gives a Service what it asks for. What it had it gives up first, also when it is refused then.
    pub fn allocate(&mut self, request: &Request<'_>) -> Result<&Allocation, Refusal> {
        self.release(request.service);
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
            .and_then(|name| self.ledger.pools.get(name))
            .filter(|state| state.pool.on_removal == OnRemoval::Hold)
            .map(|state| state.pool.name.clone());
        let pick = self.pick_exactly(request, addresses, held_by.as_ref())?;
        Ok(self.hold(request, pick))
    }

    /// Lets a Service have `addresses`, which it has had before, though nobody can say whether its pool has them; only not
    /// beside others that do not share with it. `from` is the pool that they are taken to be of, where that is known.
    pub(crate) fn keep_in_doubt(
        &mut self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        from: Option<&str>,
    ) -> Result<(), Refusal> {
        for address in addresses {
            self.admit(request, *address)?;
        }
        let pool = from.unwrap_or_default().into();
        let addresses = addresses.to_vec();
        self.hold(request, Pick { pool, addresses });
        Ok(())
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
            let found = self.address_in(request, &pool, missing, Reach::KeptBack);
            addresses.push(found.ok_or_else(|| self.lacks(&pool, missing))?);
        }
        Ok(self.hold(request, Pick { pool, addresses }))
    }

    /// Takes away what a Service has.
    pub fn release(&mut self, service: &ServiceKey) -> Option<Allocation> {
        let allocation = self.allocations.remove(service)?;
        self.outside.remove(service);
        self.ledger.vacate_all(service, &allocation);
        Some(allocation)
    }

    /// Notes that `service` has `address` in its status, or may have: nobody else is given it.
    pub fn publish(&mut self, service: &ServiceKey, address: IpAddr) {
        self.ledger.publish(service, address);
    }

    /// Takes a note of [`publish`](Self::publish) back.
    pub fn unpublish(&mut self, service: &ServiceKey, address: IpAddr) {
        self.ledger.unpublish(service, address);
    }

    /// The pinned pools that a request may be met from, best first; part of what makes two requests alike.
    pub(crate) fn pinned(&self, request: &Request<'_>) -> Vec<Name> {
        self.ledger.pools.pinned(request.service, request.labels)
    }

    fn hold(&mut self, request: &Request<'_>, pick: Pick) -> &Allocation {
        let Pick { pool, addresses } = pick;
        let service = request.service;
        let new = Allocation::new(pool, &addresses, request.sharing.clone());
        if self.is_inside(&new) {
            self.outside.remove(service);
        } else {
            self.outside.insert(service.clone());
        }
        match self.allocations.entry(service.clone()) {
            Entry::Vacant(entry) => {
                self.ledger.occupy_all(service, &new);
                entry.insert(new)
            }
            Entry::Occupied(entry) => {
                let held = entry.into_mut();
                if *held != new && !held.differs_by_pool_alone(&new) {
                    self.ledger.vacate_all(service, held);
                    self.ledger.occupy_all(service, &new);
                }
                *held = new;
                held
            }
        }
    }

    /// Whether its pool has all of an allocation's addresses, and gives them away.
    fn is_inside(&self, allocation: &Allocation) -> bool {
        let pools = &self.ledger.pools;
        let state = pools.get(&allocation.pool);
        allocation.addresses().all(|address| {
            pools.of_address(address) == Some(&allocation.pool)
                && state.is_some_and(|state| state.allows(address))
        })
    }
}

impl Ledger {
    fn occupy_all(&mut self, service: &ServiceKey, allocation: &Allocation) {
        let sharing = allocation.sharing.as_deref();
        for address in allocation.addresses() {
            self.occupy(service, &allocation.pool, sharing, address);
        }
    }

    fn vacate_all(&mut self, service: &ServiceKey, allocation: &Allocation) {
        let sharing = allocation.sharing.as_deref();
        for address in allocation.addresses() {
            self.vacate(service, &allocation.pool, sharing, address);
        }
    }
}
